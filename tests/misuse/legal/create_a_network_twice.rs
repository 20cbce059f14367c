use sidecar_bundle::NetworkCreated;

fn program(network: NetworkCreated) {
    network.start(sidecar_bundle::BundleSpec::new()).unwrap().close().unwrap();
}

fn main() {
    let _ = program;
}
