use sidecar_bundle::{Engine, NetworkCreated, NetworkPlanned};

fn program(plan: NetworkPlanned, engine: &Engine) {
    let network: NetworkCreated = plan.create_network(engine).unwrap();
    println!("{network:?} {engine:?}");
}

fn main() {
    let _ = program;
}
