//! This host's own network: its interfaces and its routes, read without sending a packet.

#[cfg(target_os = "linux")]
mod kernel;
pub(crate) mod ports;

#[cfg(all(test, target_os = "linux"))]
pub(crate) use kernel::tests::in_a_namespace;

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
#[cfg(target_os = "linux")]
use std::os::unix::net::UnixStream;
use std::path::Path;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
#[cfg(target_os = "linux")]
use nix::sys::socket::sockopt::PeerCredentials;

/// The holder of a range of addresses.
///
/// It prints as `network acme (10.48.1.0/24)`, `interface wg0 (10.48.1.7/24)` or
/// `the route to 10.48.0.0/16 via wg0`, of another table than the main one with ` in table 100`.
///
/// ```no_run
/// # use sidecar_bundle::Holder;
/// fn remedy(holder: &Holder) -> String {
///     match holder {
///         Holder::Network { name, .. } => format!("docker network inspect {name}"),
///         Holder::Route { interface, .. } if interface.starts_with("wg") => "end the VPN".into(),
///         other => format!("plan with a pool that avoids {}", other.range()),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Holder {
    /// A network of the engine.
    #[non_exhaustive]
    Network {
        /// Its name.
        name: String,
        /// Its subnet.
        subnet: IpNet,
    },
    /// An interface of the engine's host.
    #[non_exhaustive]
    Interface {
        /// Its name.
        name: String,
        /// Its address, with the prefix length of its subnet.
        address: IpNet,
    },
    /// A route of the engine's host.
    #[non_exhaustive]
    Route {
        /// Its destination; that of the rule which leads to its table, if that is a smaller range.
        destination: IpNet,
        /// Its interface; `*` if packets are dropped.
        interface: String,
        /// Its table, where that is known and is not the main one.
        table: Option<u32>,
    },
}

impl Holder {
    /// The range that it holds.
    #[must_use]
    pub fn range(&self) -> IpNet {
        match self {
            Self::Network { subnet: range, .. } | Self::Interface { address: range, .. } => {
                range.trunc()
            }
            Self::Route { destination, .. } => *destination,
        }
    }

    pub(crate) fn overlaps(&self, range: IpNet) -> bool {
        overlap(self.range(), range)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { name, subnet } => write!(f, "network {name} ({subnet})"),
            Self::Interface { name, address } => write!(f, "interface {name} ({address})"),
            Self::Route { destination, interface, table } => {
                write!(f, "the route to {destination} via {interface}")?;
                table.map_or(Ok(()), |table| write!(f, " in table {table}"))
            }
        }
    }
}

pub(crate) fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// The interfaces of this process's network namespace, each with each of its addresses.
pub(crate) fn interfaces() -> Vec<Holder> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "this host's interfaces cannot be read");
        Vec::new()
    });
    let holder = |interface: if_addrs::Interface| {
        let (address, prefix) = match interface.addr {
            if_addrs::IfAddr::V4(it) => (IpAddr::V4(it.ip), it.prefixlen),
            if_addrs::IfAddr::V6(it) => (IpAddr::V6(it.ip), it.prefixlen),
        };
        let address = IpNet::new(address, prefix).ok()?;
        Some(Holder::Interface { name: interface.name, address })
    };
    interfaces.into_iter().filter_map(holder).collect()
}

/// The interfaces with an address of their own in a range.
pub(crate) fn interfaces_in(range: IpNet) -> Vec<Holder> {
    // One dump of the kernel's: `getifaddrs` also describes each interface, and a host may have hundreds.
    #[cfg(target_os = "linux")]
    return kernel::interfaces_in(range);
    #[cfg(not(target_os = "linux"))]
    {
        let mut all = interfaces();
        all.retain(
            |it| matches!(it, Holder::Interface { address, .. } if range.contains(&address.addr())),
        );
        all
    }
}

/// The routes of the main table to a range or to a part of it, and for IPv6 of all tables.
pub(crate) fn routes_in(range: IpNet) -> Vec<Holder> {
    let mut routes = if range.addr().is_ipv4() { ipv4_routes() } else { ipv6_routes() };
    routes.retain(|it| range.contains(&it.range()));
    routes
}

/// A table of this thread's network namespace; the process's first thread may be in another.
fn table(name: &str) -> String {
    fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default()
}

/// The routes of the main table, and for IPv6 of all tables, but for default routes, whole or in halves;
/// none where the kernel is not Linux.
pub(crate) fn routes() -> Vec<Holder> {
    [ipv4_routes(), ipv6_routes()].concat()
}

fn ipv4_routes() -> Vec<Holder> {
    table("route").lines().skip(1).filter_map(route).collect()
}

fn ipv6_routes() -> Vec<Holder> {
    table("ipv6_route").lines().filter_map(ipv6_route).collect()
}

/// A line of the kernel's table: interface, destination, gateway, flags, ..., mask at the eighth place.
/// Addresses are hexadecimal numbers in the machine's own order of bytes.
fn route(line: &str) -> Option<Holder> {
    const UP: u16 = 1;
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = |field: &str| {
        let number = u32::from_str_radix(field, 16).ok()?;
        Some(Ipv4Addr::from(number.to_ne_bytes()))
    };
    let flags = u16::from_str_radix(fields.get(3)?, 16).ok()?;
    let mask = address(fields.get(7)?)?;
    let destination = Ipv4Net::with_netmask(address(fields.get(1)?)?, mask).ok()?;
    let interface = (*fields.first()?).to_owned();
    (flags & UP != 0 && destination.prefix_len() > 1).then_some(Holder::Route {
        destination: destination.into(),
        interface,
        table: None,
    })
}

/// A line of the kernel's table for IPv6: destination, its prefix length, ..., flags and interface at the end.
/// All numbers are hexadecimal. What leads to this host itself or to many is no route to a range.
fn ipv6_route(line: &str) -> Option<Holder> {
    const UP: u32 = 1;
    // Packets are dropped, and the route is not up.
    const REJECT: u32 = 1 << 9;
    const ANYCAST: u32 = 1 << 20;
    const LOCAL: u32 = 1 << 31;
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = Ipv6Addr::from(u128::from_str_radix(fields.first()?, 16).ok()?);
    let prefix = u8::from_str_radix(fields.get(1)?, 16).ok()?;
    let destination = Ipv6Net::new(address, prefix).ok()?.trunc();
    let flags = u32::from_str_radix(fields.get(8)?, 16).ok()?;
    let interface = (*fields.get(9)?).to_owned();
    let is_range = prefix > 1 && !address.is_multicast();
    let has = |flag: u32| flags & flag != 0;
    (is_range && (has(UP) || has(REJECT)) && !has(ANYCAST) && !has(LOCAL))
        .then_some(Holder::Route { destination: destination.into(), interface, table: None })
}

/// The route of this process's packets to an address, as the kernel finds it by its rules and tables; `None` if there
/// is none, or where the kernel is not Linux. No packet is sent.
pub(crate) fn way_to(ip: IpAddr) -> Option<Holder> {
    #[cfg(target_os = "linux")]
    return kernel::way_to(ip);
    #[cfg(not(target_os = "linux"))]
    return None;
}

/// The route that packets to an address of this subnet take even when an interface has the subnet: that of a rule
/// before the main table's. No packet is sent.
pub(crate) fn diversion(ip: IpAddr, subnet: IpNet) -> Option<Holder> {
    #[cfg(target_os = "linux")]
    return kernel::diversion(ip, subnet);
    #[cfg(not(target_os = "linux"))]
    return way_to(ip).filter(|it| it.overlaps(subnet));
}

/// Returns true if an interface of this host has this address, with whatever name.
pub(crate) fn has_address(ip: IpAddr) -> bool {
    interfaces()
        .iter()
        .any(|it| matches!(it, Holder::Interface { address, .. } if address.addr() == ip))
}

/// This host's name, where it says so.
pub(crate) fn name() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}

/// Returns true if packets of this process to `to` have `from` as their source. No packet is sent.
fn speaks_as(from: Ipv4Addr, to: Ipv4Addr) -> bool {
    let source = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        // To connect a UDP socket sends nothing; the port is of no matter.
        socket.connect((to, 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == from)
}

/// Returns true if packets of this process to an address of this subnet leave by the interface with this gateway. No
/// packet is sent.
pub(crate) fn leaves_by_gateway(ip: Ipv4Addr, gateway: Ipv4Addr, subnet: Ipv4Net) -> bool {
    match way_to(ip.into()) {
        Some(Holder::Route { destination, interface, .. }) => {
            IpNet::V4(subnet).contains(&destination) && has(&interface, gateway.into())
        }
        // The kernel does not say it. The source of packets is a sign, and no proof: a route by another interface may give
        // them this one, and a route by this one another.
        _ => speaks_as(gateway, ip),
    }
}

/// Returns true if an interface of this host has this name and, among others, this address.
pub(crate) fn has(interface: &str, ip: IpAddr) -> bool {
    interfaces().iter().any(|it| {
        matches!(it, Holder::Interface { name, address } if name == interface && address.addr() == ip)
    })
}

/// Returns true if this thread's network namespace has an interface of this name, with addresses or without;
/// false where the kernel is not Linux.
pub(crate) fn is_there(interface: &str) -> bool {
    let all = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    all.lines().filter_map(|line| line.split_once(':')).any(|(name, _)| name.trim() == interface)
}

/// The release of this host's kernel, where it says so.
pub(crate) fn kernel() -> Option<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    Some(release.trim().to_owned())
}

/// Returns true if an interface of this host has this name and an address in this subnet.
pub(crate) fn is_in(interface: &str, subnet: IpNet) -> bool {
    interfaces().iter().any(|it| {
        matches!(it, Holder::Interface { name, address } if name == interface && subnet.contains(&address.addr()))
    })
}

/// Returns true if the listener at a socket is in this thread's network namespace; `None` where that cannot
/// be seen, or where the kernel is not Linux. No byte is sent.
pub(crate) fn shares_network_with(socket: &Path) -> Option<bool> {
    #[cfg(target_os = "linux")]
    return listener_shares_network(socket);
    #[cfg(not(target_os = "linux"))]
    return {
        let _ = socket;
        None
    };
}

#[cfg(target_os = "linux")]
fn listener_shares_network(socket: &Path) -> Option<bool> {
    let stream = UnixStream::connect(socket).ok()?;
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let peer = nix::sys::socket::getsockopt(&stream, PeerCredentials).ok();
    // The kernel says 0, which `/proc` does not have, for a process in a pid namespace that cannot be seen from here.
    if let Some(theirs) = peer.and_then(|it| namespace(&it.pid().to_string())) {
        return Some(theirs == namespace("thread-self")?);
    }
    listens_here(&stream, socket)
}

/// The same by the kernel's table of sockets: a user may not look at root's processes, but sees all sockets of this
/// network namespace.
#[cfg(target_os = "linux")]
fn listens_here(stream: &UnixStream, socket: &Path) -> Option<bool> {
    let sockets = fs::read_to_string("/proc/thread-self/net/unix").ok()?;
    let bound = stream.peer_addr().ok()?.as_pathname()?.to_owned();
    if !sockets.lines().filter_map(listener).any(|it| Path::new(it) == bound) {
        return Some(false);
    }
    // With other mounts, the same path may be another socket.
    (fs::canonicalize(bound).ok()? == fs::canonicalize(socket).ok()?).then_some(true)
}

/// The path of a line of the kernel's table, if it is a socket that listens: number, references, protocol, flags,
/// type, state, inode, path.
#[cfg(target_os = "linux")]
fn listener(line: &str) -> Option<&str> {
    const ACCEPTS: u32 = 1 << 16;
    let mut rest = line;
    let mut fields = [""; 7];
    for field in &mut fields {
        (*field, rest) = rest.trim_start().split_once(' ')?;
    }
    (u32::from_str_radix(fields[3], 16).ok()? & ACCEPTS != 0).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let line = |destination: [u8; 4], flags: &str, mask: [u8; 4]| {
            let hex = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
            format!(
                "wg0\t{}\t00000000\t{flags}\t0\t0\t0\t{}\t0\t0\t0 ",
                hex(destination),
                hex(mask)
            )
        };
        let read = |line: &str| route(line).map(|it| it.to_string());
        for (line, said) in [
            (
                line([10, 48, 0, 0], "0001", [255, 255, 0, 0]),
                Some("the route to 10.48.0.0/16 via wg0"),
            ),
            (line([10, 48, 1, 2], "0007", [255; 4]), Some("the route to 10.48.1.2/32 via wg0")),
            // Down; default; the default in halves; no mask; not a line.
            (line([10, 48, 0, 0], "0000", [255, 255, 0, 0]), None),
            (line([0; 4], "0003", [0; 4]), None),
            (line([128, 0, 0, 0], "0003", [128, 0, 0, 0]), None),
            (line([10, 0, 0, 0], "0003", [255, 0, 255, 0]), None),
            ("wg0 xyz".into(), None),
        ] {
            assert_eq!(read(&line).as_deref(), said, "{line}");
        }
    }

    #[test]
    fn the_kernels_table_for_ipv6_is_read() {
        let line = |destination: &str, prefix: &str, flags: &str| {
            let zero = "0".repeat(32);
            format!(
                "{destination:0<32} {prefix} {zero} 00 {zero} 00000400 00000001 00000000 {flags}      wg0"
            )
        };
        let read = |line: &str| ipv6_route(line).map(|it| it.to_string());
        for (line, said) in [
            (line("fd4800010002", "30", "00000001"), Some("the route to fd48:1:2::/48 via wg0")),
            (line("fd48", "10", "00000003"), Some("the route to fd48::/16 via wg0")),
            (line("fd48", "10", "00200200"), Some("the route to fd48::/16 via wg0")),
            // Down; default; the default in halves; to many; to itself; to any; not a line.
            (line("fd48", "10", "00000000"), None),
            (line("", "00", "00000003"), None),
            (line("8", "01", "00000003"), None),
            (line("ff", "08", "00000001"), None),
            (line("fd4800010002", "80", "80200001"), None),
            (line("fd4800010002", "80", "00100001"), None),
            ("fd48 xyz".into(), None),
        ] {
            assert_eq!(read(&line).as_deref(), said, "{line}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_kernel_is_that_of_this_host() {
        let said = std::process::Command::new("uname").arg("-r").output().unwrap().stdout;
        assert_eq!(kernel().unwrap(), String::from_utf8(said).unwrap().trim());
    }

    #[test]
    fn this_host_has_its_loopback() {
        let localhost = Ipv4Addr::LOCALHOST.into();
        assert!(has("lo", localhost) || has("lo0", localhost));
        assert!(!cfg!(target_os = "linux") || is_there("lo") && !is_there("l"));
        assert!(!has("lo", Ipv4Addr::new(192, 0, 2, 1).into()));
        assert!(speaks_as(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST));
        assert!(!speaks_as(Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::LOCALHOST));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn who_listens_here_shares_this_network() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        assert_eq!(shares_network_with(&socket), None);
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(shares_network_with(&socket), Some(true));
        // Its process tells it, whatever has the path by which it is known.
        let moved = directory.path().join("moved");
        fs::rename(&socket, &moved).unwrap();
        let _other = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(shares_network_with(&moved), Some(true));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_listener_is_found_without_the_right_to_look_at_its_process() {
        let directory = tempfile::tempdir().unwrap();
        let [socket, moved] = ["a socket", "moved"].map(|it| directory.path().join(it));
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let stream = UnixStream::connect(&socket).unwrap();
        assert_eq!(listens_here(&stream, &socket), Some(true));
        let there = {
            let (stream, socket) = (stream.try_clone().unwrap(), socket.clone());
            std::thread::spawn(move || {
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).ok()?;
                // Others listen there.
                let path = socket.with_file_name("there");
                let _other = std::os::unix::net::UnixListener::bind(path).unwrap();
                Some(listens_here(&stream, &socket))
            })
        };
        match there.join().unwrap() {
            Some(found) => assert_eq!(found, Some(false)),
            None => eprintln!("SKIPPED another network namespace: that takes root"),
        }
        // Another socket has the path by which the listener is known.
        fs::rename(&socket, &moved).unwrap();
        let _other = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let stream = UnixStream::connect(&moved).unwrap();
        assert_eq!(listens_here(&stream, &moved), None);
        drop(listener);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_kernels_table_of_sockets_is_read() {
        let line = |flags: &str, path: &str| {
            format!("0000000000000000: 00000002 00000000 {flags} 0001 01   812 {path}")
        };
        assert_eq!(listener(&line("00010000", "/run/a b.sock")), Some("/run/a b.sock"));
        for other in [line("00000000", "/run/a.sock"), "Num RefCount".into(), String::new()] {
            assert_eq!(listener(&other), None, "{other}");
        }
    }

    #[test]
    fn an_interface_holds_the_whole_of_its_subnet() {
        let interface =
            Holder::Interface { name: "eth0".into(), address: "10.1.2.3/16".parse().unwrap() };
        assert!(interface.overlaps("10.1.255.0/24".parse().unwrap()));
        assert!(!interface.overlaps("10.2.0.0/24".parse().unwrap()));
    }
}
