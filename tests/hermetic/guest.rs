//! Guests of a bundle.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use sidecar_bundle::{BundleSpec, Cause, Error, NetworkOptions, NetworkPlanned};

use crate::fake::plan;
use crate::scripted::{Act, Scripted, described, manager, worker};

#[test]
fn the_address_of_a_guest_is_waited_for() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    let looked = AtomicBool::new(false);
    // The network and the bundle's container were created before it.
    let (network, id) = (bundle.network_id().to_owned(), format!("{:064x}", 3));
    let inspect = format!("GET /containers/{id}/json");
    engine.script(move |request, _| {
        if request != inspect {
            return Act::Obey;
        }
        let ip = if looked.swap(true, Ordering::SeqCst) { "10.56.132.130" } else { "" };
        let container = json!({
            "Id": id, "Name": "/n", "Config": {"Labels": {}},
            "State": {"Status": "running", "FinishedAt": "0001-01-01T00:00:00Z"},
            "NetworkSettings": {"Networks": {"n": {"NetworkID": network, "IPAddress": ip}}},
        });
        Act::Answer(200, container.to_string())
    });
    let guest = bundle.guest("agent", BundleSpec::new().image("agent")).unwrap();
    assert_eq!(guest.ip().to_string(), "10.56.132.130");
    assert_eq!(guest.container_name(), "claude-bottle-guest-demo-agent");
    assert_eq!(guest.bundle().container_name(), "claude-bottle-sidecars-demo");
    let create = "POST /containers/create?name=claude-bottle-guest-demo-agent".to_owned();
    assert!(engine.requests().contains(&create), "{:?}", engine.requests());
    guest.close().unwrap();
    assert_eq!(engine.resources(), 2);
    bundle.close().unwrap();
}

#[test]
fn a_guest_that_may_be_left_is_told_where_it_is_closed() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let short = engine.engine().with_remove_deadline(Duration::from_millis(200));
    let bundle = plan().launch(&short, BundleSpec::new()).unwrap();
    let guest = bundle.guest_in_namespace("agent", BundleSpec::new().image("agent")).unwrap();
    engine.script(|request, _| {
        let is_removal = request.starts_with("DELETE");
        if is_removal { Act::Answer(500, "the moon is full".into()) } else { Act::Obey }
    });
    let error = guest.close().unwrap_err();
    assert!(matches!(error, Error::NotRemoved { .. }), "{error:?}");
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
    assert_eq!(engine.resources(), 1);
}

#[test]
fn a_name_that_is_none_of_a_guest_is_refused_before_the_engine_is_asked() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    let asked = engine.requests().len();
    let long = "a".repeat(17);
    for name in ["", "Agent", "an-agent", "an agent", long.as_str()] {
        for error in [
            bundle.guest(name, BundleSpec::new().image("agent")).unwrap_err(),
            bundle.guest_in_namespace(name, BundleSpec::new().image("agent")).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Invalid(_)), "{name:?}: {error:?}");
        }
    }
    assert_eq!(engine.requests().len(), asked);
    let longest = "a".repeat(16);
    drop(bundle.guest_in_namespace(&longest, BundleSpec::new().image("agent")).unwrap());
    bundle.close().unwrap();
}

fn overlay() -> NetworkPlanned {
    plan().with_options(NetworkOptions::new().overlay(true))
}

/// A node of a swarm, with an address for each guest.
fn node(root: &'static str, swarm: &'static str) -> Scripted {
    let swarm = match swarm {
        "manager" => manager(""),
        "worker" => worker(),
        _ => json!(null),
    };
    Scripted::new(move |request, _| match request {
        "GET /info" => described(root, &swarm),
        _ => Act::Obey,
    })
}

#[test]
fn a_guest_on_another_engine_has_an_owner_of_its_own() {
    let (here, there) = (node("/here", "manager"), node("/there", "worker"));
    let state = here.path("leases");
    let [manager, worker] = [&here, &there].map(|it| it.engine().with_state_dir(&state));
    let hourly = overlay().with_lifetime(Duration::from_secs(3600));
    let bundle = hourly.launch(&manager, BundleSpec::new()).unwrap();
    let network = bundle.network_id().to_owned();
    let expires = sidecar_bundle::bundles(&manager).unwrap()[0].expires.unwrap();
    // An expiry is in whole seconds.
    std::thread::sleep(Duration::from_millis(1100));
    let bodies = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&bodies);
    there.script(move |request, body| match request {
        "GET /info" => described("/there", &crate::scripted::worker()),
        request if request.starts_with("POST /containers/create") => {
            seen.lock().unwrap().push(body.to_owned());
            Act::Obey
        }
        request => crate::scripted::guest_on(&network, request).unwrap_or(Act::Obey),
    });
    let spec = || BundleSpec::new().image("agent");
    let one = bundle.guest_on(&worker, "one", spec()).unwrap();
    let two = bundle.guest_on(&worker, "two", spec()).unwrap();
    assert_eq!((here.resources(), there.resources()), (2, 2));
    assert_eq!(one.bundle().network_id(), bundle.network_id());
    let labels = |at: usize| -> serde_json::Value {
        let body: serde_json::Value = serde_json::from_str(&bodies.lock().unwrap()[at]).unwrap();
        assert_eq!(body["HostConfig"]["NetworkMode"], bundle.network_id());
        body["Labels"].clone()
    };
    let owner = "sidecar-bundle.owner";
    assert_eq!(labels(0)[owner], labels(1)[owner]);
    assert_eq!(labels(0)["sidecar-bundle.guest"], "one");
    assert_eq!(sidecar_bundle::bundles(&worker).unwrap()[0].expires, Some(expires));
    assert!(
        matches!(plan().launch(&worker, BundleSpec::new()), Err(it) if matches!(it.error(), Error::Taken { .. }))
    );
    two.close().unwrap();
    drop(one);
    assert_eq!(there.resources(), 0);
    bundle.close().unwrap();
    assert_eq!(here.resources(), 0);
    assert_eq!(sidecar_bundle::sweep(&worker).unwrap().len(), 0);
}

/// All of them list it, and one of them has its lease.
#[test]
fn the_network_of_another_engine_of_the_swarm_is_left_alone() {
    let engine = Scripted::new(|request, _| match request {
        "GET /info" => described("/here", &manager("")),
        _ => Act::Obey,
    });
    let plan = overlay().with_lifetime(Duration::from_millis(1));
    let network = plan.create_network(&engine.engine()).unwrap();
    let other_state = tempfile::tempdir().unwrap();
    for role in [manager(""), worker()] {
        engine.script(move |request, _| match request {
            "GET /info" => described("/there", &role),
            _ => Act::Obey,
        });
        for other in [engine.engine(), engine.engine().with_state_dir(other_state.path())] {
            std::thread::sleep(Duration::from_millis(1100));
            assert_eq!(sidecar_bundle::bundles(&other).unwrap().len(), 0);
            assert_eq!(sidecar_bundle::sweep_dry_run(&other).unwrap().len(), 0);
            assert_eq!(sidecar_bundle::sweep(&other).unwrap().len(), 0);
            let discarded = overlay().discard(&other).unwrap();
            assert_eq!((discarded.containers.len(), discarded.networks.len()), (0, 0));
            assert_eq!(engine.resources(), 1);
        }
    }
    engine.script(|request, _| match request {
        "GET /info" => described("/here", &manager("")),
        _ => Act::Obey,
    });
    assert_eq!(sidecar_bundle::bundles(&engine.engine()).unwrap().len(), 1);
    network.close().unwrap();
    assert_eq!(engine.resources(), 0);
}

#[test]
fn an_engine_that_falls_silent_holds_up_no_guest_on_another_one() {
    let (here, silent, there) =
        (node("/here", "manager"), node("/silent", "worker"), node("/there", "worker"));
    let bundle = overlay().launch(&here.engine(), BundleSpec::new()).unwrap();
    let gate = std::sync::Arc::new(AtomicBool::new(false));
    let (its, asked) = (std::sync::Arc::clone(&gate), std::sync::Arc::new(AtomicBool::new(false)));
    let seen = std::sync::Arc::clone(&asked);
    silent.script(move |request, _| match request {
        "GET /info" => described("/silent", &worker()),
        "GET /networks" => {
            seen.store(true, Ordering::SeqCst);
            Act::ObeyAfter(std::sync::Arc::clone(&its))
        }
        _ => Act::Obey,
    });
    let network = bundle.network_id().to_owned();
    there.script(move |request, _| match request {
        "GET /info" => described("/there", &worker()),
        _ => crate::scripted::guest_on(&network, request).unwrap_or(Act::Obey),
    });
    let spec = || BundleSpec::new().image("agent");
    std::thread::scope(|scope| {
        let held = scope.spawn(|| bundle.guest_on(&silent.engine(), "silent", spec()).map(drop));
        crate::surroundings::wait_for("the look", || asked.load(Ordering::SeqCst));
        bundle.guest_on(&there.engine(), "there", spec()).unwrap().close().unwrap();
        assert!(!held.is_finished());
        gate.store(true, Ordering::SeqCst);
        // The engine gives the guest no address.
        assert!(matches!(held.join().unwrap(), Err(Error::Look { .. })));
    });
    bundle.close().unwrap();
    assert_eq!(here.resources() + silent.resources() + there.resources(), 0);
}

#[test]
fn a_kept_overlay_that_a_manager_does_not_see_is_not_replaced() {
    let engine = node("/here", "manager");
    let kept = overlay().launch(&engine.engine(), BundleSpec::new()).unwrap().keep().unwrap();
    let no_leader = "rpc error: code = Unknown desc = The swarm does not have a leader.";
    for role in [manager(no_leader), worker()] {
        engine.script(move |request, _| match request {
            "GET /info" => described("/here", &role),
            request if request.starts_with("GET /networks/00") => {
                Act::Answer(404, json!({"message": "network not found"}).to_string())
            }
            request if request.starts_with("GET /networks?") => Act::Answer(200, "[]".into()),
            _ => Act::Obey,
        });
        let docker = engine.engine();
        let error = kept.clone().attach(&docker).unwrap_err();
        assert!(matches!(error.error(), Error::Look { .. }), "{error:?}");
        let failed = kept.clone().attach_or_launch(&docker, BundleSpec::new()).unwrap_err();
        assert!(matches!(failed.error(), Error::Look { .. }), "{failed:?}");
        assert_eq!(engine.resources(), 2);
    }
    engine.script(|request, _| match request {
        "GET /info" => described("/here", &manager("")),
        _ => Act::Obey,
    });
    kept.attach(&engine.engine()).unwrap().close().unwrap();
    assert_eq!(engine.resources(), 0);
}

#[test]
fn a_guest_is_only_on_an_engine_of_the_bundles_swarm() {
    let (here, there) = (node("/here", "manager"), node("/there", "none"));
    let spec = || BundleSpec::new().image("agent");
    let bridge = plan().launch(&here.engine(), BundleSpec::new()).unwrap();
    let error = bridge.guest_on(&there.engine(), "one", spec()).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    bridge.close().unwrap();
    let bundle = overlay().launch(&here.engine(), BundleSpec::new()).unwrap();
    let error = bundle.guest_on(&there.engine(), "one", spec()).unwrap_err();
    assert_eq!(error.cause(), Some(Cause::SwarmMissing), "{error:?}");
    assert!(matches!(error, Error::Start { .. }), "{error:?}");
    let podman = Scripted::new(|_, _| Act::Obey);
    let error = bundle.guest_on(&podman.podman(), "one", spec()).unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error:?}");
    assert_eq!(there.resources() + podman.resources(), 0);
    bundle.close().unwrap();
}

/// Without a leader, a manager lists those networks alone that it has joined.
#[test]
fn the_absence_of_an_overlay_counts_only_while_its_swarm_has_a_leader() {
    const ID: &str = "abcdefghijklmnopqrstuvwx1";
    let is_away = std::sync::Arc::new(AtomicBool::new(false));
    let away = std::sync::Arc::clone(&is_away);
    let engine = Scripted::new(move |request, _| {
        let is_away = away.load(Ordering::SeqCst);
        let no_leader = "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online.";
        match request {
            "GET /info" => described("/", &manager(if is_away { no_leader } else { "" })),
            "POST /networks/create" => Act::Answer(201, json!({"Id": ID}).to_string()),
            request if request.starts_with("GET /networks/abc") => {
                let network = json!({
                    "Id": ID, "Name": "n", "Driver": "overlay",
                    "IPAM": {"Config": [{"Subnet": "10.56.132.0/24", "Gateway": "10.56.132.1"}]},
                });
                Act::Answer(200, network.to_string())
            }
            request if request.starts_with("DELETE /networks") && is_away => {
                Act::Answer(500, json!({"message": no_leader}).to_string())
            }
            request if request.starts_with("DELETE /networks") => Act::Answer(204, String::new()),
            _ => Act::Obey,
        }
    });
    let create = || overlay().create_network(&engine.engine()).unwrap();
    let network = create();
    is_away.store(true, Ordering::SeqCst);
    let error = network.close().unwrap_err();
    assert!(matches!(error, Error::NotRemoved { .. }), "{error:?}");
    assert_eq!(error.cause(), Some(Cause::SwarmUnreachable), "{error:?}");
    assert!(error.to_string().contains(ID), "{error}");
    // A sweep does not call it clean.
    let swept = sidecar_bundle::sweep(&engine.engine()).unwrap();
    let outcome = &swept[0].outcome;
    assert!(matches!(outcome, sidecar_bundle::SweptOutcome::Failed(_)), "{outcome:?}");
    is_away.store(false, Ordering::SeqCst);
    create().close().unwrap();
    assert_eq!(sidecar_bundle::sweep(&engine.engine()).unwrap().len(), 0);
}
