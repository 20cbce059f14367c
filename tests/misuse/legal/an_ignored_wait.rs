#![deny(unused_must_use)]

use sidecar_bundle::BundleRunning;

fn program(bundle: BundleRunning) {
    bundle.wait_ready(std::time::Duration::from_secs(10)).unwrap();
}

fn main() {
    let _ = program;
}
