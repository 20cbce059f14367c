#![deny(unused_must_use)]

use sidecar_bundle::{launch_all, BundleSpec, Engine, NetworkPlanned};

fn program(plan: NetworkPlanned, engine: &Engine) {
    launch_all(engine, [(plan, BundleSpec::new())]).unwrap();
}

fn main() {
    let _ = program;
}
