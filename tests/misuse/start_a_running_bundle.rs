use sidecar_bundle::{BundleRunning, BundleSpec};

fn program(bundle: BundleRunning) {
    bundle.start(BundleSpec::new()).unwrap();
}

fn main() {
    let _ = program;
}
