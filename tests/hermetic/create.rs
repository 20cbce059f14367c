//! Creating the network: its failures, what they hand back, and what is left.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidecar_bundle::{BundleSpec, Cause, Error};

use crate::fake::{ELSEWHERE, Fake, NETWORK, plan};
use crate::faults::for_each_fault;
use crate::scripted::{Act, Scripted};
use crate::texts::{OVERLAP, PERMISSION, UNKNOWN, UNREACHABLE, refuse};

#[test]
fn a_refused_network_leaves_the_plan_and_nothing_else() {
    for (says, cause, looks) in [
        (UNREACHABLE, Cause::EngineUnreachable, 0),
        (PERMISSION, Cause::PermissionDenied, 0),
        // It may have created a network all the same.
        (UNKNOWN, Cause::Other, 3),
    ] {
        let fake = Fake::new();
        fake.on("network-create", &refuse(1, says));
        let chain = [
            "network claude-bottle-bundle-demo could not be created".to_owned(),
            format!("docker network create ended with exit status: 1: {says}"),
        ];
        let failed = plan().create_network(&fake.engine()).unwrap_err();
        assert!(
            matches!(failed.error(), Error::CreateNetwork { network, .. } if network == NETWORK)
        );
        assert_eq!(failed.error().cause(), Some(cause));
        assert_eq!(fake.chain(&failed), chain);
        assert_eq!(fake.operations()[1..], vec!["network ls"; looks]);

        // With `?`, the same.
        let error = fake.try_up().unwrap_err();
        assert_eq!((error.cause(), fake.chain(&error)), (Some(cause), chain.into()));

        // With `match`, another try.
        fake.obey("network-create");
        let again = failed.into_state();
        assert_eq!(again, plan());
        again.create_network(&fake.engine()).unwrap().close().unwrap();
        fake.assert_nothing_left();
    }
}

#[test]
fn the_error_of_a_taken_subnet_names_its_holder() {
    let fake = Fake::new();
    let id = fake.foreign_network("else", &["subnet=10.56.0.0/16", "gateway=10.56.0.1"]);
    fake.on("network-create", &refuse(1, OVERLAP));
    let failed = plan().create_network(&fake.engine()).unwrap_err();
    assert!(matches!(failed.error(), Error::SubnetTaken { .. }), "{failed:?}");
    assert_eq!(failed.error().cause(), Some(Cause::SubnetOverlap));
    assert_eq!(
        fake.chain(&failed),
        [
            "subnet 10.56.132.0/24 is taken by network else (10.56.0.0/16)".to_owned(),
            format!("docker network create ended with exit status: 1: {OVERLAP}"),
        ]
    );
    assert_eq!(fake.operations()[1..], ["network ls", "network inspect"]);
    assert_eq!(fake.resources(), [("else".into(), id.clone())]);

    // If no network holds it, a route may.
    std::fs::remove_file(fake.path("network").join(id)).unwrap();
    let error = fake.try_up().unwrap_err();
    assert_eq!(
        error.to_string(),
        "subnet 10.56.132.0/24 is taken by something that the engine does not name; next_attempt or create_network_in_free_subnet moves a derived subnet on"
    );
    fake.assert_nothing_left();
}

#[test]
fn a_search_waits_for_networks_that_are_being_made() {
    // Twelve others have asked first: their subnets are refused, and the networks are listed two seconds later.
    let begun = Instant::now();
    let taken = Mutex::new(Vec::<Value>::new());
    let engine = Scripted::new(move |request, body| {
        let mut taken = taken.lock().unwrap();
        match request {
            "POST /networks/create" if taken.len() < 12 => {
                let body: Value = serde_json::from_str(body).unwrap();
                taken.push(body["IPAM"].clone());
                Act::Answer(403, json!({"message": "Pool overlaps with other one"}).to_string())
            }
            "GET /networks" if begun.elapsed().as_secs() >= 2 => {
                let network = |(number, ipam)| {
                    let (id, name) = (format!("{number:064x}"), format!("other-{number}"));
                    json!({"Id": id, "Name": name, "IPAM": ipam})
                };
                let networks: Vec<_> = taken.iter().enumerate().map(network).collect();
                Act::Answer(200, json!(networks).to_string())
            }
            _ => Act::Obey,
        }
    });
    let network = plan().create_network_in_free_subnet(&engine.engine()).unwrap();
    assert_eq!(network.plan().addressing().attempt(), 12);
    network.close().unwrap();
    assert_eq!(engine.resources(), 0);
}

#[test]
fn a_search_ends_when_the_engine_refuses_every_subnet() {
    let fake = Fake::new();
    fake.on("info", ELSEWHERE);
    fake.on("network-ls", "none");
    fake.on(
        "network-create",
        r#"fail 1 "$daemon Pool overlaps with other one on this address space""#,
    );
    let failed = plan().create_network_in_free_subnet(&fake.engine()).unwrap_err();
    assert!(matches!(failed.error(), Error::SubnetTaken { holder: None, .. }), "{failed:?}");
    let creates = fake.operations().into_iter().filter(|it| it == "network create").count();
    assert_eq!(creates, 8);
    assert_eq!(failed.into_state().addressing().attempt(), 7);
    fake.assert_nothing_left();
}

#[test]
fn a_kept_network_is_taken_over() {
    let fake = Fake::new();
    let network = plan().create_network(&fake.engine()).unwrap();
    let id = network.network_id().to_owned();
    let plan = network.keep().unwrap();
    assert_eq!(fake.operations(), ["network create"]);

    let network = plan.create_network(&fake.engine()).unwrap();
    assert_eq!(network.network_id(), id);
    assert_eq!(fake.operations()[1..], ["network inspect", "ps", "network ls"]);
    let bundle = network.start(BundleSpec::new()).unwrap();
    assert_eq!(bundle.network_id(), id);
    bundle.close().unwrap();
    assert_eq!(fake.calls().last().unwrap().args, ["network", "rm", &id]);
    fake.assert_nothing_left();
}

#[test]
fn a_network_whose_answer_is_late_is_removed() {
    let fake = Fake::new();
    fake.on("network-create", "obey >/dev/null; echo 'still at it' >&2; exec sleep 60");
    let engine = fake.engine().with_start_deadline(Duration::from_secs(1));
    let failed = plan().create_network(&engine).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::TimedOut));
    assert_eq!(
        fake.chain(&failed),
        [
            "network claude-bottle-bundle-demo could not be created",
            "docker network create was killed at its deadline: still at it",
        ]
    );
    assert_eq!(fake.operations().iter().filter(|op| *op == "network rm").count(), 1);
    fake.assert_nothing_left();
    fake.obey("network-create");
    failed.into_state().create_network(&engine).unwrap().close().unwrap();
}

#[test]
fn a_network_that_appears_after_its_command_was_killed_is_removed() {
    let fake = Fake::new();
    fake.on("network-create", "( sleep 1; obey >/dev/null 2>&1 ) & exec sleep 60");
    let engine = fake.engine().with_start_deadline(Duration::from_millis(400));
    let failed = plan().create_network(&engine).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::TimedOut));
    let operations = fake.operations();
    assert_eq!(operations[..2], ["network create", "network ls"], "removed before it appeared");
    assert!(operations.contains(&"network rm".into()), "{operations:?}");
    fake.assert_nothing_left();
}

#[test]
fn an_answer_without_an_id_is_an_error_and_the_network_is_removed() {
    for (answer, ending) in [("echo done", ": done"), ("", "")] {
        let fake = Fake::new();
        fake.on("network-create", &format!("obey >/dev/null; {answer}"));
        let failed = plan().create_network(&fake.engine()).unwrap_err();
        assert_eq!(failed.error().cause(), Some(Cause::Other));
        assert_eq!(
            fake.chain(&failed),
            [
                "network claude-bottle-bundle-demo could not be created".to_owned(),
                format!("docker network create did not answer with an id{ending}"),
            ]
        );
        fake.assert_nothing_left();
    }
}

#[test]
fn a_lost_answer_never_removes_a_foreign_network_of_the_same_name() {
    let fake = Fake::new();
    let id = fake.foreign_network(NETWORK, &["subnet=10.56.132.0/24", "gateway=10.56.132.1"]);
    fake.on("network-create", "kill -9 $$");
    let failed = plan().create_network(&fake.engine()).unwrap_err();
    assert_eq!(
        fake.chain(&failed)[1],
        "docker network create ended with signal: 9 (SIGKILL) and printed nothing"
    );
    assert_eq!(fake.resources(), [(NETWORK.into(), id)]);
}

#[test]
fn an_engine_that_is_away_for_a_moment_after_a_lost_answer_is_asked_again() {
    let fake = Fake::new();
    let lost = "error during connect: Post \"http://x/networks/create\": EOF";
    fake.on("network-create", &format!("obey >/dev/null\n{}", refuse(1, lost)));
    let away = "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?";
    fake.once("network-ls", &refuse(1, away));
    let failed = plan().create_network(&fake.engine()).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::EngineUnreachable));
    fake.assert_nothing_left();
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
