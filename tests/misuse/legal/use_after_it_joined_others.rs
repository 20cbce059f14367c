use sidecar_bundle::{BundleRunning, RunningBundles};

fn program(bundle: BundleRunning, mut others: RunningBundles) {
    others.push(bundle);
    println!("{}", others[0].ip());
    others.close().unwrap();
}

fn main() {
    let _ = program;
}
