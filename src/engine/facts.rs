//! What `inspect` says, as far as it matters here.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::engine::{ContainerFacts, NetworkFacts};
use crate::status::{Exit, Health, State};

pub(crate) fn network_facts(network: &Value) -> Option<NetworkFacts> {
    let configs = network["IPAM"]["Config"].as_array().into_iter().flatten();
    let attached = network["Containers"].as_object().into_iter().flatten();
    Some(NetworkFacts {
        id: network["Id"].as_str()?.to_owned(),
        name: network["Name"].as_str()?.to_owned(),
        labels: labels(&network["Labels"]),
        subnets: configs
            .filter_map(|config| {
                let subnet = config["Subnet"].as_str()?.parse().ok()?;
                let gateway = config["Gateway"].as_str().and_then(|it| it.parse().ok());
                Some((subnet, gateway))
            })
            .collect(),
        attached: attached
            .filter_map(|(_, container)| Some(container["Name"].as_str()?.to_owned()))
            .collect(),
    })
}

pub(crate) fn container_facts(container: &Value) -> Option<ContainerFacts> {
    let networks = container["NetworkSettings"]["Networks"].as_object().into_iter().flatten();
    Some(ContainerFacts {
        id: container["Id"].as_str()?.to_owned(),
        labels: labels(&container["Config"]["Labels"]),
        state: match container["State"]["Status"].as_str()? {
            "created" => State::Created,
            "running" => State::Running,
            "restarting" => State::Restarting,
            "paused" => State::Paused,
            "exited" | "dead" => State::Exited,
            _ => State::Other,
        },
        exit: exit(&container["State"]),
        health: match container["State"]["Health"]["Status"].as_str() {
            Some("starting") => Some(Health::Starting),
            Some("healthy") => Some(Health::Healthy),
            Some("unhealthy") => Some(Health::Unhealthy),
            _ => None,
        },
        addresses: networks
            .filter_map(|(_, network)| {
                let ip = network["IPAddress"].as_str()?.parse().ok()?;
                Some((network["NetworkID"].as_str()?.to_owned(), ip))
            })
            .collect(),
    })
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
