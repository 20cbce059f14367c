//! The arguments of `docker run`.

use std::net::IpAddr;

use super::command::Command;
use crate::container::{
    CheckedMount, CheckedVariable, MountKind, Options, PortMapping, RestartPolicy,
};
use crate::engine::backend::ContainerRequest;

pub(super) fn run(program: Command, request: &ContainerRequest<'_>) -> Command {
    let mut command = program.args(["run", "--detach", "--name", request.name, "--network"]).arg(
        match request.attachment.network() {
            Ok(network) => network.to_string(),
            Err(container) => format!("container:{container}"),
        },
    );
    for address in request.attachment.addresses() {
        command = command.arg(if address.is_ipv4() { "--ip" } else { "--ip6" });
        command = command.arg(address.to_string());
    }
    for (key, value) in request.labels {
        command = command.arg("--label").arg(format!("{key}={value}"));
    }
    for variable in &request.spec.variables {
        command = command.arg("--env");
        command = match variable {
            CheckedVariable::Literal(name, value) => command.assignment(name, value),
            CheckedVariable::Hidden(name, value) => {
                command.arg(name).env(name, Some(value.clone().into()))
            }
        };
    }
    for mount in &request.spec.mounts {
        command = match mount.kind {
            // Before Docker 27, no mount in memory can have programs.
            MountKind::Tmpfs(tmpfs) if tmpfs.executable => {
                command.arg(format!("--tmpfs={}:{}", mount.container, tmpfs.options()))
            }
            _ => command.arg("--mount").arg(mount_argument(mount)),
        };
    }
    let options = &request.spec.options;
    command = arguments(options).into_iter().fold(command, Command::arg);
    // A pull is a step of its own.
    command = command.arg("--pull=never").arg(&request.spec.image);
    command = options.command.iter().fold(command, Command::arg);
    command.apart()
}

fn arguments(options: &Options) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut add = |name: &str, value: &str| arguments.push(format!("--{name}={value}"));
    if let Some(program) = &options.entrypoint {
        add("entrypoint", program);
    }
    if let Some(user) = &options.user {
        add("user", user);
    }
    for (key, value) in &options.labels {
        add("label", &format!("{key}={value}"));
    }
    for alias in &options.aliases {
        add("network-alias", alias);
    }
    for port in &options.publish {
        add("publish", &published(port));
    }
    for (name, address) in &options.hosts {
        add("add-host", &format!("{name}:{address}"));
    }
    for address in &options.dns {
        add("dns", &address.to_string());
    }
    if let Some(memory) = options.memory {
        add("memory", &format!("{memory}b"));
        add("memory-swap", &format!("{memory}b"));
    }
    if let Some(cpus) = options.cpus {
        add("cpus", &cpus.to_string());
    }
    if let Some(pids) = options.pids {
        add("pids-limit", &pids.to_string());
    }
    for name in &options.add_capabilities {
        add("cap-add", name);
    }
    for name in &options.drop_capabilities {
        add("cap-drop", name);
    }
    if options.no_new_privileges {
        add("security-opt", "no-new-privileges");
    }
    for option in &options.security {
        add("security-opt", option);
    }
    if options.read_only {
        add("read-only", "true");
    }
    if options.init {
        add("init", "true");
    }
    match options.restart {
        RestartPolicy::No => {}
        RestartPolicy::OnFailure(None) => add("restart", "on-failure"),
        RestartPolicy::OnFailure(Some(times)) => add("restart", &format!("on-failure:{times}")),
        RestartPolicy::Always => add("restart", "always"),
        RestartPolicy::UnlessStopped => add("restart", "unless-stopped"),
    }
    arguments.extend(options.flags.iter().cloned());
    arguments
}

fn published(port: &PortMapping) -> String {
    let host = port.host_port.map(|port| port.to_string()).unwrap_or_default();
    let address = match port.host_address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    format!("{address}:{host}:{}", port.name())
}

/// One record of CSV, as `--mount` wants it.
fn mount_argument(mount: &CheckedMount) -> String {
    let field = |key: &str, value: &str| {
        let field = format!("{key}={value}");
        if field.contains([',', '"']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field
        }
    };
    let (kind, source, size) = match &mount.kind {
        MountKind::Host(path) => ("bind", Some(path), None),
        MountKind::Volume(name) => ("volume", Some(name), None),
        MountKind::Tmpfs(tmpfs) => ("tmpfs", None, tmpfs.size),
    };
    let fields = [
        Some(format!("type={kind}")),
        source.map(|source| field("source", source)),
        Some(field("target", &mount.container)),
        size.map(|size| format!("tmpfs-size={size}")),
        mount.read_only.then(|| "readonly".to_owned()),
    ];
    fields.into_iter().flatten().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_published_on_one_address() {
        for (port, argument) in [
            (PortMapping::tcp(80), "127.0.0.1::80/tcp"),
            (PortMapping::udp(53).host_port(5353), "127.0.0.1:5353:53/udp"),
            (
                PortMapping::tcp(80).host_address([0, 0, 0, 0]).host_port(8080),
                "0.0.0.0:8080:80/tcp",
            ),
            (PortMapping::tcp(80).host_address([0, 0, 0, 0, 0, 0, 0, 1]), "[::1]::80/tcp"),
        ] {
            assert_eq!(published(&port), argument);
        }
    }
}
