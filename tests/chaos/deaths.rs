//! Every way to die, in every phase of a bundle's life.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{BundleSpec, Engine, Error, NetworkPlanned};

use crate::engine::{self, World, cli, engine, has_bridge, inspect, plan_apart, shout, world};
use crate::owner::Owner;
use crate::relay::{Hold, Relay, Treatment};
use crate::{PATIENCE, is_reaping, leave_behind, own_program};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    Kill,
    GroupKill,
    Interrupt,
    Terminate,
    HangUp,
    Abort,
    Exit,
    PanicAbort,
    Static,
}

const DEATHS: [Death; 9] = [
    Death::Kill,
    Death::GroupKill,
    Death::Interrupt,
    Death::Terminate,
    Death::HangUp,
    Death::Abort,
    Death::Exit,
    Death::PanicAbort,
    Death::Static,
];

impl Death {
    /// The owner's command for it, unless it comes from elsewhere.
    fn word(self) -> Option<&'static str> {
        match self {
            Self::Abort => Some("abort"),
            Self::Exit => Some("exit"),
            Self::PanicAbort => Some("panic-abort"),
            Self::Static => Some("static"),
            Self::Kill | Self::GroupKill | Self::Interrupt | Self::Terminate | Self::HangUp => None,
        }
    }
}

/// Operation and moment, as `held-engine` has them; `up` is between two operations.
const PHASES: [(&str, &str); 13] = [
    ("create", "before"),
    ("create", "inside"),
    ("create", "after"),
    ("run", "before"),
    ("run", "inside"),
    ("run", "after"),
    ("up", "-"),
    ("rm", "before"),
    ("rm", "inside"),
    ("rm", "after"),
    ("network-rm", "before"),
    ("network-rm", "inside"),
    ("network-rm", "after"),
];

/// Docker by its API takes the container off its network first.
const OF_DOCKER: [(&str, &str); 3] =
    [("disconnect", "before"), ("disconnect", "inside"), ("disconnect", "after")];

/// Times after the start of podman's service, which an owner runs for itself and through which no request is held.
const OF_PODMAN: [(&str, &str); 3] =
    [("service", "soon"), ("service", "later"), ("service", "last")];

fn phases() -> Vec<(&'static str, &'static str)> {
    let more: &[_] = match (engine::is_podman(), engine::is_api()) {
        (true, _) => &OF_PODMAN,
        (false, true) => &OF_DOCKER,
        (false, false) => &[],
    };
    [&PHASES, more].concat()
}

/// The number of owners that die side by side, and that of the deaths in a phase. Docker is not faster with more than four,
/// and most reapers wait. Each request of a reaper to podman is a program that starts, and so is each of an owner that runs
/// docker's commands.
fn scale() -> (usize, usize) {
    match (engine::is_podman(), engine::is_api()) {
        (true, _) => (4, 3),
        (false, false) => (8, 4),
        (false, true) => (8, 7),
    }
}

#[derive(Default)]
struct Tally {
    kills: usize,
    leaks: Vec<String>,
    launches: usize,
    harmed: Vec<String>,
    gone_after: Vec<Duration>,
}

#[test]
fn whatever_way_an_owner_dies_nothing_is_left_and_the_next_owner_is_unharmed() {
    let Some(world) = world("chaos") else { return };
    let flag = std::env::var("SIDECAR_BUNDLE_CHAOS").ok();
    let phases = phases();
    let (side_by_side, deaths) = scale();
    let total = flag.map_or(phases.len() * deaths, |kills| kills.parse().unwrap());
    let tallies: Vec<Mutex<Tally>> = phases.iter().map(|_| Mutex::default()).collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..side_by_side {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= total {
                        break;
                    }
                    let phase = number % phases.len();
                    // 9 kinds and 13 or 16 phases have no common divisor: each meets each.
                    let death = DEATHS[number % DEATHS.len()];
                    let plan = plan_apart(&format!("chaos-{number}"), 16, number);
                    let trial = Trial::new(plan, Work::Launch, phases[phase], death, &world);
                    trial.run((number / phases.len()).is_multiple_of(2), &tallies[phase]);
                }
            });
        }
    });
    assert_unharmed(&world, &phases, tallies);
}

/// The owner of a kept bundle dies while it removes it, or that of a bundle which it closes in the background.
#[test]
fn whenever_an_owner_dies_that_replaces_discards_or_goes_on_nothing_is_left() {
    let Some(world) = world("chaos-kept") else { return };
    let phases: Vec<_> = REMOVALS.iter().map(|(_, phase)| *phase).collect();
    let tallies: Vec<Mutex<Tally>> = REMOVALS.iter().map(|_| Mutex::default()).collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        // Beside those of the other test.
        for _ in 0..scale().0 / 2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let Some(&(work, phase)) = REMOVALS.get(number) else { break };
                    let kind = RandomState::new().hash_one(number) % DEATHS.len() as u64;
                    let death = DEATHS[usize::try_from(kind).unwrap()];
                    let plan = plan_apart(&format!("chaos-kept-{number}"), 32, number);
                    let trial = Trial::new(plan, work, phase, death, &world);
                    if work != Work::Background {
                        leave_behind(&world, &[&trial.launches("launch", ""), "keep"]);
                    }
                    trial.run(false, &tallies[number]);
                }
            });
        }
    });
    assert_unharmed(&world, &phases, tallies);
}

fn assert_unharmed(world: &World, phases: &[(&str, &str)], tallies: Vec<Mutex<Tally>>) {
    report(phases, &tallies);
    // Podman's services end when nobody is connected.
    engine::wait_for("the end of all services", || !is_served(world.state.path()));
    let (mut leaks, mut harmed) = (Vec::new(), Vec::new());
    for tally in tallies {
        let tally = tally.into_inner().unwrap();
        leaks.extend(tally.leaks);
        harmed.extend(tally.harmed);
    }
    assert!(leaks.is_empty(), "leaks:\n{}", leaks.join("\n"));
    assert!(harmed.is_empty(), "harmed: {harmed:#?}");
}

/// The work of an owner at its death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Launch,
    /// Of a kept bundle of another specification.
    Replace,
    Discard,
    /// Launches one that is closed in the background, and a next one into the same subnet.
    Background,
}

/// The moments of a removal of what was kept, and of the launch after it.
const REMOVALS: [(Work, (&str, &str)); 14] = [
    (Work::Replace, ("rm", "before")),
    (Work::Replace, ("rm", "inside")),
    (Work::Replace, ("rm", "after")),
    (Work::Replace, ("network-rm", "before")),
    (Work::Replace, ("network-rm", "after")),
    (Work::Replace, ("create", "before")),
    (Work::Replace, ("run", "inside")),
    (Work::Discard, ("rm", "before")),
    (Work::Discard, ("rm", "after")),
    (Work::Discard, ("network-rm", "before")),
    (Work::Background, ("rm", "before")),
    (Work::Background, ("rm", "inside")),
    (Work::Background, ("network-rm", "inside")),
    (Work::Background, ("network-rm", "after")),
];

struct Trial {
    id: String,
    plan: NetworkPlanned,
    work: Work,
    phase: (&'static str, &'static str),
    death: Death,
    jitter: Duration,
    state: PathBuf,
    mark: PathBuf,
    program: PathBuf,
    /// The way to the engine where it is asked by its API, which pauses as `held-engine` does.
    relay: Option<Relay>,
}

impl Trial {
    fn new(
        plan: NetworkPlanned,
        work: Work,
        phase: (&'static str, &'static str),
        death: Death,
        world: &World,
    ) -> Self {
        let id = plan.slug().to_string();
        // Spread over the length of an engine's command.
        let random = RandomState::new().hash_one(&id);
        let jitter = match phase {
            // A bundle of podman's comes and goes in less than a second.
            ("run", "inside") | (_, "soon") => Duration::from_millis(random % 300),
            (_, "inside") => Duration::from_millis(random % 160),
            (_, "later") => Duration::from_millis(300 + random % 300),
            (_, "last") => Duration::from_millis(600 + random % 300),
            _ => Duration::from_millis(random % 40),
        };
        let state = world.state.path().to_owned();
        let program = own_program(&state, &id);
        let mark = state.join(&id);
        let (op, when) = phase;
        let hold = Some(Hold { op, when, mark: mark.clone() });
        let treatment = Treatment { hold, cut_idle: None };
        let is_relayed = engine::is_api() && op != "service";
        let relay = is_relayed.then(|| Relay::start(&program.with_file_name("s"), &treatment));
        Self { id, plan, work, phase, death, jitter, state, mark, program, relay }
    }

    fn run(&self, followed: bool, tally: &Mutex<Tally>) {
        let mut owner = self.start();
        // As long as an owner waits for a command.
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.mark.exists() {
            let early = owner.child.try_wait().unwrap();
            // It may have come to it and died since.
            assert!(
                self.mark.exists() || early.is_none() && Instant::now() < deadline,
                "{self} never came to its phase: {early:?} {}",
                owner.stderr()
            );
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(self.jitter);
        self.kill(&mut owner.child);
        let died = Instant::now();
        if followed {
            let harm = self.launch_after();
            let mut tally = tally.lock().unwrap();
            tally.launches += 1;
            tally.harmed.extend(harm.map(|harm| format!("{self}: {harm}")));
        }
        let left = self.wait_for_the_end(died);
        let mut tally = tally.lock().unwrap();
        tally.kills += 1;
        match left {
            Ok(after) if !followed => tally.gone_after.push(after),
            Ok(_) => {}
            Err(left) => tally.leaks.push(format!("{self}: {left}; its log:\n{}", owner.stderr())),
        }
    }

    fn start(&self) -> Owner {
        let mut engine = vec![
            engine::backend().into(),
            format!("program={}", self.program.display()),
            format!("state={}", self.state.display()),
        ];
        engine.extend(self.relay.as_ref().map(|relay| format!("host={}", relay.address())));
        let mut command = Owner::program(&engine);
        if self.death == Death::HangUp {
            // Its terminal hangs up when `script`, the other end, is killed.
            let words = std::iter::once(command.get_program()).chain(command.get_args());
            let words: Vec<_> = words.map(|word| format!("'{}'", word.display())).collect();
            let line = format!("exec {}", words.join(" "));
            // A caller that ignores the signal would pass that on.
            command = Command::new("env");
            command.args(["--default-signal=HUP", "script", "-qec", &line, "/dev/null"]);
        }
        let (op, when) = self.phase;
        command
            .env("HELD_OP", if self.relay.is_some() { "" } else { op })
            .env("HELD_WHEN", if op == "service" { "inside" } else { when })
            .env("HELD_MARK", &self.mark)
            .process_group(0);
        let mut owner = Owner::spawn(command);
        let mut commands = Vec::new();
        if let Some(death) = self.death.word() {
            let jitter = self.jitter.as_millis();
            commands.push(format!("after {jitter} {death} {}", self.mark.display()));
        }
        commands.push(match self.work {
            Work::Launch => self.launches("launch", "egress"),
            Work::Background => {
                let launch = self.launches("launch", "egress");
                format!("{launch}\nclose-background\n{launch}")
            }
            Work::Replace => self.launches("attach-or-launch", "egress"),
            Work::Discard => format!("discard {}", self.id),
        });
        // A bundle that is replaced is not closed, and so each removal is one of what was kept.
        commands.extend(match (op, self.work) {
            ("up", _) => Some(format!("touch {}", self.mark.display())),
            (_, Work::Launch) => Some("close".into()),
            (_, Work::Replace | Work::Discard | Work::Background) => None,
        });
        // All at once, since it may die before it could be told the last one.
        owner.tell(&commands.join("\n"));
        owner
    }

    fn launches(&self, command: &str, daemons: &str) -> String {
        format!("{command} {} subnet={} daemons={daemons}", self.id, self.plan.subnet())
    }

    fn kill(&self, child: &mut Child) {
        let pid = child.id();
        let signal = match self.death {
            Death::Kill | Death::HangUp => format!("-KILL {pid}"),
            Death::GroupKill => format!("-KILL -{pid}"),
            Death::Interrupt => format!("-INT {pid}"),
            Death::Terminate => format!("-TERM {pid}"),
            Death::Abort | Death::Exit | Death::PanicAbort | Death::Static => "-0 $$".into(),
        };
        let sent = Command::new("sh").args(["-c", &format!("kill {signal} 2>/dev/null")]).status();
        sent.unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "{self} does not die");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn engine(&self) -> Engine {
        engine().with_state_dir(&self.state)
    }

    /// Launches the next owner at once, and returns the harm that came to it.
    fn launch_after(&self) -> Option<String> {
        let deadline = Instant::now() + Duration::from_secs(30);
        let bundle = loop {
            match self.plan.clone().launch(&self.engine(), BundleSpec::new().daemons(["egress"])) {
                Ok(bundle) => break bundle,
                // A hang-up needs a moment until it has killed.
                Err(failed)
                    if self.death == Death::HangUp
                        && matches!(failed.error(), Error::Taken { .. })
                        && Instant::now() < deadline =>
                {
                    thread::sleep(Duration::from_millis(10));
                }
                Err(failed) => return Some(format!("{:?}", failed.error())),
            }
        };
        let gone = self.wait_for_reaper();
        let running =
            |id: &str| inspect("container", id).is_some_and(|it| it["State"]["Running"] == true);
        if !running(bundle.container_id()) {
            return Some("its container was stopped or removed".into());
        }
        if inspect("network", bundle.network_id()).is_none() {
            return Some("its network was removed".into());
        }
        bundle.close().err().map(|error| format!("{error:?}")).or(gone.err())
    }

    /// Waits until resources and reaper are gone, and returns the time from the death until a resource was seen
    /// last.
    fn wait_for_the_end(&self, since: Instant) -> Result<Duration, String> {
        let label = format!("label=sidecar-bundle.slug={}", self.id);
        let mut seen = Duration::ZERO;
        loop {
            let reaped = !is_reaping(&self.program);
            let containers = cli(&["ps", "--all", "--quiet", "--filter", &label]);
            let networks = cli(&["network", "ls", "--quiet", "--filter", &label]);
            let bridge = has_bridge(&self.plan);
            let gone = containers.is_empty() && networks.is_empty() && !bridge;
            if !gone {
                seen = since.elapsed();
            }
            if gone && reaped {
                return Ok(seen);
            }
            // Docker does not list a network whose removal is under way, and its bridge goes with the end of that.
            let is_listed = !containers.is_empty() || !networks.is_empty();
            if reaped && is_listed || since.elapsed() > PATIENCE {
                let (after, made) =
                    (since.elapsed(), inspect("network", &self.plan.network_name()));
                let made = made.map(|it| it["Created"].clone());
                return Err(format!(
                    "containers {containers:?}, networks {networks:?} of {made:?}, a bridge: {bridge}, reaper gone: {reaped} after {after:?}, at {:?}",
                    std::time::SystemTime::now()
                ));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the reaper, which ends when it has found nothing three times over.
    fn wait_for_reaper(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while is_reaping(&self.program) {
            if Instant::now() > deadline {
                return Err("its reaper does not end".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (op, when) = self.phase;
        write!(f, "{} {:?} {when} {op} +{:?}", self.id, self.death, self.jitter)
    }
}

fn report(phases: &[(&str, &str)], tallies: &[Mutex<Tally>]) {
    shout("phase               leaks/kills  harmed/launches  seen last after death: median, max");
    for ((op, when), tally) in phases.iter().zip(tallies) {
        let mut tally = tally.lock().unwrap();
        tally.gone_after.sort();
        let times = match tally.gone_after.as_slice() {
            [] => "-".into(),
            times => format!("{:.2?}, {:.2?}", times[times.len() / 2], times[times.len() - 1]),
        };
        shout(&format!(
            "{:<20}{:>5}/{:<12}{:>3}/{:<12}{times}",
            format!("{when} {op}"),
            tally.leaks.len(),
            tally.kills,
            tally.harmed.len(),
            tally.launches,
        ));
    }
}

/// Returns true if a service of podman's is a program below this directory.
fn is_served(state: &Path) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let cmdline = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = || cmdline.split(|byte| *byte == 0);
        words().any(|it| it == b"service")
            && words().any(|it| it.starts_with(state.as_os_str().as_encoded_bytes()))
    })
}
