#![deny(unused_must_use)]

use sidecar_bundle::BundleRunning;

fn program(bundle: BundleRunning) {
    println!("{}", bundle.keep().unwrap());
}

fn main() {
    let _ = program;
}
