use sidecar_bundle::{Engine, NetworkPlanned};

fn wrong(plan: NetworkPlanned, engine: &Engine) {
    let _network = plan.create_network(engine);
    println!("{}", plan.ip()); //~ E0382
}

fn main() {
    let _ = wrong;
}
