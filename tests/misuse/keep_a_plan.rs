use sidecar_bundle::NetworkPlanned;

fn program(plan: NetworkPlanned) {
    let network = plan;
    let plan = network.keep().unwrap();
    println!("{plan}");
}

fn main() {
    let _ = program;
}
