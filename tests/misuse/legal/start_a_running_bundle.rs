use sidecar_bundle::{BundleRunning, BundleSpec};

fn program(bundle: BundleRunning) {
    bundle.guest("again", BundleSpec::new()).unwrap().close().unwrap();
}

fn main() {
    let _ = program;
}
