use sidecar_bundle::{BundleRunning, NetworkCreated};

fn wrong(network: NetworkCreated, other: BundleRunning) {
    println!("{} {}", network.plan(), other.plan());
    let _ = BundleRunning { network, ..other }; //~ E0451
}

fn main() {
    let _ = wrong;
}
