use sidecar_bundle::{close_all, Engine, NetworkPlanned};

fn program(plans: Vec<NetworkPlanned>, engine: &Engine) {
    let bundles = sidecar_bundle::launch_all(engine, plans.into_iter().map(|it| (it, sidecar_bundle::BundleSpec::new()))).unwrap();
    println!("{}", engine.has_reaper());
    close_all(bundles).unwrap();
}

fn main() {
    let _ = program;
}
