use sidecar_bundle::{BundleRunning, NetworkCreated};

fn wrong(network: NetworkCreated) {
    println!("{}", network.plan());
    let _bundle: BundleRunning = network; //~ E0308
}

fn main() {
    let _ = wrong;
}
