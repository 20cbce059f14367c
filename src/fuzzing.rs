//! What a fuzzer has to see, in builds for it alone.

use std::ffi::OsStr;

use crate::engine::ContainerRequest;
use crate::engine::command::{Command, Secrets};
use crate::engine::run::run;
use crate::labels::Labels;
use crate::{AddressPool, BundleSpec, Naming, Slug};

/// The arguments of `docker run` that a specification comes to; `None` if it is refused.
#[must_use]
pub fn run_arguments(slug: &Slug, spec: &BundleSpec) -> Option<Vec<String>> {
    let product = Naming::default();
    let spec = spec.check(&product).ok()?;
    let addressing = AddressPool::default().first(slug);
    let labels = Labels::fuzzed(&product, slug, &addressing);
    let request = ContainerRequest {
        tether: None,
        name: &product.container_name(slug),
        network_id: "network-id",
        ip: addressing.bundle_ip(),
        ipv6: None,
        labels: &labels,
        spec: &spec,
    };
    let program = Command::new(OsStr::new("docker"), &Secrets::default());
    Some(run(program, &request).into_arguments())
}
