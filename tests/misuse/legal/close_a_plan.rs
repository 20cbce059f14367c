use sidecar_bundle::NetworkPlanned;

fn program(plan: NetworkPlanned) {
    let network = plan.create_network(&sidecar_bundle::Engine::docker()).unwrap();
    network.close().unwrap();
}

fn main() {
    let _ = program;
}
