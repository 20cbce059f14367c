use sidecar_bundle::NetworkCreated;

fn program(network: NetworkCreated) {
    network.create_network(&sidecar_bundle::Engine::docker()).unwrap();
}

fn main() {
    let _ = program;
}
