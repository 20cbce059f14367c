use sidecar_bundle::BundleRunning;

fn program(bundle: BundleRunning) {
    println!("{}", bundle.ip());
    bundle.close().unwrap();
    println!("it is closed");
}

fn main() {
    let _ = program;
}
