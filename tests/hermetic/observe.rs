//! Observation of a running bundle.

use std::time::{Duration, Instant};

use sidecar_bundle::{BundleSpec, Cause};

use crate::fake::{Fake, plan};

#[test]
fn a_command_in_a_container_of_podman_is_bounded_by_its_timeout() {
    let fake = Fake::new();
    let bundle = plan().launch(&fake.podman(), BundleSpec::new()).unwrap();
    fake.on("exec", "exec sleep 8");
    let start = Instant::now();
    let error = bundle.exec(["sleep", "8"], Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.cause(), Some(Cause::TimedOut));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    bundle.close().unwrap();
    fake.assert_nothing_left();
}
