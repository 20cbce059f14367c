use sidecar_bundle::{BundleRunning, BundleSpec};

fn program(bundle: BundleRunning) {
    let guest = bundle.guest("agent", BundleSpec::new()).unwrap();
    std::thread::spawn(move || guest.close()).join().unwrap().unwrap();
}

fn main() {
    let _ = program;
}
