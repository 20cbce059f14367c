//! Guests: other containers in a bundle's network.

use sidecar_bundle::{BundleSpec, Container, Error, Ready, RestartPolicy, State};

use crate::engine::{LONG, World, cli, is_api, is_podman, world};

/// A guest of the stand-in image.
fn spec() -> BundleSpec {
    BundleSpec::new().image("claude-bottle-sidecars:latest").clear_daemons()
}

/// The output of a command in a container.
fn output(container: &Container, words: &[&str]) -> String {
    let done = container.exec(words.iter().copied(), LONG).unwrap();
    assert_eq!(done.code, 0, "{words:?}: {done:?}");
    done.stdout
}

fn up(slug: &'static str) -> Option<(World, sidecar_bundle::BundleRunning)> {
    let world = world(slug)?;
    let bundle = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
    Some((world, bundle))
}

#[test]
fn guests_have_addresses_of_their_own_and_go_before_their_bundle() {
    let Some((world, bundle)) = up("guests") else { return };
    let one = bundle.guest("one", spec().hardened()).unwrap();
    let two = bundle.guest("two", spec()).unwrap();
    let subnet = bundle.plan().subnet();
    assert!(subnet.contains(&one.ip()) && subnet.contains(&two.ip()));
    let mut all = vec![bundle.ip(), bundle.plan().gateway(), one.ip(), two.ip()];
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 4, "{one:?} {two:?}");
    assert_eq!(one.status().unwrap().address, Some(one.ip()));
    assert_eq!(one.container_name(), "claude-bottle-guest-guests-one");
    if is_api() {
        // The name of the other.
        assert!(output(&one, &["nslookup", "two"]).contains(&two.ip().to_string()));
        let page = format!("http://{}:8080/", bundle.ip());
        assert!(output(&one, &["wget", "-q", "-O", "-", &page]).contains("egress"));
    }
    // A name that is taken is that of a living guest, which stays.
    let error = bundle.guest("one", spec()).unwrap_err();
    assert_eq!(error.to_string(), "a guest one of this bundle lives");
    assert_eq!(one.status().unwrap().state, State::Running);
    two.close().unwrap();
    // Its name is free again.
    bundle.guest("two", spec()).unwrap().close().unwrap();
    drop(one);
    assert_eq!(bundle.status().unwrap().state, State::Running);
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_guest_in_the_bundles_network_namespace_has_its_addresses() {
    let Some((world, bundle)) = up("guest-ns") else { return };
    let guest = bundle.guest_in_namespace("agent", spec()).unwrap();
    assert_eq!(guest.ip(), bundle.ip());
    if is_api() {
        assert!(output(&guest, &["ip", "addr"]).contains(&format!(" {}/", bundle.ip())));
        bundle.wait_for(&Ready::log("egress: listening"), LONG).unwrap();
        assert!(
            output(&guest, &["wget", "-q", "-O", "-", "http://127.0.0.1:8080/"]).contains("egress")
        );
    }
    drop(guest);
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_guests_death_is_no_harm_to_its_bundle() {
    let Some((world, bundle)) = up("guest-dies") else { return };
    let dead = spec().entrypoint("sh").command(["-c", "echo bye; exit 3"]);
    match bundle.guest("dead", dead.clone()) {
        Err(Error::Died { exit, log, .. }) => assert_eq!((exit.code, &*log), (3, "bye")),
        Ok(guest) => assert_eq!(guest.wait_exit(LONG).unwrap().unwrap().code, 3),
        Err(error) => panic!("{error:?}"),
    }
    // Its name is free again, and so is that of one that restarts again and again. It may be seen dead.
    match bundle.guest("dead", dead.restart(RestartPolicy::Always)) {
        Err(Error::Died { .. }) if is_podman() => {}
        again => again.unwrap().close().unwrap(),
    }
    assert_eq!(bundle.status().unwrap().state, State::Running);
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_guest_is_refused_before_anything_is_made() {
    let Some((world, bundle)) = up("guest-refused") else { return };
    let refused = |name: &str, spec: BundleSpec| {
        let error = bundle.guest(name, spec).unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    };
    for name in ["", "a-b", "A", "a.b", "seventeen-letters", "abcdefghijklmnopq"] {
        refused(name, spec());
    }
    refused("a", BundleSpec::new());
    refused("a", spec().daemons(["egress"]));
    refused("a", spec().also_on("bridge"));
    let port = sidecar_bundle::PortMapping::tcp(80);
    for spec in
        [spec().publish(port), spec().network_alias("x"), spec().extra_host("x", [1, 1, 1, 1])]
    {
        let error = bundle.guest_in_namespace("a", spec).unwrap_err();
        assert!(error.to_string().contains("belongs to the bundle"), "{error:?}");
    }
    cli(&["kill", bundle.container_id()]);
    let error = bundle.guest_in_namespace("a", spec()).unwrap_err();
    assert!(matches!(error, Error::Died { .. }), "{error:?}");
    assert_eq!(bundle.status().unwrap().state, State::Exited, "nobody started it again");
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn the_example_of_an_agent_runs_and_leaves_its_log() {
    let Some(world) = world("agent").filter(|_| is_api()) else { return };
    let log = world.state.path().join("agent.log");
    crate::agent::run(&world.engine(), world.slug, &log).unwrap();
    assert!(std::fs::read_to_string(&log).unwrap().contains("supervisor: ready"));
    world.assert_nothing_left();
}
