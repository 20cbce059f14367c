//! A start that finds a port of the host taken, and the look for the holder.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use serde_json::{Value, json};
use sidecar_bundle::{BundleSpec, Cause, Error, PortHolder, PortMapping};

use crate::fake::{CONTAINER, Fake, plan};
use crate::scripted::{Act, Scripted};
use crate::texts::{UNREACHABLE, refuse};

const HOLDER: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

/// A container of this name with these published ports, as it is inspected.
fn container(name: &str, ports: &Value) -> String {
    let networks = json!({"Ports": ports});
    let state = json!({"Status": "running"});
    json!({"Id": HOLDER, "Name": name, "State": state, "NetworkSettings": networks}).to_string()
}

/// Refuses each start in these words, with this container beside the bundle's, on an engine of these properties.
fn refusing(says: &str, container: String, info: Value) -> impl Fn(&str, &str) -> Act + Send {
    let says = json!({"message": says}).to_string();
    move |request, _| match request {
        "GET /info" if info.is_object() => Act::Answer(200, info.to_string()),
        it if it.ends_with("/start") => Act::Answer(500, says.clone()),
        it if it.contains(r#""status":["running","paused"]"#) => {
            Act::Answer(200, json!([{"Id": HOLDER}]).to_string())
        }
        it if it.contains(HOLDER) => Act::Answer(200, container.clone()),
        _ => Act::Obey,
    }
}

fn published(ports: &[PortMapping]) -> BundleSpec {
    ports.iter().fold(BundleSpec::new(), |spec, port| spec.publish(*port))
}

const TCP: &str = "Bind for 127.0.0.1:8080 failed: port is already allocated";
const BOTH: &str =
    "failed to bind host port for 127.0.0.1:8080:172.17.0.3:80/tcp: address already in use";
const LATE: &str = "driver failed programming external connectivity on endpoint x: Timed out proxy starting the userland proxy";
const SOME: &str = "Bind for some port failed: port is already allocated";

#[test]
fn the_port_that_is_taken_is_told_with_its_holder() {
    let [tcp, udp] = [PortMapping::tcp(80).host_port(8080), PortMapping::udp(80).host_port(8080)];
    let other = PortMapping::tcp(80).host_port(8081);
    let everywhere = tcp.host_address([0, 0, 0, 0]);
    let ipv6 = tcp.host_address("::1".parse::<IpAddr>().unwrap());
    let held =
        |port: &str, at: &str| json!({"1/sctp": null, port: [{"HostIp": at, "HostPort": "8080"}]});
    let here = || held("80/tcp", "127.0.0.1");
    let (local, acme) = ("127.0.0.1:8080/tcp", "container acme");
    let unseen = "something that cannot be seen from here";
    for (says, ports, holds, said) in [
        (TCP, vec![tcp], here(), Some((local, acme))),
        (TCP, vec![tcp], held("80/tcp", "0.0.0.0"), Some((local, acme))),
        (TCP, vec![tcp], held("80/tcp", ""), Some((local, acme))),
        (TCP, vec![everywhere], here(), Some(("0.0.0.0:8080/tcp", acme))),
        (TCP, vec![ipv6], held("80/tcp", "::"), Some(("[::1]:8080/tcp", acme))),
        (TCP, vec![udp], held("80/udp", "127.0.0.1"), Some(("127.0.0.1:8080/udp", acme))),
        // Another port, address, kind of port or kind of address is in nobody's way.
        (TCP, vec![tcp], held("80/tcp", "127.0.0.2"), Some((local, unseen))),
        (TCP, vec![tcp], held("80/tcp", "::"), Some((local, unseen))),
        (TCP, vec![udp], here(), Some(("127.0.0.1:8080/udp", unseen))),
        (TCP, vec![tcp], json!({}), Some((local, unseen))),
        // Of several ports, the one that is named or held.
        (TCP, vec![PortMapping::tcp(1), other, tcp], json!({}), Some((local, unseen))),
        (BOTH, vec![PortMapping::tcp(8080).host_port(80), tcp], json!({}), Some((local, unseen))),
        (SOME, vec![other, tcp], here(), Some((local, acme))),
        (SOME, vec![other, tcp], json!({}), None),
        (TCP, vec![tcp, udp], here(), Some((local, acme))),
        (TCP, vec![tcp, udp], json!({}), None),
        (SOME, vec![PortMapping::tcp(80)], here(), None),
        // The one that the engine chose may be it, too.
        (SOME, vec![tcp, PortMapping::tcp(81)], json!({}), None),
        // A start that failed for an unknown reason found a port taken only if it is held.
        (LATE, vec![tcp], here(), Some((local, acme))),
        (LATE, vec![tcp], json!({}), None),
        ("the moon is full", vec![tcp], here(), None),
    ] {
        let engine = Scripted::new(refusing(says, container("/acme", &holds), Value::Null));
        let network = plan().create_network(&engine.engine()).unwrap();
        let failed = network.start(published(&ports)).unwrap_err();
        let cause = Cause::of(says);
        let Some((port, holder)) = said else {
            assert!(matches!(failed.error(), Error::Start { .. }), "{says} {ports:?}: {failed:?}");
            assert_eq!(failed.error().cause(), Some(cause));
            continue;
        };
        let expected = format!(
            "container {CONTAINER} could not be started: host port {port} is taken by {holder}"
        );
        assert_eq!(failed.to_string(), expected, "{says} {ports:?} {holds}");
        assert_eq!(failed.error().cause(), Some(Cause::PortTaken));
        let Error::PortTaken { source, .. } = failed.error() else { panic!("{failed:?}") };
        assert_eq!(source.cause(), cause);
        // The network is handed back, and nothing else is left.
        assert_eq!(engine.resources(), 1);
        engine.script(|_, _| Act::Obey);
        failed.into_state().start(published(&ports)).unwrap().close().unwrap();
        assert_eq!(engine.resources(), 0);
    }
}

#[test]
fn the_container_that_was_not_started_is_no_holder() {
    let port = PortMapping::tcp(80).host_port(8080);
    let ports = json!({"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]});
    let script = || refusing(TCP, container(&format!("/{CONTAINER}"), &ports), Value::Null);
    let engine = Scripted::new(script());
    let failed = plan().launch(&engine.engine(), published(&[port])).unwrap_err();
    assert!(matches!(failed.error(), Error::PortTaken { holder: None, .. }), "{failed:?}");
    // To a guest, the bundle's container is another one.
    engine.script(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    engine.script(script());
    let error = bundle.guest("agent", published(&[port]).image("agent")).unwrap_err();
    assert!(error.to_string().ends_with(&format!("is taken by container {CONTAINER}")), "{error}");
    assert_eq!(engine.resources(), 2);
    bundle.close().unwrap();
    assert_eq!(engine.resources(), 0);
}

#[test]
fn a_start_that_succeeds_or_fails_otherwise_looks_for_no_holder() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let port = PortMapping::tcp(80).host_port(8080);
    let looks = || engine.requests().iter().filter(|it| it.contains("status")).count();
    plan().launch(&engine.engine(), published(&[port])).unwrap().close().unwrap();
    assert_eq!(looks(), 0);
    let message = json!({"message": "the moon is full"}).to_string();
    engine.script(move |request, _| match request {
        it if it.ends_with("/start") => Act::Answer(500, message.clone()),
        _ => Act::Obey,
    });
    let failed = plan().launch(&engine.engine(), published(&[port])).unwrap_err();
    assert!(matches!(failed.error(), Error::Start { .. }), "{failed:?}");
    assert_eq!((looks(), engine.resources()), (0, 0));
}

#[test]
fn a_process_of_this_host_is_a_holder_where_the_engine_is_on_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let port = PortMapping::tcp(80).host_port(at.port());
    // A process at an address of version 4 is in nobody's way at one of version 6.
    for (info, ip, is_seen) in [
        (json!({"SecurityOptions": ["name=rootless"]}), at.ip(), true),
        (json!({"SecurityOptions": ["name=rootless"]}), "::1".parse().unwrap(), false),
        (json!({"OperatingSystem": "Docker Desktop"}), at.ip(), false),
        (json!({"KernelVersion": "of another kernel"}), at.ip(), false),
    ] {
        let mut info = info;
        info["ServerVersion"] = "26.1.5".into();
        let nobody = container("/acme", &json!({}));
        let engine = Scripted::new(refusing(SOME, nobody, info.clone()));
        let spec = published(&[port.host_address(ip)]);
        let failed = plan().launch(&engine.engine(), spec).unwrap_err();
        let Error::PortTaken { at: port, udp: false, holder, .. } = failed.error() else {
            panic!("{failed:?}")
        };
        assert_eq!(*port, SocketAddr::new(ip, at.port()));
        let me = std::process::id();
        let is_me = matches!(holder, Some(PortHolder::Process { pid, .. }) if *pid == me);
        assert_eq!((is_me, holder.is_some()), (is_seen, is_seen), "{info}: {holder:?}");
        assert_eq!(engine.resources(), 0);
    }
}

#[test]
fn rootless_docker_has_each_port_once() {
    let ports = json!({"80/tcp": [{"HostIp": "127.0.0.2", "HostPort": "8080"}]});
    let info = json!({"ServerVersion": "26.1.5", "SecurityOptions": ["name=rootless"]});
    // If it names the address, a container at another one is not blamed.
    for (says, is_taken_by_acme) in [(LATE, true), (TCP, false)] {
        let engine = Scripted::new(refusing(says, container("/acme", &ports), info.clone()));
        let port = PortMapping::tcp(80).host_port(8080);
        let failed = plan().launch(&engine.engine(), published(&[port])).unwrap_err();
        assert_eq!(failed.error().cause(), Some(Cause::PortTaken), "{failed:?}");
        let by_acme = failed.to_string().ends_with("is taken by container acme");
        assert_eq!(by_acme, is_taken_by_acme, "{failed}");
    }
}

#[test]
fn the_commands_of_docker_tell_the_holder_too() {
    let says = format!("docker: Error response from daemon: {TCP}.");
    let ports = json!({"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]});
    let holder = container("/acme", &ports);
    let list = format!("echo 'CONTAINER ID'; echo {HOLDER}");
    let looks = "case $filters in *status=*) WHAT ;; *) obey ;; esac";
    let missing = refuse(1, UNREACHABLE);
    for (ps, is_seen) in [
        (list.clone(), true),
        // A look that fails, or another engine's, tells nothing.
        (missing, false),
        (format!(": >\"$dir/moved\"; {list}"), false),
    ] {
        let fake = Fake::new();
        fake.moves();
        fake.on("run", &format!("obey; {}", refuse(125, &says)));
        fake.on("ps", &looks.replace("WHAT", &ps));
        fake.on(
            "container-inspect",
            &format!("case $words in *{HOLDER}*) echo '[{holder}]' ;; *) obey ;; esac"),
        );
        let network = plan().create_network(&fake.engine()).unwrap();
        let at = PortMapping::tcp(80).host_address(Ipv4Addr::LOCALHOST).host_port(8080);
        let failed = network.start(published(&[at])).unwrap_err();
        let Error::PortTaken { holder, .. } = failed.error() else { panic!("{failed:?}") };
        let holder = holder.as_ref().map(PortHolder::to_string);
        assert_eq!(holder.as_deref(), is_seen.then_some("container acme"), "{ps}");
        // The container of the step goes first.
        let operations = fake.operations();
        let at = |operation: &str| operations.iter().rposition(|it| it == operation).unwrap();
        assert!(at("rm") < at("ps"), "{operations:?}");
        let _gone = std::fs::remove_file(fake.path("moved"));
        failed.into_state().close().unwrap();
        fake.assert_nothing_left();
    }
}
