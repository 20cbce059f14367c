use sidecar_bundle::NetworkPlanned;

fn program(plan: NetworkPlanned) {
    let bundle = plan.launch(&sidecar_bundle::Engine::docker(), sidecar_bundle::BundleSpec::new()).unwrap();
    bundle.wait_ready(std::time::Duration::from_secs(10)).unwrap();
}

fn main() {
    let _ = program;
}
