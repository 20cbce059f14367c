//! Owns bundles as it is told, for tests of owners that are other processes.
//!
//! Its arguments are the words of an engine. Each line of its standard input is a command, and is answered
//! with one line on standard output. Debug output, traces included, goes to standard error.
//!
//! | command | answer |
//! |---|---|
//! | `engine docker\|docker-cli\|podman\|detect [KEY=VALUE...]` uses another engine from now on | `ok` |
//! | `version` | `version Docker 28.5.2` |
//! | `reachability`, of the engine | `reachability TEXT` |
//! | `create SLUG [KEY=VALUE...]` creates a network | `network NETWORK SUBNET` |
//! | `start` starts a bundle in the network | `up CONTAINER NETWORK SUBNET` |
//! | `launch SLUG [KEY=VALUE...]` launches a bundle | `up CONTAINER NETWORK SUBNET` |
//! | `attach SLUG [KEY=VALUE...]` attaches to a kept bundle | `up CONTAINER NETWORK SUBNET` |
//! | `attach-or-launch SLUG [KEY=VALUE...]` attaches to a kept bundle that is as described, or replaces it | `up CONTAINER NETWORK SUBNET` |
//! | `discard SLUG` | `discarded` |
//! | `sweep` | `swept` |
//! | `cd DIRECTORY` changes its working directory | `ok` |
//! | `free SLUG [KEY=VALUE...]` launches a bundle in a free subnet | `up CONTAINER NETWORK SUBNET` |
//! | `reachable`, of the bundle | `reachable true` |
//! | `wait-tcp PORT` waits for a port of the bundle | `ready` |
//! | `guest NAME`, `guest-ns NAME` starts a guest of the last bundle, which is then held by the guest for ever | `guest CONTAINER` |
//! | `guest-on ADDRESS NAME` does so on another engine of its swarm | `guest CONTAINER` |
//! | `keep` | `kept` |
//! | `close` | `closed` |
//! | `close-background` | `closing` |
//! | `touch FILE` creates a file | `touched` |
//! | `exit`, `abort`, `panic-abort`, `static`: dies in this way | |
//! | `after MILLISECONDS DEATH FILE` dies this long after the file appears, whatever it does then | `armed` |
//!
//! A step that fails is answered with `taken` if another process owns the slug, else with `error TEXT`.
//! `keep`, `close` and what asks about a bundle mean the last one that is held; there may be several.
//!
//! | key | value |
//! |---|---|
//! | `program`, `state`, `host`, `context` | of the engine |
//! | `start-deadline` | of the engine, in milliseconds |
//! | `reaper` | `false` for an engine without a reaper |
//! | `subnet` | the bundle's, with the first two hosts as gateway and bundle |
//! | `pool` | the bundle's |
//! | `daemons` | names with commas between, possibly none |
//! | `inherit` | the name of a variable |
//! | `file` | the path of a file that is copied in |
//! | `also-on` | the name of a second network; the bundle's own is internal then |
//! | `overlay` | `true` for a network of a swarm |
//!
//! At the end of standard input it removes its bundles and ends. After a minute without a command it ends
//! and leaves them, as it does when it dies.
#![expect(clippy::unwrap_used, reason = "the program of a test may panic")]

use std::fmt::{Debug, Write as _};
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use sidecar_bundle::ipnet::Ipv4Net;
use sidecar_bundle::{
    Addressing, BundleRunning, BundleSpec, ContainerFile, Engine, Error, Guest, NetworkCreated,
    NetworkOptions, NetworkPlanned, Ready, Slug,
};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

const IDLE: Duration = Duration::from_secs(60);

enum Held {
    Network(NetworkCreated),
    Bundle(BundleRunning),
    Guest(Guest<'static>),
}

/// Nothing drops a static when a program ends.
static HELD: Mutex<Vec<Held>> = Mutex::new(Vec::new());

fn held() -> MutexGuard<'static, Vec<Held>> {
    HELD.lock().unwrap()
}

/// A message to the main thread.
enum Message {
    Active,
    End,
}

fn main() -> ExitCode {
    tracing::subscriber::set_global_default(Trace::default()).unwrap();
    let (messages, inbox) = mpsc::channel();
    thread::spawn(move || obey(&messages));
    loop {
        match inbox.recv_timeout(IDLE) {
            Ok(Message::Active) => {}
            Ok(Message::End) => return ExitCode::SUCCESS,
            Err(RecvTimeoutError::Timeout) => {
                report("no command for a minute");
                return ExitCode::FAILURE;
            }
            Err(RecvTimeoutError::Disconnected) => return ExitCode::FAILURE,
        }
    }
}

/// Obeys until standard input ends.
fn obey(messages: &Sender<Message>) {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words = words.iter().map(String::as_str);
    let mut owner = Owner { engine: (words.len() > 0).then(|| engine(words).unwrap()) };
    for line in std::io::stdin().lines() {
        let Ok(line) = line else { break };
        messages.send(Message::Active).unwrap();
        let answer = match owner.answer(&line, messages) {
            Ok(answer) => answer,
            Err(error) => {
                report(&format!("{error:?}\n{error:#?}"));
                let chain = std::iter::successors(error.source(), |it| it.source());
                chain.for_each(|source| report(&source.to_string()));
                match &*error {
                    error if is_taken(error) => "taken".into(),
                    error => format!("error {error}").replace('\n', " "),
                }
            }
        };
        if writeln!(std::io::stdout(), "{answer}").is_err() {
            break;
        }
        messages.send(Message::Active).unwrap();
    }
    held().clear();
    messages.send(Message::End).unwrap();
}

fn is_taken(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(Error::Taken { .. }))
}

struct Owner {
    engine: Option<Engine>,
}

impl Owner {
    fn answer(
        &mut self,
        line: &str,
        messages: &Sender<Message>,
    ) -> Result<String, Box<dyn std::error::Error>> {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.split_whitespace();
        if command == "engine" {
            self.engine = Some(engine(words)?);
            return Ok("ok".into());
        }
        let engine = self.engine.as_ref().unwrap();
        Ok(match command {
            "version" => format!("version {}", engine.version()?),
            "reachability" => format!("reachability {}", engine.reachability()?),
            "create" => {
                let (plan, _) = planned(words);
                let network = plan.create_network(engine).map_err(Error::from)?;
                let answer =
                    format!("network {} {}", network.network_id(), network.plan().subnet());
                held().push(Held::Network(network));
                answer
            }
            "launch" | "attach" | "attach-or-launch" | "free" => {
                up(launched(command, engine, words)?)
            }
            "start" => {
                let Some(Held::Network(network)) = held().pop() else { panic!("no network") };
                match network.start(BundleSpec::new()) {
                    Ok(bundle) => up(bundle),
                    Err(failed) => {
                        let (error, network) = failed.into_parts();
                        held().push(Held::Network(network));
                        return Err(error.into());
                    }
                }
            }
            "sweep" => sidecar_bundle::sweep(engine).map(|_| "swept".into())?,
            "discard" => planned(words).0.discard(engine).map(|_| "discarded".into())?,
            "cd" => {
                std::env::set_current_dir(rest)?;
                "ok".into()
            }
            "reachable" => match held().last().unwrap() {
                Held::Bundle(bundle) => format!("reachable {}", bundle.is_reachable()),
                Held::Network(_) | Held::Guest(_) => panic!("it is no bundle"),
            },
            "wait-tcp" => match held().last().unwrap() {
                Held::Bundle(bundle) => {
                    bundle.wait_for(&Ready::tcp(rest.parse()?), Duration::from_secs(20))?;
                    "ready".into()
                }
                Held::Network(_) | Held::Guest(_) => panic!("it is no bundle"),
            },
            "guest" | "guest-ns" | "guest-on" => guest(command, engine, rest)?,
            "keep" => {
                let last = held().pop().unwrap();
                match last {
                    Held::Network(network) => drop(network.keep().map_err(Error::from)?),
                    Held::Bundle(bundle) => drop(bundle.keep().map_err(Error::from)?),
                    Held::Guest(_) => panic!("a guest cannot be kept"),
                }
                "kept".into()
            }
            "close" => {
                let last = held().pop().unwrap();
                match last {
                    Held::Network(network) => network.close()?,
                    Held::Bundle(bundle) => bundle.close()?,
                    Held::Guest(guest) => guest.close()?,
                }
                "closed".into()
            }
            "close-background" => match held().pop().unwrap() {
                Held::Bundle(bundle) => {
                    drop(bundle.close_in_background());
                    "closing".into()
                }
                Held::Network(_) | Held::Guest(_) => panic!("it is no bundle"),
            },
            "touch" => {
                std::fs::write(rest, "")?;
                "touched".into()
            }
            "after" => {
                let delay = Duration::from_millis(words.next().unwrap().parse()?);
                let death = words.next().unwrap().to_owned();
                let file = rest.splitn(3, ' ').nth(2).unwrap().to_owned();
                let messages = messages.clone();
                thread::spawn(move || {
                    while !std::fs::exists(&file).unwrap() {
                        thread::sleep(Duration::from_millis(1));
                    }
                    thread::sleep(delay);
                    die(&death, &messages);
                });
                "armed".into()
            }
            death => die(death, messages),
        })
    }
}

/// The bundle that a command asks for.
fn launched<'a>(
    command: &str,
    engine: &Engine,
    words: impl Iterator<Item = &'a str>,
) -> Result<BundleRunning, Error> {
    let (plan, spec) = planned(words);
    Ok(match command {
        "attach" => plan.attach(engine)?,
        "attach-or-launch" => plan.attach_or_launch(engine, spec)?,
        "free" => plan.create_network_in_free_subnet(engine)?.start(spec)?,
        _ => plan.launch(engine, spec)?,
    })
}

/// Starts a guest of the bundle that is held last, which stays for as long as the process does.
fn guest(command: &str, engine: &Engine, name: &str) -> Result<String, Error> {
    let last = held().pop().unwrap();
    let bundle = match last {
        Held::Bundle(bundle) => Box::leak(Box::new(bundle)),
        Held::Guest(guest) => {
            let bundle = guest.bundle();
            held().push(Held::Guest(guest));
            bundle
        }
        Held::Network(_) => panic!("a network has no guests"),
    };
    let spec = BundleSpec::new().image("claude-bottle-sidecars:latest");
    let guest = match command {
        "guest" => bundle.guest(name, spec)?,
        "guest-on" => {
            let (address, name) = name.split_once(' ').unwrap();
            bundle.guest_on(&engine.clone().with_host(address), name, spec)?
        }
        _ => bundle.guest_in_namespace(name, spec)?,
    };
    let answer = format!("guest {}", guest.container_id());
    held().push(Held::Guest(guest));
    Ok(answer)
}

fn die(death: &str, messages: &Sender<Message>) -> ! {
    match death {
        "exit" => std::process::exit(0),
        "abort" => std::process::abort(),
        "panic-abort" => {
            // A panic where the program is built with panic = "abort".
            std::panic::set_hook(Box::new(|_| std::process::abort()));
            panic!("as told");
        }
        "static" => {
            messages.send(Message::End).unwrap();
            loop {
                thread::park();
            }
        }
        other => panic!("there is no command {other:?}"),
    }
}

fn engine<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Engine, Error> {
    let mut engine = match words.next().unwrap() {
        "docker" => Engine::docker(),
        "docker-cli" => Engine::docker_cli(),
        "podman" => Engine::podman(),
        "detect" => Engine::detect()?,
        other => panic!("there is no engine {other:?}"),
    };
    for word in words {
        engine = match word.split_once('=').unwrap() {
            ("program", program) => engine.with_program(program),
            ("state", directory) => engine.with_state_dir(directory),
            ("host", address) => engine.with_host(address),
            ("context", name) => engine.with_context(name),
            ("start-deadline", ms) => {
                engine.with_start_deadline(Duration::from_millis(ms.parse().unwrap()))
            }
            ("reaper", "false") => engine.without_reaper(),
            other => panic!("an engine has no {other:?}"),
        };
    }
    Ok(engine)
}

/// The plan and the specification of a bundle.
fn planned<'a>(mut words: impl Iterator<Item = &'a str>) -> (NetworkPlanned, BundleSpec) {
    let mut plan = NetworkPlanned::new(Slug::new(words.next().unwrap()).unwrap());
    let mut spec = BundleSpec::new();
    for word in words {
        match word.split_once('=').unwrap() {
            ("subnet", subnet) => {
                let subnet: Ipv4Net = subnet.parse().unwrap();
                let mut hosts = subnet.hosts();
                let [gateway, bundle] = [(); 2].map(|()| hosts.next().unwrap());
                plan = plan.with_addressing(Addressing::new(subnet, gateway, bundle).unwrap());
            }
            ("pool", pool) => plan = plan.with_pool(pool.parse().unwrap()),
            ("daemons", names) => {
                spec = spec.daemons(names.split(',').filter(|name| !name.is_empty()));
            }
            ("inherit", name) => spec = spec.inherit(name),
            ("file", path) => spec = spec.file(ContainerFile::new(path, "contents")),
            ("overlay", "true") => {
                plan = plan.with_options(NetworkOptions::new().overlay(true));
            }
            ("also-on", name) => {
                plan = plan.with_options(NetworkOptions::new().internal(true));
                spec = spec.also_on(name);
            }
            other => panic!("a bundle has no {other:?}"),
        }
    }
    report(&format!("{plan:?} {spec:?}"));
    (plan, spec)
}

fn up(bundle: BundleRunning) -> String {
    report(&format!("{bundle:?}"));
    let (container, network) = (bundle.container_id(), bundle.network_id());
    let answer = format!("up {container} {network} {}", bundle.plan().subnet());
    held().push(Held::Bundle(bundle));
    answer
}

/// Nobody may be reading any more.
fn report(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints spans and events to standard error.
#[derive(Default)]
struct Trace(AtomicU64);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Trace {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let mut line = Line(format!("span {}", span.metadata().name()));
        span.record(&mut line);
        report(&line.0);
        span::Id::from_u64(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        let mut line = Line("record".into());
        values.record(&mut line);
        report(&line.0);
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        report(&line.0);
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
