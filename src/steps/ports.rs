//! The port that a start found taken, and its holder.

use std::net::SocketAddr;

use crate::container::{CheckedSpec, collide};
use crate::engine::Reachability;
use crate::engine::backend::{ContainerInfo, Filter, Resource};
use crate::engine::cause::Cause;
use crate::engine::connection::Connection;
use crate::engine::error::EngineError;
use crate::engine::identity::EngineKind;
use crate::error::Error;
use crate::host::ports::{self, PortHolder, protocol};

/// A port of the engine's host.
#[derive(Clone, Copy)]
struct Port {
    at: SocketAddr,
    udp: bool,
}

/// The error of a failed start. The container of this name is never a holder.
pub(super) fn start_error(
    connection: &Connection,
    name: &str,
    spec: &CheckedSpec,
    source: EngineError,
) -> Error {
    let container = name.to_owned();
    match taken(connection, name, spec, &source) {
        Some((Port { at, udp }, holder)) => Error::PortTaken { container, at, udp, holder, source },
        None => Error::Start { container, image: spec.image.clone(), source },
    }
}

/// The port that is taken, if it is known which one.
fn taken(
    connection: &Connection,
    name: &str,
    spec: &CheckedSpec,
    error: &EngineError,
) -> Option<(Port, Option<PortHolder>)> {
    let is_certain = match error.cause() {
        Cause::PortTaken => true,
        // Rootless Docker may time out while it waits for the proxy of a taken port, and say no more than that.
        Cause::Other if error.message().contains("userland proxy") => false,
        _ => return None,
    };
    let (mut all, mut is_chosen) = (Vec::new(), false);
    for mapping in &spec.options.publish {
        // One that the engine chooses may be taken before it is used, and is not known.
        is_chosen |= mapping.host_port.is_none_or(|port| port == 0);
        if let Some(port) = mapping.host_port.filter(|port| *port != 0) {
            let at = SocketAddr::new(mapping.host_address, port);
            all.push(Port { at, udp: mapping.udp });
        }
    }
    // Podman leaves `0.0.0.0` out. Docker 28 names the container's port, too.
    let words: [fn(&Port) -> String; 2] =
        [|it| format!(" {}", it.at), |it| format!(":{}", it.at.port())];
    let mut names_one = false;
    for word in words {
        let is_named = |it: &Port| is_named(&word(it), error.message());
        if all.iter().any(is_named) {
            names_one = true;
            all.retain(is_named);
            break;
        }
    }
    // Up to 29.5, rootless Docker has each port once, whatever its address (moby#52783), and then says just that.
    let info = connection.info();
    let once = !is_certain && info.rootless && info.kind == EngineKind::Docker;
    let held = holder(connection, name, &all, once).map(|(port, holder)| (port, Some(holder)));
    held.or(match *all {
        [only] if is_certain && (names_one || !is_chosen) => Some((only, None)),
        _ => None,
    })
}

/// Returns true if a text has these words, with all digits of the port at their end.
fn is_named(words: &str, text: &str) -> bool {
    let mut rests = text.match_indices(words).map(|(at, _)| &text[at + words.len()..]);
    rests.any(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The first of these ports with a holder that can be seen; with `once`, at whatever address a container has it.
fn holder(
    connection: &Connection,
    own: &str,
    all: &[Port],
    once: bool,
) -> Option<(Port, PortHolder)> {
    if all.is_empty() {
        return None;
    }
    let running = running(connection);
    let publishes = |it: &ContainerInfo, port: &Port| {
        let protocol = protocol(port.udp);
        it.published
            .iter()
            .filter(|it| it.port.ends_with(protocol))
            .any(|it| collide(it.at, port.at) || once && it.at.port() == port.at.port())
    };
    let container = all.iter().find_map(|port| {
        let holder = running.iter().find(|it| it.name != own && publishes(it, port))?;
        Some((*port, PortHolder::Container { name: holder.name.clone() }))
    });
    container.or_else(|| {
        // A rootless engine has its bridges elsewhere, and its ports on the host.
        let is_here = matches!(
            connection.engine().reachability(),
            Ok(Reachability::Here | Reachability::Rootless)
        );
        let mut all = all.iter().filter(|_| is_here);
        all.find_map(|port| Some((*port, ports::process_at(port.at, port.udp)?)))
    })
}

/// The containers that run, as far as the engine tells.
fn running(connection: &Connection) -> Vec<ContainerInfo> {
    let deadline = connection.engine().look_deadline();
    let backend = connection.backend();
    let look = || {
        let ids = backend.find(Resource::Container, &Filter::Running, deadline)?;
        // One that has ended meanwhile has no port any more.
        let info = |id| backend.container(id, deadline).ok().flatten();
        Ok(ids.iter().filter_map(|id| info(id.as_str())).collect())
    };
    connection.here(deadline, look).unwrap_or_else(|error: EngineError| {
        tracing::debug!(%error, "the holder of a port was not looked for");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_named_by_all_of_its_digits() {
        for (text, by_address, by_port) in [
            ("Bind for 127.0.0.1:8080 failed: port is already allocated", true, true),
            ("ends with 127.0.0.1:8080", true, true),
            ("listen tcp4 :8080: bind: address already in use", false, true),
            ("failed to bind host port for 0.0.0.0:80:10.0.0.2:8080/tcp", false, true),
            ("for 127.0.0.1:80801 and 127.0.0.1:8080", true, true),
            ("Bind for 127.0.0.1:80801 failed: port is already allocated", false, false),
            ("Bind for 127.0.0.1:18080 failed: port is already allocated", false, false),
            ("8080 of them failed", false, false),
        ] {
            let named = [" 127.0.0.1:8080", ":8080"].map(|it| is_named(it, text));
            assert_eq!(named, [by_address, by_port], "{text}");
        }
    }
}
