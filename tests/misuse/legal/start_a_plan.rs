use sidecar_bundle::{BundleSpec, NetworkPlanned};

fn program(plan: NetworkPlanned) {
    let network = plan.create_network(&sidecar_bundle::Engine::docker()).unwrap();
    let bundle = network.start(BundleSpec::new()).unwrap();
    bundle.close().unwrap();
}

fn main() {
    let _ = program;
}
