//! What an engine says of itself, asked once: which it is, and where its bridges are.

use std::fmt;

use serde_json::Value;

use crate::engine::dialect::Dialect;

/// What an engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) dialect: Dialect,
    /// As the engine says it: `20.10.24+dfsg1`.
    pub(crate) version: String,
    rootless: bool,
    /// Whether the program itself says that its engine is another process's.
    remote: bool,
    system: String,
    /// The release of its kernel, where it says so.
    kernel: Option<String>,
}

impl About {
    /// Reads what `info` prints as JSON: docker's, or podman's by whatever name it was called.
    pub(crate) fn read(info: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let Some(host) = info["host"].as_object() {
            return Some(Self {
                dialect: Dialect::Podman,
                version: info["version"]["Version"].as_str()?.to_owned(),
                rootless: host.get("security")?["rootless"] == true,
                remote: host.get("serviceIsRemote").is_some_and(|remote| *remote == true),
                system: text(&info["host"]["os"]),
                kernel: info["host"]["kernel"].as_str().map(str::to_owned),
            });
        }
        let options = info["SecurityOptions"].as_array().into_iter().flatten();
        Some(Self {
            dialect: Dialect::Docker,
            // Without an engine the program still tells of itself.
            version: info["ServerVersion"].as_str().filter(|it| !it.is_empty())?.to_owned(),
            rootless: options.filter_map(Value::as_str).any(|it| it.starts_with("name=rootless")),
            remote: false,
            system: text(&info["OperatingSystem"]),
            kernel: info["KernelVersion"].as_str().map(str::to_owned),
        })
    }

    /// Major and minor version; nothing of what cannot be read.
    pub(crate) fn version(&self) -> (u32, u32) {
        let mut numbers = self.version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
        (next(), next())
    }

    /// Where its bridges are, as far as can be said without a look at them; `kernel` is the release of this
    /// host's.
    pub(crate) fn reachability(
        &self,
        endpoint: Option<&str>,
        kernel: Option<&str>,
    ) -> Reachability {
        if let Some(endpoint) = endpoint.filter(|it| !is_on_this_host(it)) {
            return Reachability::Remote { endpoint: endpoint.to_owned() };
        }
        if self.remote && endpoint.is_none() {
            return Reachability::Remote { endpoint: "its default connection".into() };
        }
        let desktop = ["Docker Desktop", "OrbStack"].iter().any(|it| self.system.contains(it));
        // A socket or port of this host may be passed on to one that has another kernel.
        let passed_on = self.kernel.as_deref().zip(kernel).is_some_and(|(its, own)| its != own);
        if desktop || passed_on || !cfg!(target_os = "linux") {
            return Reachability::VirtualMachine { system: self.system.clone() };
        }
        if self.rootless { Reachability::Rootless } else { Reachability::Here }
    }
}

/// Prints `Docker 20.10.24+dfsg1` or `Podman 4.3.1`.
impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.dialect, self.version)
    }
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

/// Whether programs of this host reach the addresses of an engine's containers, and why not.
///
/// It prints as a phrase that ends with what to do instead.
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
        /// What the engine calls the system that it runs on.
        system: String,
    },
    /// The engine is rootless: its bridges are in a network namespace of its user's own.
    Rootless,
    /// The engine is on this host, and its bridges are not in this process's network namespace.
    OtherNamespace,
}

impl Reachability {
    /// Whether they do.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn engines_say_what_they_are() {
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
            let about = About::read(&info).unwrap();
            assert_eq!((about.to_string().as_str(), about.version()), (said, version));
            assert_eq!(about.reachability(None, Some("6.1")), where_, "{said}");
        }
        assert_eq!(About::read(&json!({"ClientInfo": {}, "ServerErrors": ["no"]})), None);
        assert_eq!(About::read(&json!([])), None);
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

    #[test]
    fn each_says_what_to_do_instead() {
        let said = |it: Reachability| it.to_string();
        assert_eq!(said(Reachability::Here), "the engine's bridges are on this host");
        assert_eq!(
            said(Reachability::Remote { endpoint: "ssh://b".into() }),
            "the engine is on another host (ssh://b); publish ports, or run this program there"
        );
        assert_eq!(
            said(Reachability::VirtualMachine { system: "Docker Desktop".into() }),
            "the engine is in a virtual machine (Docker Desktop); publish ports, or run this program in it"
        );
        assert_eq!(
            said(Reachability::Rootless),
            "the engine is rootless, and its bridges are in a network namespace of its own; publish ports, or run this program in that namespace"
        );
        assert_eq!(
            said(Reachability::OtherNamespace),
            "the engine's bridges are in another network namespace; publish ports, or run this program in that one"
        );
    }
}
