#[derive(Debug)]
struct Mine;

impl sidecar_bundle::Engine for Mine {} //~ E0277

fn main() {
    println!("{Mine:?}");
}
