use sidecar_bundle::{BundleRunning, BundleSpec};

fn program(bundle: BundleRunning) {
    let _guest = bundle.guest("agent", BundleSpec::new()).unwrap();
    bundle.close().unwrap();
}

fn main() {
    let _ = program;
}
