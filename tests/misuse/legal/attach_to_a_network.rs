use sidecar_bundle::NetworkCreated;

fn program(network: NetworkCreated) {
    let bundle = network.start(sidecar_bundle::BundleSpec::new()).unwrap();
    bundle.close().unwrap();
}

fn main() {
    let _ = program;
}
