use sidecar_bundle::BundleRunning;

fn program(bundle: BundleRunning) {
    let mut events = bundle.events().unwrap();
    println!("{}", bundle.ip());
    println!("{:?}", events.next());
}

fn main() {
    let _ = program;
}
