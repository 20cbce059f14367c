use sidecar_bundle::{BundleRunning, BundleSpec};

fn program(bundle: BundleRunning) {
    bundle.guest("agent", BundleSpec::new()).unwrap().close().unwrap();
    bundle.close().unwrap();
}

fn main() {
    let _ = program;
}
