use sidecar_bundle::BundleRunning;

fn program(bundle: BundleRunning) {
    bundle.create_network(&sidecar_bundle::Engine::docker()).unwrap();
}

fn main() {
    let _ = program;
}
