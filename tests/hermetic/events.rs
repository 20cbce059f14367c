//! The events of a running bundle.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use sidecar_bundle::{BundleEvent, BundleSpec, Events};

use crate::api::{answers, container};
use crate::fake::plan;
use crate::scripted::{Act, Scripted};

/// The looks at the container so far.
fn looks(engine: &Scripted) -> usize {
    engine.requests().iter().filter(|it| it.ends_with("/json")).count()
}

/// Reads until nothing has happened for a moment.
fn drain(events: &mut Events<'_>) -> Vec<BundleEvent> {
    let next = || events.next_timeout(Duration::from_millis(200)).unwrap();
    std::iter::from_fn(next).take(10).collect()
}

#[test]
fn while_nothing_happens_nothing_is_asked_and_a_wait_ends_in_time() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    engine.script(
        |request, _| {
            if request.contains("/events") { Act::Begin("") } else { Act::Obey }
        },
    );
    let mut events = bundle.events().unwrap();
    assert_eq!(drain(&mut events), [BundleEvent::Started]);
    let (before, start) = (looks(&engine), Instant::now());
    assert_eq!(events.next_timeout(Duration::from_millis(300)).unwrap(), None);
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(looks(&engine), before);
    drop(events);
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn the_end_of_a_command_in_the_container_is_not_that_of_the_container() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    let ended =
        json!({"Action": "exec_die", "Actor": {"Attributes": {"exitCode": "7"}}}).to_string();
    let missing = json!({"message": "No such container: x"}).to_string();
    let states = answers("/json", [container(true, 0), Act::Answer(404, missing)]);
    engine.script(move |request, _| match request {
        _ if request.contains("/events") => Act::Answer(200, ended.clone()),
        _ => states(request).unwrap_or(Act::Obey),
    });
    let events: Vec<_> = bundle.events().unwrap().map(Result::unwrap).collect();
    let [BundleEvent::Started, BundleEvent::Died { exit, .. }, BundleEvent::Gone] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(exit.code, -1, "nobody told it");
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

/// A running container of podman's, whose health is to be checked after each interval.
fn checked(interval: Duration) -> Act {
    let interval = u64::try_from(interval.as_nanos()).unwrap();
    let container = json!({
        "Id": "2".repeat(64), "NetworkSettings": {"Networks": {}},
        "Config": {"Labels": {}, "Healthcheck": {"Test": ["CMD", "true"], "Interval": interval}},
        "State": {
            "Status": "running", "Running": true, "StartedAt": "2026-01-01T00:00:00Z",
            "FinishedAt": "0001-01-01T00:00:00Z", "Health": {"Status": "starting"},
        },
    });
    Act::Answer(200, container.to_string())
}

#[test]
fn a_health_check_that_nobody_else_runs_is_run_while_events_are_awaited() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.podman(), BundleSpec::new()).unwrap();
    let checks = || engine.requests().iter().filter(|it| it.ends_with("/healthcheck")).count();
    let script = |interval| {
        engine.script(move |request, _| match request {
            _ if request.contains("/events") => Act::Begin(""),
            _ if request.ends_with("/json") => checked(interval),
            _ => Act::Obey,
        });
    };
    script(Duration::from_secs(3600));
    let mut events = bundle.events().unwrap();
    let started = drain(&mut events);
    assert_eq!(started.len(), 2, "{started:?}");
    let before = looks(&engine);
    assert_eq!(events.next_timeout(Duration::from_millis(300)).unwrap(), None);
    assert_eq!((looks(&engine), checks()), (before, 0), "the next check is an hour away");
    drop(events);

    script(Duration::from_millis(20));
    let mut events = bundle.events().unwrap();
    // A wait without time begins no check.
    for _ in 0..20 {
        events.next_timeout(Duration::ZERO).unwrap();
    }
    assert_eq!(checks(), 0);
    let start = Instant::now();
    // On a host with systemd, its timers are trusted for some seconds.
    let by_systemd = Path::new("/run/systemd/system").exists();
    while checks() < 2 && start.elapsed() < Duration::from_secs(if by_systemd { 0 } else { 20 }) {
        events.next_timeout(Duration::from_millis(100)).unwrap();
    }
    assert_eq!(checks() >= 2, !by_systemd);
    drop(events);
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}
