use sidecar_bundle::{BundleSpec, NetworkCreated};

fn wrong(network: NetworkCreated) {
    let _bundle = network.start(BundleSpec::new());
    println!("{}", network.network_id()); //~ E0382
}

fn main() {
    let _ = wrong;
}
