#![deny(let_underscore_drop)]

use sidecar_bundle::{Engine, NetworkPlanned};

fn program(plan: NetworkPlanned, engine: &Engine) {
    let _ = plan.create_network(engine).unwrap();
}

fn main() {
    let _ = program;
}
