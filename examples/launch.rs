//! One bundle from its slug to its end: `launch SLUG [--for SECONDS]`.
//!
//! Prints the plan before anything is touched, then each step with its time. Sends a daemon a request at the pinned
//! address. Tears down when the time is over, Enter is pressed or the container ends.
//!
//! It needs the image `claude-bottle-sidecars:latest`; `tests/stand-in/build` makes a stand-in.

use std::error::Error;
use std::io::{BufRead, IsTerminal, Read, Write, stderr, stdin, stdout};
use std::net::{Ipv4Addr, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{
    BundleRunning, BundleSpec, Engine, Error as BundleError, NetworkPlanned, Slug,
};

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

    title("up");
    let engine = Engine::detect()?;
    row("engine", engine.version()?);
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
    wait(&bundle, stay)?;

    title("down");
    // An error names what may be left, and the command that removes it.
    timed("teardown", "container and network are gone", || Ok(bundle.close()?))
}

/// The body of the daemon's answer, or the reason why no request was sent.
fn ask(bundle: &BundleRunning) -> Result<String, Box<dyn Error>> {
    if !bundle.is_reachable() {
        return Ok("no request was sent: the bundle's bridge is not on this host".into());
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

/// Ctrl-C ends this process, and the reaper removes the bundle. A handler could stop the wait, as Enter does.
fn wait(bundle: &BundleRunning, stay: Option<Duration>) -> Result<(), BundleError> {
    let stopper = bundle.stopper();
    thread::spawn(move || {
        let read = stdin().lock().read_line(&mut String::new());
        // At the end of input, nobody can press Enter.
        if read.is_ok_and(|bytes| bytes > 0) || stay.is_none() {
            stopper.stop();
        }
    });
    match bundle.wait_exit(stay.unwrap_or(Duration::MAX)) {
        Ok(Some(exit)) => row("ended", exit),
        Ok(None) | Err(BundleError::Stopped) => {}
        Err(error) => return Err(error),
    }
    Ok(())
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
