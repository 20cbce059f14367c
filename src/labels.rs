//! The labels that say whose a thing is: a frozen format, since no label can be changed later.

use std::collections::BTreeMap;

use crate::addressing::Addressing;
use crate::ipv6::Ipv6Addressing;
use crate::lease::Lease;
use crate::network_options::NetworkOptions;
use crate::product::Product;
use crate::slug::Slug;

/// What stands before every key.
const NAMESPACE: &str = "sidecar-bundle.";
const FORMAT: &str = "1";
const OWNER: &str = "owner";
const OPTIONS: &str = "options";
/// Only where there is such a thing.
const OPTIONAL: [&str; 4] = ["subnet6", "gateway6", "ip6", OPTIONS];

/// The labels of one bundle, the same on its network and on its container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Labels(BTreeMap<&'static str, String>);

impl Labels {
    pub(crate) fn new(
        product: &Product,
        slug: &Slug,
        addressing: &Addressing,
        lease: &Lease,
        owner: &str,
    ) -> Self {
        Self::with_directory(product, slug, addressing, lease.directory_id(), owner)
    }

    fn with_directory(
        product: &Product,
        slug: &Slug,
        addressing: &Addressing,
        directory: &str,
        owner: &str,
    ) -> Self {
        Self(BTreeMap::from([
            ("format", FORMAT.to_owned()),
            ("prefix", product.prefix().to_owned()),
            ("slug", slug.to_string()),
            ("subnet", addressing.subnet().to_string()),
            ("gateway", addressing.gateway().to_string()),
            ("ip", addressing.bundle_ip().to_string()),
            ("attempt", addressing.attempt().to_string()),
            ("lease-dir", directory.to_owned()),
            (OWNER, owner.to_owned()),
        ]))
    }

    /// With the IPv6 addresses, if there are any.
    pub(crate) fn with_ipv6(mut self, ipv6: Option<Ipv6Addressing>) -> Self {
        let labels = ipv6.map(|ipv6| {
            let (subnet, gateway, ip) = (ipv6.subnet(), ipv6.gateway(), ipv6.bundle_ip());
            [
                ("subnet6", subnet.to_string()),
                ("gateway6", gateway.to_string()),
                ("ip6", ip.to_string()),
            ]
        });
        self.0.extend(labels.into_iter().flatten());
        self
    }

    /// With the network's options, if it has any.
    pub(crate) fn with_options(mut self, options: &NetworkOptions) -> Self {
        self.0.extend(options.to_label().map(|label| (OPTIONS, label)));
        self
    }

    #[cfg(fuzzing)]
    pub(crate) fn fuzzed(product: &Product, slug: &Slug, addressing: &Addressing) -> Self {
        Self::with_directory(product, slug, addressing, "directory", "owner")
    }

    /// Each label as the engine stores it, in a fixed order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (String, &str)> {
        self.0.iter().map(|(key, value)| (format!("{NAMESPACE}{key}"), value.as_str()))
    }

    /// The owner's things of this slug.
    pub(crate) fn ownership(&self) -> Vec<(String, String)> {
        let value = |key: &str| self.0.get(key).map_or("", String::as_str);
        ownership(value("prefix"), value("slug"), value(OWNER))
    }

    /// The first label that a thing has otherwise - but for the owner, if it does not matter who made
    /// it: key, planned, found.
    pub(crate) fn difference(
        &self,
        found: &BTreeMap<String, String>,
        whoever_made_it: bool,
    ) -> Option<(String, String, Option<String>)> {
        let owner = format!("{NAMESPACE}{OWNER}");
        let lacks_or_differs = self
            .pairs()
            .filter(|(key, _)| !whoever_made_it || *key != owner)
            .find(|(key, planned)| found.get(key).map(String::as_str) != Some(planned))
            .map(|(key, planned)| (key.clone(), planned.to_owned(), found.get(&key).cloned()));
        lacks_or_differs.or_else(|| {
            let not_planned = OPTIONAL.into_iter().filter(|key| !self.0.contains_key(key));
            let mut more = not_planned.map(|key| format!("{NAMESPACE}{key}"));
            let key = more.find(|key| found.contains_key(key))?;
            let theirs = found.get(&key).cloned();
            Some((key, "none".into(), theirs))
        })
    }
}

/// What tells an owner's things of a slug from everything else on the engine.
pub(crate) fn ownership(prefix: &str, slug: &str, owner: &str) -> Vec<(String, String)> {
    [("prefix", prefix), ("slug", slug), (OWNER, owner)]
        .map(|(key, value)| (format!("{NAMESPACE}{key}"), value.to_owned()))
        .into()
}

/// The label of all things of an owner, as `key=value`.
pub(crate) fn label_of(owner: &str) -> String {
    format!("{NAMESPACE}{OWNER}={owner}")
}

/// Who owns a thing with these labels.
pub(crate) fn owner_in(labels: &BTreeMap<String, String>) -> Option<&str> {
    labels.get(&format!("{NAMESPACE}{OWNER}")).map(String::as_str)
}

/// Whether a thing is this slug's, whoever made it.
pub(crate) fn are_of(product: &Product, slug: &Slug, labels: &BTreeMap<String, String>) -> bool {
    let label = |key: &str| labels.get(&format!("{NAMESPACE}{key}")).map(String::as_str);
    label("prefix") == Some(product.prefix()) && label("slug") == Some(slug.as_str())
}

/// What all things of a slug carry that were made with leases of one directory.
pub(crate) fn of_slug(product: &Product, slug: &Slug, lease: &Lease) -> Vec<(String, String)> {
    [("prefix", product.prefix()), ("slug", slug.as_str()), ("lease-dir", lease.directory_id())]
        .map(|(key, value)| (format!("{NAMESPACE}{key}"), value.to_owned()))
        .into()
}

/// The IPv6 addresses that a thing was planned with; an error if they are none.
pub(crate) fn ipv6_in(labels: &BTreeMap<String, String>) -> Result<Option<Ipv6Addressing>, ()> {
    let label = |key: &str| labels.get(&format!("{NAMESPACE}{key}"));
    let Some(subnet) = label("subnet6") else { return Ok(None) };
    let parsed = || {
        let (gateway, ip) = (label("gateway6")?.parse().ok()?, label("ip6")?.parse().ok()?);
        Ipv6Addressing::new(subnet.parse().ok()?, gateway, ip).ok()
    };
    parsed().map(Some).ok_or(())
}

/// The options that a network was planned with.
pub(crate) fn options_in(labels: &BTreeMap<String, String>) -> Option<NetworkOptions> {
    NetworkOptions::from_label(labels.get(&format!("{NAMESPACE}{OPTIONS}")).map(String::as_str))
}

/// The addresses that a thing was planned with.
pub(crate) fn addressing_in(labels: &BTreeMap<String, String>) -> Option<Addressing> {
    let label = |key: &str| labels.get(&format!("{NAMESPACE}{key}")).map(String::as_str);
    let parsed = Addressing::new(
        label("subnet")?.parse().ok()?,
        label("gateway")?.parse().ok()?,
        label("ip")?.parse().ok()?,
    );
    Some(parsed.ok()?.with_attempt(label("attempt")?.parse().ok()?))
}
