//! IPv6 beside IPv4.

use sidecar_bundle::ipnet::IpNet;
use sidecar_bundle::{BundleSpec, Error, Ipv6Addressing, NetworkOptions};

use crate::engine::{cli, inside, inspect, world};

#[test]
fn ipv6_comes_up_beside_ipv4_and_is_attached_to_with_its_options() {
    let Some(world) = world("net-ipv6") else { return };
    let plan = world.plan().with_ipv6().with_options(NetworkOptions::new().mtu(1280));
    let ipv6 = plan.ipv6().unwrap();
    let network = plan.clone().create_network(&world.engine()).unwrap();
    // Somebody who asks for no address gets neither of the bundle's.
    let guest = cli(&[
        "run",
        "--detach",
        "--network",
        network.network_id(),
        "claude-bottle-sidecars:latest",
        "sleep",
        "60",
    ]);
    let of = |id: &str| {
        let container = inspect("container", id.trim()).unwrap();
        let networks = container["NetworkSettings"]["Networks"].as_object().unwrap().clone();
        let endpoint = networks.values().next().unwrap().clone();
        let text = |key: &str| endpoint[key].as_str().unwrap().to_owned();
        (text("IPAddress"), text("GlobalIPv6Address"))
    };
    let (_, theirs) = of(&guest);
    assert!(
        ipv6.dynamic_range().unwrap().contains(&theirs.parse::<std::net::Ipv6Addr>().unwrap()),
        "{theirs}"
    );
    let bundle = network.start(BundleSpec::new()).unwrap();
    cli(&["rm", "--force", "--volumes", guest.trim()]);
    let expected = (plan.ip().to_string(), ipv6.bundle_ip().to_string());
    assert_eq!(of(bundle.container_id()), expected);
    let status = bundle.status().unwrap();
    assert_eq!((status.address, status.ipv6), (Some(plan.ip()), Some(ipv6.bundle_ip())));
    let seen = inside(&bundle, &["ip", "-6", "addr", "show", "eth0"]).1;
    assert!(seen.contains(&format!("{}/64", ipv6.bundle_ip())), "{seen}");
    bundle.keep().unwrap();

    let bundle = world.plan().attach(&world.engine()).unwrap();
    assert_eq!((bundle.plan().ipv6(), bundle.plan().options()), (plan.ipv6(), plan.options()));
    bundle.close().unwrap();
    world.assert_nothing_left();

    // A network that was kept with other addresses or options is none of the plan's.
    let kept = plan.create_network(&world.engine()).unwrap().keep().unwrap();
    let other = world.plan().with_ipv6();
    let failed = other.create_network(&world.engine()).unwrap_err();
    assert_eq!(
        failed.error().to_string(),
        "network claude-bottle-bundle-net-ipv6 exists and is not the planned one: its sidecar-bundle.options is {\"mtu\":1280}, not none"
    );
    kept.create_network(&world.engine()).unwrap().close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn the_error_of_a_taken_ipv6_range_names_its_holder() {
    let Some(world) = world("net-taken6") else { return };
    let plan = world.plan().with_ipv6();
    let theirs = plan.ipv6().unwrap();
    cli(&[
        "network",
        "create",
        "--ipv6",
        "--subnet",
        "10.47.255.0/24",
        "--subnet",
        &theirs.subnet().to_string(),
        "sidecar-bundle-test-taken6",
    ]);
    let failed = plan.create_network(&world.engine()).unwrap_err();
    let Error::SubnetTaken { subnet, .. } = failed.error() else { panic!("{failed:?}") };
    assert_eq!(*subnet, IpNet::V6(theirs.subnet()));
    let holder = format!("network sidecar-bundle-test-taken6 ({})", theirs.subnet());
    assert_eq!(
        failed.error().to_string(),
        format!("subnet {} is taken by {holder}", theirs.subnet())
    );
    let network = failed.into_state().create_network_in_free_subnet(&world.engine()).unwrap();
    assert_eq!(network.plan().addressing().attempt(), 1);
    network.close().unwrap();
    // Addresses that were given do not move.
    let given = Ipv6Addressing::new(theirs.subnet(), theirs.gateway(), theirs.bundle_ip()).unwrap();
    let given = world.plan().with_ipv6_addressing(given);
    let failed = given.create_network_in_free_subnet(&world.engine()).unwrap_err();
    assert!(matches!(failed.error(), Error::SubnetTaken { .. }), "{failed:?}");
    cli(&["network", "rm", "sidecar-bundle-test-taken6"]);
    world.assert_nothing_left();
}
