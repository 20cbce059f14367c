//! A message of each kind of error, side by side in `tests/vectors/messages.txt`: a change of one is a change of
//! that file.
//!
//! `UPDATE_EXPECT=1 cargo test --lib catalogue` rewrites it.

use std::fmt::{Display, Write as _};
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use expect_test::expect_file;
use serde_json::json;

use crate::engine::Unsupported;
use crate::engine::backend::Id;
use crate::engine::error::End;
use crate::engine::identity::{EngineInfo, Swarm};
use crate::engine::redactor::Redactor;
use crate::ownership::lease::{Lease, directory_of};
use crate::steps::attach::Problem;
use crate::{
    AddressPool, AddressPools, Addressing, BundleSpec, Cause, Daemon, Engine, EngineError, Engines,
    Error, Exit, FileProblem, GatewayMode, Holder, InvalidInput, Ipv6Addressing, Naming,
    NetworkOptions, NetworkPlanned, PortHolder, PortMapping, Reachability, Ready, Resource, Slug,
    State,
};

struct Catalogue(String);

impl Catalogue {
    fn heading(&mut self, heading: &str) {
        writeln!(self.0, "\n# {heading}").unwrap();
    }

    /// A message, with its causes below it.
    fn error(&mut self, error: &dyn std::error::Error) {
        writeln!(self.0, "{error}").unwrap();
        let mut source = error.source();
        while let Some(error) = source {
            writeln!(self.0, "    {error}").unwrap();
            source = error.source();
        }
    }

    fn text(&mut self, text: impl Display) {
        writeln!(self.0, "{text}").unwrap();
    }

    #[track_caller]
    fn invalid<T>(&mut self, result: Result<T, InvalidInput>) {
        self.text(result.err().unwrap());
    }
}

fn slug() -> Slug {
    Slug::new("demo").unwrap()
}

#[test]
fn every_message_is_as_in_the_catalogue() {
    let mut catalogue =
        Catalogue("A message of each kind of error. See src/catalogue.rs.\n".into());
    names(&mut catalogue);
    addresses(&mut catalogue);
    names_of_engines(&mut catalogue);
    network_options(&mut catalogue);
    specifications(&mut catalogue);
    engines(&mut catalogue);
    errors(&mut catalogue);
    errors_of_containers(&mut catalogue);
    leases(&mut catalogue);
    changes(&mut catalogue);
    others(&mut catalogue);
    expect_file!["../tests/vectors/messages.txt"].assert_eq(&catalogue.0);
}

fn names(catalogue: &mut Catalogue) {
    catalogue.heading("slugs and prefixes");
    for text in ["", "-a", "aB", "a/ü", "\n", &"a".repeat(41)] {
        catalogue.invalid(Slug::new(text));
    }
    catalogue.invalid(Naming::new("p".repeat(14)));
}

fn addresses(catalogue: &mut Catalogue) {
    catalogue.heading("addresses");
    for (subnet, gateway, bundle) in [
        ("10.0.0.1/24", [10, 0, 0, 1], [10, 0, 0, 2]),
        ("10.0.0.0/24", [10, 0, 1, 1], [10, 0, 0, 2]),
        ("10.0.0.0/24", [10, 0, 0, 1], [10, 0, 0, 255]),
        ("10.0.0.0/24", [10, 0, 0, 2], [10, 0, 0, 2]),
        ("10.0.0.0/31", [10, 0, 0, 0], [10, 0, 0, 1]),
    ] {
        let subnet = subnet.parse().unwrap();
        catalogue.invalid(Addressing::new(subnet, gateway.into(), bundle.into()));
    }
    for (subnet, gateway, bundle) in [
        ("fd00::1/64", "fd00::1", "fd00::2"),
        ("fd00::/64", "fd00:0:0:1::1", "fd00::2"),
        ("fd00::/64", "fd00::1", "fd00::"),
        ("fd00::/64", "fd00::1", "fd00::1"),
    ] {
        let [gateway, bundle] = [gateway, bundle].map(|it| it.parse().unwrap());
        catalogue.invalid(Ipv6Addressing::new(subnet.parse().unwrap(), gateway, bundle));
    }
    for pool in ["10.48.0.1/12:/24", "10.48.0.0/12:/30", "10.48.0.0/12:/11", "10.48.0.0/12"] {
        catalogue.invalid(pool.parse::<AddressPool>());
    }
    catalogue.invalid(AddressPool::default().addressing(&slug(), 4096));
    let pool = |text: &str| text.parse::<AddressPool>().unwrap();
    let [a, b, c] = ["10.0.0.0/16:/24", "10.0.128.0/20:/29", "10.1.0.0/16:/24"].map(pool);
    catalogue.invalid(AddressPools::new([("a", a), ("b", b)]));
    catalogue.invalid(AddressPools::new([("a", a), ("a", c)]));
    let own =
        Addressing::new("10.0.0.0/24".parse().unwrap(), [10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    catalogue.invalid(NetworkPlanned::new(slug()).with_addressing(own.unwrap()).next_attempt());
}

fn names_of_engines(catalogue: &mut Catalogue) {
    catalogue.heading("names of engines");
    for names in [&[][..], &[""], &["a\0"], &["a", "b", "a"]] {
        catalogue.invalid(Engines::new(names.iter().map(|name| (*name, Engine::docker()))));
    }
}

fn network_options(catalogue: &mut Catalogue) {
    catalogue.heading("network options");
    let new = NetworkOptions::new;
    for options in [
        new().mtu(1279),
        new().mtu(67),
        new().bridge_name("sixteen-bytes-xx"),
        new().trusted_host_interface("tap 0"),
        new().gateway_mode(GatewayMode::Isolated),
        new().label("sidecar-bundle.slug", "x"),
        new().driver_option("mtu", "9000"),
        new().label("a", "b\nc"),
        new().encrypted(true),
        new().overlay(true).masquerade(false),
        new().overlay(true),
    ] {
        catalogue.invalid(options.check(true));
    }
    let docker = EngineInfo::read(&json!({"ServerVersion": "20.10.24+dfsg1"})).unwrap();
    for options in [
        new().gateway_mode(GatewayMode::Routed),
        new().trusted_host_interface("tap0"),
        new().internal(true),
    ] {
        catalogue.error(&docker.supports(&options, true).unwrap_err());
    }
    catalogue.error(&Unsupported::by_commands("a log", &docker));
    catalogue.error(&Unsupported::mount("/srv/rules", "/rules", &docker, "ssh://me@builder"));
}

fn specifications(catalogue: &mut Catalogue) {
    catalogue.heading("specifications");
    let new = BundleSpec::new;
    let not_utf8 = {
        use std::os::unix::ffi::OsStringExt;
        std::ffi::OsString::from_vec(b"/\xff".to_vec())
    };
    for spec in vec![
        new().image(""),
        new().image("-v/:/x"),
        new().image("a b"),
        new().daemons(["a,b"]),
        new().daemons([""]),
        new().daemons(["a", "b", "a"]),
        new().variable("A=B", "1"),
        new().secret("", "1"),
        new().variable("A", "1").secret("A", "2"),
        new().variable("CLAUDE_BOTTLE_SIDECAR_DAEMONS", "x"),
        new().daemon(Daemon::new("a").secret("X", "1")).daemon(Daemon::new("b").secret("X", "2")),
        new().secret("DOCKER_HOST", "x"),
        new().inherit("SIDECAR_BUNDLE_NEVER_SET"),
        new().secret("A", "1\0"),
        new().mount("a", "/b"),
        new().mount("/a", "b"),
        new().mount("/a", "/"),
        new().mount("/a", "/b/../c"),
        new().mount("/a\u{7}", "/b"),
        new().mount(not_utf8, "/b"),
        new().mount("/a", "/b").mount_read_only("/c", "/./b/"),
        new().daemon(Daemon::new("a").mount("/x", "/y")).mount("/z", "/y"),
        new().tmpfs("/a", None).mount("/b", "/a/"),
        new().volume("/a", "/b"),
        new().user(""),
        new().label("sidecar-bundle.owner", "me"),
        new().publish(PortMapping::tcp(0)),
        new().extra_host("a:b", [1, 2, 3, 4]),
        new().cpus(f64::NAN),
        new().pids(0),
        new().add_capability("NET ADMIN"),
        new().security_option(""),
        new().security_option("seccomp"),
        new().command(["a\0"]),
        new().engine_flag("--name=x"),
        new().engine_flag("--rm"),
        new().engine_flag("--tty"),
        new().engine_flag("-d"),
        new().engine_flag("--shm-size"),
        new().engine_option("HostConfig.Binds", "[]"),
        new().engine_option("HostConfig.DnsSearch", "a.example,"),
        new().engine_option("HostConfig.DnsSearch", "[null]"),
        new().engine_option("HostConfig.ShmSize", "1e6"),
        new().engine_option("HostConfig.ShmSize", "\"1m\""),
        new().engine_option("HostConfig.Ulimits", "[{\"name\": \"core\"}]"),
        new().engine_option("HostConfig.CpuQuota", "1000").cpus(1.0),
        new().engine_option("HostConfig.CgroupnsMode", "\"container:x\""),
        new().engine_option("Hostname", "\"a\"").engine_option("Hostname", "\"b\""),
    ] {
        catalogue.invalid(spec.check(&Naming::default()));
    }
    for path in ["/no/such/profile", "/dev/zero", "/proc/self/status"] {
        let spec = new().security_option(format!("seccomp={path}"));
        catalogue.invalid(spec.check(&Naming::default()).unwrap().security);
    }
    catalogue.invalid(Ready::log_matching("("));
    catalogue.invalid(Ready::http(80, "a b", 200).validate());
}

fn engine_error(end: End, cause: Cause, printed: &str) -> EngineError {
    let (program, request) = ("docker".into(), "docker network create".into());
    EngineError::new(program, request, end, cause, printed, &Redactor::default())
}

fn request_error(end: End, cause: Cause, words: &str) -> EngineError {
    let (program, request) = ("docker".into(), "POST /networks/create".into());
    EngineError::new(program, request, end, cause, words, &Redactor::default())
}

fn lost() -> Arc<io::Error> {
    Arc::new(io::ErrorKind::UnexpectedEof.into())
}

fn refused(text: &str) -> EngineError {
    use std::os::unix::process::ExitStatusExt;
    engine_error(End::Exited(ExitStatus::from_raw(256)), Cause::of(text), text)
}

fn engines(catalogue: &mut Catalogue) {
    catalogue.heading("engines");
    let missing = || End::NotStarted(Arc::new(io::ErrorKind::NotFound.into()));
    for error in [
        engine_error(missing(), Cause::ProgramMissing, ""),
        engine_error(missing(), Cause::Other, ""),
        engine_error(End::Killed(Duration::from_secs(2)), Cause::TimedOut, "still at work"),
        engine_error(End::Unexpected("an id"), Cause::Other, "done"),
        refused("the moon is full\n\nRun 'docker run --help' for more information"),
        refused(""),
        engine_error(End::Lost(Arc::new(io::Error::other("it is gone"))), Cause::Other, ""),
        engine_error(End::StatusLost, Cause::Other, "the moon is full"),
        engine_error(End::StatusLost, Cause::Other, ""),
        request_error(
            End::NotReached(lost()),
            Cause::EngineUnreachable,
            "/run/docker.sock: no such file",
        ),
        request_error(End::Cut(lost()), Cause::EngineUnreachable, ""),
        request_error(End::Late(Duration::from_secs(2)), Cause::TimedOut, ""),
        request_error(
            End::Refused(409),
            Cause::NetworkExists,
            "network with name n already exists",
        ),
        request_error(End::Refused(500), Cause::Other, ""),
        request_error(End::Unexpected("an id"), Cause::Other, ""),
        EngineError::another_engine(),
        EngineError::of_swarm(Swarm::None).unwrap_err(),
        EngineError::of_swarm(Swarm::Worker).unwrap_err(),
        EngineError::of_swarm(Swarm::WithoutLeader).unwrap_err(),
        EngineError::in_use(&["x".into(), "y".into()]),
        EngineError::variable_lost("docker".as_ref(), "TOKEN"),
    ] {
        catalogue.error(&error);
    }
    catalogue.error(&crate::NoEngine::for_test(vec![refused("one"), refused("two")]));
    for reachability in [
        Reachability::Here,
        Reachability::Remote { endpoint: "ssh://b".into() },
        Reachability::VirtualMachine { system: "Docker Desktop".into() },
        Reachability::Rootless,
        Reachability::OtherNamespace,
        Reachability::Unknown,
        Reachability::Overlay,
        Reachability::Diverted { by: holder("n") },
        Reachability::NoRoute { bridge: "br-1".into() },
    ] {
        catalogue.text(reachability);
    }
}

fn holder(name: &str) -> Holder {
    Holder::Network { name: name.into(), subnet: "10.0.0.0/24".parse().unwrap() }
}

fn errors(catalogue: &mut Catalogue) {
    catalogue.heading("errors");
    let pool = AddressPool::default();
    let subnet = "10.0.0.0/24".parse().unwrap();
    let id = || "0123456789abcdef".repeat(4);
    let since = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
    let taken = |pid, since: Option<SystemTime>| Error::Taken { slug: slug(), pid, since };
    let not_removed = |id: Option<String>, attached: &[&str]| Error::NotRemoved {
        resource: Resource::Network,
        name: "n".into(),
        command: match &id {
            Some(id) => format!("docker network rm {id}"),
            None => "docker network ls --filter label=sidecar-bundle.owner=o".into(),
        },
        id,
        attached: attached.iter().map(|it| (*it).to_owned()).collect(),
        source: None,
    };
    let lease =
        || Error::Lease { path: PathBuf::from("/l"), source: io::Error::other("it is full") };
    for error in [
        taken(Some(u32::MAX), since(0)),
        taken(None, None),
        lease(),
        Error::CreateNetwork { network: "n".into(), source: refused("the moon is full") },
        Error::SubnetTaken { subnet, holder: Some(holder("acme")), source: None },
        Error::SubnetTaken { subnet, holder: None, source: Some(refused("pool overlaps")) },
        Error::PoolFull { pool, subnets: 4096, holders: ["a", "b", "c", "d"].map(holder).into() },
        Error::Kept { slug: slug() },
        Error::NotKept { slug: slug() },
        Error::Changed { slug: slug(), problem: "its network does not exist".into() },
        Error::UnknownOwner {
            slug: slug(),
            resource: Resource::Network,
            name: "n".into(),
            id: id(),
            host: None,
        },
        Error::UnknownOwner {
            slug: slug(),
            resource: Resource::Container,
            name: "n".into(),
            id: id(),
            host: Some("worker-7".into()),
        },
        Error::BridgeExists { name: "br0".into() },
        Error::Look { what: "its identity", source: refused("the moon is full") },
        Error::NetworkDiffers {
            network: "n".into(),
            id: id(),
            field: "gateway".into(),
            planned: "10.0.0.1".into(),
            found: None,
        },
        not_removed(Some(id()), &[]),
        not_removed(Some(id()), &["a", "b"]),
        not_removed(None, &[]),
        lease().and(Err(not_removed(Some(id()), &[]))),
        lease().of(NetworkPlanned::new(slug())),
    ] {
        catalogue.error(&error);
    }
}

fn errors_of_containers(catalogue: &mut Catalogue) {
    catalogue.heading("errors of containers");
    let container = || "c".to_owned();
    let exit = Exit { code: 3, out_of_memory: false, error: String::new() };
    let ip = Ipv4Addr::new(10, 0, 0, 2);
    let port_taken = |at: &str, udp, holder| Error::PortTaken {
        container: container(),
        at: at.parse().unwrap(),
        udp,
        holder,
        source: refused("port is already allocated"),
    };
    for error in [
        Error::Start { container: container(), image: "i".into(), source: refused("no") },
        port_taken("127.0.0.1:8080", false, Some(PortHolder::Container { name: "acme".into() })),
        port_taken("[::]:53", true, Some(PortHolder::Process { pid: 7, name: "a\tb".into() })),
        port_taken("0.0.0.0:8080", false, None),
        Error::Restart { container: container(), source: refused("no") },
        Error::Pull { image: "i".into(), source: refused("no") },
        Error::Died { container: container(), exit: Box::new(exit), log: "bye".into() },
        Error::WrongAddress { container: container(), planned: ip.into(), found: None },
        Error::Gone { container: container() },
        Error::NotReady {
            waited_for: Ready::tcp(80).to_string(),
            timeout: Duration::from_secs(5),
            seen: "nothing".into(),
            log: String::new(),
        },
        Error::Stopped,
        Error::Unreachable { ip, reachability: Reachability::Rootless },
        Error::Exec { program: "ls".into(), source: refused("no") },
        Error::Signal { container: container(), signal: "HUP".into(), source: refused("no") },
        Error::File { container: container(), path: "/x".into(), problem: FileProblem::Missing },
        Error::NotPublished { container: container(), port: "8080/tcp".into() },
    ] {
        catalogue.error(&error);
    }
}

/// The reasons why a lease cannot be used, but for the system's own.
fn leases(catalogue: &mut Catalogue) {
    catalogue.heading("leases");
    let room = tempfile::tempdir().unwrap();
    let at = |name: &str| room.path().join(name);
    let take = |name| Lease::take(&at(name), "p", &slug(), "engine", "owner");
    let engine = |name: &str| Engine::docker().with_state_dir(at(name));

    let (file, directory) = (at("file"), at("directory"));
    let lease = take("directory").unwrap();
    symlink(&directory, at("link")).unwrap();
    fs::write(&file, "").unwrap();
    let written = lease.path().to_owned();
    fs::remove_file(&written).unwrap();
    let id = Id::parse(&"0".repeat(64)).unwrap();
    let deleted = lease.keep(id, None);
    drop(lease);
    fs::write(&written, "of another release").unwrap();
    let mut cases = vec![
        directory_of(&engine("a\nb")).map(drop),
        deleted,
        take("directory").map(drop),
        take("link").map(drop),
    ];
    fs::remove_file(&written).unwrap();
    symlink(&file, &written).unwrap();
    cases.push(take("directory").map(drop));
    fs::remove_file(&written).unwrap();
    fs::hard_link(&file, &written).unwrap();
    cases.push(take("directory").map(drop));
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    cases.push(take("directory").map(drop));
    for case in cases {
        let error = case.unwrap_err();
        catalogue.error(std::error::Error::source(&error).unwrap());
    }
}

fn changes(catalogue: &mut Catalogue) {
    catalogue.heading("changes of a kept bundle");
    let [planned, found] = [2, 3].map(|last| Ipv4Addr::new(10, 0, 0, last));
    let label = |found| Problem::Label { key: "k".into(), planned: "a".into(), found };
    for problem in [
        Problem::OnlyNetwork,
        Problem::Expired,
        Problem::Missing(Resource::Container),
        Problem::Unreadable("addresses"),
        label(None),
        label(Some("b".into())),
        Problem::Subnet("10.0.0.0/24".parse().unwrap()),
        Problem::Is(State::Paused),
        Problem::IsAfterStart(State::Exited),
        Problem::Address { planned, found },
        Problem::Disconnected,
    ] {
        catalogue.text(problem);
    }
}

fn others(catalogue: &mut Catalogue) {
    catalogue.heading("holders, exits and conditions");
    let wg0 = || "wg0".to_owned();
    catalogue.text(holder("acme"));
    catalogue.text(Holder::Interface { name: wg0(), address: "10.1.2.3/16".parse().unwrap() });
    let route = |table| Holder::Route {
        destination: "10.1.0.0/16".parse().unwrap(),
        interface: wg0(),
        table,
    };
    catalogue.text(route(None));
    catalogue.text(route(Some(100)));
    for (code, out_of_memory, error) in
        [(0, false, ""), (137, false, ""), (137, true, ""), (127, false, "no such file")]
    {
        catalogue.text(Exit { code, out_of_memory, error: error.into() });
    }
    for ready in [
        Ready::log_matching("a+").unwrap(),
        Ready::all([Ready::healthy(), Ready::any([Ready::tcp(1), Ready::http(2, "/x", 200)])]),
        Ready::all([]),
        Ready::any([]),
        Ready::check("a check", || true),
    ] {
        catalogue.text(ready);
    }
}
