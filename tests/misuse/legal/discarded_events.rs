#![deny(unused_must_use)]

use sidecar_bundle::BundleRunning;

fn program(bundle: BundleRunning) {
    println!("{:?}", bundle.events().unwrap().next());
}

fn main() {
    let _ = program;
}
