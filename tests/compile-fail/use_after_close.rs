use sidecar_bundle::BundleRunning;

fn wrong(bundle: BundleRunning) {
    bundle.close().unwrap();
    println!("{}", bundle.ip()); //~ E0382
}

fn main() {
    let _ = wrong;
}
