use sidecar_bundle::{BundleSpec, NetworkCreated};

fn program(network: NetworkCreated) {
    let bundle = network.start(BundleSpec::new()).unwrap();
    println!("{}", bundle.network_id());
    bundle.close().unwrap();
}

fn main() {
    let _ = program;
}
