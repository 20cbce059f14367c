//! Removing containers and networks, whatever the engine answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sidecar_bundle::{BundleSpec, Cause, Error, Resource, SweptOutcome, sweep};

use crate::fake::{CONTAINER, Fake, NETWORK, plan};
use crate::faults::{Fault, for_each_fault};
use crate::scripted::{Act, Scripted};
use crate::surroundings::wait_for;
use crate::texts::refuse;

#[test]
fn a_discard_that_cannot_look_leaves_what_was_kept() {
    let fake = Fake::new();
    fake.up().keep().unwrap();
    fake.on("ps", &refuse(1, "Error response from daemon: 403 Forbidden"));
    let error = plan().discard(&fake.engine()).unwrap_err();
    assert!(matches!(error, Error::Look { .. }), "{error:?}");
    // And on another engine.
    fake.moves();
    fake.on("ps", ": >\"$dir/moved\"; none");
    fake.on("network-ls", "none");
    let error = plan().discard(&fake.engine()).unwrap_err();
    assert_eq!(error.cause(), Some(Cause::AnotherEngine));
    fake.moves_back();
    for operation in ["ps", "network-ls"] {
        fake.obey(operation);
    }
    let swept = sweep(&fake.engine()).unwrap();
    assert!(matches!(&swept[0].outcome, SweptOutcome::Kept), "{swept:?}");
    let discarded = plan().discard(&fake.engine()).unwrap();
    assert_eq!((discarded.containers.len(), discarded.networks.len()), (1, 1));
    fake.assert_nothing_left();
}

#[test]
fn what_a_discard_could_not_remove_is_kept_no_more() {
    let fake = Fake::new();
    fake.up().keep().unwrap();
    fake.on("network-rm", &refuse(1, "Error response from daemon: the disk is tired"));
    let error = plan().discard(&fake.engine()).unwrap_err();
    assert!(matches!(error, Error::NotRemoved { .. }), "{error:?}");
    fake.obey("network-rm");
    let swept = sweep(&fake.engine()).unwrap();
    assert!(matches!(&swept[0].outcome, SweptOutcome::Removed { .. }), "{swept:?}");
    fake.assert_nothing_left();
}

#[test]
fn what_could_not_be_removed_goes_after_the_process() {
    for command in ["discard demo", "attach-or-launch demo daemons=egress"] {
        let fake = Fake::new();
        fake.up().keep().unwrap();
        fake.on("network-rm", &refuse(1, "Error response from daemon: the disk is tired"));
        let mut owner = fake.owner(&[]);
        assert!(owner.ask(command).starts_with("error"));
        fake.obey("network-rm");
        owner.tell("exit");
        owner.end();
        wait_for("the reaper", || fake.reapers() == 0);
        fake.assert_nothing_left();
    }
}

#[test]
fn a_resource_that_is_gone_already_counts_as_removed() {
    let fake = Fake::new();
    let bundle = fake.up();
    for (operation, says) in [
        ("rm", "Error response from daemon: No such container: x"),
        ("network-rm", "Error: words that nobody knows"),
    ] {
        fake.on(operation, &format!("obey >/dev/null\n{}", refuse(1, says)));
    }
    bundle.close().unwrap();
    assert_eq!(fake.operations()[3..], ["rm", "ps", "network rm", "network ls"]);
    fake.assert_nothing_left();
}

#[test]
fn resources_that_somebody_else_removed_count_as_removed() {
    let fake = Fake::new();
    let bundle = fake.up();
    for (name, id) in fake.resources() {
        let kind = if name == NETWORK { "network" } else { "container" };
        std::fs::remove_file(fake.path(kind).join(id)).unwrap();
    }
    bundle.close().unwrap();
    assert_eq!(fake.operations()[3..], ["rm", "ps", "network rm", "network ls"]);
}

#[test]
fn close_waits_for_a_removal_in_progress() {
    let fake = Fake::new();
    let bundle = fake.up();
    let says = "Error response from daemon: removal of container x is already in progress";
    let in_progress = refuse(1, says);
    // The first finds somebody else at it, who is done a little later.
    fake.once("rm", &format!("( sleep 0.3; obey ) >/dev/null 2>&1 &\n{in_progress}"));
    fake.on("rm", &format!("[ -z \"$(thing container \"$last\")\" ] && obey\n{in_progress}"));
    bundle.close().unwrap();
    assert_eq!(fake.operations().last().unwrap(), "network rm");
    fake.assert_nothing_left();
}

#[test]
fn a_removal_that_stays_in_progress_is_an_error_after_its_timeout() {
    let fake = Fake::new();
    let engine = fake.engine().with_remove_deadline(Duration::from_secs(4));
    let bundle = plan().launch(&engine, BundleSpec::new()).unwrap();
    fake.on("rm", &refuse(1, "removal of container x is already in progress"));
    fake.on("network-rm", "rm \"$(thing network \"$last\")\"");
    let start = Instant::now();
    let error = bundle.close().unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(matches!(&error, Error::NotRemoved { resource: Resource::Container, .. }), "{error}");
    // On a slow machine, the last try is cut.
    let cause = error.cause().unwrap();
    assert!(matches!(cause, Cause::RemovalInProgress | Cause::TimedOut), "{error:?}");
    assert!(fake.operations().iter().filter(|op| *op == "rm").count() > 1);
}

#[test]
fn a_removal_that_was_done_and_never_answered_succeeds() {
    for operation in ["rm", "network-rm"] {
        let fake = Fake::new();
        let engine = fake.engine().with_remove_deadline(Duration::from_secs(8));
        let bundle = plan().launch(&engine, BundleSpec::new()).unwrap();
        fake.on(operation, "obey >/dev/null; exec sleep 60");
        let closed = bundle.close();
        fake.assert_nothing_left();
        closed.unwrap_or_else(|error| panic!("{operation}: {error}"));
    }
}

/// A removal that was done is a success, however its command failed; the rest is named. One that never
/// answers has a test of its own.
#[track_caller]
fn check_removal(fake: &Fake, fault: Fault, operation: &str, left: &[&str]) {
    if fault.acts && fault.snippet.ends_with("exec sleep 60") {
        return;
    }
    let engine = fake.engine().with_remove_deadline(Duration::from_secs(6));
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
    let names: Vec<_> = fake.resources().into_iter().map(|(name, _)| name).collect();
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
fn what_the_engine_still_lists_and_no_longer_knows_is_going() {
    let fake = Fake::new();
    let bundle = fake.up();
    fake.once("rm", "fail 1 'Error response from daemon: No such container: x'");
    fake.once("network-rm", "fail 1 'Error response from daemon: network x not found'");
    bundle.close().unwrap();
    fake.assert_nothing_left();
}

/// A network that is in use, as often as this.
fn in_use(fake: &Fake, times: usize) {
    let refusal = refuse(
        1,
        "Error response from daemon: error while removing network: network x id y has active endpoints",
    );
    let count = r#"echo >>"$dir/tries"; if [ "$(wc -l <"$dir/tries")" -le TIMES ]; then
REFUSAL
else obey; fi"#;
    let snippet = count.replace("TIMES", &times.to_string()).replace("REFUSAL", &refusal);
    fake.on("network-rm", &snippet);
}

#[test]
fn a_network_in_use_is_tried_again_for_a_while() {
    let fake = Fake::new();
    fake.up().keep().unwrap();
    in_use(&fake, 2);
    plan().discard(&fake.engine()).unwrap();
    fake.assert_nothing_left();

    // By the API, where no program has to start, more often.
    let engine = Scripted::new(|_, _| Act::Obey);
    plan().launch(&engine.engine(), BundleSpec::new()).unwrap().keep().unwrap();
    let tries = AtomicUsize::new(0);
    engine.script(move |request, _| match request {
        _ if request.starts_with("DELETE /networks")
            && tries.fetch_add(1, Ordering::SeqCst) < 6 =>
        {
            Act::Answer(403, r#"{"message": "network x has active endpoints"}"#.into())
        }
        _ => Act::Obey,
    });
    plan().discard(&engine.engine()).unwrap();
    assert_eq!(engine.resources(), 0);

    let fake = Fake::new();
    fake.up().keep().unwrap();
    in_use(&fake, usize::MAX >> 1);
    let start = Instant::now();
    let error = plan().discard(&fake.engine()).unwrap_err();
    assert_eq!(error.cause(), Some(Cause::NetworkInUse), "{error:?}");
    let took = start.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_secs(20)).contains(&took), "{took:?}");
}
