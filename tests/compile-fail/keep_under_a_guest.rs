use sidecar_bundle::{BundleRunning, BundleSpec};

fn wrong(bundle: BundleRunning) {
    let _guest = bundle.guest_in_namespace("agent", BundleSpec::new().image("a")).unwrap();
    bundle.keep().unwrap(); //~ E0505
}

fn main() {
    let _ = wrong;
}
