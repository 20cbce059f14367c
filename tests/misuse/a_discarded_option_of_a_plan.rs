#![deny(unused_must_use)]

use sidecar_bundle::NetworkPlanned;

fn program(plan: NetworkPlanned) {
    plan.clone().with_ipv6();
    println!("{plan}");
}

fn main() {
    let _ = program;
}
