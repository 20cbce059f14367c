use sidecar_bundle::NetworkCreated;

fn program(network: NetworkCreated) {
    let second = network.clone();
    println!("{second:?}");
    network.close().unwrap();
}

fn main() {
    let _ = program;
}
