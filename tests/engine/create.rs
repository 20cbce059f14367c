//! Creating networks.

use std::time::Duration;

use sidecar_bundle::{AddressPool, BundleSpec, Cause, Error, Naming};

use crate::engine::{cli, foreign_network, inspect, is_podman, plan_apart, world};

#[test]
fn the_smallest_subnet_of_another_product_comes_up() {
    let Some(world) = world("smallest") else { return };
    let pool: AddressPool = "10.40.0.0/20:/29".parse().unwrap();
    let plan = world
        .plan()
        .with_pool(pool)
        .with_naming(Naming::new("acme").unwrap().with_image("claude-bottle-sidecars:latest"));
    let spec = BundleSpec::new().daemons(["egress"]).variable("X", "1");
    let bundle = plan.launch(&world.engine(), spec).unwrap();
    assert_eq!(inspect("network", "acme-bundle-smallest").unwrap()["Id"], bundle.network_id());
    let container = inspect("container", "acme-sidecars-smallest").unwrap();
    let env = container["Config"]["Env"].as_array().unwrap();
    assert!(env.iter().any(|it| it == "ACME_SIDECAR_DAEMONS=egress"), "{env:?}");
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn dynamic_joiners_stay_off_the_pinned_address() {
    let Some(world) = world("joiners") else { return };
    let network = world.plan().create_network(&world.engine()).unwrap();
    let id = cli(&[
        "run",
        "--detach",
        "--network",
        network.network_id(),
        "claude-bottle-sidecars:latest",
        "sleep",
        "60",
    ]);
    let joiner = inspect("container", id.trim()).unwrap();
    let networks = joiner["NetworkSettings"]["Networks"].as_object().unwrap();
    let ip = networks.values().next().unwrap()["IPAddress"].as_str().unwrap().parse();
    assert!(
        network
            .plan()
            .addressing()
            .dynamic_range()
            .unwrap()
            .contains::<&std::net::Ipv4Addr>(&ip.unwrap())
    );
    let bundle = network.start(BundleSpec::new()).unwrap();
    cli(&["rm", "--force", "--volumes", id.trim()]);
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_kept_network_is_taken_over_by_the_next_create() {
    let Some(world) = world("kept-network") else { return };
    let network = world.plan().create_network(&world.engine()).unwrap();
    let id = network.network_id().to_owned();
    let plan = network.keep().unwrap();
    assert!(inspect("network", &id).is_some());
    let again = plan.create_network(&world.engine()).unwrap();
    assert_eq!(again.network_id(), id);
    // Its own network takes no subnet from a slug.
    let plan = again.keep().unwrap();
    let again = plan.create_network_in_free_subnet(&world.engine()).unwrap();
    assert_eq!(again.network_id(), id);
    assert_eq!(again.plan().addressing().attempt(), 0);
    again.start(BundleSpec::new()).unwrap().close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_foreign_network_of_the_same_name_is_refused_and_left_alone() {
    let Some(world) = world("foreign-name") else { return };
    let plan = world.plan();
    let (name, subnet) = (plan.network_name(), plan.subnet().to_string());
    let gateway = plan.gateway().to_string();
    let id = foreign_network(&subnet, &["--gateway", &gateway], &name);
    let failed = plan.create_network(&world.engine()).unwrap_err();
    let message = failed.error().to_string();
    assert!(
        matches!(failed.error(), Error::NetworkDiffers { id: found, .. } if *found == id),
        "{message}"
    );
    assert_eq!(
        message,
        "network claude-bottle-bundle-foreign-name exists and is not the planned one: its sidecar-bundle.attempt is not set, not 0"
    );
    assert_eq!(inspect("network", &id).unwrap()["Name"], name);
    cli(&["network", "rm", &id]);
    failed.into_state().create_network(&world.engine()).unwrap().close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn an_overlap_is_an_error_and_the_next_attempt_comes_up() {
    let Some(world) = world("overlap") else { return };
    let plan = world.plan();
    let foreign =
        foreign_network(&plan.subnet().to_string(), &[], "sidecar-bundle-test-foreign-overlap");
    let failed = plan.create_network(&world.engine()).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::SubnetOverlap), "{failed:?}");
    world.assert_nothing_of_ours();
    let next = failed.into_state().next_attempt().unwrap();
    let network = next.create_network(&world.engine()).unwrap();
    assert_eq!(network.plan().addressing().attempt(), 1);
    network.close().unwrap();
    cli(&["network", "rm", &foreign]);
    world.assert_nothing_left();
}

#[test]
fn thirty_creates_killed_at_their_deadline_leave_nothing() {
    let Some(world) = world("deadline") else { return };
    // In the middle of a create: 100 ms or so by Docker, 1 ms by podman, where few are killed.
    let middle = if is_podman() { 1 } else { 50 };
    let engine = world.engine().with_start_deadline(Duration::from_millis(middle));
    let kill_one = |round: usize| -> bool {
        let plan = plan_apart(&format!("deadline-{round}"), 21, round);
        match plan.create_network(&engine) {
            Ok(network) => {
                network.close().unwrap();
                false
            }
            Err(failed) => {
                assert_eq!(failed.error().cause(), Some(Cause::TimedOut), "{failed:?}");
                assert!(matches!(failed.error(), Error::CreateNetwork { .. }), "{failed:?}");
                true
            }
        }
    };
    let killed = std::thread::scope(|scope| {
        let thirds = [0..10, 10..20, 20..30];
        let thirds = thirds.map(|rounds| scope.spawn(|| rounds.filter(|&it| kill_one(it)).count()));
        thirds.into_iter().map(|third| third.join().unwrap()).sum::<usize>()
    });
    let expected = if is_podman() { 0..=30 } else { 15..=30 };
    assert!(expected.contains(&killed), "{killed} of 30 were killed");
    let left = cli(&["network", "ls", "--format", "{{.Name}}"]);
    assert!(!left.contains("deadline-"), "{left}");
}
