use sidecar_bundle::{NetworkPlanned, Slug};

fn program() {
    let slug = Slug("demo".to_owned());
    println!("{}", NetworkPlanned::new(slug));
}

fn main() {
    let _ = program;
}
