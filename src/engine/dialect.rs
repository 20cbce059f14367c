//! The differences between the commands of docker and podman.

use std::ffi::OsString;

use serde_json::Value;

use super::backend::{Id, Resource};
use crate::plan::{GatewayMode, NetworkOptions};

/// The program whose commands are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Docker,
    Podman,
}

/// Lists ids. Podman prints names if it is asked to be quiet.
pub(super) fn list(resource: Resource) -> &'static [&'static str] {
    match resource {
        Resource::Container => &["ps", "--all", "--no-trunc", "--quiet"],
        Resource::Network => &["network", "ls", "--no-trunc", "--format", "{{.ID}}"],
    }
}

impl Dialect {
    /// The name of the context for docker's default address, whatever the user has chosen.
    pub(super) const DOCKER_DEFAULT: &str = "default";

    /// Podman's option for a name in its configuration, before any command.
    pub(super) const CONNECTION: &str = "--connection";

    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    /// The variables that tell the program where its engine is: an address, and a name in its
    /// configuration.
    pub(super) fn steering(self) -> [&'static str; 2] {
        match self {
            Self::Docker => ["DOCKER_HOST", "DOCKER_CONTEXT"],
            Self::Podman => ["CONTAINER_HOST", "CONTAINER_CONNECTION"],
        }
    }

    /// The variables that name a directory of the program's own.
    pub(super) fn configuration(self) -> &'static [&'static str] {
        match self {
            Self::Docker => &["DOCKER_CONFIG", "DOCKER_CERT_PATH"],
            Self::Podman => &[],
        }
    }

    /// The options that do the same on a command line.
    pub(super) fn steering_options(self) -> [&'static str; 2] {
        match self {
            Self::Docker => ["--host", "--context"],
            Self::Podman => ["--url", Self::CONNECTION],
        }
    }

    /// The name that stands for the program's own choice of an engine.
    pub(super) fn is_default(self, context: &OsString) -> bool {
        self == Self::Docker && context == Self::DOCKER_DEFAULT
    }

    /// Never `network rm --force`: podman then deletes the containers on it. And podman waits ten
    /// seconds for a process that does not want to end, unless it is told not to.
    pub(super) fn removal(self, resource: Resource) -> &'static [&'static str] {
        match (resource, self) {
            (Resource::Container, Self::Docker) => &["rm", "--force", "--volumes"],
            (Resource::Container, Self::Podman) => &["rm", "--force", "--time", "0", "--volumes"],
            (Resource::Network, _) => &["network", "rm"],
        }
    }

    /// The options of the network's driver, by the names of this engine.
    pub(super) fn driver_options(
        self,
        options: &NetworkOptions,
        ipv6: bool,
    ) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let mut option = |key: &str, value: String| all.push((key.to_owned(), value));
        if options.isolated && self == Self::Podman {
            option("isolate", "true".into());
        }
        if let Some(bytes) = options.mtu {
            let key = match self {
                Self::Docker => "com.docker.network.driver.mtu",
                Self::Podman => "mtu",
            };
            option(key, bytes.to_string());
        }
        if self == Self::Docker && options.encrypted {
            option("encrypted", String::new());
        }
        if self == Self::Docker {
            let mut bridge =
                |key: &str, value| option(&format!("com.docker.network.bridge.{key}"), value);
            if let Some(name) = &options.bridge_name {
                bridge("name", name.clone());
            }
            if let Some(masquerade) = options.masquerade {
                bridge("enable_ip_masquerade", masquerade.to_string());
            }
            if options.gateway_mode != GatewayMode::Nat {
                bridge("gateway_mode_ipv4", options.gateway_mode.to_string());
                if ipv6 {
                    bridge("gateway_mode_ipv6", options.gateway_mode.to_string());
                }
            }
            if !options.trusted_host_interfaces.is_empty() {
                bridge("trusted_host_interfaces", options.trusted_host_interfaces.join(":"));
            }
        }
        all.extend(options.driver_options.iter().cloned());
        all
    }

    /// The interface of a network's bridge, by what `network inspect` says.
    pub(super) fn bridge(self, network: &Value, id: &Id) -> Option<String> {
        match self {
            Self::Docker if network["Driver"] != "bridge" => None,
            Self::Docker => {
                let named = network["Options"]["com.docker.network.bridge.name"].as_str();
                let derived = || Some(format!("br-{}", &id.as_str()[..12]));
                named.map(str::to_owned).or_else(derived)
            }
            Self::Podman => network["network_interface"].as_str().map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_network_with_a_bridge_has_one() {
        let id = Id::parse(&"0123456789abcdef".repeat(4)).unwrap();
        let named = json!({"com.docker.network.bridge.name": "br-own"});
        for (driver, options, bridge) in [
            ("bridge", json!({}), Some("br-0123456789ab")),
            ("bridge", named.clone(), Some("br-own")),
            ("macvlan", named, None),
            ("macvlan", json!({}), None),
        ] {
            let network = json!({"Driver": driver, "Options": options});
            assert_eq!(Dialect::Docker.bridge(&network, &id).as_deref(), bridge, "{network}");
        }
    }
}
