//! One bundle from its slug to its end: `launch SLUG [--for SECONDS]`.
//!
//! Prints the plan before anything is touched, then each step with its time, asks a daemon over the
//! pinned address, stays up until the time is over or Enter is pressed, and tears down.

use std::error::Error;
use std::io::{BufRead, IsTerminal, Read, Write, stderr, stdin, stdout};
use std::net::{Ipv4Addr, TcpStream};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{BundleRunning, BundleSpec, Engine, NetworkPlanned, Slug};

/// The port of the stand-in image's `egress` daemon.
const EGRESS_PORT: u16 = 8080;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (slug, stay) = match parse(&arguments) {
        Ok(parsed) => parsed,
        Err(problem) => {
            eprintln!("{problem}\nusage: launch SLUG [--for SECONDS]");
            return ExitCode::from(2);
        }
    };
    match launch(slug, stay) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Result<(Slug, Option<Duration>), Box<dyn Error>> {
    let (slug, stay) = match arguments {
        [slug] => (slug, None),
        [slug, flag, seconds] if flag == "--for" => {
            (slug, Some(Duration::try_from_secs_f64(seconds.parse()?)?))
        }
        _ => return Err("which slug, and for how long?".into()),
    };
    Ok((Slug::new(slug)?, stay))
}

fn launch(slug: Slug, stay: Option<Duration>) -> Result<(), Box<dyn Error>> {
    let plan = NetworkPlanned::new(slug);
    title("plan");
    row("slug", plan.slug());
    row("subnet", plan.subnet());
    row("gateway", plan.gateway());
    row("bundle ip", plan.ip());
    row("allowlist", plan.allowlist());
    row("Smolfile", "[network]");
    row("", format!("allow_cidrs = [\"{}\"]", plan.allowlist()));

    title("up");
    let engine = Engine::detect()?;
    let version = engine.version()?;
    let program = if version.starts_with("Podman") { "podman" } else { "docker" };
    row("engine", version);
    let network = timed("network", plan.network_name(), || Ok(plan.create_network(&engine)?))?;
    let container = network.plan().container_name();
    let bundle = timed("container", container, || Ok(network.start(BundleSpec::new())?))?;
    let answer =
        timed("egress", format!("http://{}:{EGRESS_PORT}/", bundle.ip()), || ask(&bundle))?;
    row("answer", answer);

    match stay {
        Some(stay) => title(&format!("running for {stay:?}, or until Enter")),
        None => title("running until Enter"),
    }
    wait(stay);

    title("down");
    let (container, network) = (bundle.container_id().to_owned(), bundle.network_id().to_owned());
    timed("teardown", "container, then network", || Ok(bundle.close()?))?;
    row(
        "container",
        if exists(program, &["container", "inspect", &container])? { "left!" } else { "gone" },
    );
    row(
        "network",
        if exists(program, &["network", "inspect", &network])? { "left!" } else { "gone" },
    );
    Ok(())
}

/// The first line of the daemon's answer, or why nobody was asked.
fn ask(bundle: &BundleRunning) -> Result<String, Box<dyn Error>> {
    if !bundle.is_reachable() {
        return Ok("not asked: the bundle's bridge is not on this host".into());
    }
    // The daemon may need a moment until it listens.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match get(bundle.ip(), EGRESS_PORT) {
            Ok(body) => return Ok(body),
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error),
        }
    }
}

fn get(ip: Ipv4Addr, port: u16) -> Result<String, Box<dyn Error>> {
    let timeout = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&(ip, port).into(), timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    write!(stream, "GET / HTTP/1.0\r\nHost: {ip}\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(65_536).read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a body")?;
    Ok(body.trim().to_owned())
}

fn wait(stay: Option<Duration>) {
    let (entered, enter) = mpsc::channel();
    thread::spawn(move || {
        let read = stdin().lock().read_line(&mut String::new());
        // At the end of input nobody is there who could press Enter.
        if read.is_ok_and(|bytes| bytes > 0) || stay.is_none() {
            let _ = entered.send(());
        } else {
            thread::park();
        }
    });
    match stay {
        Some(stay) => drop(enter.recv_timeout(stay)),
        None => drop(enter.recv()),
    }
}

fn exists(program: &str, arguments: &[&str]) -> Result<bool, Box<dyn Error>> {
    let mut program = std::process::Command::new(program);
    Ok(program.args(arguments).output()?.status.success())
}

fn report(error: &dyn Error) {
    eprintln!("{}", paint(stderr().is_terminal(), "31", &format!("error: {error}")));
    let mut source = error.source();
    while let Some(error) = source {
        eprintln!("  because: {error}");
        source = error.source();
    }
}

fn timed<T>(
    name: &str,
    what: impl std::fmt::Display,
    step: impl FnOnce() -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    let start = Instant::now();
    let done = step()?;
    let time = format!("{:>5} ms", start.elapsed().as_millis());
    row(name, format!("{}  {what}", paint(stdout().is_terminal(), "2", &time)));
    Ok(done)
}

fn title(title: &str) {
    println!("{}", paint(stdout().is_terminal(), "1;36", title));
}

fn row(name: &str, value: impl std::fmt::Display) {
    println!("  {name:<11}{value}");
}

fn paint(terminal: bool, style: &str, text: &str) -> String {
    if terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
        format!("\x1b[{style}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
