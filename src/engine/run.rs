//! The arguments of `docker run`.

use crate::engine::ContainerRequest;
use crate::engine::command::Command;
use crate::spec::{CheckedMount, CheckedVariable, MountKind};

pub(crate) fn run(program: Command, request: &ContainerRequest<'_>) -> Command {
    let mut command = program
        .args(["run", "--detach", "--name", request.name, "--network", request.network_id])
        .arg("--ip")
        .arg(request.ip.to_string());
    if let Some(ipv6) = request.ipv6 {
        command = command.arg("--ip6").arg(ipv6.to_string());
    }
    for (key, value) in request.labels.pairs() {
        command = command.arg("--label").arg(format!("{key}={value}"));
    }
    for variable in &request.spec.variables {
        command = command.arg("--env");
        command = match variable {
            CheckedVariable::Literal(name, value) => command.assignment(name, value),
            CheckedVariable::Hidden(name, value) => {
                command.arg(name).env(name, Some(value.clone()))
            }
        };
    }
    for mount in &request.spec.mounts {
        command = command.arg("--mount").arg(mount_argument(mount));
    }
    let options = &request.spec.options;
    command = options.arguments.iter().fold(command, Command::arg);
    // A pull is a step of its own.
    command = command.arg("--pull=never").arg(&request.spec.image);
    command = options.command.iter().fold(command, Command::arg);
    command.apart().tethered(request.tether.as_ref())
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
        MountKind::Tmpfs(size) => ("tmpfs", None, *size),
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
