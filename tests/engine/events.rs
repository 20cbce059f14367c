//! Events of a running bundle.

use std::time::{Duration, Instant};

use sidecar_bundle::{BundleEvent, BundleSpec, Error, Events, Health};

use crate::engine::{LONG, cli, is_api, sh, with_option, world};
use crate::relay::{Relay, Treatment};

#[track_caller]
fn next(events: &mut Events<'_>) -> BundleEvent {
    events.next_timeout(LONG).unwrap().unwrap()
}

#[track_caller]
fn code(event: &BundleEvent) -> i32 {
    let BundleEvent::Died { exit, log, .. } = event else { panic!("{event:?}") };
    assert!(log.ends_with("bye"), "{log}");
    exit.code
}

#[test]
fn what_happens_to_a_bundle_is_told_as_it_happens() {
    let Some(world) = world("events") else { return };
    let check = r#"{"Test": ["CMD-SHELL", "test -e /tmp/healthy"], "Interval": 100000000, "Retries": 1000}"#;
    let spec = sh("trap 'echo bye; exit 3' USR1; while :; do sleep 0.05; done");
    let spec = with_option(spec, ("Healthcheck", check), &[]);
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    if !is_api() {
        assert!(matches!(bundle.events(), Err(Error::Unsupported(_))));
        bundle.close().unwrap();
        return;
    }
    let id = bundle.container_id().to_owned();
    let mut events = bundle.events().unwrap();
    assert_eq!(next(&mut events), BundleEvent::Started);
    assert_eq!(next(&mut events), BundleEvent::Health(Health::Starting));
    bundle.exec(["touch", "/tmp/healthy"], LONG).unwrap();
    assert_eq!(next(&mut events), BundleEvent::Health(Health::Healthy));
    assert_eq!(events.next_timeout(Duration::from_millis(100)).unwrap(), None);
    let start = Instant::now();
    cli(&["kill", "--signal", "USR1", &id]);
    assert_eq!(code(&next(&mut events)), 3);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    cli(&["start", &id]);
    assert_eq!(next(&mut events), BundleEvent::Restarted);
    cli(&["rm", "--force", "--volumes", &id]);
    let last: Vec<_> =
        events.map(Result::unwrap).filter(|it| !matches!(it, BundleEvent::Health(_))).collect();
    assert_eq!(last.last(), Some(&BundleEvent::Gone), "{last:?}");
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn events_go_on_over_connections_that_are_cut() {
    let Some(world) = world("cut-events").filter(|_| is_api()) else { return };
    let cut_idle = Some(Duration::from_millis(1500));
    let relay =
        Relay::start(&world.state.path().join("relay"), &Treatment { cut_idle, hold: None });
    let engine = world.engine().with_host(relay.address());
    let spec: BundleSpec = sh("sleep 4; echo bye; exit 5");
    let bundle = world.plan().launch(&engine, spec).unwrap();
    let mut events = bundle.events().unwrap();
    assert_eq!(next(&mut events), BundleEvent::Started);
    assert_eq!(code(&next(&mut events)), 5);
    drop(events);
    bundle.close().unwrap();
    world.assert_nothing_left();
}
