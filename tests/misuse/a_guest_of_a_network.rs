use sidecar_bundle::{BundleSpec, NetworkCreated};

fn program(network: NetworkCreated) {
    let bundle = network;
    let guest = bundle.guest("agent", BundleSpec::new()).unwrap();
    guest.close().unwrap();
}

fn main() {
    let _ = program;
}
