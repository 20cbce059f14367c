//! Programs that hang, act and lose their answer, or leave children behind: every command meets each.

use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{BundleSpec, Error};

use crate::fake::{CONTAINER, Fake, NETWORK, plan};

/// What a program does to a command that it was given.
#[derive(Clone, Copy, Debug)]
struct Fault {
    snippet: &'static str,
    /// Whether the command does what it should, however it ends.
    acts: bool,
    /// Whether it is also told so.
    succeeds: bool,
}

const fn fault(snippet: &'static str, acts: bool, succeeds: bool) -> Fault {
    Fault { snippet, acts, succeeds }
}

const CHILD: &str = "trap '' TERM; sleep 60 & echo $! >>\"$dir/pids\"";

const FAULTS: &[Fault] = &[
    fault("exit 1", false, false),
    fault("echo 'the moon is full' >&2; exit 1", false, false),
    fault("kill -9 $$", false, false),
    fault("env >&2; exit 1", false, false),
    fault("trap '' TERM; exec sleep 60", false, false),
    fault("CHILD; exit 1", false, false),
    fault("CHILD; exec sleep 60", false, false),
    fault("CHILD; obey", true, true),
    fault("CHILD; obey >/dev/null; exit 1", true, false),
    fault("obey >/dev/null; echo 'the moon is full' >&2; exit 1", true, false),
    fault("obey >/dev/null; env >&2; exit 1", true, false),
    fault("obey >/dev/null; kill -9 $$", true, false),
    fault("obey >/dev/null; trap '' TERM; exec sleep 60", true, false),
];

/// Everything is over long before any child is.
const BOUND: Duration = Duration::from_secs(30);

/// Each fault in a thread of its own; most of their time is waiting.
fn for_each_fault(operation: &str, check: impl Fn(&Fake, Fault) + Sync) {
    let check = &check;
    thread::scope(|scope| {
        for fault in FAULTS {
            scope.spawn(move || {
                let fake = Fake::new();
                fake.on(operation, &fault.snippet.replace("CHILD", CHILD));
                let start = Instant::now();
                check(&fake, *fault);
                assert!(start.elapsed() < BOUND, "{fault:?}: {:?}", start.elapsed());
            });
        }
    });
}

#[test]
fn whatever_happens_to_network_create_nothing_is_left() {
    for_each_fault("network-create", |fake, fault| {
        let engine = fake.engine().with_start_deadline(Duration::from_secs(2));
        match plan().create_network(&engine) {
            Ok(network) => {
                assert!(fault.succeeds, "{fault:?}");
                network.close().unwrap();
            }
            Err(failed) => {
                assert!(!fault.succeeds, "{fault:?}");
                let error = failed.error();
                assert!(matches!(error, Error::CreateNetwork { .. }), "{fault:?}: {error:?}");
            }
        }
        let removed = fake.operations().contains(&"network rm".into());
        assert_eq!(removed, fault.acts, "{fault:?}");
        fake.assert_nothing_left();
    });
}

#[test]
fn whatever_happens_to_run_nothing_but_the_network_is_left() {
    for_each_fault("run", |fake, fault| {
        let engine = fake.engine().with_start_deadline(Duration::from_secs(3));
        let network = plan().create_network(&engine).unwrap();
        match network.start(BundleSpec::new()) {
            Ok(bundle) => {
                assert!(fault.succeeds, "{fault:?}");
                bundle.close().unwrap();
            }
            Err(failed) => {
                assert!(!fault.succeeds, "{fault:?}");
                let error = failed.error();
                assert!(matches!(error, Error::Start { .. }), "{fault:?}: {error:?}");
                let network = failed.into_state();
                assert_eq!(fake.things(), [(NETWORK.into(), network.network_id().into())]);
                network.close().unwrap();
            }
        }
        assert_eq!(fake.operations().contains(&"rm".into()), fault.acts, "{fault:?}");
        fake.assert_nothing_left();
    });
}

/// A removal that was done is a success, however its command failed; the rest is named. One that never
/// answers has a test of its own.
#[track_caller]
fn check_removal(fake: &Fake, fault: Fault, operation: &str, left: &[&str]) {
    if fault.acts && fault.snippet.ends_with("exec sleep 60") {
        return;
    }
    let engine = fake.engine().with_remove_deadline(Duration::from_secs(3));
    let bundle = plan().launch(&engine, BundleSpec::new()).unwrap();
    let mut ids = vec![(NETWORK, bundle.network_id().to_owned())];
    ids.push((CONTAINER, bundle.container_id().to_owned()));
    let closed = bundle.close();
    if fault.acts {
        closed.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        fake.assert_nothing_left();
        return;
    }
    let error = closed.unwrap_err();
    let names: Vec<_> = fake.things().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, left, "{fault:?}");
    let text = fake.text(&error);
    for (_, id) in ids.iter().filter(|(name, _)| left.contains(name)) {
        assert!(text.contains(&format!("{id}`")), "{fault:?}: {text}");
    }
    assert!(text.contains(&format!("docker {operation} ")), "{fault:?}: {text}");
}

#[test]
fn whatever_happens_to_rm_the_container_is_removed_or_named() {
    for_each_fault("rm", |fake, fault| check_removal(fake, fault, "rm", &[NETWORK, CONTAINER]));
}

#[test]
fn whatever_happens_to_network_rm_the_network_is_removed_or_named() {
    for_each_fault("network-rm", |fake, fault| {
        check_removal(fake, fault, "network rm", &[NETWORK]);
    });
}

#[test]
fn an_answer_that_is_lost_once_does_not_stop_the_next_try() {
    for operation in ["network-create", "run"] {
        let fake = Fake::new();
        fake.once(operation, "obey >/dev/null; echo 'the moon is full' >&2; exit 1");
        let failed = plan().launch(&fake.engine(), BundleSpec::new()).unwrap_err();
        fake.assert_nothing_left();
        failed.into_state().launch(&fake.engine(), BundleSpec::new()).unwrap().close().unwrap();
        fake.assert_nothing_left();
    }
}
