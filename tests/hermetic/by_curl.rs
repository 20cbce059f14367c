//! The reaper where there is an engine's socket and not its program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::owner::Owner;
use crate::scripted::{Act, Scripted, described, manager};
use crate::surroundings::wait_for;

/// An owner whose reaper has curl and no program of the engine's; none where there is no curl.
fn owner_on(engine: &Scripted) -> Option<Owner> {
    let has_reaper = sidecar_bundle::Engine::docker()
        .with_program("/no/such/docker")
        .with_host("unix:///no/such/socket")
        .has_reaper();
    if !has_reaper {
        let required = std::env::var_os("SIDECAR_BUNDLE_ENGINE_TESTS");
        assert_ne!(required.unwrap_or_default(), "required", "there is no curl");
        eprintln!("SKIPPED: there is no curl");
        return None;
    }
    Some(Owner::start(&[
        "docker".to_owned(),
        "program=/no/such/docker".to_owned(),
        format!("host=unix://{}", engine.path("s").display()),
        format!("state={}", engine.path("leases").display()),
    ]))
}

#[test]
fn the_bundle_of_a_killed_owner_is_removed_without_the_engines_program() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let Some(mut owner) = owner_on(&engine) else { return };
    owner.expect("launch demo", "up");
    assert_eq!(engine.resources(), 2);
    owner.kill();
    wait_for("the removal", || engine.resources() == 0);
    let requests = engine.requests();
    let at = |start: &str| requests.iter().position(|it| it.starts_with(start)).unwrap();
    assert!(at("DELETE /containers/") < at("DELETE /networks/"), "{requests:?}");
}

/// Without a leader, a manager lists those networks alone that it has joined.
#[test]
fn a_reaper_believes_no_absence_of_a_network_while_the_swarm_has_no_leader() {
    let is_away = Arc::new(AtomicBool::new(false));
    let away = Arc::clone(&is_away);
    let engine = Scripted::new(move |request, _| match (request, away.load(Ordering::SeqCst)) {
        ("GET /info", false) => described("/", &manager("")),
        ("GET /info", true) => described("/", &manager("the swarm, it has no leader")),
        (request, true) if request.starts_with("GET /networks?") => Act::Answer(200, "[]".into()),
        _ => Act::Obey,
    });
    let Some(mut owner) = owner_on(&engine) else { return };
    owner.expect("launch demo overlay=true", "up");
    is_away.store(true, Ordering::SeqCst);
    owner.kill();
    wait_for("the container's removal", || engine.resources() == 1);
    // It would have looked three times by then.
    thread::sleep(Duration::from_secs(3));
    assert_eq!(engine.resources(), 1);
    is_away.store(false, Ordering::SeqCst);
    wait_for("the network's removal", || engine.resources() == 0);
}
