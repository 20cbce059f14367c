//! The arguments of `network create`.

use crate::engine::NetworkRequest;
use crate::engine::command::Command;
use crate::engine::dialect::Dialect;

pub(crate) fn create_network(
    program: Command,
    _dialect: Dialect,
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
    for (key, value) in request.labels.pairs() {
        command = command.arg("--label").arg(format!("{key}={value}"));
    }
    command.arg(request.name).apart().tethered(request.tether.as_ref())
}
