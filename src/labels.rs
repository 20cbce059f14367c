//! The labels that say whose a thing is: a frozen format, since no label can be changed later.

use std::collections::BTreeMap;

use crate::addressing::Addressing;
use crate::slug::Slug;

/// What stands before every key.
const NAMESPACE: &str = "sidecar-bundle.";
const FORMAT: &str = "1";
const OWNER: &str = "owner";

/// The labels of one bundle, the same on its network and on its container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Labels(BTreeMap<&'static str, String>);

impl Labels {
    pub(crate) fn new(
        prefix: &str,
        slug: &Slug,
        addressing: &Addressing,
        lease_dir: &str,
        owner: &str,
    ) -> Self {
        Self(BTreeMap::from([
            ("format", FORMAT.to_owned()),
            ("prefix", prefix.to_owned()),
            ("slug", slug.to_string()),
            ("subnet", addressing.subnet().to_string()),
            ("gateway", addressing.gateway().to_string()),
            ("ip", addressing.bundle_ip().to_string()),
            ("attempt", addressing.attempt().to_string()),
            ("lease-dir", lease_dir.to_owned()),
            (OWNER, owner.to_owned()),
        ]))
    }

    /// Each label as the engine stores it, in a fixed order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (String, &str)> {
        self.0.iter().map(|(key, value)| (format!("{NAMESPACE}{key}"), value.as_str()))
    }

    /// What tells this owner's things of this slug from everything else on the engine.
    pub(crate) fn ownership(&self) -> Vec<(String, String)> {
        let key = [OWNER, "prefix", "slug"];
        key.iter()
            .filter_map(|key| Some((format!("{NAMESPACE}{key}"), self.0.get(key)?.clone())))
            .collect()
    }

    /// The first label, but for the owner, that a thing has otherwise: key, planned, found.
    pub(crate) fn difference(
        &self,
        found: &BTreeMap<String, String>,
    ) -> Option<(String, &str, Option<String>)> {
        let owner = format!("{NAMESPACE}{OWNER}");
        self.pairs()
            .filter(|(key, _)| *key != owner)
            .find(|(key, planned)| found.get(key).map(String::as_str) != Some(planned))
            .map(|(key, planned)| (key.clone(), planned, found.get(&key).cloned()))
    }
}
