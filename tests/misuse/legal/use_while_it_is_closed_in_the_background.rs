use sidecar_bundle::BundleRunning;

fn program(bundle: BundleRunning) {
    let closing = bundle.close_in_background();
    println!("{}", closing.plan());
    closing.wait().unwrap();
}

fn main() {
    let _ = program;
}
