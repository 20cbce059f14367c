use sidecar_bundle::Engine;

fn wrong(engine: &Engine) {
    println!("{engine:?}");
    let _ = engine.backend(); //~ E0624
}

fn main() {
    let _ = wrong;
}
