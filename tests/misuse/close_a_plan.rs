use sidecar_bundle::NetworkPlanned;

fn program(plan: NetworkPlanned) {
    let network = plan;
    network.close().unwrap();
}

fn main() {
    let _ = program;
}
