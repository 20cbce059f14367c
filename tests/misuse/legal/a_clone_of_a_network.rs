use sidecar_bundle::NetworkCreated;

fn program(network: NetworkCreated) {
    let second = network.plan().clone();
    println!("{second:?}");
    network.close().unwrap();
}

fn main() {
    let _ = program;
}
