use sidecar_bundle::NetworkPlanned;

fn program(plan: NetworkPlanned) {
    let bundle = plan;
    bundle.wait_ready(std::time::Duration::from_secs(10)).unwrap();
}

fn main() {
    let _ = program;
}
