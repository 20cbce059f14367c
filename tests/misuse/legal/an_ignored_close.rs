#![deny(unused_must_use)]

use sidecar_bundle::BundleRunning;

fn program(bundle: BundleRunning) {
    bundle.close().unwrap();
}

fn main() {
    let _ = program;
}
