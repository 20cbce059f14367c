//! The place of an engine's bridges: on this host, in this network namespace, or elsewhere.

use std::fmt;
use std::path::Path;
use std::time::Instant;

use super::backend::Backend;
use super::error::EngineError;
use super::identity::{EngineInfo, EngineKind};
use crate::host;

/// The place of an engine's bridges, which tells if programs of this host reach its containers.
///
/// It prints as a phrase, which ends with the remedy where there is need of one.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

impl Reachability {
    /// Returns true if programs of this host reach them.
    #[must_use]
    pub fn is_here(&self) -> bool {
        *self == Self::Here
    }
}

impl fmt::Display for Reachability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here => f.write_str("the engine's bridges are on this host"),
            Self::Remote { endpoint } => write!(
                f,
                "the engine is on another host ({endpoint}); publish ports, or run this program there"
            ),
            Self::VirtualMachine { system } => write!(
                f,
                "the engine is in a virtual machine ({system}); publish ports, or run this program in it"
            ),
            Self::Rootless => f.write_str(
                "the engine is rootless, and its bridges are in a network namespace of its own; publish ports, or run this program in that namespace",
            ),
            Self::OtherNamespace => f.write_str(
                "the engine's bridges are in another network namespace; publish ports, or run this program in that one",
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
    let socket = match (&address, info.kind) {
        (Some(address), _) => address.strip_prefix("unix://"),
        (None, EngineKind::Docker) => Some("/var/run/docker.sock"),
        // Its program does the work itself.
        (None, EngineKind::Podman) => None,
    };
    // The listener at the socket shows it, where this process may look; but not one that only forwards,
    // such as ssh.
    let shared = socket.and_then(|it| host::shares_network_with(Path::new(it)));
    if shared == Some(false) {
        return Ok(Reachability::OtherNamespace);
    }
    if info.kind == EngineKind::Podman {
        return Ok(reachability);
    }
    // Its default bridge shows if its network namespace is this process's.
    let bridge = backend.networks(&["bridge"], deadline)?.pop();
    // Docker 20.10 does not name the gateway.
    let bridge = bridge.and_then(|it| Some((it.bridge?, it.subnets.first()?.0)));
    Ok(match bridge {
        Some((bridge, subnet)) if !host::is_in(&bridge, subnet) => Reachability::OtherNamespace,
        _ => reachability,
    })
}

/// The place of the bridges as the engine's own words tell it; `kernel` is the release of this host's.
fn expected(info: &EngineInfo, address: Option<&str>, kernel: Option<&str>) -> Reachability {
    if let Some(endpoint) = address.filter(|it| !is_on_this_host(it)) {
        return Reachability::Remote { endpoint: endpoint.to_owned() };
    }
    if info.remote && address.is_none() {
        return Reachability::Remote { endpoint: "its default connection".into() };
    }
    let desktop = ["Docker Desktop", "OrbStack"].iter().any(|it| info.system.contains(it));
    // A socket or port of this host may be forwarded to one that has another kernel.
    let forwarded = info.kernel.as_deref().zip(kernel).is_some_and(|(its, own)| its != own);
    if desktop || forwarded || !cfg!(target_os = "linux") {
        return Reachability::VirtualMachine { system: info.system.clone() };
    }
    if info.rootless { Reachability::Rootless } else { Reachability::Here }
}

/// An address that leads to a socket of this host, whoever listens there.
fn is_on_this_host(endpoint: &str) -> bool {
    let Some((scheme, rest)) = endpoint.split_once("://") else { return false };
    if matches!(scheme, "unix" | "npipe" | "fd") {
        return true;
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host_and_port.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((host, _)) => host,
        None => host_and_port.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
    fn an_endpoint_is_on_this_host_or_on_another() {
        for (endpoint, here) in [
            ("unix:///var/run/docker.sock", true),
            ("tcp://127.0.0.1:2375", true),
            ("tcp://localhost:2375", true),
            ("tcp://[::1]:2375", true),
            ("ssh://me@127.0.0.1:2222/run/podman.sock", true),
            ("tcp://10.0.0.1:2375", false),
            ("ssh://me@builder", false),
            ("ssh://localhost@builder", false),
            ("tcp://[fd00::1]:2375", false),
            ("builder", false),
        ] {
            assert_eq!(is_on_this_host(endpoint), here, "{endpoint}");
        }
    }
}
