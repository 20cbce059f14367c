use sidecar_bundle::NetworkPlanned;

fn program(plan: NetworkPlanned) {
    let network = plan.create_network(&sidecar_bundle::Engine::docker()).unwrap();
    let plan = network.keep().unwrap();
    println!("{plan}");
}

fn main() {
    let _ = program;
}
