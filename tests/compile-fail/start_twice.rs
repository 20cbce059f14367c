use sidecar_bundle::{BundleSpec, NetworkCreated};

fn wrong(network: NetworkCreated) {
    let _first = network.start(BundleSpec::new());
    let _second = network.start(BundleSpec::new()); //~ E0382
}

fn main() {
    let _ = wrong;
}
