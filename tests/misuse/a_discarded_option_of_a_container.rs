#![deny(unused_must_use)]

use sidecar_bundle::BundleSpec;

fn program(spec: BundleSpec) {
    spec.clone().hardened();
    println!("{spec:?}");
}

fn main() {
    let _ = program;
}
