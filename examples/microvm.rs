//! A launcher of micro-VMs: its VM monitor gets one allowed address, which is decided before anything runs.
//!
//! ```sh
//! cargo run --example microvm -- SLUG
//! ```

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sidecar_bundle::ipnet::Ipv4Net;
use sidecar_bundle::{
    BundleSpec, Daemon, Engine, NetworkPlanned, PortMapping, Reachability, Ready, Slug,
};

/// The image. Its daemon `egress` stands for a proxy on this port.
const IMAGE: &str = "claude-bottle-sidecars:latest";
const PORT: u16 = 8080;
const TIMEOUT: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let slug = std::env::args().nth(1).unwrap_or_else(|| "demo".to_owned());
    run(&Engine::detect()?, NetworkPlanned::new(Slug::new(slug)?))
}

pub(crate) fn run(engine: &Engine, plan: NetworkPlanned) -> Result<(), Box<dyn Error>> {
    let allowed = allowed(&engine.reachability()?, &plan)?;
    println!("allow {}, before anything runs", Ipv4Net::from(allowed));

    let egress = Daemon::new("egress").ready(Ready::http(PORT, "/", 200));
    let mut spec = BundleSpec::new().image(IMAGE).daemon(egress);
    if allowed == plan.loopback() {
        spec = spec.publish(PortMapping::tcp(PORT).host_address(allowed).host_port(PORT));
    }
    let bundle = plan.launch(engine, spec)?;
    bundle.wait_ready(TIMEOUT)?;
    let proxy = SocketAddr::from((allowed, PORT));
    for (name, value) in bundle.plan().proxy_variables_at(proxy) {
        println!("set {name}={value}");
    }
    println!("... the VM runs, and reaches {proxy} alone");
    bundle.close()?;
    println!("all is gone");
    Ok(())
}

/// The address that connections of the VM lead to: the bundle's own, or one of this host that its port is published on.
fn allowed(reachability: &Reachability, plan: &NetworkPlanned) -> Result<Ipv4Addr, Box<dyn Error>> {
    match reachability {
        Reachability::Here => Ok(plan.ip()),
        Reachability::Rootless | Reachability::VirtualMachine { .. } => Ok(plan.loopback()),
        elsewhere => Err(format!("no VM of this host reaches the bundle: {elsewhere}").into()),
    }
}
