//! A sandbox as the guest of its bundle: it reaches the bundle alone, and the bundle has a way out.
//!
//! ```sh
//! cargo run --example agent -- SLUG
//! ```

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use sidecar_bundle::{
    BundleSpec, ContainerFile, Engine, NetworkOptions, NetworkPlanned, Ready, Slug,
};

/// The image. Its daemon `egress` stands for a proxy on this port, and the daemon's page for the proxy's certificate.
const IMAGE: &str = "claude-bottle-sidecars:latest";
const PORT: u16 = 8080;
const TIMEOUT: Duration = Duration::from_secs(10);
const CERTIFICATE: &str = "/tmp/egress/index.html";

fn main() -> Result<(), Box<dyn Error>> {
    let slug = std::env::args().nth(1).unwrap_or_else(|| "demo".to_owned());
    run(&Engine::detect()?, &slug, &std::env::temp_dir().join(format!("{slug}.log")))
}

pub(crate) fn run(engine: &Engine, slug: &str, log: &Path) -> Result<(), Box<dyn Error>> {
    // The network with a way out. It is removed last.
    let out = NetworkPlanned::new(Slug::new(format!("{slug}-out"))?).create_network(engine)?;

    let plan = NetworkPlanned::new(Slug::new(slug)?);
    let plan = plan.with_options(NetworkOptions::new().internal(true));
    println!("allow {}, before the bundle runs", plan.allowlist());
    let proxy = BundleSpec::new()
        .image(IMAGE)
        .daemons(["egress"])
        .file(ContainerFile::new("/etc/proxy.yaml", format!("listen: {PORT}\n")))
        .also_on(out.plan().network_name())
        .network_alias("proxy")
        .save_log(log);
    let bundle = plan.launch(engine, proxy)?;
    println!("the bundle runs at {}", bundle.ip());

    let ready = Ready::all([Ready::log("supervisor: ready"), Ready::file(CERTIFICATE)]);
    bundle.wait_for(&ready, TIMEOUT)?;
    let certificate = bundle.read_file(CERTIFICATE)?;
    let mut agent = BundleSpec::new()
        .image(IMAGE)
        .entrypoint("sleep")
        .command(["1000"])
        .hardened()
        .file(ContainerFile::new("/etc/ssl/proxy.pem", certificate));
    for (name, value) in bundle.plan().proxy_variables(PORT) {
        agent = agent.variable(name, value);
    }
    let guest = bundle.guest("agent", agent)?;
    println!("its guest runs at {}", guest.ip());
    let page = format!("http://proxy:{PORT}/");
    let answer = guest.exec(["wget", "-Y", "off", "-q", "-O", "-", &page], TIMEOUT)?;
    println!("the guest was answered: {}", answer.stdout.trim());
    let trusted = guest.exec(["cat", "/etc/ssl/proxy.pem"], TIMEOUT)?;
    println!("the guest trusts: {}", trusted.stdout.trim());

    guest.close()?;
    bundle.close()?;
    out.close()?;
    println!("all is gone but the log, {}", log.display());
    Ok(())
}
