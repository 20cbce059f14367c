use sidecar_bundle::BundleRunning;

fn program(bundle: BundleRunning) {
    let second = bundle.clone();
    println!("{second:?}");
    bundle.close().unwrap();
}

fn main() {
    let _ = program;
}
