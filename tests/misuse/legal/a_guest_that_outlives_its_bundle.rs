use sidecar_bundle::{BundleRunning, BundleSpec, Guest};

fn program(bundle: BundleRunning) {
    let guest: Guest<'_>;
    {
        let bundle = &bundle;
        guest = bundle.guest("agent", BundleSpec::new()).unwrap();
    }
    guest.close().unwrap();
}

fn main() {
    let _ = program;
}
