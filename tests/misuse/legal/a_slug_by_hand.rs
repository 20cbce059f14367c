use sidecar_bundle::{NetworkPlanned, Slug};

fn program() {
    let slug = Slug::new("demo").unwrap();
    println!("{}", NetworkPlanned::new(slug));
}

fn main() {
    let _ = program;
}
