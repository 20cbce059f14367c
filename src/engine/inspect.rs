//! The JSON of `inspect` and of lists, as far as it matters here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::clock::parse_time;
use super::dialect::Dialect;
use crate::engine::backend::{
    ContainerInfo, Endpoint, Id, Listed, NetworkInfo, Published, Resource,
};
use crate::status::{Exit, Health, State};

/// Docker says it one way and podman another.
pub(super) fn network_info(dialect: Dialect, network: &Value) -> Option<NetworkInfo> {
    let [id, name, labels_, configs, subnet, gateway] = match dialect {
        Dialect::Docker => ["/Id", "/Name", "/Labels", "/IPAM/Config", "/Subnet", "/Gateway"],
        Dialect::Podman => ["/id", "/name", "/labels", "/subnets", "/subnet", "/gateway"],
    };
    let text = |value: &Value, at| value.pointer(at).and_then(Value::as_str).map(str::to_owned);
    let id = Id::of(Resource::Network, &text(network, id)?)?;
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
    // An overlay network has an endpoint of its own on each node.
    let attached = attached.filter(|(id, _)| !id.starts_with("lb-"));
    attached.filter_map(|(_, container)| Some(container["Name"].as_str()?.to_owned())).collect()
}

pub(super) fn container_info(container: &Value) -> Option<ContainerInfo> {
    let networks = container["NetworkSettings"]["Networks"].as_object().into_iter().flatten();
    Some(ContainerInfo {
        id: Id::parse(container["Id"].as_str()?)?,
        // Docker writes a slash before it.
        name: container["Name"].as_str().unwrap_or_default().trim_start_matches('/').to_owned(),
        labels: labels(&container["Config"]["Labels"]),
        image: image_id(container["Image"].as_str().unwrap_or_default()),
        state: state(container["State"]["Status"].as_str()?),
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

/// Podman leaves the algorithm out.
fn image_id(id: &str) -> String {
    if id.is_empty() || id.contains(':') { id.to_owned() } else { format!("sha256:{id}") }
}

/// The variables of a container, as `NAME=VALUE`.
pub(super) fn variables(container: &Value) -> Vec<String> {
    texts(&container["Config"]["Env"])
}

/// The names with digests of an image.
pub(super) fn image_digests(image: &Value) -> Vec<String> {
    texts(&image["RepoDigests"])
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(|it| Some(it.as_str()?.to_owned())).collect()
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

/// A resource as it is listed or inspected, by docker or podman.
pub(super) fn listed(resource: Resource, item: &Value) -> Option<Listed> {
    let first = |[one, other]: [&Value; 2]| if one.is_null() { other.clone() } else { one.clone() };
    let own_labels = first([&item["Labels"], &item["labels"]]);
    let all_labels = first([&item["Config"]["Labels"], &own_labels]);
    let own_state = &item["State"];
    let state = match resource {
        Resource::Container => Some(state(own_state["Status"].as_str().or(own_state.as_str())?)),
        Resource::Network => None,
    };
    Some(Listed {
        id: Id::of(resource, item["Id"].as_str().or(item["id"].as_str())?)?,
        labels: all_labels.is_object().then(|| labels(&all_labels))?,
        state,
        created: time(&first([&item["Created"], &item["created"]])),
    })
}

/// A time in seconds since 1970, or as a text. One before 1970 or after the year 9999 cannot be printed.
fn time(time: &Value) -> Option<SystemTime> {
    let time = match time.as_u64() {
        Some(seconds) => UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?,
        None => parse_time(time.as_str()?)?,
    };
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    (seconds < 253_402_300_800).then_some(time)
}

fn state(word: &str) -> State {
    match word {
        "created" | "configured" | "initialized" => State::Created,
        "running" => State::Running,
        "restarting" => State::Restarting,
        "paused" => State::Paused,
        "exited" | "dead" | "stopped" => State::Exited,
        _ => State::Other,
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_lists_of_all_engines_say_the_same() {
        let id = "a".repeat(64);
        let labels = json!({"k": "a,b=c"});
        let state = json!({"Status": "running"});
        let rfc = "2026-01-02T05:04:05.5+02:00";
        for (resource, item) in [
            (
                Resource::Container,
                json!({"Id": id, "Labels": labels, "State": "running", "Created": 7}),
            ),
            (Resource::Container, json!({"Id": id, "Config": {"Labels": labels}, "State": state})),
            (Resource::Network, json!({"Id": id, "Labels": labels, "Created": rfc})),
            (Resource::Network, json!({"id": id, "labels": labels, "created": rfc})),
        ] {
            let listed = listed(resource, &item).unwrap();
            assert_eq!((listed.id.as_str(), &*listed.labels["k"]), (&*id, "a,b=c"));
            let is_container = resource == Resource::Container;
            assert_eq!(listed.state, is_container.then_some(State::Running));
        }
    }

    #[test]
    fn what_has_no_id_state_or_labels_is_no_resource() {
        let id = "a".repeat(64);
        for item in [
            json!(null),
            json!({"Id": "a", "Labels": {}, "State": "running"}),
            json!({"Id": id, "Labels": null, "State": "running"}),
            json!({"Id": id, "Labels": {}}),
        ] {
            assert_eq!(listed(Resource::Container, &item), None, "{item}");
        }
    }

    #[test]
    fn a_time_that_cannot_be_read_is_unknown() {
        assert_eq!(time(&json!(7)), Some(at(7)));
        let known = Some(at(1_767_323_045));
        for text in
            ["2026-01-02T03:04:05Z", "2026-01-02T05:34:05+02:30", "2026-01-01T22:04:05-05:00"]
        {
            assert_eq!(time(&json!(text)), known, "{text}");
        }
        for unknown in [
            json!(null),
            json!(-1),
            json!(u64::MAX),
            json!(253_402_300_800_u64),
            json!("0001-01-01T00:00:00Z"),
            json!("1970-01-01T00:00:00+01:00"),
            json!("2 days ago"),
            json!("\u{fc}+99:99"),
            json!("2026-01-02T03:04:05+99999:99"),
        ] {
            assert_eq!(time(&unknown), None, "{unknown}");
        }
    }

    #[test]
    fn an_exit_code_that_cannot_be_read_is_no_success() {
        for (code, is) in
            [(json!(3), 3), (json!(0), 0), (json!(null), -1), (json!(1_u64 << 40), -1)]
        {
            let state = json!({"FinishedAt": "2026-01-01T00:00:01Z", "ExitCode": code});
            assert_eq!(exit(&state).unwrap().code, is, "{code}");
        }
    }

    #[test]
    fn a_container_is_as_its_engine_describes_it() {
        let info = |status: &str, health: &str, image: &str| {
            let state = json!({"Status": status, "Health": {"Status": health}});
            let container = json!({"Id": "a".repeat(64), "Image": image, "State": state});
            container_info(&container).unwrap()
        };
        for (word, health) in [
            ("starting", Some(Health::Starting)),
            ("healthy", Some(Health::Healthy)),
            ("unhealthy", Some(Health::Unhealthy)),
            // Podman's word for a container without a check.
            ("", None),
            ("none", None),
        ] {
            assert_eq!(info("running", word, "").health, health, "{word}");
        }
        for (word, state) in [
            ("created", State::Created),
            ("configured", State::Created),
            ("initialized", State::Created),
            ("running", State::Running),
            ("restarting", State::Restarting),
            ("paused", State::Paused),
            ("exited", State::Exited),
            ("dead", State::Exited),
            ("stopped", State::Exited),
            ("removing", State::Other),
        ] {
            assert_eq!(info(word, "", "").state, state, "{word}");
        }
        // Podman leaves the algorithm out, and its commands leave it in.
        for (said, id) in [("", ""), ("77", "sha256:77"), ("sha256:77", "sha256:77")] {
            assert_eq!(info("running", "", said).image, id);
        }
    }
}
