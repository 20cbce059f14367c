use sidecar_bundle::{BundleRunning, Engine};

fn program(bundle: BundleRunning, engine: &Engine) {
    let plan = bundle.keep().unwrap();
    let kept = plan.clone().attach(engine).unwrap();
    println!("{plan} {engine:?}");
    kept.close().unwrap();
}

fn main() {
    let _ = program;
}
