//! A bundle whose guests are on two hosts of a swarm: one test after another, since some cut the hosts apart.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/engine.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod engine;
#[path = "support/owner.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod owner;

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{
    BundleSpec, Cause, Container, Engine, Error, NetworkOptions, NetworkPlanned, Reachability,
    Ready, bundles, sweep,
};

use daemon::end_daemon;
use engine::{LONG, World, cli, inspect, is_api, plan_apart, shout, wait_for, world};
use owner::Owner;

const IMAGE: &str = "claude-bottle-sidecars:latest";

/// The two hosts, for one test at a time.
struct Swarm {
    world: World,
    worker: String,
    room: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

fn swarm(slug: &'static str) -> Option<Swarm> {
    static TURN: Mutex<()> = Mutex::new(());
    let (worker, room) =
        ["SIDECAR_BUNDLE_SWARM_WORKER", "SIDECAR_BUNDLE_ENGINE_ROOM"].map(std::env::var).into();
    let (Ok(worker), Ok(room)) = (worker, room) else {
        let is_meant = std::env::var("SIDECAR_BUNDLE_ENGINE").is_ok_and(|it| it == "swarm");
        assert!(!is_meant, "a swarm is required");
        shout(&format!(
            "SKIPPED {slug}: no swarm; try SIDECAR_BUNDLE_ENGINE=swarm tests/with-docker cargo test --test swarm"
        ));
        return None;
    };
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let swarm = Swarm { world: world(slug)?, worker, room: room.into(), _turn: turn };
    join();
    swarm.assert_nothing_left();
    Some(swarm)
}

impl Swarm {
    fn manager(&self) -> Engine {
        self.world.engine()
    }

    fn worker(&self) -> Engine {
        self.manager().with_host(&self.worker)
    }

    fn plan(&self) -> NetworkPlanned {
        self.world.plan().with_options(NetworkOptions::new().overlay(true))
    }

    /// Runs docker's program on the worker.
    #[track_caller]
    fn on_worker(&self, arguments: &[&str]) -> String {
        cli(&[&["--host", &self.worker], arguments].concat())
    }

    fn left(&self) -> String {
        let label = format!("label=sidecar-bundle.slug={}", self.world.slug);
        let containers = self.on_worker(&["ps", "--all", "--quiet", "--filter", &label]);
        let networks = self.on_worker(&["network", "ls", "--quiet", "--filter", &label]);
        self.world.left() + &containers + &networks
    }

    /// A node forgets a network a moment after it has lost its last container there.
    #[track_caller]
    fn assert_nothing_left(&self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.left().is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(self.left(), "", "left by {}", self.world.slug);
    }

    #[track_caller]
    fn await_nothing_left(&self) {
        wait_for("the end of the bundle on both hosts", || self.left().is_empty());
    }

    /// An owner on the manager.
    fn owner(&self) -> Owner {
        Owner::start(&self.world.engine_words())
    }

    /// Lets an owner launch a bundle with a guest on each host.
    #[track_caller]
    fn launch_by(&self, owner: &mut Owner) {
        owner.expect(&format!("launch {} overlay=true", self.world.slug), "up");
        owner.expect("guest here", "guest");
        owner.expect(&format!("guest-on {} there", self.worker), "guest");
    }
}

/// Joins the hosts, and waits until the manager knows that the worker is there.
fn join() {
    link("up");
    wait_for("the worker", || cli(&["node", "ls"]).matches("Ready").count() == 2);
}

fn link(state: &str) {
    let status = Command::new("ip").args(["link", "set", "swarm0", state]).status().unwrap();
    assert!(status.success());
}

/// Kills a host's daemon, which is started again at once, and waits for it.
fn restart(room: &Path) {
    end_daemon(room, "-KILL");
    let address = format!("unix://{}", room.join("docker.sock").display());
    wait_for("the engine", || {
        let version = Command::new("docker").args(["--host", &address, "version"]).output();
        version.unwrap().status.success()
    });
    std::fs::remove_file(room.join("restarts")).unwrap();
}

fn guest_spec() -> BundleSpec {
    BundleSpec::new().image(IMAGE)
}

/// Asks the bundle's daemon from a guest.
#[track_caller]
fn asks(guest: &Container, plan: &NetworkPlanned) {
    let get = format!(r"printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 2 {} 8080", plan.ip());
    let deadline = Instant::now() + LONG;
    loop {
        let output = guest.exec(["sh", "-c", &get], LONG).unwrap();
        if output.stdout.trim().ends_with("egress") {
            return;
        }
        assert!(Instant::now() < deadline, "{output:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn guests_on_both_hosts_reach_the_planned_address() {
    let Some(swarm) = swarm("swarm-both") else { return };
    let plan = swarm.plan();
    let bundle = plan.clone().launch(&swarm.manager(), BundleSpec::new()).unwrap();
    assert_eq!(bundle.network_id().len(), 25);
    let here = bundle.guest_on(&swarm.manager(), "here", guest_spec()).unwrap();
    let there = bundle.guest_on(&swarm.worker(), "there", guest_spec()).unwrap();
    let more = bundle.guest_on(&swarm.worker(), "more", guest_spec()).unwrap();
    let range = plan.addressing().dynamic_range().unwrap();
    for guest in [&here, &there, &more] {
        assert!(range.contains(&guest.ip()), "{guest:?}");
    }
    let twice = bundle.guest_on(&swarm.worker(), "here", guest_spec()).unwrap_err();
    assert!(matches!(twice, Error::Invalid(_)), "{twice:?}");
    if is_api() {
        for guest in [&here, &there, &more] {
            asks(guest, &plan);
        }
        // The hosts are not on it.
        let error = bundle.wait_for(&Ready::tcp(8080), LONG).unwrap_err();
        let is_overlay =
            matches!(error, Error::Unreachable { reachability: Reachability::Overlay, .. });
        assert!(is_overlay, "{error:?}");
    }
    assert!(!bundle.is_reachable());
    // Another launcher of the slug on the worker is told who holds it.
    let taken = swarm.world.plan().launch(&swarm.worker(), BundleSpec::new()).unwrap_err();
    assert!(matches!(taken.error(), Error::Taken { .. }), "{taken:?}");
    there.close().unwrap();
    drop((here, more));
    bundle.close().unwrap();
    swarm.assert_nothing_left();
    assert_eq!(sweep(&swarm.manager()).unwrap().len(), 0);
    assert_eq!(sweep(&swarm.worker()).unwrap().len(), 0);
}

/// Makes the worker a manager, too, until this is dropped.
struct Promoted(String);

impl Promoted {
    #[track_caller]
    fn new(swarm: &Swarm) -> Self {
        let node = swarm.on_worker(&["info", "--format", "{{.Swarm.NodeID}}"]);
        cli(&["node", "promote", node.trim()]);
        let is_manager = || {
            let info = ["info", "--format", "{{.Swarm.ControlAvailable}} {{.Swarm.Error}}"];
            swarm.on_worker(&info).trim() == "true"
        };
        wait_for("the second manager", is_manager);
        Self(node.trim().to_owned())
    }
}

impl Drop for Promoted {
    fn drop(&mut self) {
        let demoted = Command::new("docker").args(["node", "demote", &self.0]).status();
        if !thread::panicking() {
            assert!(demoted.unwrap().success());
            wait_for("one manager", || {
                cli(&["info", "--format", "{{.Swarm.Managers}}"]).trim() == "1"
            });
        }
    }
}

#[test]
fn a_bundle_is_launched_on_either_manager_and_is_that_ones() {
    let Some(swarm) = swarm("swarm-either") else { return };
    let promoted = Promoted::new(&swarm);
    let plan = swarm.plan();
    let (first, second) = (swarm.manager(), swarm.worker());
    let bundle = plan.clone().launch(&second, BundleSpec::new()).unwrap();
    // The other one lists the network, and leaves it alone.
    assert!(bundles(&first).unwrap().is_empty());
    let discarded = plan.discard(&first).unwrap();
    assert_eq!((discarded.containers.len(), discarded.networks.len()), (0, 0));
    let failed = plan.clone().launch(&first, BundleSpec::new()).unwrap_err();
    assert!(matches!(failed.error(), Error::UnknownOwner { .. }), "{failed:?}");

    let guest = bundle.guest_on(&first, "there", guest_spec()).unwrap();
    if is_api() {
        asks(&guest, &plan);
    }
    guest.close().unwrap();
    bundle.close().unwrap();
    swarm.assert_nothing_left();
    drop(promoted);
}

#[test]
fn a_kept_bundle_is_attached_to_and_has_guests_again() {
    let Some(swarm) = swarm("swarm-kept") else { return };
    let bundle = swarm.plan().launch(&swarm.manager(), BundleSpec::new()).unwrap();
    bundle.guest_on(&swarm.worker(), "one", guest_spec()).unwrap().close().unwrap();
    let kept = bundle.keep().unwrap();
    assert_eq!(sweep(&swarm.manager()).unwrap().len(), 1);
    let bundle = kept.attach(&swarm.manager()).unwrap();
    assert_eq!(bundle.plan().options(), swarm.plan().options());
    bundle.guest_on(&swarm.worker(), "two", guest_spec()).unwrap().close().unwrap();
    bundle.close().unwrap();
    swarm.assert_nothing_left();
}

#[test]
fn what_a_node_cannot_do_is_a_cause_and_leaves_nothing() {
    let Some(swarm) = swarm("swarm-causes") else { return };
    let failed = swarm.plan().create_network(&swarm.worker()).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::NotSwarmManager), "{failed}");

    // A network of the worker that the manager does not see.
    let subnet = swarm.plan().subnet().to_string();
    let name = "sidecar-bundle-test-swarm";
    swarm.on_worker(&["network", "create", "--subnet", &subnet, name]);
    let bundle = swarm.plan().launch(&swarm.manager(), BundleSpec::new()).unwrap();
    let failed = bundle.guest_on(&swarm.worker(), "there", guest_spec()).unwrap_err();
    assert!(matches!(failed, Error::SubnetTaken { .. }), "{failed:?}");
    swarm.on_worker(&["network", "rm", name]);
    bundle.guest_on(&swarm.worker(), "there", guest_spec()).unwrap().close().unwrap();

    // One of the manager's.
    bundle.close().unwrap();
    cli(&["network", "create", "--driver", "overlay", "--subnet", &subnet, name]);
    let failed = swarm.plan().create_network(&swarm.manager()).unwrap_err();
    assert!(failed.to_string().contains(name), "{failed}");
    cli(&["network", "rm", name]);

    let encrypted = NetworkOptions::new().overlay(true).encrypted(true);
    let plan = swarm.world.plan().with_options(encrypted);
    let network = plan.create_network(&swarm.manager()).unwrap();
    let found = inspect("network", network.network_id()).unwrap();
    assert!(found["Options"]["encrypted"].is_string(), "{found}");
    network.close().unwrap();

    let bridge = swarm.world.plan().launch(&swarm.manager(), BundleSpec::new()).unwrap();
    let failed = bridge.guest_on(&swarm.worker(), "there", guest_spec()).unwrap_err();
    assert!(matches!(failed, Error::Invalid(_)), "{failed:?}");
    bridge.close().unwrap();
    swarm.assert_nothing_left();
}

/// Docker waits for 20 seconds, for both at the same time here.
#[test]
fn what_a_swarm_does_not_attach_is_a_cause_and_leaves_nothing() {
    let Some(swarm) = swarm("swarm-taken") else { return };
    let network = swarm.plan().create_network(&swarm.manager()).unwrap();
    let (id, ip) = (network.network_id().to_owned(), network.plan().ip().to_string());
    let thief = ["run", "--detach", "--rm", "--network", &id, "--ip", &ip, "--name", "thief"];
    swarm.on_worker(&[&thief[..], &[IMAGE, "sleep", "60"]].concat());
    let overlay = NetworkOptions::new().overlay(true);
    let alone = plan_apart("swarm-alone", 61, 0).with_options(overlay);
    let bundle = alone.launch(&swarm.manager(), BundleSpec::new()).unwrap();
    link("down");
    let (failed, alone) = thread::scope(|scope| {
        let alone =
            scope.spawn(|| bundle.guest_on(&swarm.worker(), "there", guest_spec()).map(drop));
        (network.start(BundleSpec::new()).unwrap_err(), alone.join().unwrap().unwrap_err())
    });
    join();

    let (error, network) = failed.into_parts();
    assert_eq!(error.cause(), Some(Cause::NotAttached), "{error}");
    let label = format!("label=sidecar-bundle.slug={}", swarm.world.slug);
    assert_eq!(cli(&["ps", "--all", "--quiet", "--filter", &label]), "");
    swarm.on_worker(&["rm", "--force", "thief"]);
    network.start(BundleSpec::new()).unwrap().close().unwrap();

    // A node that does not reach its manager.
    assert_eq!(alone.cause(), Some(Cause::SwarmUnreachable), "{alone:?}");
    bundle.guest_on(&swarm.worker(), "there", guest_spec()).unwrap().close().unwrap();
    bundle.close().unwrap();
    swarm.assert_nothing_left();
}

#[test]
fn the_guests_of_a_killed_owner_are_removed_on_both_hosts() {
    let Some(swarm) = swarm("swarm-killed") else { return };
    let mut owner = swarm.owner();
    swarm.launch_by(&mut owner);
    owner.kill();
    swarm.await_nothing_left();
}

#[test]
fn a_host_that_is_cut_off_loses_its_guests_when_their_owner_dies() {
    let Some(swarm) = swarm("swarm-cut") else { return };
    let mut owner = swarm.owner();
    swarm.launch_by(&mut owner);
    link("down");
    thread::sleep(Duration::from_secs(3));
    owner.kill();
    // The reapers reach their engines, though these do not reach each other.
    let label = format!("label=sidecar-bundle.slug={}", swarm.world.slug);
    wait_for("the guest's end", || {
        swarm.on_worker(&["ps", "--all", "--quiet", "--filter", &label]).is_empty()
    });
    assert!(swarm.left().contains("network "), "the manager has not heard of it yet");
    join();
    swarm.await_nothing_left();
}

#[test]
fn a_manager_that_is_killed_with_an_owner_loses_the_bundle() {
    let Some(swarm) = swarm("swarm-manager") else { return };
    let mut owner = swarm.owner();
    swarm.launch_by(&mut owner);
    restart(&swarm.room);
    owner.kill();
    swarm.await_nothing_left();

    let bundle = swarm.plan().launch(&swarm.manager(), BundleSpec::new()).unwrap();
    let there = bundle.guest_on(&swarm.worker(), "there", guest_spec()).unwrap();
    restart(&swarm.room);
    restart(&swarm.room.join("second"));
    there.close().unwrap();
    bundle.close().unwrap();
    swarm.assert_nothing_left();
}

#[test]
fn a_discard_on_each_host_removes_what_is_there() {
    let Some(swarm) = swarm("swarm-discard") else { return };
    let mut words = swarm.world.engine_words().to_vec();
    words.push("reaper=false".into());
    let mut owner = Owner::start(&words);
    swarm.launch_by(&mut owner);
    owner.kill();
    let discarded = swarm.plan().discard(&swarm.worker()).unwrap();
    assert_eq!((discarded.containers.len(), discarded.networks.len()), (1, 0));
    let discarded = swarm.plan().discard(&swarm.manager()).unwrap();
    assert_eq!((discarded.containers.len(), discarded.networks.len()), (2, 1));
    swarm.assert_nothing_left();
}

#[test]
fn what_no_reaper_removed_a_sweep_of_each_host_removes() {
    let Some(swarm) = swarm("swarm-sweep") else { return };
    let mut words = swarm.world.engine_words().to_vec();
    words.push("reaper=false".into());
    let mut owner = Owner::start(&words);
    swarm.launch_by(&mut owner);
    owner.kill();
    thread::sleep(Duration::from_secs(1));
    // The worker's first: the network goes with its last container.
    let swept = sweep(&swarm.worker()).unwrap();
    assert_eq!(swept.len(), 1, "{swept:?}");
    let swept = sweep(&swarm.manager()).unwrap();
    assert_eq!(swept.len(), 1, "{swept:?}");
    swarm.assert_nothing_left();
}

/// The number of deaths, four side by side.
const DEATHS: usize = 8;

#[test]
fn an_owner_that_dies_at_any_moment_leaves_nothing_on_either_host() {
    let Some(swarm) = swarm("swarm-deaths") else { return };
    let deaths = std::env::var("SIDECAR_BUNDLE_CHAOS").ok().and_then(|it| it.parse().ok());
    let deaths: usize = deaths.unwrap_or(DEATHS);
    thread::scope(|scope| {
        for side in 0..4 {
            let swarm = &swarm;
            scope.spawn(move || (side..deaths).step_by(4).for_each(|number| die(swarm, number)));
        }
    });
    let names = || {
        let lists: [&[&str]; 2] = [
            &["ps", "--all", "--format", "{{.Names}}"],
            &["network", "ls", "--format", "{{.Name}}"],
        ];
        let both = lists.map(|list| cli(list) + &swarm.on_worker(list)).concat();
        both.lines().any(|name| name.contains("-swarm-deaths-"))
    };
    wait_for("the end of all bundles", || !names());
    shout(&format!("{deaths} owners have died in a swarm"));
}

/// An owner dies at some moment of the first seconds of its bundle with a guest on each host.
fn die(swarm: &Swarm, number: usize) {
    let slug = format!("swarm-deaths-{number}");
    let subnet = plan_apart(&slug, 60, number).subnet();
    let mut owner = swarm.owner();
    let launch = format!("launch {slug} subnet={subnet} overlay=true daemons=egress");
    owner.tell(&format!("{launch}\nguest-on {} there\nguest here\nclose\nclose", swarm.worker));
    thread::sleep(Duration::from_millis(RandomState::new().hash_one(number) % 6000));
    owner.kill();
}
