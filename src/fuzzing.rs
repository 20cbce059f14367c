//! Internals for fuzzers, in builds for them alone.

use crate::engine::backend::{Attachment, ContainerRequest};
use crate::engine::cli;
use crate::ownership::labels;
use crate::{BundleSpec, NetworkPlanned, Slug};

/// The arguments of `docker run` for a specification; `None` if it is refused.
#[must_use]
pub fn run_arguments(slug: &Slug, spec: &BundleSpec) -> Option<Vec<String>> {
    let plan = NetworkPlanned::new(slug.clone());
    let spec = spec.check(plan.naming()).ok()?;
    let network = "a".repeat(64);
    let request = ContainerRequest {
        name: &plan.container_name(),
        attachment: Attachment::Pinned { network: &network, ip: plan.ip(), ipv6: None },
        gateway: plan.gateway(),
        labels: &labels::of_plan(&plan, "engine", "lease", "owner"),
        spec: &spec,
    };
    Some(cli::run_arguments(&request))
}
