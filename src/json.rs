//! The JSON of each public type that is plain data, side by side in `tests/vectors/json.txt`: a change of one is a
//! change of that file.
//!
//! `UPDATE_EXPECT=1 cargo test --features serde --lib json` rewrites it.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use expect_test::expect_file;
use serde::Serialize;

use crate::{
    AddressPool, Addressing, BundleEvent, BundleInfo, BundleOwner, Cause, Discarded, Error,
    ExecOutput, Exit, Health, Holder, Ipv6Addressing, LogLine, LogStream, NetworkOptions,
    NetworkPlanned, PortHolder, Reachability, Resource, Slug, State, Status, Swept, SweptOutcome,
};

#[derive(Default)]
struct Json(String);

impl Json {
    fn all<T: Serialize>(&mut self, heading: &str, values: impl IntoIterator<Item = T>) {
        writeln!(self.0, "\n# {heading}").unwrap();
        for value in values {
            writeln!(self.0, "{}", serde_json::to_string(&value).unwrap()).unwrap();
        }
    }
}

fn slug() -> Slug {
    Slug::new("demo").unwrap()
}

fn exit() -> Exit {
    Exit { code: 137, out_of_memory: true, error: String::new() }
}

fn time() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_767_323_045_500)
}

fn ids(digit: &str) -> Vec<String> {
    vec![digit.repeat(64)]
}

#[test]
fn the_json_of_every_type_is_as_in_the_catalogue() {
    let mut json = Json("The JSON of all types. See src/json.rs.\n".into());
    plans(&mut json);
    containers(&mut json);
    engines(&mut json);
    results(&mut json);
    expect_file!["../tests/vectors/json.txt"].assert_eq(&json.0);
}

fn plans(json: &mut Json) {
    let pool = AddressPool::default();
    json.all("Slug", [slug()]);
    json.all("AddressPool", [pool]);
    json.all("Addressing", [pool.addressing(&slug(), 1).unwrap()]);
    json.all("Ipv6Addressing", [Ipv6Addressing::derived(&slug(), 0)]);
    let plan = NetworkPlanned::new(slug());
    let options = NetworkOptions::new().label("not", "shown");
    json.all("NetworkPlanned", [plan.clone(), plan.with_ipv6().with_options(options)]);
}

fn containers(json: &mut Json) {
    use State::{Created, Exited, Other, Paused, Restarting, Running};
    json.all("State", [Created, Running, Restarting, Paused, Exited, Other]);
    json.all("Health", [Health::Starting, Health::Healthy, Health::Unhealthy]);
    json.all("Exit", [exit()]);
    let address = Some(Ipv4Addr::new(10, 0, 0, 2));
    let image_id = format!("sha256:{}", "c".repeat(64));
    let running = Status {
        image_id: image_id.clone(),
        state: Running,
        exit: None,
        health: None,
        address,
        ipv6: None,
    };
    let health = Some(Health::Unhealthy);
    let ended = Status {
        image_id,
        state: Exited,
        exit: Some(exit()),
        health,
        address: None,
        ipv6: Some(Ipv6Addr::LOCALHOST),
    };
    json.all("Status", [running, ended]);
    json.all("LogStream", [LogStream::Stdout, LogStream::Stderr]);
    json.all("LogLine", [LogLine { stream: LogStream::Stderr, text: "a \"line\"".into() }]);
    json.all("ExecOutput", [ExecOutput { code: 1, stdout: "out\n".into(), stderr: "err".into() }]);
    json.all(
        "BundleEvent",
        [
            BundleEvent::Started,
            BundleEvent::Health(Health::Healthy),
            BundleEvent::Died { exit: exit(), log: "bye\n".into() },
            BundleEvent::Restarted,
            BundleEvent::Gone,
        ],
    );
}

fn engines(json: &mut Json) {
    let route = |table| Holder::Route {
        destination: "10.0.0.0/8".parse().unwrap(),
        interface: "wg0".into(),
        table,
    };
    json.all(
        "Holder",
        [
            Holder::Network { name: "acme".into(), subnet: "10.1.0.0/24".parse().unwrap() },
            Holder::Interface { name: "eth0".into(), address: "fd00::1/64".parse().unwrap() },
            route(None),
            route(Some(100)),
        ],
    );
    json.all(
        "PortHolder",
        [
            PortHolder::Container { name: "acme".into() },
            PortHolder::Process { pid: 7, name: "nginx".into() },
        ],
    );
    json.all(
        "Reachability",
        [
            Reachability::Here,
            Reachability::Remote { endpoint: "ssh://me@builder".into() },
            Reachability::VirtualMachine { system: "Docker Desktop".into() },
            Reachability::Rootless,
            Reachability::OtherNamespace,
            Reachability::Unknown,
            Reachability::Overlay,
            Reachability::Diverted { by: route(None) },
            Reachability::NoRoute { bridge: "br-0".into() },
        ],
    );
    json.all("Resource", [Resource::Container, Resource::Network]);
    json.all(
        "Cause",
        [
            Cause::ProgramMissing,
            Cause::TimedOut,
            Cause::EngineUnreachable,
            Cause::PermissionDenied,
            Cause::NetworkExists,
            Cause::NetworkMissing,
            Cause::NetworkAmbiguous,
            Cause::NetworkInUse,
            Cause::NetworkPredefined,
            Cause::SubnetOverlap,
            Cause::PoolsExhausted,
            Cause::GatewayOutsideSubnet,
            Cause::HostBits,
            Cause::AddressOutsideSubnet,
            Cause::AddressNotSupported,
            Cause::AddressTaken,
            Cause::NoAddressLeft,
            Cause::PortTaken,
            Cause::ContainerNameTaken,
            Cause::ContainerMissing,
            Cause::RemovalInProgress,
            Cause::ImageMissing,
            Cause::MountSourceMissing,
            Cause::CommandNotRun,
            Cause::UnknownOption,
            Cause::AnotherEngine,
            Cause::Other,
        ],
    );
}

fn results(json: &mut Json) {
    let owners = [
        BundleOwner::Alive { pid: 7 },
        BundleOwner::Dead,
        BundleOwner::Kept,
        BundleOwner::Elsewhere,
    ];
    json.all("BundleOwner", owners);
    let unknown = BundleInfo {
        prefix: "claude-bottle".into(),
        slug: slug(),
        addressing: None,
        ipv6: None,
        network_id: None,
        container_id: None,
        state: None,
        guests: Vec::new(),
        owner: BundleOwner::Elsewhere,
        host: None,
        expires: None,
        created: None,
    };
    let [subnet, gateway, ip] = ["10.0.0.0/24", "10.0.0.1", "10.0.0.2"];
    let [gateway, ip] = [gateway, ip].map(|it| it.parse().unwrap());
    let known = BundleInfo {
        addressing: Some(Addressing::new(subnet.parse().unwrap(), gateway, ip).unwrap()),
        ipv6: Some(Ipv6Addressing::derived(&slug(), 0)),
        network_id: ids("a").pop(),
        container_id: ids("b").pop(),
        state: Some(State::Running),
        guests: vec!["vm".into()],
        owner: BundleOwner::Alive { pid: 7 },
        host: Some("worker-7".into()),
        expires: Some(time() + Duration::from_secs(60)),
        created: Some(time()),
        ..unknown.clone()
    };
    json.all("BundleInfo", [unknown, known]);
    let source = std::io::Error::other("the disk is full");
    let failed = Error::Lease { path: PathBuf::from("/leases"), source };
    let (containers, networks) = (ids("b"), ids("a"));
    let outcomes = [
        SweptOutcome::Removed { containers: containers.clone(), networks: networks.clone() },
        SweptOutcome::WouldRemove { containers: Vec::new(), networks: networks.clone() },
        SweptOutcome::Clean,
        SweptOutcome::Held { pid: 7 },
        SweptOutcome::Kept,
        SweptOutcome::Failed(failed),
    ];
    let swept = |outcome| {
        let since = Some(time() - Duration::from_millis(500));
        let (prefix, host) = ("claude-bottle".into(), Some("worker-7".into()));
        Swept { prefix, slug: slug(), since, expired: None, host, outcome }
    };
    let mut all: Vec<_> = outcomes.into_iter().map(swept).collect();
    let expired = Swept { expired: Some(time()), since: None, ..swept(SweptOutcome::Clean) };
    all.push(expired);
    json.all("Swept", all);
    json.all("Discarded", [Discarded { containers, networks }]);
}
