use sidecar_bundle::{BundleRunning, Container};

fn program(bundle: BundleRunning) {
    let container: &Container = &bundle;
    bundle.close().unwrap();
    println!("{}", container.ip());
}

fn main() {
    let _ = program;
}
