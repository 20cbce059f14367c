use sidecar_bundle::NetworkCreated;

fn program(network: NetworkCreated) {
    let bundle = network.start(sidecar_bundle::BundleSpec::new()).unwrap();
    bundle.wait_ready(std::time::Duration::from_secs(10)).unwrap();
}

fn main() {
    let _ = program;
}
