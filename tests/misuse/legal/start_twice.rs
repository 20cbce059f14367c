use sidecar_bundle::{BundleSpec, NetworkCreated};

fn program(network: NetworkCreated) {
    let bundle = network.start(BundleSpec::new()).unwrap();
    let second = bundle.guest("second", BundleSpec::new()).unwrap();
    second.close().unwrap();
    bundle.close().unwrap();
}

fn main() {
    let _ = program;
}
