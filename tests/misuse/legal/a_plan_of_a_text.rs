use sidecar_bundle::{NetworkPlanned, Slug};

fn program() {
    let plan = NetworkPlanned::new(Slug::new("demo").unwrap());
    println!("{plan} {:?}", Slug::new("demo"));
}

fn main() {
    let _ = program;
}
