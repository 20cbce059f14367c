use sidecar_bundle::{BundleRunning, BundleSpec, Guest};

fn program(bundle: BundleRunning) {
    fn agent(bundle: &BundleRunning) -> Guest<'_> {
        bundle.guest("agent", BundleSpec::new()).unwrap()
    }
    let _ = (agent, bundle);
}

fn main() {
    let _ = program;
}
