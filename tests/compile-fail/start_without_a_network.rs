use sidecar_bundle::{BundleSpec, NetworkPlanned};

fn wrong(plan: NetworkPlanned) {
    println!("{plan}");
    let _ = plan.start(BundleSpec::new()); //~ E0599
}

fn main() {
    let _ = wrong;
}
