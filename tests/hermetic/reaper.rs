//! The reaper of an owner that dies.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::fake::{CONTAINER, Fake, NETWORK};
use crate::owner::Owner;
use crate::surroundings::wait_for;

#[test]
fn the_bundle_of_a_killed_owner_is_removed() {
    let fake = Fake::new();
    let owner = fake.owner_up();
    assert_eq!(fake.resources().len(), 2);
    assert_eq!(fake.reapers(), 1);
    owner.kill();
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
    let operations = fake.operations();
    let at = |operation: &str| operations.iter().position(|it| it == operation).unwrap();
    assert!(at("rm") < at("network rm"), "{operations:?}");
}

#[test]
fn a_network_that_appears_after_its_owner_died_is_removed() {
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
    wait_for("the reaper", || fake.reapers() == 0);
    assert!(fake.operations().contains(&"network rm".into()), "{:?}", fake.operations());
    fake.assert_nothing_left();
}

#[test]
fn a_reaper_waits_for_an_engine_that_is_away() {
    let fake = Fake::new();
    let owner = fake.owner_up();
    fake.on("ps", "fail 1 'Cannot connect to the Docker daemon at unix:///x'");
    owner.kill();
    thread::sleep(Duration::from_secs(1));
    assert_eq!((fake.resources().len(), fake.reapers()), (2, 1));
    fake.obey("ps");
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
}

#[test]
fn the_reaper_of_a_dead_owner_leaves_the_next_owner_alone() {
    let fake = Fake::new();
    let owner = fake.owner_up();
    owner.kill();
    let bundle = fake.up();
    // Its own reaper, which this process has by now, stays.
    wait_for("the reaper of the dead", || fake.reapers() <= 1);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(
        fake.resources(),
        [
            (NETWORK.into(), bundle.network_id().into()),
            (CONTAINER.into(), bundle.container_id().into())
        ]
    );
    bundle.close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn a_reaper_asks_the_engine_nothing_after_close() {
    let fake = Fake::new();
    let mut owner = fake.owner_up();
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
    wait_for("the reaper", || fake.reapers() == 0);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(
        fake.operations(),
        ["network create", "run", "container inspect", "rm", "network rm"]
    );
}

#[test]
fn a_working_reaper_does_not_hold_its_owners_output_open() {
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
    assert_eq!(fake.reapers(), 1);
    fake.obey("ps");
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
}

#[test]
fn a_reaper_that_was_killed_is_replaced() {
    let fake = Fake::new();
    // Here, a child that another test starts could for a moment hold the end of the pipe that tells of the
    // reaper's death.
    let mut owner = fake.owner(&[]);
    owner.expect("create demo", "network");
    let pid = std::fs::read_dir("/proc").unwrap().flatten().find_map(|it| {
        let cmdline = std::fs::read_to_string(it.path().join("cmdline")).ok()?;
        let ours = cmdline.contains("sidecar-bundle-reaper")
            && cmdline.contains(fake.path("docker").to_str().unwrap());
        ours.then(|| it.file_name().into_string().unwrap())
    });
    let killed = Command::new("kill").args(["-KILL", &pid.unwrap()]).status().unwrap();
    assert!(killed.success());
    wait_for("the reaper's end", || fake.reapers() == 0);
    owner.expect("create other", "network");
    assert_eq!(fake.reapers(), 1);
    owner.expect("close", "closed");
    owner.expect("close", "closed");
    owner.end();
    fake.assert_nothing_left();
}

#[test]
fn without_a_shell_everything_but_the_reaper_works() {
    let fake = Fake::new();
    let mut owner = Owner::program(&fake.engine_words());
    owner.env("PATH", "/nowhere");
    let mut owner = Owner::spawn(owner);
    owner.expect("launch demo", "up");
    let trace = owner.stderr();
    assert!(
        trace.contains("no reaper: what this process leaves when it is killed stays"),
        "{trace}"
    );
    assert_eq!(fake.reapers(), 0);
    owner.expect("close", "closed");
    owner.end();
    fake.assert_nothing_left();
}
