use sidecar_bundle::Engine;

fn program(engine: &Engine) {
    let backend = engine.version().unwrap();
    println!("{backend}");
}

fn main() {
    let _ = program;
}
