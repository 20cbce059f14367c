use sidecar_bundle::{close_all, Engine, NetworkPlanned};

fn program(plans: Vec<NetworkPlanned>, engine: &Engine) {
    let bundles = plans;
    println!("{}", engine.has_reaper());
    close_all(bundles).unwrap();
}

fn main() {
    let _ = program;
}
