//! Internals for fuzzers, in builds for them alone.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::engine::backend::{Attachment, ContainerRequest};
use crate::engine::cli;
pub use crate::engine::fuzzing::{
    TimedLog, container_in, engine_in, listed_in, log_lines, network_in,
};
use crate::ownership::labels;
use crate::ownership::lease::Record;
use crate::{BundleSpec, Naming, NetworkPlanned, Slug};

/// A request for a container, for each way to an engine.
pub struct Requests {
    /// The body for Docker's API.
    pub docker: Value,
    /// The body for podman's API, if podman has all options.
    pub podman: Option<Value>,
    /// The arguments of `docker run`.
    pub arguments: Vec<String>,
}

/// The requests for a specification; `None` if it is refused.
#[must_use]
pub fn requests(slug: &Slug, spec: &BundleSpec) -> Option<Requests> {
    let plan = NetworkPlanned::new(slug.clone());
    let spec = spec.check(plan.naming()).ok()?;
    let network = "a".repeat(64);
    let request = ContainerRequest {
        name: &plan.container_name(),
        attachment: Attachment::Pinned { network: &network, ip: plan.ip(), ipv6: None },
        gateway: plan.gateway(),
        labels: &labels_of(&plan),
        spec: &spec,
    };
    let (docker, podman) = crate::engine::fuzzing::bodies(&request);
    Some(Requests { docker, podman, arguments: cli::run_arguments(&request) })
}

/// The labels of a plan's network.
#[must_use]
pub fn labels_of(plan: &NetworkPlanned) -> BTreeMap<String, String> {
    labels::of_plan(plan, "engine", "lease", "owner")
}

/// The plan in the labels of a network, if all of it can be read.
#[must_use]
pub fn plan_in(labels: &BTreeMap<String, String>) -> Option<NetworkPlanned> {
    let (prefix, slug) = labels::bundle_in(labels)?;
    let (addressing, ipv6) = labels::addresses_in(labels)?;
    let (naming, options) = (Naming::new(prefix).ok()?, labels::options_in(labels)?);
    Some(NetworkPlanned::attached(naming, slug, addressing, ipv6, options))
}

/// Returns true if labels are those of the plan's slug, whoever made the resource.
#[must_use]
pub fn are_of(plan: &NetworkPlanned, labels: &BTreeMap<String, String>) -> bool {
    labels::are_of(plan.naming(), plan.slug(), labels)
}

/// The key of the first label that is not as planned, but for the owner.
#[must_use]
pub fn difference(plan: &NetworkPlanned, found: &BTreeMap<String, String>) -> Option<String> {
    labels::difference(&labels_of(plan), found).map(|(key, _, _)| key)
}

/// Reads the contents of a lease file, and writes what was read; `None` if they are not a record.
#[must_use]
pub fn lease_rewritten(contents: &str) -> Option<String> {
    Record::rewritten(contents)
}
