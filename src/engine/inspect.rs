//! The JSON of `inspect`, as far as it matters here.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use super::dialect::Dialect;
use crate::engine::backend::{ContainerInfo, Endpoint, Id, NetworkInfo, Published};
use crate::status::{Exit, Health, State};

/// Docker says it one way and podman another.
pub(super) fn network_info(dialect: Dialect, network: &Value) -> Option<NetworkInfo> {
    let [id, name, labels_, configs, subnet, gateway] = match dialect {
        Dialect::Docker => ["/Id", "/Name", "/Labels", "/IPAM/Config", "/Subnet", "/Gateway"],
        Dialect::Podman => ["/id", "/name", "/labels", "/subnets", "/subnet", "/gateway"],
    };
    let text = |value: &Value, at| value.pointer(at).and_then(Value::as_str).map(str::to_owned);
    let id = Id::parse(&text(network, id)?)?;
    let configs = network.pointer(configs).and_then(Value::as_array).into_iter().flatten();
    Some(NetworkInfo {
        name: text(network, name)?,
        labels: network.pointer(labels_).map(labels).unwrap_or_default(),
        subnets: configs
            .filter_map(|config| {
                let gateway = text(config, gateway).and_then(|it| it.parse().ok());
                Some((text(config, subnet)?.parse().ok()?, gateway))
            })
            .collect(),
        bridge: dialect.bridge(network, &id),
        id,
    })
}

/// The names of the containers on a network, as docker's `network inspect` says.
pub(super) fn attached_names(network: &Value) -> Vec<String> {
    let attached = network["Containers"].as_object().into_iter().flatten();
    attached.filter_map(|(_, container)| Some(container["Name"].as_str()?.to_owned())).collect()
}

pub(super) fn container_info(container: &Value) -> Option<ContainerInfo> {
    let networks = container["NetworkSettings"]["Networks"].as_object().into_iter().flatten();
    Some(ContainerInfo {
        id: Id::parse(container["Id"].as_str()?)?,
        labels: labels(&container["Config"]["Labels"]),
        state: match container["State"]["Status"].as_str()? {
            "created" | "configured" | "initialized" => State::Created,
            "running" => State::Running,
            "restarting" => State::Restarting,
            "paused" => State::Paused,
            "exited" | "dead" | "stopped" => State::Exited,
            _ => State::Other,
        },
        started: container["State"]["StartedAt"].as_str().unwrap_or_default().to_owned(),
        exit: exit(&container["State"]),
        health: match container["State"]["Health"]["Status"].as_str() {
            Some("starting") => Some(Health::Starting),
            Some("healthy") => Some(Health::Healthy),
            Some("unhealthy") => Some(Health::Unhealthy),
            _ => None,
        },
        endpoints: networks
            .filter_map(|(_, network)| {
                let text = |key: &str| network[key].as_str().unwrap_or_default();
                Some(Endpoint {
                    network: network["NetworkID"].as_str()?.to_owned(),
                    ip: text("IPAddress").parse().ok(),
                    ipv6: text("GlobalIPv6Address").parse().ok(),
                })
            })
            .collect(),
        published: published(&container["NetworkSettings"]["Ports"]),
    })
}

/// The addresses of version 4 before those of version 6.
fn published(ports: &Value) -> Vec<Published> {
    let ports = ports.as_object().into_iter().flatten();
    let at = |binding: &Value| {
        let ip = binding["HostIp"].as_str().filter(|it| !it.is_empty()).unwrap_or("0.0.0.0");
        Some(SocketAddr::new(ip.parse().ok()?, binding["HostPort"].as_str()?.parse().ok()?))
    };
    let mut published: Vec<_> = ports
        .flat_map(|(port, bindings)| {
            let bindings = bindings.as_array().into_iter().flatten().filter_map(at);
            bindings.map(|at| Published { port: port.clone(), at })
        })
        .collect();
    published.sort_by_key(|it| it.at.is_ipv6());
    published
}

/// An engine says code 0 of a container that has never ended.
fn exit(state: &Value) -> Option<Exit> {
    let ended = state["FinishedAt"].as_str().is_some_and(|time| !time.starts_with("0001-"));
    ended.then_some(Exit {
        code: state["ExitCode"].as_i64().and_then(|code| code.try_into().ok()).unwrap_or(-1),
        out_of_memory: state["OOMKilled"].as_bool().unwrap_or(false),
        error: state["Error"].as_str().unwrap_or_default().to_owned(),
    })
}

fn labels(labels: &Value) -> BTreeMap<String, String> {
    let pairs = labels.as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
