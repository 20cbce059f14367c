use sidecar_bundle::{BundleRunning, BundleSpec};

fn program(bundle: BundleRunning) {
    let guest = bundle.guest("agent", BundleSpec::new()).unwrap();
    let _closing = bundle.close_in_background();
    guest.close().unwrap();
}

fn main() {
    let _ = program;
}
