//! The time until a death is noticed: `tests/with-docker cargo bench --bench death_notice`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark may panic")]

#[path = "../tests/support/engine.rs"]
#[expect(dead_code, reason = "tests use the rest")]
mod engine;

use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{BundleSpec, Error, Ready, State};

use engine::{LONG, cli, is_podman, world};

fn main() {
    let Some(world) = world("late-death") else { return };
    let mut noticed = Vec::new();
    for _ in 0..30 {
        let script = "trap 'echo bye; exit 5' USR1; echo ready; while :; do sleep 0.01; done";
        let spec = BundleSpec::new().command(["sh", "-c", script]);
        let bundle = world.plan().launch(&world.engine(), spec).unwrap();
        bundle.wait_for(&Ready::log("ready"), LONG).unwrap();
        let id = bundle.container_id().to_owned();
        let error = thread::scope(|scope| {
            let waiting =
                scope.spawn(|| (bundle.wait_for(&Ready::log("never"), LONG), Instant::now()));
            thread::sleep(Duration::from_millis(200));
            cli(&["kill", "--signal", "USR1", &id]);
            let killed = Instant::now();
            let (waited, at) = waiting.join().unwrap();
            noticed.push(at.saturating_duration_since(killed));
            waited.unwrap_err()
        });
        let Error::Died { exit, log, .. } = error else { panic!("{error:?}") };
        assert_eq!((exit.code, log.as_str()), (5, "ready\nbye"));
        let status = bundle.status().unwrap();
        assert_eq!((status.state, status.exit.unwrap().code), (State::Exited, 5));
        bundle.close().unwrap();
    }
    noticed.sort();
    println!("a death is noticed after {:?} in the median, {:?} at most", noticed[15], noticed[29]);
    // Podman starts a process for each question and takes its locks.
    let bound = Duration::from_millis(if is_podman() { 600 } else { 300 });
    assert!(noticed[15] < bound, "more than {bound:?}: {noticed:?}");
    world.assert_nothing_left();
}
