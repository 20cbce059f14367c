//! Owners that die: their reaper, the slug's next owner, and the sweep.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{
    BundleRunning, BundleSpec, NetworkPlanned, Slug, SweptOutcome, sweep, sweep_dry_run,
};

use crate::fake::{CONTAINER, Fake, NETWORK, plan};
use crate::owner::Owner;

/// An owner whose bundle is up.
#[track_caller]
fn owner_up(fake: &Fake) -> Owner {
    let mut owner = fake.owner(&[]);
    owner.expect("launch demo", "up");
    owner
}

#[track_caller]
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what} took more than 20 s");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The reaper of a fake's owner, by the program that it was started with.
///
/// Each has a process group of its own, with its subshells in it, which look the same.
fn reapers(fake: &Fake) -> usize {
    let program = fake.path("docker");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let groups = processes.filter_map(|it| {
        let cmdline = std::fs::read(it.path().join("cmdline")).ok()?;
        let mut words = cmdline.split(|byte| *byte == 0);
        let is_one = words.any(|word| word == b"sidecar-bundle-reaper")
            && words.any(|word| word == program.as_os_str().as_encoded_bytes());
        let stat = std::fs::read_to_string(it.path().join("stat")).ok().filter(|_| is_one)?;
        stat.rsplit_once(") ")?.1.split(' ').nth(2).map(str::to_owned)
    });
    groups.collect::<BTreeSet<_>>().len()
}

#[test]
fn what_an_owner_leaves_when_it_is_killed_is_removed() {
    let fake = Fake::new();
    let owner = owner_up(&fake);
    assert_eq!(fake.things().len(), 2);
    assert_eq!(reapers(&fake), 1);
    owner.kill();
    wait_for("the reaper", || reapers(&fake) == 0);
    fake.assert_nothing_left();
    let operations = fake.operations();
    let at = |operation: &str| operations.iter().position(|it| it == operation).unwrap();
    assert!(at("rm") < at("network rm"), "{operations:?}");
}

#[test]
fn what_appears_only_after_its_owner_is_dead_is_removed() {
    let fake = Fake::new();
    // Neither the command's end nor its owner's is the end of the engine's work.
    fake.once(
        "network-create",
        ": >\"$dir/asked\"; (sleep 0.4; obey) >/dev/null & sleep 0.1; exit 1",
    );
    let mut owner = fake.owner(&[]);
    owner.tell("launch demo");
    wait_for("the create", || fake.path("asked").exists());
    owner.kill();
    wait_for("the reaper", || reapers(&fake) == 0);
    assert!(fake.operations().contains(&"network rm".into()), "{:?}", fake.operations());
    fake.assert_nothing_left();
}

#[test]
fn an_engine_that_is_away_is_waited_for() {
    let fake = Fake::new();
    let owner = owner_up(&fake);
    fake.on("ps", "fail 1 'Cannot connect to the Docker daemon at unix:///x'");
    owner.kill();
    thread::sleep(Duration::from_secs(1));
    assert_eq!((fake.things().len(), reapers(&fake)), (2, 1));
    fake.obey("ps");
    wait_for("the reaper", || reapers(&fake) == 0);
    fake.assert_nothing_left();
}

#[test]
fn the_next_owner_of_a_slug_is_not_hurt_by_the_reaper_of_the_last() {
    let fake = Fake::new();
    let owner = owner_up(&fake);
    owner.kill();
    let bundle = fake.up();
    // Its own reaper, which this process has by now, stays.
    wait_for("the reaper of the dead", || reapers(&fake) <= 1);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(
        fake.things(),
        [
            (NETWORK.into(), bundle.network_id().into()),
            (CONTAINER.into(), bundle.container_id().into())
        ]
    );
    bundle.close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn the_next_owner_waits_for_the_last_command_of_the_dead() {
    let fake = Fake::new();
    fake.once("run", ": >\"$dir/asked\"; sleep 1; obey; : >\"$dir/ended\"");
    fake.on("ps", "[ -e \"$dir/ended\" ] || : >\"$dir/early\"; obey");
    let mut owner = fake.owner(&[]);
    owner.tell("launch demo");
    wait_for("the run", || fake.path("asked").exists());
    owner.kill();
    let bundle = fake.up();
    assert!(fake.path("ended").exists() && !fake.path("early").exists());
    bundle.close().unwrap();
    wait_for("the reaper of the dead", || reapers(&fake) <= 1);
    fake.assert_nothing_left();
}

#[test]
fn an_owner_that_has_closed_leaves_its_reaper_nothing_to_ask() {
    let fake = Fake::new();
    let mut owner = owner_up(&fake);
    // The reaper is nobody's child, so that it is nobody's zombie.
    let pid = owner.child.id().to_string();
    let children = std::fs::read_dir("/proc").unwrap().flatten().filter(|it| {
        let stat = std::fs::read_to_string(it.path().join("stat")).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map(|(_, fields)| fields);
        fields.and_then(|fields| fields.split(' ').nth(1)) == Some(pid.as_str())
    });
    assert_eq!(children.count(), 0);
    owner.expect("close", "closed");
    owner.end();
    let start = Instant::now();
    wait_for("the reaper", || reapers(&fake) == 0);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(
        fake.operations(),
        ["network create", "run", "container inspect", "rm", "network rm"]
    );
}

#[test]
fn a_reaper_at_work_holds_nobody_up_who_reads_its_owners_output() {
    let fake = Fake::new();
    fake.on("ps", "fail 1 'Cannot connect to the Docker daemon at unix:///x'");
    let start = Instant::now();
    let mut owner = Owner::program(&fake.engine_words());
    owner.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut owner = owner.spawn().unwrap();
    owner.stdin.as_ref().unwrap().write_all(b"launch demo\nexit\n").unwrap();
    // Both pipes are read to their ends, which whoever else has them open would put off.
    let stdin = owner.stdin.take();
    let output = owner.wait_with_output().unwrap();
    drop(stdin);
    assert!(output.stdout.starts_with(b"up "), "{output:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(reapers(&fake), 1);
    fake.obey("ps");
    wait_for("the reaper", || reapers(&fake) == 0);
    fake.assert_nothing_left();
}

#[test]
fn a_reaper_that_was_killed_is_replaced() {
    let fake = Fake::new();
    let first = plan().create_network(&fake.engine()).unwrap();
    let pid = std::fs::read_dir("/proc").unwrap().flatten().find_map(|it| {
        let cmdline = std::fs::read_to_string(it.path().join("cmdline")).ok()?;
        let ours = cmdline.contains("sidecar-bundle-reaper")
            && cmdline.contains(fake.path("docker").to_str().unwrap());
        ours.then(|| it.file_name().into_string().unwrap())
    });
    let killed = Command::new("kill").args(["-KILL", &pid.unwrap()]).status().unwrap();
    assert!(killed.success());
    wait_for("the reaper's end", || reapers(&fake) == 0);
    let other = NetworkPlanned::new(Slug::new("other").unwrap());
    let other = other.create_network(&fake.engine()).unwrap();
    assert_eq!(reapers(&fake), 1);
    other.close().unwrap();
    first.close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn without_an_sh_everything_but_the_reaper_works() {
    let fake = Fake::new();
    let mut owner = Owner::program(&fake.engine_words());
    owner.env("PATH", "/nowhere");
    let mut owner = Owner::spawn(owner);
    owner.expect("launch demo", "up");
    let trace = owner.stderr();
    assert!(trace.contains("no reaper: what this process leaves when killed stays"), "{trace}");
    assert_eq!(reapers(&fake), 0);
    owner.expect("close", "closed");
    owner.end();
    fake.assert_nothing_left();
}

#[test]
fn a_sweep_removes_what_the_dead_left_and_nothing_else() {
    let fake = Fake::new();
    let living = NetworkPlanned::new(Slug::new("living").unwrap());
    let living = living.create_network(&fake.engine()).unwrap();
    let kept = NetworkPlanned::new(Slug::new("kept").unwrap());
    let kept = kept.launch(&fake.engine(), BundleSpec::new()).unwrap();
    let kept_id = kept.container_id().to_owned();
    kept.keep().unwrap();
    let mut owner = fake.owner(&["reaper=false"]);
    owner.expect("launch demo", "up");
    owner.kill();
    assert_eq!(fake.things().len(), 5);

    let outcomes = |swept: Vec<sidecar_bundle::Swept>| {
        let outcome = |it: &sidecar_bundle::Swept| match &it.outcome {
            SweptOutcome::Removed { containers, networks } => {
                format!("{} {} {}", it.slug, containers.len(), networks.len())
            }
            SweptOutcome::Held { pid } => format!("{} {}", it.slug, *pid == std::process::id()),
            SweptOutcome::Kept => format!("{} kept", it.slug),
            other => panic!("{other:?}"),
        };
        swept.iter().map(outcome).collect::<Vec<_>>()
    };
    let expected = ["demo 1 1", "kept kept", "living true"];
    assert_eq!(outcomes(sweep_dry_run(&fake.engine()).unwrap()), expected);
    assert_eq!(fake.things().len(), 5);
    assert_eq!(outcomes(sweep(&fake.engine()).unwrap()), expected);
    assert_eq!(fake.things().len(), 3);
    assert_eq!(outcomes(sweep(&fake.engine()).unwrap())[0], "demo 0 0");

    living.close().unwrap();
    let kept = BundleRunning::attach(Slug::new("kept").unwrap(), &fake.engine()).unwrap();
    assert_eq!(kept.container_id(), kept_id);
    kept.close().unwrap();
    fake.assert_nothing_left();
}
