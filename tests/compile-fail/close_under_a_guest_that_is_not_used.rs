use sidecar_bundle::{BundleRunning, BundleSpec};

fn wrong(bundle: BundleRunning) {
    let _guest = bundle.guest("agent", BundleSpec::new().image("a")).unwrap();
    bundle.close().unwrap(); //~ E0505
}

fn main() {
    let _ = wrong;
}
