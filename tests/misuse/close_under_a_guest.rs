use sidecar_bundle::{BundleRunning, BundleSpec};

fn program(bundle: BundleRunning) {
    let guest = bundle.guest("agent", BundleSpec::new()).unwrap();
    bundle.close().unwrap();
    guest.close().unwrap();
}

fn main() {
    let _ = program;
}
