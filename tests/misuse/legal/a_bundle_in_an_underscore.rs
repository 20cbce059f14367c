#![deny(let_underscore_drop)]

use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned};

fn program(plan: NetworkPlanned, engine: &Engine) {
    let _bundle = plan.launch(engine, BundleSpec::new()).unwrap();
}

fn main() {
    let _ = program;
}
