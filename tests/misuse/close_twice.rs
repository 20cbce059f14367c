use sidecar_bundle::BundleRunning;

fn program(bundle: BundleRunning) {
    println!("{}", bundle.ip());
    bundle.close().unwrap();
    bundle.close().unwrap();
}

fn main() {
    let _ = program;
}
