//! Waiting for a bundle: until it is ready, or until it ends, whichever comes first.

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::engine::Operations;
use crate::engine::about::Reachability;
use crate::engine::command::last_bytes;
use crate::engine::follow::{Event, Followed};
use crate::error::Error;
use crate::host;
use crate::planned::NetworkPlanned;
use crate::ready::{Condition, Ready};
use crate::running::BundleRunning;
use crate::status::{Exit, Health, LogLine, State};

/// How often what cannot be listened to is asked.
const TICK: Duration = Duration::from_millis(50);
/// How long one attempt to connect may take; a death is noticed no later.
const ATTEMPT: Duration = Duration::from_millis(150);

/// How many lines of the log an error carries.
pub(crate) const LAST_WORDS: usize = 20;

impl BundleRunning {
    /// Waits until the conditions are met that the daemons of the specification brought along.
    ///
    /// # Errors
    ///
    /// As for [`wait_for`](Self::wait_for).
    pub fn wait_ready(&self, within: Duration) -> Result<(), Error> {
        self.wait_for(&Ready::all(self.ready().iter().cloned()), within)
    }

    /// Waits until a condition is met.
    ///
    /// ```no_run
    /// # use sidecar_bundle::{BundleSpec, CliEngine, NetworkPlanned, Ready, Slug};
    /// use std::time::Duration;
    ///
    /// # let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let bundle = plan.launch(&CliEngine::docker(), BundleSpec::new())?;
    /// bundle.wait_for(&Ready::http(8080, "/", 200), Duration::from_secs(10))?;
    /// # bundle.close()?;
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The bundle is as it was, and still under guard:
    ///
    /// - [`Error::Died`] as soon as the container has ended, with its exit code and last lines,
    /// - [`Error::NotReady`] at the deadline, with what was seen last,
    /// - [`Error::Unreachable`] when the address would have to be connected to and is not on this host;
    ///   nothing was sent,
    /// - [`Error::Look`] when the engine cannot be asked.
    pub fn wait_for(&self, condition: &Ready, within: Duration) -> Result<(), Error> {
        let _entered =
            tracing::info_span!("wait", slug = %self.plan().slug(), %condition).entered();
        if connects(condition) && !self.is_reachable() {
            return Err(self.unreachable());
        }
        let deadline = Instant::now() + within;
        let (events, incoming) = mpsc::channel();
        let asked = |what| move |source| Error::Look { what, source };
        let engine = self.engine();
        let id = self.container_id();
        let _end = engine.follow_end(id, events.clone()).map_err(asked("the container's end"))?;
        let _log: Option<Followed> = if listens(condition) {
            Some(engine.follow_log(id, None, events).map_err(asked("the container's log"))?)
        } else {
            drop(events);
            None
        };
        let mut seen = Seen::default();
        loop {
            let met = self.is_met(condition, &mut seen)?;
            // Each condition has seen them.
            seen.lines.clear();
            if met {
                // What was met just before death is not up.
                return match self.exit()? {
                    Some(exit) => Err(self.died(exit)),
                    None => Ok(()),
                };
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(Error::NotReady {
                    waited_for: condition.to_string(),
                    within,
                    seen: seen.last.unwrap_or_else(|| "nothing".into()),
                    log: last_words(engine, id),
                });
            }
            let first = incoming.recv_timeout(TICK.min(deadline - now));
            if matches!(first, Err(RecvTimeoutError::Disconnected)) {
                std::thread::sleep(TICK);
            }
            let mut ended = false;
            // Not all there are: a log that never pauses must not outlast the deadline.
            for event in first.into_iter().chain(incoming.try_iter().take(1000)) {
                match event {
                    Event::Line(line) => seen.hear(line),
                    Event::End => ended = true,
                }
            }
            // What follows the log may end a moment before the container, and tells of its end first.
            if ended && let Some(exit) = self.exit()? {
                return Err(self.died(exit));
            }
        }
    }

    /// Waits until the container has ended; `None` if it has not within this time.
    ///
    /// The end is noticed when it comes: the engine is not asked again and again.
    ///
    /// # Errors
    ///
    /// [`Error::Look`] when the engine cannot be asked. The bundle is as it was.
    pub fn wait_exit(&self, within: Duration) -> Result<Option<Exit>, Error> {
        let (events, incoming) = mpsc::channel();
        let end = self.engine().follow_end(self.container_id(), events);
        let _end = end.map_err(|source| Error::Look { what: "the container's end", source })?;
        match incoming.recv_timeout(within) {
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Ok(_) | Err(RecvTimeoutError::Disconnected) => self.exit(),
        }
    }

    /// Why nothing here connects to the bundle.
    fn unreachable(&self) -> Error {
        let reachability = match self.engine().reachability() {
            // Beforehand all seemed well.
            Ok(Reachability::Here) | Err(_) => Reachability::OtherNamespace,
            Ok(other) => other,
        };
        Error::Unreachable { ip: self.ip(), reachability }
    }

    /// How the container has ended, if it has.
    fn exit(&self) -> Result<Option<Exit>, Error> {
        let status = self.status()?;
        Ok(status.exit.filter(|_| status.state == State::Exited))
    }

    fn died(&self, exit: Exit) -> Error {
        Error::Died {
            container: self.plan().container_name(),
            exit: Box::new(exit),
            log: last_words(self.engine(), self.container_id()),
        }
    }

    fn is_met(&self, ready: &Ready, seen: &mut Seen) -> Result<bool, Error> {
        // What was met once stays so: a log line does not come twice.
        let key = std::ptr::from_ref(ready) as usize;
        if seen.met.contains(&key) {
            return Ok(true);
        }
        let met = match &ready.0 {
            Condition::Log(text) => seen.lines.iter().any(|line| line.contains(text)),
            Condition::LogMatching(regex) => seen.lines.iter().any(|line| regex.is_match(line)),
            Condition::Tcp(port) => {
                let stream = connect(self.plan(), *port);
                seen.note(stream.map(drop).map_err(|error| format!("TCP port {port}: {error}")))
            }
            Condition::Http { port, path, status } => match http_status(self.plan(), *port, path) {
                Ok(answered) if answered == *status => true,
                Ok(other) => seen.note(Err(format!("HTTP status {other} of port {port}"))),
                Err(error) => seen.note(Err(format!("HTTP port {port}: {error}"))),
            },
            Condition::Healthy => match self.status()?.health {
                Some(Health::Healthy) => true,
                Some(health) => seen.note(Err(format!("health check {health:?}").to_lowercase())),
                None => seen.note(Err("an image without a health check".into())),
            },
            Condition::Check { check, .. } => check(),
            Condition::All(conditions) => {
                let mut all = true;
                for condition in conditions {
                    all &= self.is_met(condition, seen)?;
                }
                all
            }
            Condition::Any(conditions) => {
                let mut any = false;
                for condition in conditions {
                    any |= self.is_met(condition, seen)?;
                }
                any
            }
        };
        if met {
            seen.met.insert(key);
        }
        Ok(met)
    }
}

/// What has been seen while waiting.
#[derive(Default)]
struct Seen {
    /// Conditions that were met, by where they are.
    met: HashSet<usize>,
    /// Those of the log that are new.
    lines: Vec<String>,
    last: Option<String>,
}

impl Seen {
    fn hear(&mut self, line: LogLine) {
        self.last = Some(format!("the log line {:?}", line.text));
        self.lines.push(line.text);
    }

    fn note(&mut self, outcome: Result<(), String>) -> bool {
        match outcome {
            Ok(()) => true,
            Err(seen) => {
                self.last = Some(seen);
                false
            }
        }
    }
}

/// The end of the container's log, at most 4 KiB of it and without secrets; empty if it cannot be had.
pub(crate) fn last_words(engine: &dyn Operations, id: &str) -> String {
    let lines = engine.logs(id, Some(LAST_WORDS)).unwrap_or_default();
    let text: Vec<_> = lines.into_iter().map(|line| line.text).collect();
    last_bytes(&engine.redacted(&text.join("\n")))
}

fn connects(ready: &Ready) -> bool {
    match &ready.0 {
        Condition::Tcp(_) | Condition::Http { .. } => true,
        Condition::All(all) | Condition::Any(all) => all.iter().any(connects),
        _ => false,
    }
}

fn listens(ready: &Ready) -> bool {
    match &ready.0 {
        Condition::Log(_) | Condition::LogMatching(_) => true,
        Condition::All(all) | Condition::Any(all) => all.iter().any(listens),
        _ => false,
    }
}

/// Podman takes the bridge away with its last container, and nothing is sent where it is not.
fn connect(plan: &NetworkPlanned, port: u16) -> std::io::Result<TcpStream> {
    if !host::speaks_as(plan.gateway(), plan.ip()) {
        return Err(ErrorKind::NetworkUnreachable.into());
    }
    TcpStream::connect_timeout(&SocketAddr::from((plan.ip(), port)), ATTEMPT)
}

/// The status of one GET, by HTTP/1.0: a first line is all that is wanted.
fn http_status(plan: &NetworkPlanned, port: u16, path: &str) -> std::io::Result<u16> {
    let mut stream = connect(plan, port)?;
    stream.set_read_timeout(Some(ATTEMPT))?;
    stream.set_write_timeout(Some(ATTEMPT))?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: {}:{port}\r\nConnection: close\r\n\r\n",
        plan.ip()
    )?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    let status = std::str::from_utf8(&start).ok().filter(|start| start.starts_with("HTTP/1."));
    let status = status.and_then(|start| start[9..].parse().ok());
    status.ok_or_else(|| std::io::Error::other("no answer of HTTP"))
}
