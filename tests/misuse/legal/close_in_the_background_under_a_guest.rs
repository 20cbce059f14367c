use sidecar_bundle::{BundleRunning, BundleSpec};

fn program(bundle: BundleRunning) {
    let guest = bundle.guest("agent", BundleSpec::new()).unwrap();
    println!("{}", bundle.ip());
    guest.close().unwrap();
}

fn main() {
    let _ = program;
}
