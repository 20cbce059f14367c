use sidecar_bundle::{BundleRunning, Container};

fn program(bundle: BundleRunning) {
    let container: &Container = &bundle;
    println!("{}", bundle.network_id());
    println!("{}", container.ip());
}

fn main() {
    let _ = program;
}
