//! Creating the network: its failures, what they hand back, and what is left.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidecar_bundle::{
    Addressing, BundleSpec, Cause, Error, Holder, Ipv6Addressing, NetworkOptions, NetworkPlanned,
    Slug,
};

use crate::fake::{ELSEWHERE, Fake, NETWORK, plan};
use crate::faults::for_each_fault;
use crate::owner::Owner;
use crate::scripted::{Act, Scripted, described, manager, worker};
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
    // Not to the end of its patience, which is 15 seconds.
    assert!(begun.elapsed().as_secs() < 14, "{:?}", begun.elapsed());
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
fn a_kept_network_that_somebody_removed_is_forgotten() {
    let fake = Fake::new();
    let network = plan().create_network(&fake.engine()).unwrap();
    let id = network.network_id().to_owned();
    let plan = network.keep().unwrap();
    std::fs::remove_file(fake.path("network").join(&id)).unwrap();
    let bundle = plan.launch(&fake.engine(), BundleSpec::new()).unwrap();
    assert_ne!(bundle.network_id(), id);
    bundle.close().unwrap();
    fake.assert_nothing_left();
    let leases: Vec<_> = std::fs::read_dir(fake.path("leases")).unwrap().collect();
    assert!(leases.is_empty(), "{leases:?}");
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

#[test]
fn a_network_that_is_in_the_way_and_then_gone_is_no_obstacle() {
    let fake = Fake::new();
    fake.once(
        "network-create",
        &refuse(
            1,
            &format!("Error response from daemon: network with name {NETWORK} already exists"),
        ),
    );
    plan().create_network(&fake.engine()).unwrap().close().unwrap();
    let creates = fake.operations().into_iter().filter(|it| it == "network create").count();
    assert_eq!(creates, 2);
    fake.assert_nothing_left();
}

#[test]
fn the_difference_of_somebody_elses_network_is_told() {
    let plan = || plan().with_ipv6();
    let ipv6 = plan().ipv6().unwrap();
    let own = json!({"Subnet": "10.56.132.0/24", "Gateway": "10.56.132.1"});
    let own6 = json!({"Subnet": ipv6.subnet().to_string(), "Gateway": ipv6.gateway()});
    let other = |subnet: &str, gateway: &str| json!({"Subnet": subnet, "Gateway": gateway});
    for (configs, field, found) in [
        (json!([]), "subnet", None),
        (json!([other("10.56.133.0/24", "10.56.133.1")]), "subnet", Some("10.56.133.0/24")),
        (json!([other("10.56.132.0/24", "10.56.132.9")]), "gateway", Some("10.56.132.9")),
        (json!([own]), "IPv6 subnet", None),
        (json!([own, other("fd00::/64", "fd00::1")]), "IPv6 subnet", None),
        (json!([own, own6]), "sidecar-bundle.attempt", None),
    ] {
        let network = json!({"Id": "f".repeat(64), "Name": NETWORK, "IPAM": {"Config": configs}});
        let network = network.to_string();
        let exists = json!({"message": format!("network with name {NETWORK} already exists")});
        let engine = Scripted::new(move |request, _| match request {
            "POST /networks/create" => Act::Answer(409, exists.to_string()),
            _ if request == format!("GET /networks/{NETWORK}") => Act::Answer(200, network.clone()),
            _ => Act::Obey,
        });
        let failed = plan().create_network(&engine.engine()).unwrap_err();
        let Error::NetworkDiffers { field: differs, found: has, .. } = failed.error() else {
            panic!("{configs}: {failed:?}")
        };
        assert_eq!((differs.as_str(), has.as_deref()), (field, found), "{configs}");
    }
}

/// An engine whose bridges may be on this host, with these networks in its lists, the last again and again.
#[cfg(target_os = "linux")]
fn perhaps_here(lists: &[Value]) -> Scripted {
    let info = json!({"ID": "ID", "Name": "other", "ServerVersion": "20.10.24"}).to_string();
    let missing = json!({"message": "network bridge not found"}).to_string();
    let mut lists: std::collections::VecDeque<_> = lists.iter().map(Value::to_string).collect();
    // The engine is asked for its place with the first one.
    lists.push_front("[]".into());
    let lists = Mutex::new(lists);
    Scripted::new(move |request, _| match request {
        "GET /info" => Act::Answer(200, info.clone()),
        "GET /networks/bridge" => Act::Answer(404, missing.clone()),
        "GET /networks" => {
            let mut lists = lists.lock().unwrap();
            let list = lists[0].clone();
            if lists.len() > 1 {
                lists.pop_front();
            }
            Act::Answer(200, list)
        }
        _ => Act::Obey,
    })
}

#[cfg(target_os = "linux")]
fn network_on(bridge: &str, subnet: &str) -> Value {
    json!({
        "Id": "f".repeat(64), "Name": "other", "Driver": "bridge",
        "Options": {"com.docker.network.bridge.name": bridge},
        "IPAM": {"Config": [{"Subnet": subnet}]},
    })
}

/// Every host has the loopback interface.
#[test]
#[cfg(target_os = "linux")]
fn an_interface_of_the_engines_host_is_not_taken_for_a_bridge() {
    let named = || plan().with_options(NetworkOptions::new().bridge_name("lo"));
    let creates = |engine: &Scripted| {
        engine.requests().iter().filter(|it| *it == "POST /networks/create").count()
    };
    let engine = perhaps_here(&[json!([network_on("sb0", "192.0.2.0/24")])]);
    let start = Instant::now();
    let failed = named().create_network(&engine.engine()).unwrap_err();
    let Error::BridgeExists { name, .. } = failed.error() else { panic!("{failed:?}") };
    assert_eq!((name.as_str(), creates(&engine)), ("lo", 0));
    // It does not go away.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    // A bridge of the engine's own is its own business, and so is an interface where the engine is not.
    for engine in [
        perhaps_here(&[json!([network_on("lo", "192.0.2.0/24")])]),
        Scripted::new(|_, _| Act::Obey),
    ] {
        let network = named().create_network(&engine.engine()).unwrap();
        assert_eq!(creates(&engine), 1);
        network.close().unwrap();
    }
    // One name that no interface has.
    let engine = perhaps_here(&[json!([])]);
    let free = plan().with_options(NetworkOptions::new().bridge_name("no-such-bridge"));
    free.create_network(&engine.engine()).unwrap().close().unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn the_bridge_of_a_previous_owner_is_waited_for() {
    // By the second list, the engine's bridge is known.
    let engine = perhaps_here(&[json!([]), json!([network_on("lo", "192.0.2.0/24")])]);
    let words = [
        "docker".to_owned(),
        format!("host=unix://{}", engine.path("s").display()),
        format!("state={}", engine.path("leases").display()),
        "reaper=false".to_owned(),
    ];
    let mut owner = Owner::start(&words);
    owner.expect("launch demo", "up");
    owner.kill();
    let named = plan().with_options(NetworkOptions::new().bridge_name("lo"));
    named.create_network(&engine.engine()).unwrap().close().unwrap();
    assert_eq!(engine.resources(), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn a_subnet_in_which_the_engines_host_has_an_address_is_taken() {
    let own = || {
        let (gateway, bundle) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        Addressing::new("127.0.0.0/24".parse().unwrap(), gateway, bundle).unwrap()
    };
    let on_loopback = || plan().with_addressing(own());
    let elsewhere = json!([network_on("sb0", "192.0.2.0/24")]);
    let engine = perhaps_here(&[elsewhere]);
    let failed = on_loopback().create_network(&engine.engine()).unwrap_err();
    let Error::SubnetTaken { subnet, holder, .. } = failed.error() else { panic!("{failed:?}") };
    assert_eq!(*subnet, "127.0.0.0/24".parse().unwrap());
    let is_loopback = |it: &Holder| matches!(it, Holder::Interface { name, .. } if name == "lo");
    assert!(holder.as_ref().is_some_and(is_loopback), "{holder:?}");
    assert!(!engine.requests().contains(&"POST /networks/create".into()));
    // The engine itself refuses a subnet of its networks, and a subnet on another host is in nobody's way.
    for engine in [
        perhaps_here(&[json!([network_on("sb0", "127.0.0.0/16")])]),
        Scripted::new(|_, _| Act::Obey),
    ] {
        on_loopback().create_network(&engine.engine()).unwrap().close().unwrap();
    }
}

#[test]
fn a_search_ends_where_addresses_that_were_given_are_taken() {
    let ip = |text: &str| text.parse().unwrap();
    let given =
        Ipv6Addressing::new("fd00:1::/64".parse().unwrap(), ip("fd00:1::1"), ip("fd00:1::2"));
    let plan = NetworkPlanned::new(Slug::new("demo").unwrap()).with_ipv6_addressing(given.unwrap());
    // Its holder is there when the engine has refused it, and not before.
    let refused = std::sync::atomic::AtomicBool::new(false);
    let overlap = json!({"message": "Pool overlaps with other one on this address space"});
    let engine = Scripted::new(move |request, _| match request {
        "POST /networks/create" => {
            refused.store(true, std::sync::atomic::Ordering::SeqCst);
            Act::Answer(403, overlap.to_string())
        }
        "GET /networks" if refused.load(std::sync::atomic::Ordering::SeqCst) => {
            let network = json!([{
                "Id": "f".repeat(64), "Name": "other",
                "IPAM": {"Config": [{"Subnet": "fd00:1::/64"}]},
            }]);
            Act::Answer(200, network.to_string())
        }
        _ => Act::Obey,
    });
    let failed = plan.create_network_in_free_subnet(&engine.engine()).unwrap_err();
    let Error::SubnetTaken { subnet, .. } = failed.error() else { panic!("{failed:?}") };
    assert_eq!(*subnet, "fd00:1::/64".parse().unwrap());
    let creates = engine.requests().iter().filter(|it| *it == "POST /networks/create").count();
    assert_eq!((creates, failed.into_state().addressing().attempt()), (1, 0));
}

#[test]
fn what_may_be_left_of_a_lost_create_is_found_by_a_command() {
    let fake = Fake::new();
    let lost = "error during connect: Post \"http://x/networks/create\": EOF";
    fake.on("network-create", &format!("obey >/dev/null\n{}", refuse(1, lost)));
    fake.on("network-ls", &refuse(1, UNKNOWN));
    let engine = fake.engine().with_remove_deadline(Duration::from_millis(400));
    let failed = plan().create_network(&engine).unwrap_err();
    let label = format!("--filter label=sidecar-bundle.owner={}", fake.calls()[0].drawn("owner"));
    let command = "docker network ls --no-trunc --format '{{.ID}}'";
    let text = fake.text(&failed);
    assert!(text.contains(command) && text.contains(&label), "{text}");
    // It ends before a look would be cut short.
    let Error::Several(errors) = failed.error() else { panic!("{failed:?}") };
    let chain = fake.chain(&errors.as_slice()[1]);
    assert!(chain.last().unwrap().ends_with(UNKNOWN), "{chain:?}");
    fake.obey("network-ls");
}

#[test]
fn a_short_deadline_of_looks_does_not_end_the_looks_for_a_lost_create() {
    let fake = Fake::new();
    fake.on("network-create", "exit 1");
    let engine = fake.engine().with_remove_deadline(Duration::from_millis(700));
    let failed = plan().create_network(&engine).unwrap_err();
    assert!(matches!(failed.error(), Error::CreateNetwork { .. }), "{failed:?}");
    fake.assert_nothing_left();
}

/// A request of a dead owner had its effect meanwhile.
#[test]
fn a_network_of_a_previous_owner_that_appears_is_no_obstacle() {
    let exists = format!("Error response from daemon: network with name {NETWORK} already exists");
    for refusal in [exists.as_str(), OVERLAP] {
        let fake = Fake::new();
        let mut owner = fake.owner(&["reaper=false"]);
        owner.expect("create demo", "network");
        owner.kill();
        let theirs = "s/^label=sidecar-bundle.owner=.*/label=sidecar-bundle.owner=0/";
        let makes = format!("id=$(obey); sed -i '{theirs}' \"$dir/network/$id\"");
        fake.once("network-create", &format!("{makes}\n{}", refuse(1, refusal)));
        plan().create_network(&fake.engine()).unwrap().close().unwrap();
        fake.assert_nothing_left();
    }
}

fn overlay() -> NetworkPlanned {
    plan().with_options(NetworkOptions::new().overlay(true))
}

#[test]
fn only_a_manager_of_a_swarm_is_asked_for_an_overlay() {
    let no_leader = "rpc error: code = Unknown desc = The swarm does not have a leader.";
    for (swarm, cause) in [
        (json!({"LocalNodeState": "inactive", "ControlAvailable": false}), Cause::SwarmMissing),
        (worker(), Cause::NotSwarmManager),
        (manager(no_leader), Cause::SwarmUnreachable),
    ] {
        let engine = Scripted::new(move |request, _| match request {
            "GET /info" => described("/", &swarm),
            _ => Act::Obey,
        });
        let failed = overlay().launch(&engine.engine(), BundleSpec::new()).unwrap_err();
        assert_eq!(failed.error().cause(), Some(cause), "{failed}");
        assert!(matches!(failed.error(), Error::CreateNetwork { .. }), "{failed:?}");
        assert!(!engine.requests().iter().any(|it| it.starts_with("POST")), "{cause:?}");
    }
    let podman = Scripted::new(|_, _| Act::Obey);
    let failed = overlay().create_network(&podman.podman()).unwrap_err();
    assert!(matches!(failed.error(), Error::Unsupported(_)), "{failed:?}");
}

/// Docker answers before its swarm looks for a subnet, and leaves the network without one if it is taken.
#[test]
fn an_overlay_without_a_subnet_is_removed() {
    let engine = Scripted::new(|request, _| match request {
        "GET /info" => described("/", &manager("")),
        request if request.starts_with("GET /networks/00") => {
            let id = &request["GET /networks/".len()..][..25];
            let network =
                json!({"Id": id, "Name": NETWORK, "Driver": "", "IPAM": {"Config": null}});
            Act::Answer(200, network.to_string())
        }
        _ => Act::Obey,
    });
    let failed = overlay().launch(&engine.engine(), BundleSpec::new()).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::SubnetOverlap), "{failed}");
    assert!(matches!(failed.error(), Error::SubnetTaken { .. }), "{failed:?}");
    assert_eq!(engine.resources(), 0, "{:?}", engine.requests());
}

/// It says nothing of its subnet.
#[test]
fn an_overlay_that_has_gone_since_it_was_created_is_no_subnet_that_is_taken() {
    let engine = Scripted::new(|request, _| match request {
        "GET /info" => described("/", &manager("")),
        request if request.starts_with("GET /networks/00") => {
            Act::Answer(404, json!({"message": "network not found"}).to_string())
        }
        _ => Act::Obey,
    });
    let failed = overlay().create_network(&engine.engine()).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::NetworkMissing), "{failed:?}");
    assert!(matches!(failed.error(), Error::CreateNetwork { .. }), "{failed:?}");
    assert_eq!(engine.resources(), 0, "{:?}", engine.requests());

    // Nor if it cannot be removed.
    engine.script(|request, _| match request {
        "GET /info" => described("/", &manager("")),
        request if request.starts_with("GET /networks/00") => {
            Act::Answer(404, json!({"message": "network not found"}).to_string())
        }
        request if request.starts_with("DELETE") => {
            Act::Answer(500, json!({"message": "no"}).to_string())
        }
        _ => Act::Obey,
    });
    let failed = overlay().create_network(&engine.engine()).unwrap_err();
    let Error::Several(errors) = failed.error() else { panic!("{failed:?}") };
    assert!(
        matches!(errors.as_slice(), [Error::CreateNetwork { .. }, Error::NotRemoved { .. }, ..]),
        "{errors:?}"
    );
    assert_eq!(engine.resources(), 1);
}

#[test]
fn an_overlay_has_addresses_for_nodes() {
    let engine = Scripted::new(|request, _| match request {
        "GET /info" => described("/", &manager("")),
        _ => Act::Obey,
    });
    let ip = |last| std::net::Ipv4Addr::new(10, 0, 0, last);
    let smallest = Addressing::new("10.0.0.0/30".parse().unwrap(), ip(1), ip(2)).unwrap();
    let failed = overlay().with_addressing(smallest).create_network(&engine.engine()).unwrap_err();
    assert!(matches!(failed.error(), Error::Invalid(_)), "{failed:?}");
    assert_eq!(engine.requests().len(), 0);
}

#[test]
fn an_overlay_is_attachable_and_has_the_planned_addresses() {
    let bodies = std::sync::Arc::new(Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&bodies);
    let engine = Scripted::new(move |request, body| match request {
        "GET /info" => described("/", &manager("")),
        "POST /networks/create" => {
            seen.lock().unwrap().push(body.to_owned());
            Act::Obey
        }
        _ => Act::Obey,
    });
    let options = NetworkOptions::new().overlay(true).encrypted(true);
    let plan = plan().with_options(options);
    plan.clone().create_network(&engine.engine()).unwrap().close().unwrap();
    let body: Value = serde_json::from_str(&bodies.lock().unwrap()[0]).unwrap();
    assert_eq!((&body["Driver"], &body["Attachable"]), (&json!("overlay"), &json!(true)));
    assert_eq!(body["Options"], json!({"encrypted": ""}));
    assert_eq!(body["IPAM"]["Config"][0]["Subnet"], plan.subnet().to_string());
    assert_eq!(engine.resources(), 0);
}
