#![deny(unused_must_use)]

use sidecar_bundle::BundleRunning;

fn program(bundle: BundleRunning) {
    let closing = bundle.close_in_background();
    closing.wait();
}

fn main() {
    let _ = program;
}
