#![deny(unused_must_use)]

use sidecar_bundle::BundleRunning;

fn program(bundle: BundleRunning) {
    bundle.close();
}

fn main() {
    let _ = program;
}
