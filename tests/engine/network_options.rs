//! The options of a network, and the engines that have them.

use sidecar_bundle::{
    BundleSpec, Cause, Engine, Error, GatewayMode, NetworkOptions, NetworkPlanned, PortMapping,
};

use crate::engine::{
    await_print, cli, foreign_network, http_body, inside, inspect, is_api, is_podman, world,
};

/// Major and minor version of the engine.
fn version(engine: &Engine) -> (u32, u32) {
    let said = engine.version().unwrap();
    let (_, version) = said.split_once(' ').unwrap();
    let mut numbers = version.split('.').map(|it| it.parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn every_network_option_is_on_the_engine() {
    let Some(world) = world("net-options") else { return };
    let plan = world.plan();
    let bridge = plan.derived_bridge_name();
    let mut options =
        NetworkOptions::new().mtu(1400).isolated(true).label("acme.role", "sidecar,=x");
    let names_bridges = !is_podman() || version(&world.engine()) >= (4, 5);
    if names_bridges {
        options = options.bridge_name(&bridge);
    }
    if !is_podman() {
        options = options
            .masquerade(false)
            .driver_option("com.docker.network.bridge.host_binding_ipv4", "127.0.0.1");
    }
    let bundle = plan.with_options(options.clone()).launch(&world.engine(), BundleSpec::new());
    let bundle = bundle.unwrap();
    assert_eq!(bundle.plan().options(), &options);
    let network = inspect("network", bundle.network_id()).unwrap();
    assert_eq!(network["Labels"]["acme.role"], "sidecar,=x");
    let is = |key: &str, value: &str| assert_eq!(network["Options"][key], value, "{network}");
    if is_podman() {
        is("mtu", "1400");
        is("isolate", "true");
    } else {
        is("com.docker.network.driver.mtu", "1400");
        is("com.docker.network.bridge.name", &bridge);
        is("com.docker.network.bridge.enable_ip_masquerade", "false");
        is("com.docker.network.bridge.host_binding_ipv4", "127.0.0.1");
    }
    if names_bridges && bundle.is_reachable() {
        let interfaces = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        assert!(interfaces.contains(&format!("{bridge}:")), "{interfaces}");
    }
    let (_, mtu) = inside(&bundle, &["cat", "/sys/class/net/eth0/mtu"]);
    assert_eq!(mtu.trim(), "1400");
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn an_internal_network_has_no_way_out() {
    let Some(world) = world("net-internal") else { return };
    let routes = |internal: bool| {
        let plan = world.plan().with_options(NetworkOptions::new().internal(internal));
        let bundle = plan.launch(&world.engine(), BundleSpec::new()).unwrap();
        let routes = inside(&bundle, &["ip", "route"]).1;
        let network = inspect("network", bundle.network_id()).unwrap();
        assert_eq!(network["Internal"], internal);
        await_print(&bundle, "supervisor: ready");
        if bundle.is_reachable() {
            assert_eq!(http_body(bundle.ip(), 8080), "egress");
        }
        bundle.close().unwrap();
        world.assert_nothing_left();
        routes
    };
    let subnet = world.plan().subnet().to_string();
    let (out, internal) = (routes(false), routes(true));
    assert!(out.contains("default") && out.contains(&subnet), "{out}");
    // Docker has its firewall drop what would leave, and 20.10 has a default route all the same.
    assert!(!internal.contains("default") || !is_podman(), "{internal}");
    assert!(internal.contains(&subnet), "{internal}");
    if is_podman() || version(&world.engine()) >= (27, 0) {
        let plan = world.plan().with_ipv6().with_options(NetworkOptions::new().internal(true));
        let subnet = plan.ipv6().unwrap().subnet().to_string();
        let bundle = plan.launch(&world.engine(), BundleSpec::new()).unwrap();
        let internal = inside(&bundle, &["ip", "-6", "route"]).1;
        assert!(internal.contains(&subnet) && !internal.contains("default"), "{internal}");
        bundle.close().unwrap();
        world.assert_nothing_left();
    }
}

#[test]
fn an_unsupported_option_is_an_error_before_anything_is_created() {
    let Some(world) = world("net-lacks") else { return };
    let engine = world.engine();
    let (said, version) = (engine.version().unwrap(), version(&engine));
    let new = NetworkOptions::new;
    let docker = |least| (!is_podman() && version >= least).then_some(());
    for (options, can, needs) in [
        (
            new().gateway_mode(GatewayMode::NatUnprotected),
            docker((28, 0)),
            "gateway mode nat-unprotected needs Docker 28.0",
        ),
        (
            new().gateway_mode(GatewayMode::Isolated).internal(true),
            docker((28, 0)),
            "gateway mode isolated needs Docker 28.0",
        ),
        (
            new().gateway_mode(GatewayMode::Routed),
            docker((27, 0)),
            "gateway mode routed needs Docker 27.0",
        ),
        (
            new().trusted_host_interface("lo"),
            docker((28, 2)),
            "a trusted host interface needs Docker 28.2",
        ),
        (new().masquerade(false), docker((0, 0)), "no masquerading needs Docker"),
        (
            new().internal(true),
            if is_podman() { Some(()) } else { docker((27, 0)) },
            "an internal network with IPv6 needs Docker 27.0 or Podman",
        ),
        (
            new().isolated(true),
            if is_podman() { Some(()) } else { docker((27, 0)) },
            "isolation with IPv6 needs Docker 27.0 or Podman",
        ),
    ] {
        let plan = world.plan().with_ipv6().with_options(options.clone());
        match (plan.create_network(&engine), can) {
            (Ok(network), Some(())) => {
                let found = inspect("network", network.network_id()).unwrap();
                let mode = |kind| &found["Options"][format!("com.docker.network.bridge.{kind}")];
                assert_eq!(mode("gateway_mode_ipv4"), mode("gateway_mode_ipv6"), "{found}");
                network.close().unwrap();
            }
            (Err(failed), None) => {
                assert!(matches!(failed.error(), Error::Unsupported { .. }), "{failed:?}");
                assert_eq!(failed.error().to_string(), format!("{needs}, and this is {said}"));
            }
            (created, _) => panic!("{options:?}: {created:?}"),
        }
        world.assert_nothing_left();
    }
    let wrong = world.plan().with_options(new().mtu(1)).create_network(&engine).unwrap_err();
    assert_eq!(wrong.error().to_string(), "an MTU of 1 bytes is not between 68 and 65535");
}

#[test]
fn a_bundle_on_an_internal_network_has_a_second_one_with_a_way_out() {
    let Some(world) = world("second-network") else { return };
    let plan = world.plan();
    let spec = BundleSpec::new().network_alias("proxy").also_on("zz-out");
    let internal = || world.plan().with_options(NetworkOptions::new().internal(true));
    let invalid = |plan: NetworkPlanned, spec: BundleSpec| {
        let failed = plan.launch(&world.engine(), spec).unwrap_err();
        assert!(matches!(failed.error(), Error::Invalid(_)), "{failed:?}");
    };
    let port = PortMapping::tcp(8080).host_address([127, 0, 0, 1]);
    invalid(plan, spec.clone());
    invalid(internal(), BundleSpec::new().publish(port));
    invalid(internal(), BundleSpec::new().also_on("no/name"));
    if !is_api() {
        let failed = internal().launch(&world.engine(), spec).unwrap_err();
        assert!(matches!(failed.error(), Error::Unsupported(_)), "{failed:?}");
        return;
    }
    let failed = internal().launch(&world.engine(), spec).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::NetworkMissing), "{failed:?}");
    world.assert_nothing_left();
    // Names before and after the bundle's own: engines sort by it.
    for (name, subnet) in [("aa-out", "10.165.1.0/24"), ("zz-out", "10.165.2.0/24")] {
        let out = foreign_network(subnet, &[], name);
        let spec = BundleSpec::new().network_alias("proxy").also_on(name).publish(port);
        let bundle = internal().launch(&world.engine(), spec).unwrap();
        assert_eq!(bundle.status().unwrap().address, Some(bundle.ip()));
        let routes = inside(&bundle, &["ip", "route"]).1;
        let gateway = subnet.replace(".0/24", ".1");
        assert!(routes.contains(&format!("default via {gateway} ")), "{routes}");
        assert!(routes.contains(&bundle.plan().subnet().to_string()), "{routes}");
        let at = bundle.published(8080).unwrap();
        crate::engine::wait_for("the published port", || std::net::TcpStream::connect(at).is_ok());
        let image = "claude-bottle-sidecars:latest";
        let guest = bundle.guest("agent", BundleSpec::new().image(image)).unwrap();
        let page = ["wget", "-q", "-O", "-", "http://proxy:8080/"];
        let page = guest.exec(page, crate::engine::LONG).unwrap();
        assert!(page.stdout.contains("egress"), "{page:?}");
        drop(guest);
        bundle.close().unwrap();
        world.assert_nothing_left();
        cli(&["network", "rm", &out]);
    }
}

#[test]
fn an_engine_without_a_swarm_makes_no_overlay() {
    let Some(world) = world("no-swarm") else { return };
    let plan = world.plan().with_options(NetworkOptions::new().overlay(true));
    let failed = plan.launch(&world.engine(), BundleSpec::new()).unwrap_err();
    if is_podman() {
        assert!(matches!(failed.error(), Error::Unsupported(_)), "{failed:?}");
    } else {
        assert_eq!(failed.error().cause(), Some(Cause::SwarmMissing), "{failed:?}");
    }
    world.assert_nothing_left();
}
