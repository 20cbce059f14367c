//! Ports of the host that are taken, and their holders.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use sidecar_bundle::{BundleSpec, Cause, Error, NetworkPlanned, PortHolder, PortMapping};

use crate::engine::{World, is_podman, is_rootless, world};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ALL: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const LOCAL6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const ALL6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

fn publishing(at: SocketAddr, udp: bool) -> BundleSpec {
    let mapping = if udp { PortMapping::udp(80) } else { PortMapping::tcp(80) };
    BundleSpec::new().publish(mapping.host_address(at.ip()).host_port(at.port()))
}

/// The holder of a port, as the error of a start tells it, and the plan for another start.
#[track_caller]
fn holder(
    world: &World,
    plan: NetworkPlanned,
    at: SocketAddr,
    udp: bool,
) -> (Option<PortHolder>, NetworkPlanned) {
    let network = plan.create_network(&world.engine()).unwrap();
    // Another port is free, and is not blamed.
    let spec = publishing(at, udp).publish(PortMapping::tcp(81));
    let (error, network) = network.start(spec).unwrap_err().into_parts();
    assert_eq!(error.cause(), Some(Cause::PortTaken), "{error:?}");
    let Error::PortTaken { at: taken, udp: kind, holder, .. } = error else { panic!("{error:?}") };
    assert_eq!((taken, kind), (at, udp));
    let plan = network.plan().clone();
    if is_podman() && is_rootless() {
        // Podman 4.3 never frees the address of a container whose port was taken.
        network.close().unwrap();
        return (holder, plan.next_attempt().unwrap());
    }
    // The same port of the other kind is free, and the network is there for another start.
    network.start(publishing(at, !udp)).unwrap().close().unwrap();
    (holder, plan)
}

#[test]
fn a_port_of_another_bundle_is_taken_by_its_container() {
    let Some(first) = world("ports-a") else { return };
    let second = World { slug: "ports-b", state: tempfile::tempdir().unwrap() };
    second.assert_nothing_left();
    let mut plan = second.plan();
    let mut cases = vec![
        (18_091, LOCAL, LOCAL, false),
        (18_092, ALL, LOCAL, false),
        (18_093, LOCAL, ALL, false),
        (18_094, LOCAL6, LOCAL6, false),
        (18_095, LOCAL, LOCAL, true),
    ];
    if is_rootless() && !is_podman() {
        // It has each port once, whatever its address (moby#52783), and says only that its proxy is late.
        cases.push((18_096, Ipv4Addr::new(127, 0, 0, 2).into(), LOCAL, false));
    }
    for (port, held, wanted, udp) in cases {
        let spec = publishing((held, port).into(), udp);
        let bundle = first.plan().launch(&first.engine(), spec).unwrap();
        let seen;
        (seen, plan) = holder(&second, plan, (wanted, port).into(), udp);
        let Some(PortHolder::Container { name, .. }) = seen else { panic!("{seen:?}") };
        assert_eq!(name, bundle.container_name(), "{held} {wanted} {udp}");
        bundle.close().unwrap();
        let spec = publishing((wanted, port).into(), udp);
        plan.clone().launch(&second.engine(), spec).unwrap().close().unwrap();
    }
    first.assert_nothing_left();
    second.assert_nothing_left();
}

#[test]
fn a_port_of_a_process_is_taken_by_it() {
    let Some(world) = world("ports-p") else { return };
    let mut plan = world.plan();
    for (held, wanted, udp) in [
        (LOCAL, LOCAL, false),
        (ALL, LOCAL, false),
        (LOCAL, ALL, false),
        (ALL6, LOCAL, false),
        (LOCAL6, LOCAL6, false),
        (LOCAL, LOCAL, true),
    ] {
        let (tcp, datagrams);
        let port = if udp {
            datagrams = UdpSocket::bind((held, 0)).unwrap();
            datagrams.local_addr()
        } else {
            tcp = TcpListener::bind((held, 0)).unwrap();
            tcp.local_addr()
        };
        let seen;
        (seen, plan) = holder(&world, plan, (wanted, port.unwrap().port()).into(), udp);
        let Some(PortHolder::Process { pid, .. }) = seen else { panic!("{seen:?}") };
        assert_eq!(pid, std::process::id(), "{held} {wanted} {udp}");
    }
    world.assert_nothing_left();
}
