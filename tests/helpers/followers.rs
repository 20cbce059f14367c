//! Follows a log and runs commands two hundred times, twenty at once, and ends with a failure unless that
//! costs neither descriptors nor children. Arguments: `docker` or `podman`, and the lease directory.
//!
//! A program of its own, in which nothing else opens or starts anything meanwhile.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the program of a test may panic")]

use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{BundleRunning, BundleSpec, Engine, NetworkPlanned, Slug};

const LONG: Duration = Duration::from_secs(20);

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let engine = match &*arguments[0] {
        "docker" => Engine::docker(),
        "podman" => Engine::podman(),
        other => panic!("there is no engine {other:?}"),
    };
    let engine = engine.with_state_dir(&arguments[1]);
    let script = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.02; done";
    let spec = BundleSpec::new().command(["sh", "-c", script]);
    let plan = NetworkPlanned::new(Slug::new("crowd").unwrap());
    let bundle = plan.launch(&engine, spec).unwrap();
    round(&bundle, 0);
    round(&bundle, 1);
    let before = held();
    thread::scope(|scope| {
        for worker in 0..20 {
            let bundle = &bundle;
            scope.spawn(move || (0..10).for_each(|turn| round(bundle, worker + turn)));
        }
    });
    // A dropped follower tells its thread to end, and does not wait for it. An idle connection is kept for 15 s, and ends
    // with the next answer on another.
    let deadline = Instant::now() + 2 * LONG;
    // One more idle connection may be kept than before.
    let is_as_before = || held().1 == before.1 && held().0 <= before.0 + 1;
    while !is_as_before() && Instant::now() < deadline {
        bundle.status().unwrap();
        thread::sleep(Duration::from_millis(100));
    }
    assert!(is_as_before(), "{:?} {before:?}", held());
    bundle.close().unwrap();
}

fn round(bundle: &BundleRunning, number: usize) {
    if number.is_multiple_of(2) {
        let lines: Vec<_> = bundle.follow_logs(1).unwrap().take(2).collect();
        assert_eq!(lines.len(), 2);
    } else {
        let output = bundle.exec(["echo", "hi"], LONG).unwrap();
        assert_eq!((output.code, output.stdout.as_str()), (0, "hi\n"));
    }
}

/// Descriptors of this process, and processes that it started and has not waited for.
fn held() -> (usize, usize) {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let me = std::process::id().to_string();
    let children = std::fs::read_dir("/proc").unwrap().flatten().filter(|it| {
        let stat = std::fs::read_to_string(it.path().join("stat")).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.to_owned());
        fields.is_some_and(|fields| fields.split(' ').nth(1) == Some(me.as_str()))
    });
    (descriptors, children.count())
}
