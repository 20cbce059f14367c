use sidecar_bundle::{BundleRunning, Engine};

fn program(bundle: BundleRunning, engine: &Engine) {
    let plan = bundle.keep().unwrap();
    let kept = bundle;
    println!("{plan} {engine:?}");
    kept.close().unwrap();
}

fn main() {
    let _ = program;
}
