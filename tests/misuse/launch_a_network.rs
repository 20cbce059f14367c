use sidecar_bundle::{BundleSpec, NetworkCreated};

fn program(network: NetworkCreated) {
    let bundle = network.launch(&sidecar_bundle::Engine::docker(), BundleSpec::new()).unwrap();
    bundle.close().unwrap();
}

fn main() {
    let _ = program;
}
