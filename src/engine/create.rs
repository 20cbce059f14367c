//! The arguments of `network create`, and which engine has which.

use crate::engine::NetworkRequest;
use crate::engine::about::About;
use crate::engine::command::Command;
use crate::engine::dialect::Dialect;
use crate::network_options::{GatewayMode, NetworkOptions};

pub(crate) fn create_network(
    program: Command,
    dialect: Dialect,
    request: &NetworkRequest<'_>,
) -> Command {
    let addressing = request.addressing;
    let mut command = program
        .args(["network", "create", "--subnet"])
        .arg(addressing.subnet().to_string())
        .arg("--gateway")
        .arg(addressing.gateway().to_string());
    if let Some(range) = addressing.dynamic_range() {
        command = command.arg("--ip-range").arg(range.to_string());
    }
    if let Some(ipv6) = request.ipv6 {
        // Each engine counts gateways and ranges by the subnet before them.
        command = command
            .args(["--ipv6", "--subnet"])
            .arg(ipv6.subnet().to_string())
            .arg("--gateway")
            .arg(ipv6.gateway().to_string());
        if let Some(range) = ipv6.dynamic_range() {
            command = command.arg("--ip-range").arg(range.to_string());
        }
    }
    for (key, value) in request.labels.pairs() {
        command = command.arg("--label").arg(format!("{key}={value}"));
    }
    let options = arguments(dialect, request.options, request.ipv6.is_some());
    command = options.into_iter().fold(command, Command::arg);
    command.arg(request.name).apart().tethered(request.tether.as_ref())
}

fn arguments(dialect: Dialect, options: &NetworkOptions, ipv6: bool) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut option = |key: &str, value: &str| arguments.push(format!("--opt={key}={value}"));
    if options.isolated && dialect == Dialect::Podman {
        option("isolate", "true");
    }
    if let Some(bytes) = options.mtu {
        let key = match dialect {
            Dialect::Docker => "com.docker.network.driver.mtu",
            Dialect::Podman => "mtu",
        };
        option(key, &bytes.to_string());
    }
    if dialect == Dialect::Docker {
        let mut bridge =
            |key: &str, value: &str| option(&format!("com.docker.network.bridge.{key}"), value);
        if let Some(name) = &options.bridge_name {
            bridge("name", name);
        }
        if let Some(masquerade) = options.masquerade {
            bridge("enable_ip_masquerade", &masquerade.to_string());
        }
        if options.gateway_mode != GatewayMode::Nat {
            bridge("gateway_mode_ipv4", &options.gateway_mode.to_string());
            if ipv6 {
                bridge("gateway_mode_ipv6", &options.gateway_mode.to_string());
            }
        }
        if !options.trusted_host_interfaces.is_empty() {
            bridge("trusted_host_interfaces", &options.trusted_host_interfaces.join(":"));
        }
    }
    for (key, value) in &options.driver_options {
        option(key, value);
    }
    if options.internal {
        arguments.push("--internal".into());
    }
    if let (Some(name), Dialect::Podman) = (&options.bridge_name, dialect) {
        arguments.push(format!("--interface-name={name}"));
    }
    arguments.extend(options.labels.iter().map(|(key, value)| format!("--label={key}={value}")));
    arguments
}

/// An option that needs more than every engine has, and what.
pub(crate) struct Need {
    pub(crate) what: String,
    docker: Option<(u32, u32)>,
    podman: Option<(u32, u32)>,
}

impl Need {
    pub(crate) fn is_met_by(&self, about: &About) -> bool {
        let least = match about.dialect {
            Dialect::Docker => self.docker,
            Dialect::Podman => self.podman,
        };
        least.is_some_and(|least| about.version() >= least)
    }

    /// `Docker 28.0`, or what else would do.
    pub(crate) fn least(&self) -> String {
        let say = |name: &str, least: Option<(u32, u32)>| {
            least.map(|(major, minor)| match (major, minor) {
                (0, 0) => name.to_owned(),
                _ => format!("{name} {major}.{minor}"),
            })
        };
        let engines = [say("Docker", self.docker), say("Podman", self.podman)];
        engines.into_iter().flatten().collect::<Vec<_>>().join(" or ")
    }
}

pub(crate) fn needs(options: &NetworkOptions, ipv6: bool) -> Vec<Need> {
    let mut needs = Vec::new();
    let mut need = |what: String, docker, podman| needs.push(Need { what, docker, podman });
    if options.bridge_name.is_some() {
        need("a bridge's name".into(), Some((0, 0)), Some((4, 5)));
    }
    if options.masquerade == Some(false) {
        need("no masquerading".into(), Some((0, 0)), None);
    }
    let least = match options.gateway_mode {
        GatewayMode::Nat => None,
        GatewayMode::Routed => Some((27, 0)),
        GatewayMode::NatUnprotected | GatewayMode::Isolated => Some((28, 0)),
    };
    if least.is_some() {
        need(format!("gateway mode {}", options.gateway_mode), least, None);
    }
    if !options.trusted_host_interfaces.is_empty() {
        need("a trusted host interface".into(), Some((28, 2)), None);
    }
    // Before, Docker filters IPv6 only as an experiment, and 20.10 gives an internal network a way out.
    for (wanted, what) in
        [(options.internal, "an internal network"), (options.isolated, "isolation")]
    {
        if wanted && ipv6 {
            need(format!("{what} with IPv6"), Some((27, 0)), Some((0, 0)));
        }
    }
    needs
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all() -> NetworkOptions {
        NetworkOptions::new()
            .internal(true)
            .isolated(true)
            .mtu(1400)
            .bridge_name("sb0")
            .masquerade(false)
            .gateway_mode(GatewayMode::Routed)
            .trusted_host_interface("tap0")
            .trusted_host_interface("tap1")
            .label("acme.role", "x")
            .driver_option("k", "v")
    }

    #[test]
    fn each_engine_is_told_in_its_own_words() {
        assert!(arguments(Dialect::Docker, &NetworkOptions::new(), true).is_empty());
        assert!(arguments(Dialect::Podman, &NetworkOptions::new(), true).is_empty());
        assert_eq!(
            arguments(Dialect::Docker, &all(), false),
            [
                "--opt=com.docker.network.driver.mtu=1400",
                "--opt=com.docker.network.bridge.name=sb0",
                "--opt=com.docker.network.bridge.enable_ip_masquerade=false",
                "--opt=com.docker.network.bridge.gateway_mode_ipv4=routed",
                "--opt=com.docker.network.bridge.trusted_host_interfaces=tap0:tap1",
                "--opt=k=v",
                "--internal",
                "--label=acme.role=x",
            ]
        );
        assert_eq!(
            arguments(Dialect::Podman, &all(), false),
            [
                "--opt=isolate=true",
                "--opt=mtu=1400",
                "--opt=k=v",
                "--internal",
                "--interface-name=sb0",
                "--label=acme.role=x",
            ]
        );
    }

    #[test]
    fn a_gateway_mode_is_for_both_kinds_of_addresses() {
        let options = NetworkOptions::new().gateway_mode(GatewayMode::NatUnprotected);
        assert_eq!(
            arguments(Dialect::Docker, &options, true),
            [
                "--opt=com.docker.network.bridge.gateway_mode_ipv4=nat-unprotected",
                "--opt=com.docker.network.bridge.gateway_mode_ipv6=nat-unprotected",
            ]
        );
    }

    #[test]
    fn what_an_engine_lacks_is_known() {
        let lacks = |info: serde_json::Value| -> Vec<String> {
            let about = About::read(&info).unwrap();
            let needs = needs(&all(), true).into_iter().filter(|need| !need.is_met_by(&about));
            needs.map(|need| format!("{} needs {}", need.what, need.least())).collect()
        };
        let podman = |version: &str| {
            let host = json!({"security": {"rootless": false}});
            lacks(json!({"host": host, "version": {"Version": version}}))
        };
        let docker = |version: &str| lacks(json!({"ServerVersion": version}));
        let internal = "an internal network with IPv6 needs Docker 27.0 or Podman";
        let isolation = "isolation with IPv6 needs Docker 27.0 or Podman";
        let (mode, trusted) =
            ("gateway mode routed needs Docker 27.0", "a trusted host interface needs Docker 28.2");
        assert_eq!(docker("20.10.24+dfsg1"), [mode, trusted, internal, isolation]);
        assert_eq!(docker("28.1.1"), [trusted]);
        assert!(docker("28.2.0").is_empty() && docker("29.0.0").is_empty());
        let (name, masquerading) =
            ("a bridge's name needs Docker or Podman 4.5", "no masquerading needs Docker");
        assert_eq!(podman("4.3.1"), [name, masquerading, mode, trusted]);
        assert_eq!(podman("5.4.2"), [masquerading, mode, trusted]);
    }
}
