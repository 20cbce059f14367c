use sidecar_bundle::{BundleRunning, BundleSpec, Guest};

fn wrong(bundle: BundleRunning) -> Option<Guest<'static>> {
    let _guest = bundle.guest("agent", BundleSpec::new().image("a")).unwrap();
    return Some(_guest); //~ E0515
    None
}

fn main() {
    let _ = wrong;
}
