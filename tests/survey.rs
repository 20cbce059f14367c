//! A host that is crowded: foreign networks in the pool, routes and interfaces over parts of it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/engine.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod engine;

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::ipnet::{Ipv4Net, Ipv6Net};
use sidecar_bundle::{
    AddressPool, Addressing, BundleSpec, Error, Ipv6Addressing, NetworkCreated, NetworkOptions,
    NetworkPlanned, Ready, Slug,
};

use engine::{World, cli, required, shout, world};

/// Only on a private engine: changes to the host are then made in namespaces that end with the tests.
fn private(slug: &'static str) -> Option<World> {
    let world = world(slug)?;
    if std::env::var_os("SIDECAR_BUNDLE_ENGINE_ROOM").is_some() {
        return Some(world);
    }
    assert!(!required(), "a private engine is required");
    shout("SKIPPED a crowded host: that takes a private engine; try tests/with-docker cargo test");
    None
}

/// Changes the host's network, and back.
struct Ip(Vec<&'static str>);

impl Ip {
    fn add(kind: &'static str, rest: &[&'static str]) -> Self {
        let words = [&[kind, "add"], rest].concat();
        assert!(Command::new("ip").args(&words).status().unwrap().success(), "ip {words:?}");
        Self(words)
    }
}

impl Drop for Ip {
    fn drop(&mut self) {
        self.0[1] = "delete";
        let _gone_with_the_namespace = Command::new("ip").args(&self.0).status();
    }
}

/// The foreign networks: their number, and how long the prefix of each is.
const FOREIGN: usize = 100;
const SLUGS: usize = 50;
const PREFIXES: [u8; 8] = [24, 23, 29, 25, 28, 26, 30, 27];

/// Each somewhere in 512 addresses of its own.
fn foreign_subnet(number: usize) -> Ipv4Net {
    let prefix = PREFIXES[number % PREFIXES.len()];
    let block =
        u32::from(std::net::Ipv4Addr::new(10, 161, 0, 0)) + u32::try_from(number).unwrap() * 512;
    let inside = u32::try_from(number * 37 % 512).unwrap();
    Ipv4Net::new((block + inside).into(), prefix).unwrap().trunc()
}

struct ForeignNetworks(Mutex<Vec<String>>);

impl ForeignNetworks {
    /// Four at a time: the engine is not faster with more.
    fn grow_to(&self, total: usize) {
        let next = AtomicUsize::new(self.0.lock().unwrap().len());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        if number >= total {
                            break;
                        }
                        let name = format!("sidecar-bundle-test-crowd-{number}");
                        let subnet = foreign_subnet(number).to_string();
                        cli(&["network", "create", "--subnet", &subnet, &name]);
                        self.0.lock().unwrap().push(name);
                    }
                });
            }
        });
    }
}

impl Drop for ForeignNetworks {
    fn drop(&mut self) {
        let names = self.0.get_mut().unwrap();
        thread::scope(|scope| {
            for part in names.chunks(names.len().div_ceil(4).max(1)) {
                scope.spawn(move || {
                    for name in part {
                        let _reported_by_the_next_run =
                            Command::new(engine::program()).args(["network", "rm", name]).output();
                    }
                });
            }
        });
    }
}

/// The median of nine surveys.
fn survey_cost(plan: &NetworkPlanned, world: &World) -> Duration {
    let engine = world.engine();
    engine.reachability().unwrap();
    let mut times: Vec<_> = (0..9)
        .map(|_| {
            let start = Instant::now();
            plan.clone().in_free_subnet(&engine).unwrap();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[4]
}

#[test]
fn on_a_host_with_a_hundred_foreign_networks_fifty_slugs_get_subnets_of_their_own() {
    let Some(world) = private("crowded") else { return };
    let pool: AddressPool = "10.160.0.0/14:/24".parse().unwrap();
    let route: Ipv4Net = "10.160.0.0/16".parse().unwrap();
    // A user may not change the host's routes, and a rootless engine does not use them.
    let is_rootless = engine::is_rootless();
    let _route = (!is_rootless).then(|| Ip::add("route", &["10.160.0.0/16", "dev", "lo"]));
    let here = world.engine().reachability().unwrap().is_here();
    let plan_of = |number: usize| {
        let slug = Slug::new(format!("crowded-{number}")).unwrap();
        NetworkPlanned::new(slug).with_pool(pool)
    };
    let foreign = ForeignNetworks(Mutex::default());
    let costs = [0, 25, FOREIGN].map(|total| {
        foreign.grow_to(total);
        (total, survey_cost(&plan_of(0), &world))
    });
    for (total, cost) in costs {
        let ratio = cost.as_secs_f64() / costs[0].1.as_secs_f64();
        shout(&format!(
            "a survey with {total} foreign networks: {cost:.1?}, {ratio:.2} times that of none"
        ));
    }

    let (next, networks) = (AtomicUsize::new(0), Mutex::new(Vec::<NetworkCreated>::new()));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= SLUGS {
                        break;
                    }
                    let plan = plan_of(number);
                    let network = plan.create_network_in_free_subnet(&world.engine()).unwrap();
                    networks.lock().unwrap().push(network);
                }
            });
        }
    });
    let networks = networks.into_inner().unwrap();
    let overlap = |a: Ipv4Net, b: Ipv4Net| a.contains(&b) || b.contains(&a);
    let mut taken: Vec<_> = (0..FOREIGN).map(foreign_subnet).collect();
    taken.extend(here.then_some(route));
    for network in &networks {
        let subnet = network.plan().subnet();
        assert!(pool.range().contains(&subnet));
        let other = taken.iter().find(|it| overlap(**it, subnet));
        assert!(other.is_none(), "{} overlaps {other:?}", network.plan());
        taken.push(subnet);
    }
    let moved = networks.iter().filter(|it| it.plan().addressing().attempt() > 0).count();
    shout(&format!("of {SLUGS} slugs, {moved} were moved on to a later attempt"));
    assert!(moved > 5, "{moved}");
    thread::scope(|scope| {
        let mut networks = networks.into_iter();
        for _ in 0..4 {
            let part: Vec<_> = networks.by_ref().take(SLUGS.div_ceil(4)).collect();
            scope.spawn(|| part.into_iter().for_each(|network| network.close().unwrap()));
        }
    });
    drop(foreign);
    let left = cli(&["network", "ls", "--format", "{{.Name}}"]);
    assert!(!left.contains("crowd"), "{left}");
}

#[test]
fn the_error_names_a_full_pool_and_the_interface_or_route_in_the_way() {
    let Some(world) = private("crowded-host") else { return };
    // An interface of the host is in the way of a rootless engine as well: podman refuses it.
    let failed = world.plan().with_pool("127.0.0.0/20:/24".parse().unwrap());
    let failed = failed.in_free_subnet(&world.engine()).unwrap_err();
    assert_eq!(
        failed.error().to_string(),
        "none of the 16 subnets of pool 127.0.0.0/20:/24 is free; held by interface lo (127.0.0.1/8)"
    );
    if !world.engine().reachability().unwrap().is_here() {
        // A user may not change the host's routes.
        assert!(engine::is_rootless());
        return;
    }
    let _wide = Ip::add("route", &["10.165.0.0/16", "dev", "lo"]);
    let _close = Ip::add("route", &["10.166.1.128/25", "dev", "lo"]);
    let _address = Ip::add("address", &["10.166.2.7/24", "dev", "lo"]);
    let _wide_address = Ip::add("address", &["10.167.0.5/16", "dev", "lo"]);
    let _address6 = Ip::add("address", &["fd10:166:1::7/64", "dev", "lo"]);
    let _close6 = Ip::add("route", &["fd10:166:2:0:8000::/65", "dev", "lo"]);
    let _bridge = Ip::add("link", &["sb-foreign", "type", "bridge"]);
    let plan = |pool: &str| world.plan().with_pool(pool.parse().unwrap());
    let given = |third: u8| {
        let host = |host| std::net::Ipv4Addr::new(10, 166, third, host);
        let subnet = Ipv4Net::new(host(0), 24).unwrap();
        world.plan().with_addressing(Addressing::new(subnet, host(1), host(2)).unwrap())
    };

    let failed = plan("10.165.0.0/20:/24").in_free_subnet(&world.engine()).unwrap_err();
    assert_eq!(
        failed.error().to_string(),
        "none of the 16 subnets of pool 10.165.0.0/20:/24 is free; held by the route to 10.165.0.0/16 via lo"
    );
    // A create that does not search succeeds: the bridge's own route is closer.
    let network = failed.into_state().create_network(&world.engine()).unwrap();
    network.close().unwrap();

    // An interface in a wider range is not in the way, except for podman, which refuses it.
    let apart = plan("10.167.16.0/20:/24");
    match apart.clone().create_network(&world.engine()) {
        Ok(network) => network.close().unwrap(),
        Err(failed) => {
            assert!(engine::is_podman(), "{failed:?}");
            let said = failed.error().to_string();
            assert!(said.ends_with(" is taken by interface lo (10.167.0.5/16)"), "{said}");
        }
    }
    let foreign = apart.with_options(NetworkOptions::new().bridge_name("sb-foreign"));
    let failed = foreign.create_network(&world.engine()).unwrap_err();
    if engine::is_podman() {
        // 4.3 names no bridges.
        assert!(matches!(failed.error(), Error::Unsupported { .. }), "{failed:?}");
    } else {
        let said = "bridge sb-foreign exists already, and is not this bundle's";
        assert_eq!(failed.error().to_string(), said);
        // A bridge of another of its networks is the engine's business.
        let options = || NetworkOptions::new().bridge_name("sb-both");
        let first = plan("10.169.0.0/20:/24").with_options(options());
        let first = first.create_network(&world.engine()).unwrap();
        let other = NetworkPlanned::new(Slug::new("crowded-other").unwrap());
        let other = other.with_pool("10.169.16.0/20:/24".parse().unwrap()).with_options(options());
        let failed = other.create_network(&world.engine()).unwrap_err();
        assert!(matches!(failed.error(), Error::CreateNetwork { .. }), "{failed:?}");
        first.close().unwrap();
    }

    let given6 = |third: u16| {
        let host = |host| std::net::Ipv6Addr::new(0xfd10, 0x166, third, 0, 0, 0, 0, host);
        let subnet = Ipv6Net::new(host(0), 64).unwrap();
        let ipv6 = Ipv6Addressing::new(subnet, host(1), host(2)).unwrap();
        plan("10.168.0.0/20:/24").with_ipv6_addressing(ipv6)
    };
    for (plan, said) in [
        (given6(1), "subnet fd10:166:1::/64 is taken by interface lo (fd10:166:1::7/64)"),
        (
            given6(2),
            "subnet fd10:166:2::/64 is taken by the route to fd10:166:2:0:8000::/65 via lo",
        ),
        (given(1), "subnet 10.166.1.0/24 is taken by the route to 10.166.1.128/25 via lo"),
        (given(2), "subnet 10.166.2.0/24 is taken by interface lo (10.166.2.7/24)"),
    ] {
        let failed = plan.clone().create_network(&world.engine()).unwrap_err();
        assert!(matches!(failed.error(), Error::SubnetTaken { .. }), "{failed:?}");
        assert_eq!(failed.error().to_string(), said);
        let failed = plan.in_free_subnet(&world.engine()).unwrap_err();
        assert_eq!(failed.error().to_string(), said);
    }
    let pool = "10.166.0.0/22:/24";
    let network = plan(pool).create_network_in_free_subnet(&world.engine()).unwrap();
    assert!(["10.166.0.0/24", "10.166.3.0/24"].contains(&&*network.plan().subnet().to_string()));
    network.close().unwrap();
    world.assert_nothing_of_ours();
}

#[test]
fn a_rule_with_a_table_of_its_own_is_named_before_the_launch_and_after_it() {
    let Some(world) = private("crowded-rule") else { return };
    if !world.engine().reachability().unwrap().is_here() {
        // A user may not change the host's routes.
        assert!(engine::is_rootless());
        return;
    }
    let _default = Ip::add("route", &["default", "dev", "lo", "table", "170"]);
    let rule = |to: &'static str| Ip::add("rule", &["to", to, "lookup", "170", "priority", "170"]);
    let plan = world.plan().with_pool("10.170.0.0/20:/24".parse().unwrap());
    let wide = rule("10.170.0.0/16");
    let named = "the route to 10.170.0.0/16 via lo in table 170";
    let failed = plan.clone().launch(&world.engine(), BundleSpec::new()).unwrap_err();
    assert!(matches!(failed.error(), Error::SubnetTaken { .. }), "{failed:?}");
    let subnet = plan.subnet();
    assert_eq!(failed.error().to_string(), format!("subnet {subnet} is taken by {named}"));
    let failed = plan.clone().in_free_subnet(&world.engine()).unwrap_err();
    let full = "none of the 16 subnets of pool 10.170.0.0/20:/24 is free; held by";
    assert_eq!(failed.error().to_string(), format!("{full} {named}"));
    drop(wide);
    // A survey goes on behind a part.
    let part = rule("10.170.0.0/21");
    let network = plan.create_network_in_free_subnet(&world.engine()).unwrap();
    assert!(network.plan().ip() >= std::net::Ipv4Addr::new(10, 170, 8, 0), "{}", network.plan());
    drop(part);

    let bundle = network.start(BundleSpec::new()).unwrap();
    assert!(bundle.is_reachable());
    let wide = rule("10.170.0.0/16");
    assert!(!bundle.is_reachable());
    let error = bundle.wait_for(&Ready::tcp(8080), engine::LONG).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "address {} cannot be reached from here: packets to it take {named}, and not that of its bridge; exempt the bundle's subnet from that route or its rule, or plan with another pool",
            bundle.ip()
        )
    );
    drop(wide);

    // A route of the bridge's with another source.
    let bridge = host_bridge(&bundle);
    let _source = Ip::add("address", &["198.18.0.9/32", "dev", "lo"]);
    let to: &str = format!("{}/32", bundle.ip()).leak();
    let hint = Ip::add("route", &[to, "dev", bridge, "src", "198.18.0.9"]);
    assert!(bundle.is_reachable());
    bundle.wait_for(&Ready::tcp(8080), engine::LONG).unwrap();
    drop(hint);
    bundle.close().unwrap();
    world.assert_nothing_of_ours();
}

/// The interface with the gateway's address.
fn host_bridge(bundle: &sidecar_bundle::BundleRunning) -> &'static str {
    let shown = Command::new("ip").args(["-brief", "address"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let gateway = format!(" {}/", bundle.plan().gateway());
    let line = shown.lines().find(|line| line.contains(&gateway)).unwrap();
    line.split(' ').next().unwrap().to_owned().leak()
}
