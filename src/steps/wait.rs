//! Waiting for a bundle: until it is ready, or until it ends, whichever comes first.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use super::observe::last_lines;
use super::probe::{HttpProbe, Target};
use crate::container::{Condition, Ready};
use crate::engine::Reachability;
use crate::engine::backend::{EVENTS, Event, Follow};
use crate::engine::cause::Cause;
use crate::engine::clock::deadline;
use crate::engine::error::last_bytes;
use crate::error::Error;
use crate::running::Container;
use crate::status::{Exit, Health, LogLine, State, Status};

/// The time between two looks at a condition that sends no events.
pub(super) const TICK: Duration = Duration::from_millis(50);
/// The first pause between two looks at a container whose end no event reports. Each look is a command.
const COMMANDS: Duration = Duration::from_millis(400);
/// The longest pause before something that has ended too early is followed again.
const PAUSE: Duration = Duration::from_secs(2);
/// The time past its deadline that a wait may take for its last look.
const LAST_LOOK: Duration = Duration::from_secs(2);
/// The time without an event after which the container is looked at: a connection may be dead without a sign.
pub(super) const SILENCE: Duration = Duration::from_secs(60);
/// The time between two looks for published ports.
const PORTS: Duration = Duration::from_secs(1);
/// The length of a wait that ends without a last look.
const SHORT: Duration = Duration::from_secs(1);

impl Container {
    /// Waits until the readiness conditions of the specification's daemons are met.
    ///
    /// Only a [`Daemon`](crate::Daemon) has conditions. Without any, this looks once whether the container runs. There
    /// are none after [`NetworkPlanned::attach`](crate::NetworkPlanned::attach). [`wait_for`](Self::wait_for) waits for
    /// any condition.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use sidecar_bundle::{BundleSpec, Daemon, Engine, Error, NetworkPlanned, Ready, Slug};
    /// # let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let egress = Daemon::new("egress").ready(Ready::tcp(8080));
    /// let git_gate = Daemon::new("git-gate").ready(Ready::log("git-gate: ready"));
    /// let spec = BundleSpec::new().image("acme/sidecars:7").daemon(egress).daemon(git_gate);
    /// let bundle = plan.launch(&Engine::docker(), spec)?;
    /// bundle.wait_ready(Duration::from_secs(10))?; // for both
    /// # bundle.close()?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`wait_for`](Self::wait_for).
    pub fn wait_ready(&self, timeout: Duration) -> Result<(), Error> {
        self.wait_for(&Ready::all(self.ready().iter().cloned()), timeout)
    }

    /// Waits until a condition is met.
    ///
    /// ```no_run
    /// # use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Ready, Slug};
    /// use std::time::Duration;
    ///
    /// # let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let bundle = plan.launch(&Engine::docker(), BundleSpec::new())?;
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
    /// - [`Error::Stopped`] as soon as the bundle's [`stopper`](Container::stopper) is used; a command that was waited for
    ///   may go on in the container,
    /// - [`Error::Invalid`] when the condition is invalid, as an HTTP path may be; nothing has been waited for,
    /// - [`Error::Unreachable`] when the address would have to be connected to and is not on this host; nothing was
    ///   sent. Where the engine is rootless or in a virtual machine, ports that are published on loopback are connected
    ///   to instead,
    /// - [`Error::Unsupported`] when it takes the log, a file or a command, and the engine is driven by commands,
    /// - [`Error::Gone`] when somebody else removed the container,
    /// - [`Error::Look`] when the engine cannot be asked.
    pub fn wait_for(&self, condition: &Ready, timeout: Duration) -> Result<(), Error> {
        // A command may have a secret value among its words.
        let waited_for = self.session().connection().backend().redacted(&condition.to_string());
        let _entered =
            tracing::info_span!("wait", slug = %self.plan_of_bundle().slug(), condition = waited_for).entered();
        self.go_on()?;
        condition.validate()?;
        let start = Instant::now();
        let deadline = deadline(start, timeout);
        let mut seen = Seen::default();
        if !condition.ports().is_empty() && !self.network().is_proven_reachable()? {
            match self.forwarded(condition, deadline)? {
                Some(forwarded) => seen.forwarded = forwarded,
                None => return Err(self.not_here(deadline)?),
            }
        }
        let backend = self.session().connection().backend();
        let id = self.id();
        let mut log = if condition.listens() { Some(self.watch_log()?) } else { None };
        let mut end = self.watch_end();
        let mut silence = Timer { since: start, length: SILENCE };
        let mut ports = Timer { since: Instant::now(), length: PORTS };
        loop {
            let looked = Instant::now();
            // A container that was restarted may have other ports.
            if !seen.forwarded.is_empty() && ports.is_over() {
                let now = self.forwarded(condition, deadline)?;
                if let Some(now) = now.filter(|now| *now != seen.forwarded) {
                    seen.forwarded = now;
                    seen.probes.clear();
                }
            }
            let met = self.is_met(condition, &mut seen, deadline)?;
            // As much time for the log as for the rest, which may be a slow closure.
            let tick = TICK.max(looked.elapsed());
            // Each condition has seen them.
            seen.lines.clear();
            let was_awaited = std::mem::take(&mut seen.is_awaited);
            if met {
                // A condition that was met just before death does not count.
                return match self.exit(deadline)? {
                    Some(exit) => Err(self.died(exit, deadline)),
                    None => Ok(()),
                };
            }
            let now = Instant::now();
            if now >= deadline {
                if let Some(exit) = self.exit_unseen(&end, start, deadline)? {
                    return Err(self.died(exit, deadline));
                }
                return Err(Error::NotReady {
                    waited_for,
                    timeout,
                    seen: seen.last(|text| last_bytes(&backend.redacted(text))),
                    log: last_lines(self.session(), id, self.look_by(deadline)),
                });
            }
            let tick = tick.min(deadline - now);
            let ended = match &mut log {
                Some(log) => {
                    let mut ended = false;
                    // Until a line is awaited, but not twice running: the other conditions are not looked at for each.
                    while !ended && (was_awaited || !seen.is_awaited) {
                        let left = tick.saturating_sub(now.elapsed());
                        if left.is_zero() {
                            break;
                        }
                        ended = log.watch(left, |line| seen.hear(line, condition))?;
                    }
                    end.watch(Duration::ZERO, drop)? || ended
                }
                None => end.watch(tick.min(TICK), drop)?,
            };
            let ended = ended || silence.is_over();
            // What follows it may end a moment before the container, or long before.
            if ended && let Some(exit) = self.exit(deadline)? {
                return Err(self.died(exit, deadline));
            }
        }
    }

    /// Waits until the container has ended; `None` if it has not ended within this time.
    ///
    /// The end is noticed when the engine tells it. If its connection is cut, it is asked again after pauses that grow
    /// from 50 ms to 2 s. The container is also looked at once a minute. An engine that is driven by commands tells
    /// nothing: it is asked after pauses that grow from 0.4 s to 2 s. A wait of more than a second ends with a look at
    /// the container, which may take two seconds more.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use sidecar_bundle::{BundleRunning, Error};
    /// # fn run(bundle: &BundleRunning) -> Result<(), Error> {
    /// bundle.signal("TERM")?;
    /// match bundle.wait_exit(Duration::from_secs(30))? {
    ///     Some(exit) => println!("it ended with {exit}"),
    ///     None => eprintln!("it does not end by itself"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Look`] when the engine cannot be asked, [`Error::Gone`] when somebody else removed the
    /// container, and [`Error::Stopped`] as soon as the bundle's [`stopper`](Self::stopper) is used.
    pub fn wait_exit(&self, timeout: Duration) -> Result<Option<Exit>, Error> {
        self.go_on()?;
        let start = Instant::now();
        let deadline = deadline(start, timeout);
        let (mut end, mut silence) = (self.watch_end(), Timer { since: start, length: SILENCE });
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // No longer than a stop may take to be seen.
            let ended = end.watch(left.min(TICK), drop)?;
            let ended = ended || silence.is_over();
            // It was restarted, or what followed it has ended before it.
            if ended && let Some(exit) = self.exit(deadline)? {
                return Ok(Some(exit));
            }
            self.go_on()?;
            if Instant::now() >= deadline {
                return self.exit_unseen(&end, start, deadline);
            }
        }
    }

    fn watch_end(&self) -> Watch<'_> {
        let what = "the container's end";
        match self.session().connection().backend().observer() {
            Some(observer) => {
                Watch::start(what, TICK, |events| observer.follow_end(self.id(), events))
            }
            // Each end is a look.
            None => Watch::start(what, COMMANDS, |events| {
                _ = events.send(Event::End);
                Follow::new(())
            }),
        }
    }

    /// From its start each time: a condition that is met stays met.
    fn watch_log(&self) -> Result<Watch<'_>, Error> {
        let observer = self.session().connection().observer("readiness by the log")?;
        let follow = |events| observer.follow_log(self.id(), None, events);
        Ok(Watch::start("the container's log", TICK, follow))
    }

    /// The error of a bundle that nothing here connects to, or of one that has ended: podman takes the bridge away with
    /// the network's last container.
    fn not_here(&self, deadline: Instant) -> Result<Error, Error> {
        Ok(match self.exit(deadline)? {
            Some(exit) => self.died(exit, deadline),
            None => self.unreachable(),
        })
    }

    /// The error of a bundle that nothing here connects to.
    fn unreachable(&self) -> Error {
        let reachability = match self.session().connection().engine().reachability() {
            _ if self.plan_of_bundle().options().is_overlay() => Reachability::Overlay,
            Ok(elsewhere) if !elsewhere.may_be_here() => elsewhere,
            // Beforehand all seemed well.
            _ => match self.network().bridge() {
                Ok(bridge) => Reachability::after_launch(self.ip().into(), bridge),
                Err(error) => return error,
            },
        };
        Error::Unreachable { ip: self.ip(), reachability }
    }

    /// The deadline of a look in a wait, which must not outlast that by more than a moment.
    pub(super) fn look_by(&self, deadline: Instant) -> Instant {
        let look = self.session().connection().engine().look_deadline();
        look.min(deadline.max(Instant::now()) + LAST_LOOK)
    }

    /// The exit of the container, if it has ended.
    pub(super) fn exit(&self, deadline: Instant) -> Result<Option<Exit>, Error> {
        let status = self.status_by(self.look_by(deadline))?;
        Ok(status.exit.filter(|_| status.state == State::Exited))
    }

    /// The exit of the container, if it may have ended without a word: while nothing followed its end, or on a
    /// connection that is dead without a sign.
    fn exit_unseen(
        &self,
        end: &Watch<'_>,
        start: Instant,
        deadline: Instant,
    ) -> Result<Option<Exit>, Error> {
        let is_sure = end.is_told() && start.elapsed() < SHORT;
        if is_sure { Ok(None) } else { self.exit(deadline) }
    }

    pub(super) fn died(&self, exit: Exit, deadline: Instant) -> Error {
        Error::Died {
            container: self.container_name().to_owned(),
            exit: Box::new(exit),
            log: last_lines(self.session(), self.id(), self.look_by(deadline)),
        }
    }

    fn is_met(&self, ready: &Ready, seen: &mut Seen, deadline: Instant) -> Result<bool, Error> {
        self.go_on()?;
        // A condition stays met: a log line does not come twice.
        let key = std::ptr::from_ref(ready) as usize;
        if seen.met.contains(&key) {
            return Ok(true);
        }
        let met = match &ready.0 {
            Condition::Log(_) | Condition::LogMatching(_) => {
                seen.lines.iter().any(|line| ready.is_met_by(line))
            }
            Condition::Tcp(port) => seen.note(self.target(*port, seen).connect()),
            Condition::Http { port, path, status } => {
                let target = self.target(*port, seen);
                let probe = seen.probes.entry(key);
                let probe = probe.or_insert_with(|| HttpProbe::new(target, path));
                let looked = probe.look(*status);
                seen.note(looked)
            }
            Condition::Healthy => match self.health(deadline) {
                Ok(Status { health: Some(Health::Healthy), .. }) => true,
                Ok(Status { health: Some(health), .. }) => {
                    seen.note(Err(format!("health check {health:?}").to_lowercase()))
                }
                Ok(_) => seen.note(Err("an image without a health check".into())),
                // An engine that restarts may answer the next look.
                Err(error @ Error::Look { .. }) => seen.note(Err(error.chain().to_string())),
                Err(error) => return Err(error),
            },
            Condition::File(path) => {
                let by = self.look_by(deadline);
                let look = || {
                    let observer = self.session().connection().observer("readiness by a file")?;
                    let found = observer.has_file(self.id(), path, by);
                    let found = found.map_err(|it| self.not_read("a file of the container", it))?;
                    Ok(if found { Ok(()) } else { Err(format!("no file {path}")) })
                };
                seen.ask(key, look)?
            }
            Condition::Exec(words) => {
                let run = || {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let stop = || self.is_stopped();
                    let code = self.exec_until(&stop, words.iter().cloned(), left)?.code;
                    Ok(if code == 0 { Ok(()) } else { Err(format!("exit code {code} of {ready}")) })
                };
                seen.ask(key, run)?
            }
            Condition::Check { check, .. } => check(),
            Condition::All(conditions) => {
                let mut all = true;
                for condition in conditions {
                    all &= self.is_met(condition, seen, deadline)?;
                }
                all
            }
            Condition::Any(conditions) => {
                let mut any = false;
                for condition in conditions {
                    any |= self.is_met(condition, seen, deadline)?;
                }
                any
            }
        };
        if met {
            seen.met.insert(key);
            seen.probes.remove(&key);
        }
        Ok(met)
    }

    /// The status, after a health check that the engine does not run.
    fn health(&self, deadline: Instant) -> Result<Status, Error> {
        let by = self.look_by(deadline);
        let checked = self.session().connection().backend().check_health(self.id(), by);
        checked.map_err(|source| Error::Look { what: "the container's health", source })?;
        self.status_by(by)
    }

    /// The published ports by which a condition is met where the container's address is not on this host; `None` if
    /// there is not one for each.
    fn forwarded(
        &self,
        condition: &Ready,
        deadline: Instant,
    ) -> Result<Option<HashMap<u16, SocketAddr>>, Error> {
        use Reachability::{Rootless, VirtualMachine};
        let engine = self.session().connection().engine();
        if !matches!(engine.reachability(), Ok(Rootless | VirtualMachine { .. })) {
            return Ok(None);
        }
        let info = self.look(self.look_by(deadline))?;
        let forwarded = |port| {
            let name = format!("{port}/tcp");
            let mut at = info.published.iter().find(|it| it.port == name)?.at;
            if at.ip().is_unspecified() {
                at.set_ip(Ipv4Addr::LOCALHOST.into());
            }
            at.ip().is_loopback().then_some((port, at))
        };
        Ok(condition.ports().into_iter().map(forwarded).collect())
    }

    fn target(&self, port: u16, seen: &Seen) -> Target {
        if let Some(at) = seen.forwarded.get(&port) {
            return Target { port, at: *at, by: None };
        }
        let plan = self.plan_of_bundle();
        let by = Some((plan.subnet(), plan.gateway()));
        Target { port, at: (self.ip(), port).into(), by }
    }

    /// An error if the waits have been stopped.
    fn go_on(&self) -> Result<(), Error> {
        if self.is_stopped() { Err(Error::Stopped) } else { Ok(()) }
    }
}

/// The time since the last look.
struct Timer {
    since: Instant,
    length: Duration,
}

impl Timer {
    /// Returns true once in this time.
    fn is_over(&mut self) -> bool {
        let is_over = self.since.elapsed() >= self.length;
        if is_over {
            self.since = Instant::now();
        }
        is_over
    }
}

/// The start of what follows the container.
type Start<'a> = Box<dyn Fn(SyncSender<Event>) -> Follow + 'a>;

/// The container's log or its end, which is followed again when what follows it has ended.
struct Watch<'a> {
    what: &'static str,
    start: Start<'a>,
    /// `None` in a pause.
    followed: Option<(Receiver<Event>, Follow)>,
    /// The start of the follower, or of the pause.
    since: Instant,
    /// The length of the next pause, or of this one.
    pause: Duration,
    /// The engine has granted the follower.
    begun: bool,
}

impl<'a> Watch<'a> {
    fn start(
        what: &'static str,
        pause: Duration,
        start: impl Fn(SyncSender<Event>) -> Follow + 'a,
    ) -> Self {
        let start = Box::new(start);
        let mut watch =
            Self { what, start, followed: None, since: Instant::now(), pause, begun: false };
        watch.follow();
        watch
    }

    fn follow(&mut self) {
        let (events, incoming) = mpsc::sync_channel(EVENTS);
        self.followed = Some((incoming, (self.start)(events)));
        (self.since, self.begun) = (Instant::now(), false);
    }

    /// Returns true if the engine has granted the first follower, and it is at work still.
    fn is_told(&self) -> bool {
        self.followed.is_some() && self.begun && self.pause == TICK
    }

    /// Waits for lines, no longer than this; true if the follower has ended, which may be before the container.
    fn watch(&mut self, timeout: Duration, hear: impl FnMut(LogLine)) -> Result<bool, Error> {
        let Some((incoming, _)) = &self.followed else {
            let left = self.pause.saturating_sub(self.since.elapsed());
            std::thread::sleep(left.min(timeout));
            if left <= timeout {
                self.follow();
                self.pause = (self.pause * 2).min(PAUSE);
            }
            return Ok(false);
        };
        let first = incoming.recv_timeout(timeout);
        let mut ended = matches!(first, Err(RecvTimeoutError::Disconnected));
        let (mut failed, mut begun) = (None, false);
        // Not all there are: a log that never pauses must not outlast the deadline, nor fill the memory.
        let events = first.into_iter().chain(incoming.try_iter().take(EVENTS));
        let line = |event| match event {
            Event::Line(line) => Some(line),
            Event::End => {
                ended = true;
                None
            }
            Event::Failed(error) => {
                failed = Some(error);
                None
            }
            Event::Begun => {
                begun = true;
                None
            }
            Event::Died(_) | Event::Happened => None,
        };
        events.filter_map(line).for_each(hear);
        self.begun |= begun;
        // A look tells the rest.
        ended |= failed.as_ref().is_some_and(|it| it.cause() == Cause::ContainerMissing);
        if let Some(source) = failed.filter(|_| !ended) {
            return Err(Error::Look { what: self.what, source });
        }
        if ended {
            // A follower that has lasted is no reason for a longer pause.
            if self.since.elapsed() >= PAUSE {
                self.pause = TICK;
            }
            (self.followed, self.since) = (None, Instant::now());
        }
        Ok(ended)
    }
}

/// The observations of a wait.
#[derive(Default)]
struct Seen {
    /// The conditions that were met, by their address.
    met: HashSet<usize>,
    /// The requests of the others, by the same address.
    probes: HashMap<usize, HttpProbe>,
    /// The ports that are published on this host, where the container's address is not on it.
    forwarded: HashMap<u16, SocketAddr>,
    /// The times at which to ask for others again, and the pauses after that.
    asked: HashMap<usize, (Instant, Duration)>,
    /// The new lines of the log that a condition is met by.
    lines: Vec<String>,
    is_awaited: bool,
    last: Option<Last>,
}

/// The last observation.
enum Last {
    Line(String),
    Other(String),
}

impl Seen {
    fn hear(&mut self, line: LogLine, condition: &Ready) {
        if condition.is_met_by(&line.text) {
            self.is_awaited = true;
            self.lines.push(line.text.clone());
        }
        self.last = Some(Last::Line(line.text));
    }

    fn last(self, redacted: impl Fn(&str) -> String) -> String {
        match self.last {
            // Quoted only then: a secret value may be quoted in another way.
            Some(Last::Line(line)) => format!("the log line {:?}", redacted(&line)),
            Some(Last::Other(text)) => redacted(&text),
            None => "nothing".into(),
        }
    }

    /// Asks what costs the engine something, ever less often. An engine that restarts may answer the next time.
    fn ask(
        &mut self,
        key: usize,
        ask: impl FnOnce() -> Result<Result<(), String>, Error>,
    ) -> Result<bool, Error> {
        let (next, pause) = self.asked.entry(key).or_insert((Instant::now(), TICK));
        if !next.saturating_duration_since(Instant::now()).is_zero() {
            return Ok(false);
        }
        let outcome = match ask() {
            // The deadline has cut it: what was seen before tells more.
            Err(Error::Look { source, .. } | Error::Exec { source, .. })
                if source.cause() == Cause::TimedOut && self.last.is_some() =>
            {
                return Ok(false);
            }
            Err(error @ (Error::Look { .. } | Error::Exec { .. })) => {
                Err(error.chain().to_string())
            }
            asked => asked?,
        };
        *next = Instant::now() + *pause;
        *pause = (*pause * 2).min(Duration::from_secs(1));
        Ok(self.note(outcome))
    }

    fn note(&mut self, outcome: Result<(), String>) -> bool {
        match outcome {
            Ok(()) => true,
            Err(seen) => {
                self.last = Some(Last::Other(seen));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_over_once_in_its_time() {
        let mut timer = Timer { since: Instant::now(), length: Duration::from_secs(3600) };
        assert!(!timer.is_over());
        timer.since = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        timer.length = Duration::from_millis(500);
        assert!(timer.is_over());
        timer.length = Duration::from_secs(3600);
        assert!(!timer.is_over());
        timer.length = Duration::from_millis(900);
        assert!(!timer.is_over(), "it has begun anew");
    }

    #[test]
    fn what_has_lasted_is_followed_again_at_once() {
        let follow = |events: SyncSender<Event>| {
            _ = events.send(Event::End);
            Follow::new(())
        };
        for (lasted, pause) in [(Duration::ZERO, Duration::from_millis(800)), (PAUSE, TICK)] {
            let mut watch = Watch::start("an end", Duration::from_millis(800), follow);
            watch.since = Instant::now().checked_sub(lasted).unwrap();
            assert!(watch.watch(Duration::ZERO, drop).unwrap());
            assert_eq!(watch.pause, pause, "{lasted:?}");
        }
    }
}
