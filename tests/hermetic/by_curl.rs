//! The reaper where there is an engine's socket and not its program.

use crate::owner::Owner;
use crate::scripted::{Act, Scripted};
use crate::surroundings::wait_for;

#[test]
fn the_bundle_of_a_killed_owner_is_removed_without_the_engines_program() {
    if !sidecar_bundle::Engine::docker()
        .with_program("/no/such/docker")
        .with_host("unix:///no/such/socket")
        .has_reaper()
    {
        let required = std::env::var_os("SIDECAR_BUNDLE_ENGINE_TESTS");
        assert_ne!(required.unwrap_or_default(), "required", "there is no curl");
        eprintln!("SKIPPED: there is no curl");
        return;
    }
    let engine = Scripted::new(|_, _| Act::Obey);
    let words = [
        "docker".to_owned(),
        "program=/no/such/docker".to_owned(),
        format!("host=unix://{}", engine.path("s").display()),
        format!("state={}", engine.path("leases").display()),
    ];
    let mut owner = Owner::start(&words);
    owner.expect("launch demo", "up");
    assert_eq!(engine.resources(), 2);
    owner.kill();
    wait_for("the removal", || engine.resources() == 0);
    let requests = engine.requests();
    let at = |start: &str| requests.iter().position(|it| it.starts_with(start)).unwrap();
    assert!(at("DELETE /containers/") < at("DELETE /networks/"), "{requests:?}");
}
