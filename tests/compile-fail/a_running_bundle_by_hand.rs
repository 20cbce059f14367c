use sidecar_bundle::{BundleRunning, NetworkCreated};

fn wrong(network: NetworkCreated, other: BundleRunning) {
    println!("{} {}", network.plan(), other.plan());
    let _ = BundleRunning(Some((network, other))); //~ E0423
}

fn main() {
    let _ = wrong;
}
