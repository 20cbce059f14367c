use sidecar_bundle::NetworkCreated;

fn program(network: NetworkCreated) {
    let bundle = network.attach(&sidecar_bundle::Engine::docker()).unwrap();
    bundle.close().unwrap();
}

fn main() {
    let _ = program;
}
