use sidecar_bundle::Engine;

fn program(engine: &Engine) {
    let backend = engine.backend();
    println!("{backend}");
}

fn main() {
    let _ = program;
}
