use sidecar_bundle::{BundleSpec, NetworkPlanned};

fn program(plan: NetworkPlanned) {
    let bundle = plan.launch(&sidecar_bundle::Engine::docker(), BundleSpec::new()).unwrap();
    let guest = bundle.guest("agent", BundleSpec::new()).unwrap();
    guest.close().unwrap();
}

fn main() {
    let _ = program;
}
