use sidecar_bundle::BundleRunning;

fn program(bundle: BundleRunning) {
    let mut events = bundle.events().unwrap();
    bundle.close().unwrap();
    println!("{:?}", events.next());
}

fn main() {
    let _ = program;
}
