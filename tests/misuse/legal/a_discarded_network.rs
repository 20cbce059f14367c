#![deny(unused_must_use)]

use sidecar_bundle::{Engine, NetworkPlanned};

fn program(plan: NetworkPlanned, engine: &Engine) {
    let _network = plan.create_network(engine).unwrap();
}

fn main() {
    let _ = program;
}
