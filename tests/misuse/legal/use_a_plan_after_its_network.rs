use sidecar_bundle::{Engine, NetworkPlanned};

fn program(plan: NetworkPlanned, engine: &Engine) {
    let network = plan.create_network(engine).unwrap();
    println!("{}", network.plan().ip());
    network.close().unwrap();
}

fn main() {
    let _ = program;
}
