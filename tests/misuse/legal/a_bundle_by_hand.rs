use sidecar_bundle::{BundleRunning, BundleSpec, NetworkCreated};

fn program(network: NetworkCreated) {
    let bundle: BundleRunning = network.start(BundleSpec::new()).unwrap();
    println!("{} {:?}", bundle.ip(), BundleSpec::new());
}

fn main() {
    let _ = program;
}
