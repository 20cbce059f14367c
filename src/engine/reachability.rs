//! The place of an engine's bridges: on this host, in this network namespace, or elsewhere.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::Instant;

use super::backend::{Backend, NetworkInfo};
use super::error::EngineError;
use super::identity::{EngineInfo, EngineKind};
use crate::host::{self, Holder};

/// The place of an engine's bridges, which tells whether programs of this host reach its containers.
///
/// It prints as a phrase, which ends with the remedy where there is need of one.
///
/// ```
/// use sidecar_bundle::Reachability;
///
/// fn has_to_publish(reachability: &Reachability) -> bool {
///     match reachability {
///         Reachability::Here => false,
///         Reachability::Unknown => false, // the running bundle tells
///         _ => true,
///     }
/// }
/// assert!(has_to_publish(&Reachability::Rootless) && !has_to_publish(&Reachability::Here));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Reachability {
    /// The engine's bridges are interfaces of this host.
    Here,
    /// The engine is on another host.
    Remote {
        /// Its address as configured, such as `ssh://user@host`.
        endpoint: String,
    },
    /// The engine is in a virtual machine on this host, such as Docker Desktop's.
    VirtualMachine {
        /// The engine's name of its system.
        system: String,
    },
    /// The engine is rootless: its bridges are in a network namespace of its user's own.
    Rootless,
    /// The engine is on this host, and its bridges are not in this process's network namespace.
    OtherNamespace,
    /// The engine seems to be on this host, and nothing proves that its bridges are in this process's network
    /// namespace: it has none yet, or is behind something that forwards.
    Unknown,
    /// The network is an [overlay](crate::NetworkOptions::overlay), which no host is on. Only
    /// [`Error::Unreachable`](crate::Error::Unreachable) has it.
    Overlay,
    /// The bridge is on this host, and packets to the bundle take another way. Only
    /// [`Error::Unreachable`](crate::Error::Unreachable) has it.
    #[non_exhaustive]
    Diverted {
        /// The route that the kernel finds.
        by: Holder,
    },
    /// The bridge is on this host, and does not lead to the bundle. Only
    /// [`Error::Unreachable`](crate::Error::Unreachable) has it.
    #[non_exhaustive]
    NoRoute {
        /// The bridge.
        bridge: String,
    },
}

impl Reachability {
    /// Returns true if programs of this host reach them.
    #[must_use]
    pub fn is_here(&self) -> bool {
        *self == Self::Here
    }

    /// Returns true unless they are known to be elsewhere.
    pub(crate) fn may_be_here(&self) -> bool {
        matches!(self, Self::Here | Self::Unknown)
    }

    /// The reason why packets to an address do not leave by a network's bridge, where it was not clear beforehand.
    pub(crate) fn after_launch(ip: IpAddr, bridge: Option<String>) -> Self {
        match bridge.filter(|it| host::is_there(it)) {
            // Podman takes it away with the network's last container.
            None => Self::OtherNamespace,
            Some(bridge) => Self::beside(bridge, host::way_to(ip)),
        }
    }

    /// The reason by the way that packets take.
    fn beside(bridge: String, way: Option<Holder>) -> Self {
        match way {
            Some(by) if !matches!(&by, Holder::Route { interface, .. } if *interface == bridge) => {
                Self::Diverted { by }
            }
            _ => Self::NoRoute { bridge },
        }
    }
}

impl fmt::Display for Reachability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here => f.write_str("the engine's bridges are on this host"),
            Self::Remote { endpoint } => write!(
                f,
                "the engine is on another host ({endpoint}); publish ports and open a tunnel to them, or run this program there"
            ),
            Self::VirtualMachine { system } => write!(
                f,
                "the engine is in a virtual machine ({system}); publish ports, or run this program in it"
            ),
            Self::Rootless => f.write_str(
                "the engine is rootless, and its bridges are in a network namespace of its own; publish ports, or run this program in that namespace",
            ),
            Self::OtherNamespace => f.write_str(
                "the engine's bridges are in another network namespace; publish ports on an address that is reached from here, or run this program in that one",
            ),
            Self::Unknown => f.write_str(
                "nothing proves that the engine's bridges are in this network namespace; a running bundle tells if it is reachable",
            ),
            Self::Overlay => f.write_str(
                "its network is an overlay, and hosts are not on one; ask a guest of the bundle, or publish ports",
            ),
            Self::Diverted { by } => write!(
                f,
                "packets to it take {by}, and not that of its bridge; exempt the bundle's subnet from that route or its rule, or plan with another pool"
            ),
            Self::NoRoute { bridge } => write!(
                f,
                "its bridge {bridge} is on this host, and does not lead to it; see if the bridge is up and has its address, or if the network is isolated from the host"
            ),
        }
    }
}

/// Asks an engine for the place of its bridges. No packet is sent to any of them.
pub(super) fn locate(
    backend: &dyn Backend,
    deadline: Instant,
) -> Result<Reachability, EngineError> {
    let address = backend.address(deadline)?;
    let info = backend.info(deadline)?;
    let reachability = expected(&info, address.as_deref(), host::kernel().as_deref());
    if !reachability.is_here() {
        return Ok(reachability);
    }
    // Podman's program does the work itself.
    if info.kind == EngineKind::Podman && address.is_none() {
        return Ok(reachability);
    }
    let at = address.as_deref().map_or(Place::DOCKER, place);
    // Only what listens in this network namespace can be reached by its port or by ssh.
    let listens_here = match at {
        Place::Socket(path) => host::shares_network_with(Path::new(path)),
        Place::Port | Place::Elsewhere => Some(true),
    };
    if listens_here == Some(false) {
        return Ok(Reachability::OtherNamespace);
    }
    // A listener may only forward: to another host or container, which has another name, or, as ssh and docker-proxy
    // do, to another namespace.
    let is_the_engine = listens_here == Some(true) && host::name() == Some(info.identity.host);
    if info.kind == EngineKind::Podman {
        // Its bridges' names prove nothing.
        let proven = is_the_engine && matches!(at, Place::Socket(_));
        return Ok(if proven { Reachability::Here } else { Reachability::Unknown });
    }
    let default = backend.networks(&["bridge"], deadline)?.pop();
    // Docker 20.10 does not name the gateway.
    let default = default.and_then(|it| Some((it.bridge?, it.subnets.first()?.0)));
    let default_is_here = match default {
        Some((bridge, subnet)) if !host::is_in(&bridge, subnet) => {
            return Ok(Reachability::OtherNamespace);
        }
        found => found.is_some(),
    };
    if is_the_engine && default_is_here && matches!(at, Place::Socket(_)) {
        return Ok(Reachability::Here);
    }
    // Each engine's default bridge may have the same name and subnet; the other bridges are named by random ids.
    let networks = backend.networks(&[], deadline)?;
    let mut random = networks.iter().filter_map(random_bridge).peekable();
    let has_random = random.peek().is_some();
    Ok(if random.any(host::is_there) {
        Reachability::Here
    } else if has_random {
        Reachability::OtherNamespace
    } else if is_the_engine && default_is_here {
        Reachability::Here
    } else {
        Reachability::Unknown
    })
}

/// Returns the address of an engine that is on another host, as it is configured.
pub(super) fn elsewhere(
    backend: &dyn Backend,
    info: &EngineInfo,
    deadline: Instant,
) -> Result<Option<String>, EngineError> {
    Ok(remote(info, backend.address(deadline)?.as_deref()))
}

/// The network's bridge, if its name is one that no other engine's has.
fn random_bridge(network: &NetworkInfo) -> Option<&str> {
    let bridge = network.bridge.as_deref()?;
    bridge.strip_prefix("br-").filter(|it| **it == network.id.as_str()[..12]).and(Some(bridge))
}

/// The place of the bridges as the engine's own words tell it; `kernel` is the release of this host's.
fn expected(info: &EngineInfo, address: Option<&str>, kernel: Option<&str>) -> Reachability {
    if let Some(endpoint) = remote(info, address) {
        return Reachability::Remote { endpoint };
    }
    let desktop = ["Docker Desktop", "OrbStack"].iter().any(|it| info.system.contains(it));
    // A socket or port of this host may be forwarded to one that has another kernel.
    let forwarded = info.kernel.as_deref().zip(kernel).is_some_and(|(its, own)| its != own);
    if desktop || forwarded || !cfg!(target_os = "linux") {
        return Reachability::VirtualMachine { system: info.system.clone() };
    }
    if info.rootless { Reachability::Rootless } else { Reachability::Here }
}

/// The address of another host, or its name in words.
fn remote(info: &EngineInfo, address: Option<&str>) -> Option<String> {
    match address {
        Some(address) => (place(address) == Place::Elsewhere).then(|| address.to_owned()),
        None => info.remote.then(|| "its default connection".into()),
    }
}

/// The place that an address leads to, whoever listens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place<'a> {
    /// A socket or pipe of this host.
    Socket(&'a str),
    /// A port of this host.
    Port,
    Elsewhere,
}

impl Place<'_> {
    const DOCKER: Self = Self::Socket("/var/run/docker.sock");
}

/// Reads an address as docker's `opts.ParseHost` does, which knows more than URLs; podman takes a part of that, and
/// schemes in any case, as Go's `url.Parse` does. What they refuse is nowhere.
fn place(address: &str) -> Place<'_> {
    let address = address.trim();
    if address.is_empty() {
        return Place::DOCKER;
    }
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        // Docker 28 takes it for a path; before it was the default host.
        None if address.starts_with('/') || address.starts_with("./") => ("unix".into(), address),
        None => ("tcp".into(), address),
    };
    match (scheme.as_str(), rest) {
        ("unix", "") => Place::DOCKER,
        ("unix" | "npipe" | "fd", path) => Place::Socket(path),
        ("tcp" | "ssh" | "http" | "https", rest) if is_this_host(host_of(rest)) => Place::Port,
        _ => Place::Elsewhere,
    }
}

/// The host of an authority and path, without brackets and zone.
fn host_of(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host_and_port.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((host, _)) => host,
        // Docker adds the port to an address of IPv6 without brackets.
        None if host_and_port.matches(':').count() > 1 => host_and_port,
        None => host_and_port.split(':').next().unwrap_or_default(),
    };
    host.split('%').next().unwrap_or_default()
}

/// Docker's default is `localhost`. No name is looked up but this host's own.
fn is_this_host(host: &str) -> bool {
    if let Ok(ip) = host.parse::<IpAddr>() {
        let ip = ip.to_canonical();
        return ip.is_loopback() || ip.is_unspecified() || host::has_address(ip);
    }
    let name = host.trim_end_matches('.');
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    name.is_empty() || is("localhost") || host::name().is_some_and(|own| is(&own))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn packets_that_do_not_arrive_take_another_way_or_none() {
        let by = |interface: &str| Holder::Route {
            destination: "10.0.0.0/8".parse().unwrap(),
            interface: interface.into(),
            table: None,
        };
        let none = Reachability::NoRoute { bridge: "br-1".into() };
        for (way, why) in [
            (Some(by("wg0")), Reachability::Diverted { by: by("wg0") }),
            (Some(by("br-1")), none.clone()),
            (None, none),
        ] {
            assert_eq!(Reachability::beside("br-1".into(), way), why);
        }
    }

    #[test]
    fn an_engine_tells_where_its_bridges_are() {
        for (info, said, version, where_) in [
            (
                json!({"ServerVersion": "20.10.24+dfsg1", "OperatingSystem": "Debian GNU/Linux 12",
                    "SecurityOptions": ["name=seccomp,profile=default"]}),
                "Docker 20.10.24+dfsg1",
                (20, 10),
                Reachability::Here,
            ),
            (
                json!({"ServerVersion": "28.5.2", "OperatingSystem": "Docker Desktop"}),
                "Docker 28.5.2",
                (28, 5),
                Reachability::VirtualMachine { system: "Docker Desktop".into() },
            ),
            (
                json!({"ServerVersion": "26.1.5", "SecurityOptions": ["name=seccomp", "name=rootless"]}),
                "Docker 26.1.5",
                (26, 1),
                Reachability::Rootless,
            ),
            (
                json!({"host": {"security": {"rootless": false}, "serviceIsRemote": false},
                    "version": {"Version": "4.3.1"}}),
                "Podman 4.3.1",
                (4, 3),
                Reachability::Here,
            ),
            (
                json!({"host": {"security": {"rootless": true}}, "version": {"Version": "5"}}),
                "Podman 5",
                (5, 0),
                Reachability::Rootless,
            ),
            (
                json!({"host": {"security": {"rootless": false}, "serviceIsRemote": true},
                    "version": {"Version": "5.4.2"}}),
                "Podman 5.4.2",
                (5, 4),
                Reachability::Remote { endpoint: "its default connection".into() },
            ),
            (
                json!({"ServerVersion": "29.0.1", "KernelVersion": "6.1"}),
                "Docker 29.0.1",
                (29, 0),
                Reachability::Here,
            ),
            (
                json!({"host": {"security": {"rootless": false}, "os": "linux", "kernel": "6.14.0-fcos"},
                    "version": {"Version": "5.5.0"}}),
                "Podman 5.5.0",
                (5, 5),
                Reachability::VirtualMachine { system: "linux".into() },
            ),
        ] {
            let info = EngineInfo::read(&info).unwrap();
            assert_eq!((info.to_string().as_str(), info.version()), (said, version));
            assert_eq!(expected(&info, None, Some("6.1")), where_, "{said}");
        }
    }

    #[test]
    fn an_address_is_read_as_the_engines_program_reads_it() {
        let name = host::name().unwrap();
        let named = format!("tcp://{name}:2375");
        let (socket, port, elsewhere) = (Place::Socket, Place::Port, Place::Elsewhere);
        for (address, at) in [
            ("", Place::DOCKER),
            (" ", Place::DOCKER),
            ("unix://", Place::DOCKER),
            ("unix:///run/x.sock", socket("/run/x.sock")),
            (" unix:///run/x.sock\n", socket("/run/x.sock")),
            ("UNIX:///run/x.sock", socket("/run/x.sock")),
            ("unix://x.sock", socket("x.sock")),
            ("/run/x.sock", socket("/run/x.sock")),
            ("./x.sock", socket("./x.sock")),
            ("fd://", socket("")),
            ("fd://3", socket("3")),
            ("npipe://", socket("")),
            ("npipe:////./pipe/docker_engine", socket("//./pipe/docker_engine")),
            ("tcp://", port),
            ("tcp://:2375", port),
            ("tcp://:", port),
            ("tcp:///path", port),
            (":2375", port),
            ("localhost", port),
            ("localhost:2375", port),
            ("localhost:2375/path", port),
            ("tcp://LocalHost.:2375", port),
            ("TCP://localhost:2375", port),
            (named.as_str(), port),
            ("127.0.0.1", port),
            ("127.0.0.1:2375", port),
            ("tcp://127.8.9.10:2375/path", port),
            ("tcp://0.0.0.0:2375", port),
            ("tcp://me@127.0.0.1:2375", port),
            ("tcp://[::1]:2375", port),
            ("tcp://[::1]:", port),
            ("tcp://::1", port),
            ("[::1]:2375", port),
            ("tcp://[::1%25lo]:2375", port),
            ("tcp://[::]:2375", port),
            ("tcp://[::ffff:127.0.0.1]:2375", port),
            ("ssh://me@127.0.0.1:2222/run/podman.sock", port),
            ("ssh://me@[::1]:2222", port),
            ("ssh://localhost", port),
            ("tcp://192.0.2.1:2375", elsewhere),
            ("192.0.2.1", elsewhere),
            ("ssh://me@builder", elsewhere),
            ("ssh://localhost@builder", elsewhere),
            ("tcp://127.0.0.1@builder", elsewhere),
            ("tcp://localhost.builder:2375", elsewhere),
            ("tcp://[2001:db8::1]:2375", elsewhere),
            ("tcp://2001:db8::1", elsewhere),
            ("tcp://::2", elsewhere),
            ("builder", elsewhere),
            ("builder:2375", elsewhere),
            ("foo://localhost", elsewhere),
        ] {
            assert_eq!(place(address), at, "{address:?}");
        }
    }

    #[test]
    fn each_address_of_this_host_is_this_hosts() {
        for holder in host::interfaces() {
            let Holder::Interface { address, .. } = holder else { continue };
            let address = match address.addr() {
                IpAddr::V4(it) => format!("tcp://{it}:2375"),
                IpAddr::V6(it) => format!("tcp://[{it}]:2375"),
            };
            assert_eq!(place(&address), Place::Port, "{address}");
        }
    }

    /// The loopback interface is a part of every namespace, and leads to its own addresses.
    #[test]
    #[cfg(target_os = "linux")]
    fn what_turns_packets_away_from_a_bridge_is_named() {
        let loopback: IpAddr = [127, 0, 0, 1].into();
        let after =
            |bridge: Option<&str>| Reachability::after_launch(loopback, bridge.map(str::to_owned));
        assert_eq!(after(None), Reachability::OtherNamespace);
        assert_eq!(after(Some("no-such-bridge")), Reachability::OtherNamespace);
        assert_eq!(after(Some("lo")), Reachability::NoRoute { bridge: "lo".into() });
    }
}
