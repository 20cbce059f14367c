use sidecar_bundle::NetworkCreated;

fn program(network: NetworkCreated) {
    let bundle = network;
    println!("{:?}", bundle.status().unwrap());
}

fn main() {
    let _ = program;
}
