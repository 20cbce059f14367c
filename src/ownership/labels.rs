//! The labels that tell the owner of a resource. No label can be changed later, so their format is frozen.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::engine::backend::Filter;
use crate::plan::{Addressing, Ipv6Addressing, Naming, NetworkOptions, NetworkPlanned, Slug};

/// The labels of a resource, by key.
pub(crate) type LabelMap = BTreeMap<String, String>;

const FORMAT: &str = "2";

const FORMAT_KEY: &str = "sidecar-bundle.format";
const PREFIX: &str = "sidecar-bundle.prefix";
/// The key that every resource of a bundle has.
pub(crate) const SLUG: &str = "sidecar-bundle.slug";
const SUBNET: &str = "sidecar-bundle.subnet";
const GATEWAY: &str = "sidecar-bundle.gateway";
const IP: &str = "sidecar-bundle.ip";
const ATTEMPT: &str = "sidecar-bundle.attempt";
const SUBNET6: &str = "sidecar-bundle.subnet6";
const GATEWAY6: &str = "sidecar-bundle.gateway6";
const IP6: &str = "sidecar-bundle.ip6";
const OPTIONS: &str = "sidecar-bundle.options";
const ENGINE: &str = "sidecar-bundle.engine";
const LEASE: &str = "sidecar-bundle.lease";
/// The key whose value is the name of the owner's host.
const HOST: &str = "sidecar-bundle.host";
/// The key whose value is the end of a lifetime, by the clock of the owner's host.
const EXPIRES: &str = "sidecar-bundle.expires";
const NEVER: &str = "never";
/// The key of a further container of a slug, whose value is its name.
const GUEST: &str = "sidecar-bundle.guest";
/// The key whose value is the digest of a container's specification.
const SPEC: &str = "sidecar-bundle.spec";
/// The key whose value is the owner; a reaper filters by it.
pub(crate) const OWNER: &str = "sidecar-bundle.owner";

/// The keys of what not every plan has.
const OPTIONAL: [&str; 4] = [SUBNET6, GATEWAY6, IP6, OPTIONS];

/// The keys of values that no plan determines.
const OF_OWNER: [&str; 3] = [OWNER, HOST, EXPIRES];

/// The labels of a plan, the same on its network and on its container.
pub(crate) fn of_plan(plan: &NetworkPlanned, engine: &str, lease: &str, owner: &str) -> LabelMap {
    let addressing = plan.addressing();
    let mut labels = vec![
        (FORMAT_KEY, FORMAT.to_owned()),
        (PREFIX, plan.naming().prefix().to_owned()),
        (SLUG, plan.slug().to_string()),
        (SUBNET, addressing.subnet().to_string()),
        (GATEWAY, addressing.gateway().to_string()),
        (IP, addressing.bundle_ip().to_string()),
        (ATTEMPT, addressing.attempt().to_string()),
        (ENGINE, engine.to_owned()),
        (LEASE, lease.to_owned()),
        (OWNER, owner.to_owned()),
    ];
    if let Some(ipv6) = plan.ipv6() {
        labels.extend([
            (SUBNET6, ipv6.subnet().to_string()),
            (GATEWAY6, ipv6.gateway().to_string()),
            (IP6, ipv6.bundle_ip().to_string()),
        ]);
    }
    labels.extend(plan.options().to_label().map(|label| (OPTIONS, label)));
    labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The first label that differs from the planned one, but for those of the owner: key, planned value, found value.
pub(crate) fn difference(
    planned: &LabelMap,
    found: &LabelMap,
) -> Option<(String, String, Option<String>)> {
    let mut differing = planned
        .iter()
        .filter(|(key, value)| !OF_OWNER.contains(&key.as_str()) && found.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), value.clone(), found.get(key).cloned()));
    differing.next().or_else(|| {
        let mut unplanned = OPTIONAL.into_iter().filter(|key| !planned.contains_key(*key));
        let key = unplanned.find(|key| found.contains_key(*key))?;
        Some((key.to_owned(), "none".into(), found.get(key).cloned()))
    })
}

/// The same for the label of a lifetime, which either both have or neither has.
pub(crate) fn lifetime_difference(
    plan: &NetworkPlanned,
    found: &LabelMap,
) -> Option<(String, String, Option<String>)> {
    let has_one = plan.lifetime().is_some();
    let planned = if has_one { "a time" } else { NEVER };
    (has_one != expires_in(found).is_some())
        .then(|| (EXPIRES.to_owned(), planned.into(), found.get(EXPIRES).cloned()))
}

/// All resources of an owner.
pub(crate) fn of_owner(owner: &str) -> Filter {
    Filter::Labels(vec![(OWNER.to_owned(), owner.to_owned())])
}

/// All resources with the owner of these labels; of a guest's labels, those of the guest alone.
pub(crate) fn of_same(labels: &LabelMap) -> Filter {
    let keys = [OWNER, GUEST].into_iter();
    let pairs = keys.filter_map(|key| Some((key.to_owned(), labels.get(key)?.clone())));
    Filter::Labels(pairs.collect())
}

/// All resources that were made under a lease.
pub(crate) fn of_lease(lease: &str) -> Filter {
    Filter::Labels(vec![(LEASE.to_owned(), lease.to_owned())])
}

/// All resources that were made on an engine.
pub(crate) fn of_engine(digest: &str) -> Filter {
    Filter::Labels(vec![(ENGINE.to_owned(), digest.to_owned())])
}

/// Returns true if a resource was made on an engine.
pub(crate) fn are_of_engine(digest: &str, labels: &LabelMap) -> bool {
    value(labels, ENGINE) == Some(digest)
}

/// All resources of a slug, whoever made them.
pub(crate) fn of_slug(naming: &Naming, slug: &Slug) -> Filter {
    let labels = [(PREFIX, naming.prefix()), (SLUG, slug.as_str())];
    Filter::Labels(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
}

/// Returns true if a resource is the slug's, whoever made it.
pub(crate) fn are_of(naming: &Naming, slug: &Slug, labels: &LabelMap) -> bool {
    value(labels, PREFIX) == Some(naming.prefix()) && value(labels, SLUG) == Some(slug.as_str())
}

/// Prefix and slug of a resource.
pub(crate) fn bundle_in(labels: &LabelMap) -> Option<(String, Slug)> {
    let prefix = Naming::new(value(labels, PREFIX)?).ok()?.prefix().to_owned();
    Some((prefix, Slug::new(value(labels, SLUG)?).ok()?))
}

/// The name of a guest; none of the bundle's own container.
pub(crate) fn guest_in(labels: &LabelMap) -> Option<&str> {
    value(labels, GUEST)
}

pub(crate) fn lease_in(labels: &LabelMap) -> Option<&str> {
    value(labels, LEASE)
}

/// Adds the host of the owner, and the end of a lifetime.
pub(crate) fn with_owner(
    mut labels: LabelMap,
    host: Option<String>,
    expires: Option<SystemTime>,
) -> LabelMap {
    labels.extend(host.map(|it| (HOST.to_owned(), it)));
    // A container has the labels of its image, too: one that is not written could be that of another bundle.
    let expires = expires
        .map_or_else(|| NEVER.into(), |it| humantime::format_rfc3339_seconds(it).to_string());
    labels.insert(EXPIRES.to_owned(), expires);
    labels
}

/// The name of the owner's host.
pub(crate) fn host_in(labels: &LabelMap) -> Option<String> {
    value(labels, HOST).map(str::to_owned)
}

/// The end of a lifetime that begins now. None for one that ends in no year of four digits.
pub(crate) fn end_of(lifetime: Duration) -> Option<SystemTime> {
    const YEAR_9999: Duration = Duration::from_secs(253_370_764_800);
    // To the next second, so that it is no earlier in the label.
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let end = Duration::from_secs(since.checked_add(lifetime)?.as_secs().checked_add(1)?);
    (end < YEAR_9999).then(|| SystemTime::UNIX_EPOCH + end)
}

/// The end of a lifetime.
pub(crate) fn expires_in(labels: &LabelMap) -> Option<SystemTime> {
    humantime::parse_rfc3339(value(labels, EXPIRES)?).ok()
}

/// The end of the lifetime of the last of several resources; none if one of them has none.
pub(crate) fn expiry<'a>(resources: impl IntoIterator<Item = &'a LabelMap>) -> Option<SystemTime> {
    let all: Option<Vec<_>> = resources.into_iter().map(expires_in).collect();
    all?.into_iter().max()
}

/// Returns true if the lifetime of all these resources has ended.
pub(crate) fn have_expired<'a>(resources: impl IntoIterator<Item = &'a LabelMap>) -> bool {
    expiry(resources).is_some_and(|end| end <= SystemTime::now())
}

/// All resources that were made under the lease of these labels and expire when these do.
pub(crate) fn of_expiry(labels: &LabelMap) -> Filter {
    let keys = [LEASE, EXPIRES].into_iter();
    let pairs = keys.filter_map(|key| Some((key.to_owned(), labels.get(key)?.clone())));
    Filter::Labels(pairs.collect())
}

/// Adds the label of a guest.
pub(crate) fn with_guest(mut labels: LabelMap, name: &str) -> LabelMap {
    labels.insert(GUEST.to_owned(), name.to_owned());
    labels
}

/// Adds the label of a container, the digest of its specification.
pub(crate) fn with_spec(mut labels: LabelMap, digest: &str) -> LabelMap {
    labels.insert(SPEC.to_owned(), digest.to_owned());
    labels
}

pub(crate) fn spec_in(labels: &LabelMap) -> Option<&str> {
    value(labels, SPEC)
}

#[cfg(test)]
pub(crate) fn owner_in(labels: &LabelMap) -> Option<&str> {
    value(labels, OWNER)
}

pub(crate) fn addressing_in(labels: &LabelMap) -> Option<Addressing> {
    let parsed = Addressing::new(
        value(labels, SUBNET)?.parse().ok()?,
        value(labels, GATEWAY)?.parse().ok()?,
        value(labels, IP)?.parse().ok()?,
    );
    Some(parsed.ok()?.with_attempt(value(labels, ATTEMPT)?.parse().ok()?))
}

/// The IPv6 addresses, if there are any; an error if they cannot be read.
pub(crate) fn ipv6_in(labels: &LabelMap) -> Result<Option<Ipv6Addressing>, ()> {
    let Some(subnet) = value(labels, SUBNET6) else { return Ok(None) };
    let parsed = || {
        let (gateway, ip) = (value(labels, GATEWAY6)?, value(labels, IP6)?);
        Ipv6Addressing::new(subnet.parse().ok()?, gateway.parse().ok()?, ip.parse().ok()?).ok()
    };
    parsed().map(Some).ok_or(())
}

/// All addresses, if all of them can be read.
pub(crate) fn addresses_in(labels: &LabelMap) -> Option<(Addressing, Option<Ipv6Addressing>)> {
    Some((addressing_in(labels)?, ipv6_in(labels).ok()?))
}

pub(crate) fn options_in(labels: &LabelMap) -> Option<NetworkOptions> {
    NetworkOptions::from_label(value(labels, OPTIONS))
}

fn value<'a>(labels: &'a LabelMap, key: &str) -> Option<&'a str> {
    labels.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_of_a_slug_if_prefix_and_slug_are_its_own() {
        let (naming, slug) = (Naming::default(), Slug::new("demo").unwrap());
        let of = |prefix: &str, slug: &str| -> LabelMap {
            [(PREFIX, prefix), (SLUG, slug)].map(|(key, value)| (key.into(), value.into())).into()
        };
        assert!(are_of(&naming, &slug, &of(naming.prefix(), "demo")));
        assert!(!are_of(&naming, &slug, &of(naming.prefix(), "other")));
        assert!(!are_of(&naming, &slug, &of("acme", "demo")));
    }

    #[test]
    fn the_options_of_a_network_are_read_from_its_label() {
        let options = NetworkOptions::new().internal(true);
        let label = |value: &str| LabelMap::from([(OPTIONS.to_owned(), value.to_owned())]);
        assert_eq!(options_in(&label(&options.to_label().unwrap())), Some(options));
        assert_eq!(options_in(&LabelMap::new()), Some(NetworkOptions::default()));
        assert_eq!(options_in(&label("{")), None, "they are another release's");
    }

    #[test]
    fn an_option_that_was_not_planned_is_a_difference_and_another_owner_is_none() {
        let of = |pairs: &[(&str, &str)]| -> LabelMap {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let planned = of(&[("a", "1"), (OWNER, "me"), (IP6, "fd00::2")]);
        let with = |key: &str, value: &str| {
            let mut found = planned.clone();
            found.insert(key.to_owned(), value.to_owned());
            difference(&planned, &found)
        };
        assert_eq!(with("b", "2"), None);
        assert_eq!(with(OWNER, "another"), None);
        assert_eq!(with("a", "2"), Some(("a".into(), "1".into(), Some("2".into()))));
        assert_eq!(with(OPTIONS, "{}"), Some((OPTIONS.into(), "none".into(), Some("{}".into()))));
        let missing = difference(&planned, &LabelMap::new());
        assert_eq!(missing, Some(("a".into(), "1".into(), None)));
    }
}
