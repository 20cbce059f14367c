use sidecar_bundle::{BundleRunning, BundleSpec};

fn program(bundle: BundleRunning) {
    let guest = bundle.guest_in_namespace("agent", BundleSpec::new()).unwrap();
    println!("{}", bundle.keep().unwrap());
    guest.close().unwrap();
}

fn main() {
    let _ = program;
}
