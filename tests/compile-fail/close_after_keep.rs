use sidecar_bundle::BundleRunning;

fn wrong(bundle: BundleRunning) {
    bundle.keep().unwrap();
    bundle.close().unwrap(); //~ E0382
}

fn main() {
    let _ = wrong;
}
