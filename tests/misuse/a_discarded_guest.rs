#![deny(unused_must_use)]

use sidecar_bundle::{BundleRunning, BundleSpec};

fn program(bundle: BundleRunning) {
    bundle.guest("agent", BundleSpec::new()).unwrap();
}

fn main() {
    let _ = program;
}
