use sidecar_bundle::BundleRunning;

fn program(bundle: BundleRunning) {
    let ip = bundle.ip();
    bundle.close().unwrap();
    println!("{ip}");
    println!("{ip}");
}

fn main() {
    let _ = program;
}
