//! What a network can be, whether its bundle can be reached, and engines side by side.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::ipnet::IpNet;
use sidecar_bundle::{
    BundleRunning, BundleSpec, CliEngine, Error, GatewayMode, Ipv6Addressing, NetworkOptions,
    Reachability, Ready, Slug,
};

use crate::owner::Owner;
use crate::support::{cli, http_body, inspect, is_podman, is_rootless, required, shout, world};

const LONG: Duration = Duration::from_secs(20);

/// Major and minor version of the engine.
fn version(engine: &CliEngine) -> (u32, u32) {
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
    let mtu = bundle.exec(["cat", "/sys/class/net/eth0/mtu"], LONG).unwrap();
    assert_eq!(mtu.stdout.trim(), "1400");
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn an_internal_network_has_no_way_out() {
    let Some(world) = world("net-internal") else { return };
    let routes = |internal: bool| {
        let plan = world.plan().with_options(NetworkOptions::new().internal(internal));
        let bundle = plan.launch(&world.engine(), BundleSpec::new()).unwrap();
        let routes = bundle.exec(["ip", "route"], LONG).unwrap().stdout;
        let network = inspect("network", bundle.network_id()).unwrap();
        assert_eq!(network["Internal"], internal);
        bundle.wait_for(&Ready::log("supervisor: ready"), LONG).unwrap();
        if bundle.is_reachable() {
            assert_eq!(http_body(bundle.ip(), 8080), "egress");
        }
        bundle.close().unwrap();
        world.assert_nothing_left();
        routes
    };
    let subnet = world.plan().subnet().to_string();
    let (out, inside) = (routes(false), routes(true));
    assert!(out.contains("default") && out.contains(&subnet), "{out}");
    // Docker has its firewall drop what would leave, and 20.10 has a default route all the same.
    assert!(!inside.contains("default") || !is_podman(), "{inside}");
    assert!(inside.contains(&subnet), "{inside}");
    if is_podman() || version(&world.engine()) >= (27, 0) {
        let plan = world.plan().with_ipv6().with_options(NetworkOptions::new().internal(true));
        let subnet = plan.ipv6().unwrap().subnet().to_string();
        let bundle = plan.launch(&world.engine(), BundleSpec::new()).unwrap();
        let inside = bundle.exec(["ip", "-6", "route"], LONG).unwrap().stdout;
        assert!(inside.contains(&subnet) && !inside.contains("default"), "{inside}");
        bundle.close().unwrap();
        world.assert_nothing_left();
    }
}

#[test]
fn what_an_engine_cannot_do_is_said_before_anything_is_created() {
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
    let seen = bundle.exec(["ip", "-6", "addr", "show", "eth0"], LONG).unwrap().stdout;
    assert!(seen.contains(&format!("{}/64", ipv6.bundle_ip())), "{seen}");
    bundle.keep().unwrap();

    let bundle = BundleRunning::attach(Slug::new(world.slug).unwrap(), &world.engine()).unwrap();
    assert_eq!((bundle.plan().ipv6(), bundle.plan().options()), (plan.ipv6(), plan.options()));
    bundle.close().unwrap();
    world.assert_nothing_left();

    // A network that was kept with other addresses or options is none of the plan's.
    let kept = plan.create_network(&world.engine()).unwrap().keep().unwrap();
    let other = world.plan().with_ipv6();
    let failed = other.create_network(&world.engine()).unwrap_err();
    assert_eq!(
        failed.error().to_string(),
        "network claude-bottle-bundle-net-ipv6 exists, and is not the planned one: its sidecar-bundle.options is {\"mtu\":1280}, not none"
    );
    kept.create_network(&world.engine()).unwrap().close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_taken_ipv6_range_is_said_with_its_holder() {
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

#[test]
fn an_engine_says_whether_its_bundles_can_be_reached() {
    let Some(world) = world("net-reach") else { return };
    let reachability = world.engine().reachability().unwrap();
    let bundle = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
    assert_eq!(reachability.is_here(), bundle.is_reachable(), "{reachability}");
    assert_eq!(reachability == Reachability::Rootless, is_rootless(), "{reachability}");
    bundle.close().unwrap();
    world.assert_nothing_left();
    if is_podman() || is_rootless() || !required() {
        // Podman's bridges are where its program is run.
        return;
    }
    let owner = Owner::program(&world.engine_words());
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--"]).arg(owner.get_program()).args(owner.get_args());
    let mut owner = Owner::spawn(unshare);
    let elsewhere = Reachability::OtherNamespace.to_string();
    assert_eq!(owner.ask("reachability"), format!("reachability {elsewhere}"));
    owner.expect("launch net-reach", "up");
    assert_eq!(owner.ask("reachable"), "reachable false");
    assert_eq!(
        owner.ask("wait-tcp 8080"),
        format!("error address {} cannot be reached from here: {elsewhere}", world.plan().ip())
    );
    owner.expect("close", "closed");
    owner.end();
    world.assert_nothing_left();
}

#[test]
fn the_engine_that_answers_is_found() {
    let Some(world) = world("net-detect") else { return };
    let found = CliEngine::detect().unwrap().with_state_dir(world.state.path());
    let expected = if is_podman() { "Podman " } else { "Docker " };
    assert!(found.version().unwrap().starts_with(expected), "{:?}", found.version());
    world.plan().launch(&found, BundleSpec::new()).unwrap().close().unwrap();
    world.assert_nothing_left();
    if is_podman() {
        // By docker's name, and with an address that is docker's own.
        let podman = cli_path();
        let docker = world.state.path().join("docker");
        std::fs::write(&docker, format!("#!/bin/sh\nexec {podman} \"$@\"\n")).unwrap();
        std::fs::set_permissions(&docker, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", world.state.path().display(), std::env::var("PATH").unwrap());
        let mut owner = Owner::program(&["detect".into(), world.engine_words()[1].clone()]);
        owner.env("PATH", path).env("DOCKER_HOST", "unix:///no/such/socket");
        let mut owner = Owner::spawn(owner);
        owner.expect("version", "version Podman ");
        owner.expect("launch net-detect", "up");
        owner.expect("close", "closed");
        owner.end();
        std::fs::remove_file(docker).unwrap();
        world.assert_nothing_left();
    }
    // Where none answers, the error has the words of each.
    let mut owner = Owner::program(&world.engine_words());
    owner.env("PATH", world.state.path());
    let mut owner = Owner::spawn(owner);
    assert_eq!(
        owner.ask("engine detect"),
        "error no engine answers: docker was not found; is it installed, and on PATH?; podman was not found; is it installed, and on PATH?"
    );
    owner.end();
}

fn cli_path() -> String {
    let found = Command::new("sh").args(["-c", "command -v podman"]).output().unwrap();
    String::from_utf8(found.stdout).unwrap().trim().to_owned()
}

fn second_engine() -> Option<CliEngine> {
    let Ok(second) = std::env::var("SIDECAR_BUNDLE_SECOND_ENGINE") else {
        assert!(!required() || is_rootless(), "a second engine is required");
        shout("SKIPPED two engines: SIDECAR_BUNDLE_SECOND_ENGINE is not set");
        return None;
    };
    Some(CliEngine::docker().with_host(second))
}

/// What the second engine has of a slug.
fn second_has(slug: &str) -> String {
    let label = format!("label=sidecar-bundle.slug={slug}");
    let host = std::env::var("SIDECAR_BUNDLE_SECOND_ENGINE").unwrap();
    let list = |arguments: &[&str]| {
        let output = Command::new("docker")
            .args(["--host", &host])
            .args(arguments)
            .args(["--quiet", "--filter", &label])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    list(&["ps", "--all"]) + &list(&["network", "ls"])
}

#[test]
fn two_engines_have_one_slug_and_do_not_disturb_each_other() {
    let Some(world) = world("two-engines") else { return };
    let Some(second) = second_engine() else { return };
    let engines = [world.engine(), second.with_state_dir(world.state.path())];
    let launch = |engine: &CliEngine| world.plan().launch(engine, BundleSpec::new()).unwrap();
    let [first, second] = [launch(&engines[0]), launch(&engines[1])];
    assert_eq!(first.plan(), second.plan());
    // The address is the first one's here; the second's bridge has it in another network namespace.
    assert!(first.is_reachable() && !second.is_reachable());
    assert_eq!(engines[1].reachability().unwrap(), Reachability::OtherNamespace);
    first.close().unwrap();
    world.assert_nothing_left();
    assert_eq!(second.status().unwrap().address, Some(second.ip()));
    assert!(!second.is_reachable());
    let first = launch(&engines[0]);
    let failed = world.plan().launch(&engines[1], BundleSpec::new()).unwrap_err();
    assert!(matches!(failed.error(), Error::Taken { .. }), "{failed:?}");
    second.close().unwrap();
    assert_eq!(second_has(world.slug), "");
    assert_eq!(first.status().unwrap().address, Some(first.ip()));
    assert!(sidecar_bundle::sweep(&engines[1]).unwrap().is_empty());
    first.close().unwrap();
    world.assert_nothing_left();

    // And when the program is killed.
    for _ in 0..5 {
        let mut owner = Owner::start(&world.engine_words());
        owner.expect("launch two-engines", "up");
        let host = std::env::var("SIDECAR_BUNDLE_SECOND_ENGINE").unwrap();
        owner.expect(&format!("engine docker host={host} {}", world.engine_words()[1]), "ok");
        owner.expect("launch two-engines", "up");
        assert_ne!(second_has(world.slug), "");
        owner.kill();
        wait_until("the removal of both", || {
            let label = format!("label=sidecar-bundle.slug={}", world.slug);
            let here = cli(&["ps", "--all", "--quiet", "--filter", &label])
                + &cli(&["network", "ls", "--quiet", "--filter", &label]);
            here.is_empty() && second_has(world.slug).is_empty()
        });
        world.assert_nothing_left();
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "{what} took more than 30 s");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_engine_over_ssh_is_as_good_as_a_near_one() {
    let Some(world) = world("over-ssh") else { return };
    let Ok(address) = std::env::var("SIDECAR_BUNDLE_SSH_ENGINE") else {
        assert!(!required() || is_podman() || is_rootless(), "an engine over ssh is required");
        shout("SKIPPED ssh: SIDECAR_BUNDLE_SSH_ENGINE is not set");
        return;
    };
    let engine = CliEngine::docker().with_host(&address).with_state_dir(world.state.path());
    assert_eq!(engine.version().unwrap(), world.engine().version().unwrap());
    // It is this very host's.
    assert_eq!(engine.reachability().unwrap(), Reachability::Here);
    let bundle = world.plan().launch(&engine, BundleSpec::new()).unwrap();
    assert_eq!(http_body(bundle.ip(), 8080), "egress");
    assert_eq!(inspect("container", bundle.container_id()).unwrap()["State"]["Running"], true);
    bundle.wait_for(&Ready::log("supervisor: ready"), LONG).unwrap();
    let failed = world.plan().launch(&engine, BundleSpec::new()).unwrap_err();
    assert!(matches!(failed.error(), Error::Taken { .. }), "{failed:?}");
    bundle.close().unwrap();
    world.assert_nothing_left();
    let nobody = engine.with_host("ssh://root@127.0.0.1:9");
    let error = nobody.reachability().unwrap_err();
    assert_eq!(error.cause(), Some(sidecar_bundle::Cause::EngineUnreachable), "{error:?}");
}

#[test]
fn a_context_of_the_programs_own_leads_to_its_engine() {
    let Some(world) = world("by-context") else { return };
    if is_podman() {
        // Its connections lead to a service of podman's, over ssh or a socket, that is not run here.
        return;
    }
    let Ok(host) = std::env::var("DOCKER_HOST") else {
        assert!(!required(), "DOCKER_HOST is required");
        shout("SKIPPED contexts: DOCKER_HOST is not set");
        return;
    };
    let config = tempfile::tempdir().unwrap();
    let docker = |arguments: &[&str]| {
        let mut docker = Command::new("docker");
        docker.env("DOCKER_CONFIG", config.path()).env_remove("DOCKER_HOST");
        let output = docker.args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    docker(&["context", "create", "near", "--docker", &format!("host={host}")]);
    docker(&["context", "create", "nowhere", "--docker", "host=unix:///no/such/socket"]);
    docker(&["context", "use", "nowhere"]);
    let mut owner = Owner::program(&[""; 0]);
    owner.env("DOCKER_CONFIG", config.path()).env_remove("DOCKER_HOST");
    let mut owner = Owner::spawn(owner);
    owner.expect("engine docker", "ok");
    docker(&["context", "use", "near"]);
    // It stays with the context that was chosen when it was made.
    owner.expect("version", "error");
    owner.expect("engine docker", "ok");
    owner.expect("version", "version");
    owner.expect(&format!("engine docker context=near {}", world.engine_words()[1]), "ok");
    let here = owner.ask("reachability") == format!("reachability {}", Reachability::Here);
    assert_eq!(here, !is_rootless());
    owner.expect("launch by-context", "up");
    assert_eq!(owner.ask("reachable"), format!("reachable {}", !is_rootless()));
    owner.expect("close", "closed");
    owner.end();
    world.assert_nothing_left();
}
