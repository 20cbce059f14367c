//! The place of an engine's bridges, as far as it can be proven.
#![cfg(target_os = "linux")]

use serde_json::{Value, json};
use sidecar_bundle::Reachability;

use crate::scripted::{Act, Scripted};

/// An engine of this process's, on a host of this name, with a default bridge and other networks.
fn located(name: &str, default: Option<&Value>, networks: &Value) -> Reachability {
    let info = json!({"ID": "ID", "Name": name, "ServerVersion": "20.10.24"}).to_string();
    let missing = json!({"message": "network bridge not found"}).to_string();
    let default = default.map_or(Act::Answer(404, missing), |it| Act::Answer(200, it.to_string()));
    let networks = networks.to_string();
    let engine = Scripted::new(move |request, _| match request {
        "GET /info" => Act::Answer(200, info.clone()),
        "GET /networks/bridge" => default.clone(),
        "GET /networks" => Act::Answer(200, networks.clone()),
        _ => Act::Obey,
    });
    engine.engine().reachability().unwrap()
}

fn network(options: &Value) -> Value {
    json!({
        "Id": "0123456789abcdef".repeat(4), "Name": "n", "Driver": "bridge", "Options": options,
        "IPAM": {"Config": [{"Subnet": "127.0.0.0/8"}]},
    })
}

#[test]
fn an_engine_is_here_only_when_that_is_proven() {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let (own, other) = (name.trim(), "other");
    let named = |bridge: &str| network(&json!({"com.docker.network.bridge.name": bridge}));
    let [here, elsewhere] = [named("lo"), named("docker-none")];
    // Its bridge is named by its id.
    let random = json!([network(&json!({}))]);
    let none = json!([]);
    for (name, default, networks, place) in [
        (own, Some(&here), &none, Reachability::Here),
        (own, Some(&elsewhere), &none, Reachability::OtherNamespace),
        // `--bridge=none`: nothing of its own shows.
        (own, None, &none, Reachability::Unknown),
        (own, None, &json!([here]), Reachability::Unknown),
        (own, None, &random, Reachability::OtherNamespace),
        // The listener forwards to an engine in a container, which has such a bridge as well.
        (other, Some(&here), &none, Reachability::Unknown),
        (other, Some(&here), &random, Reachability::OtherNamespace),
        (other, Some(&elsewhere), &none, Reachability::OtherNamespace),
    ] {
        assert_eq!(located(name, default, networks), place, "{name} {default:?} {networks}");
    }
}

/// Podman's bridges are named by their networks, and so prove nothing: its host and the way to it do.
#[test]
fn podman_is_here_by_the_name_of_its_host_or_its_own_program() {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let info = |name: &str| {
        let info = json!({"Name": name, "ServerVersion": "4.3.1", "ProductLicense": "Apache-2.0"});
        info.to_string()
    };
    for (name, by_socket) in [(name.trim(), Reachability::Here), ("other", Reachability::Unknown)] {
        let info = info(name);
        let engine = Scripted::new(move |request, _| match request {
            "GET /info" => Act::Answer(200, info.clone()),
            _ => Act::Obey,
        });
        assert_eq!(engine.engine().reachability().unwrap(), by_socket, "{name}");
        // The program makes them itself.
        assert_eq!(engine.podman().reachability().unwrap(), Reachability::Here, "{name}");
    }
}
