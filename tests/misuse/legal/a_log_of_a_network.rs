use sidecar_bundle::NetworkCreated;

fn program(network: NetworkCreated) {
    let bundle = network.start(sidecar_bundle::BundleSpec::new()).unwrap();
    println!("{:?}", bundle.logs(10).unwrap());
}

fn main() {
    let _ = program;
}
