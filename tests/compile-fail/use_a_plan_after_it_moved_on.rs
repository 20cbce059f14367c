use sidecar_bundle::{CliEngine, NetworkPlanned};

fn wrong(plan: NetworkPlanned, engine: &CliEngine) {
    let _network = plan.create_network(engine);
    println!("{}", plan.ip()); //~ E0382
}

fn main() {
    let _ = wrong;
}
