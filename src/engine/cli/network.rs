//! The arguments of `network create`.

use super::command::Command;
use crate::engine::backend::NetworkRequest;
use crate::engine::dialect::Dialect;
use crate::plan::NetworkOptions;

pub(super) fn create_network(program: Command, request: &NetworkRequest<'_>) -> Command {
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
        // Gateway and range count by the subnet before them.
        command = command
            .args(["--ipv6", "--subnet"])
            .arg(ipv6.subnet().to_string())
            .arg("--gateway")
            .arg(ipv6.gateway().to_string());
        if let Some(range) = ipv6.dynamic_range() {
            command = command.arg("--ip-range").arg(range.to_string());
        }
    }
    for (key, value) in request.labels {
        command = command.arg("--label").arg(format!("{key}={value}"));
    }
    let options = arguments(request.options, request.ipv6.is_some());
    command = options.into_iter().fold(command, Command::arg);
    command.arg(request.name).apart()
}

fn arguments(options: &NetworkOptions, ipv6: bool) -> Vec<String> {
    let driver = Dialect::Docker.driver_options(options, ipv6).into_iter();
    let mut arguments: Vec<_> = driver.map(|(key, value)| format!("--opt={key}={value}")).collect();
    if options.is_overlay() {
        arguments.extend(["--driver=overlay".into(), "--attachable".into()]);
    }
    if options.internal {
        arguments.push("--internal".into());
    }
    arguments.extend(options.labels.iter().map(|(key, value)| format!("--label={key}={value}")));
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::GatewayMode;

    #[test]
    fn only_what_is_set_is_an_argument() {
        assert!(arguments(&NetworkOptions::new(), true).is_empty());
        assert_eq!(
            arguments(&NetworkOptions::all(), false),
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
    }

    #[test]
    fn an_overlay_is_attachable() {
        let options = NetworkOptions::new().overlay(true).encrypted(true).internal(true);
        assert_eq!(
            arguments(&options, false),
            ["--opt=encrypted=", "--driver=overlay", "--attachable", "--internal"]
        );
    }

    #[test]
    fn a_gateway_mode_is_for_both_kinds_of_addresses() {
        let options = NetworkOptions::new().gateway_mode(GatewayMode::NatUnprotected);
        assert_eq!(
            arguments(&options, true),
            [
                "--opt=com.docker.network.bridge.gateway_mode_ipv4=nat-unprotected",
                "--opt=com.docker.network.bridge.gateway_mode_ipv6=nat-unprotected",
            ]
        );
    }
}
