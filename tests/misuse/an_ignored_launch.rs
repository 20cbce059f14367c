#![deny(unused_must_use)]

use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned};

fn program(plan: NetworkPlanned, engine: &Engine) {
    plan.launch(engine, BundleSpec::new());
}

fn main() {
    let _ = program;
}
