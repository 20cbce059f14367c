use sidecar_bundle::BundleRunning;

fn wrong(bundle: BundleRunning) {
    println!("{}", bundle.ip());
    let _ = bundle.clone(); //~ E0599
}

fn main() {
    let _ = wrong;
}
