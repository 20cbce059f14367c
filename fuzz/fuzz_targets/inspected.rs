//! An answer as an engine gives it is read back to the values that were put in.
#![no_main]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use sidecar_bundle::fuzzing::{container_in, engine_in, listed_in, network_in};
use sidecar_bundle::ipnet::IpNet;

#[derive(arbitrary::Arbitrary, Debug)]
struct Input<'a> {
    id: [u8; 32],
    name: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
    state: u8,
    exit: Option<(i32, bool, &'a str)>,
    networks: BTreeMap<&'a str, (&'a str, Option<Ipv4Addr>, Option<Ipv6Addr>)>,
    ports: BTreeMap<u16, Vec<(IpAddr, u16)>>,
    variables: Vec<&'a str>,
    subnets: Vec<(IpAddr, u8, Option<IpAddr>)>,
    bridge: Option<&'a str>,
    engine: [&'a str; 4],
    rootless: bool,
}

const STATES: [(&str, &str); 5] = [
    ("created", "Created"),
    ("running", "Running"),
    ("restarting", "Restarting"),
    ("paused", "Paused"),
    ("exited", "Exited"),
];

/// The address as an engine has it: an empty text for none.
fn address<T: ToString>(address: Option<T>) -> String {
    address.map(|it| it.to_string()).unwrap_or_default()
}

fuzz_target!(|input: Input<'_>| {
    let id: String = input.id.iter().map(|byte| format!("{byte:02x}")).collect();
    let (word, state) = STATES[usize::from(input.state) % STATES.len()];
    let (name, labels) = (input.name.trim_start_matches('/'), &input.labels);
    let (code, out_of_memory, error) = input.exit.unwrap_or_default();
    let networks = input.networks.iter().map(|(name, (id, ip, ipv6))| {
        ((*name).to_owned(), json!({"NetworkID": id, "IPAddress": address(*ip), "GlobalIPv6Address": address(*ipv6)}))
    });
    let ports = input.ports.iter().map(|(port, at)| {
        let at = at.iter().map(|(ip, port)| json!({"HostIp": ip, "HostPort": port.to_string()}));
        (format!("{port}/tcp"), at.collect::<Value>())
    });
    let container = json!({
        "Id": id, "Name": format!("/{name}"), "Image": format!("sha256:{id}"),
        "Config": {"Labels": labels, "Env": input.variables},
        "State": {
            "Status": word, "StartedAt": "2026-01-02T03:04:05Z", "ExitCode": code, "OOMKilled": out_of_memory, "Error": error,
            "FinishedAt": if input.exit.is_some() { "2026-01-02T03:04:06Z" } else { "0001-01-01T00:00:00Z" },
        },
        "NetworkSettings": {"Networks": networks.collect::<Value>(), "Ports": ports.collect::<Value>()},
    });
    let read = container_in(&container).unwrap();
    assert_eq!([&read["id"], &read["name"], &read["state"]], [&*id, name, state]);
    assert_eq!(read["image"], format!("sha256:{id}"));
    assert_eq!([&read["labels"], &read["variables"]], [&json!(labels), &json!(input.variables)]);
    assert_eq!(read["exit"], json!(input.exit));
    let endpoints: Vec<_> = input.networks.values().collect();
    assert_eq!(read["endpoints"], json!(endpoints));
    let published = input.ports.iter().flat_map(|(port, at)| at.iter().map(move |at| (port, at)));
    let mut published: Vec<_> =
        published.map(|(port, (ip, at))| (format!("{port}/tcp"), ip, at)).collect();
    let mut found: Vec<(String, IpAddr, u16)> =
        serde_json::from_value(read["published"].clone()).unwrap();
    assert!(found.is_sorted_by_key(|(_, ip, _)| ip.is_ipv6()));
    (published.sort(), found.sort());
    assert_eq!(json!(found), json!(published));

    for item in [json!({"Id": id, "Labels": labels, "State": word}), container] {
        let listed = listed_in(true, &item).unwrap();
        assert_eq!(listed, json!({"id": id, "labels": labels, "state": state}));
    }

    let subnets = input.subnets.iter().filter_map(|(ip, prefix, gateway)| {
        Some((IpNet::new(*ip, *prefix).ok()?.to_string(), *gateway))
    });
    let subnets: Vec<_> = subnets.collect();
    let configs = |names: [&str; 2]| -> Value {
        subnets
            .iter()
            .map(|(subnet, gateway)| match gateway {
                Some(gateway) => json!({names[0]: subnet, names[1]: gateway}),
                None => json!({names[0]: subnet}),
            })
            .collect()
    };
    let options =
        input.bridge.map_or(json!({}), |name| json!({"com.docker.network.bridge.name": name}));
    let bridge = input.bridge.map_or(format!("br-{}", &id[..12]), str::to_owned);
    for (is_podman, network) in [
        (
            false,
            json!({"Id": id, "Name": name, "Labels": labels, "Driver": "bridge", "Options": options, "IPAM": {"Config": configs(["Subnet", "Gateway"])}}),
        ),
        (
            true,
            json!({"id": id, "name": name, "labels": labels, "network_interface": bridge, "subnets": configs(["subnet", "gateway"])}),
        ),
    ] {
        let read = network_in(is_podman, &network).unwrap();
        let expected = json!({"id": id, "name": name, "labels": labels, "subnets": subnets, "bridge": bridge, "attached": []});
        assert_eq!(read, expected);
        let listed = listed_in(false, &network).unwrap();
        assert_eq!(listed, json!({"id": id, "labels": labels, "state": null}));
    }

    let [version, id, host, root] = input.engine;
    let docker = json!({"ServerVersion": version, "ID": id, "Name": host, "DockerRootDir": root, "Rootless": input.rootless});
    let podman = json!({
        "host": {"hostname": host, "security": {"rootless": input.rootless}},
        "version": {"Version": version}, "store": {"graphRoot": root},
    });
    for (kind, answer, identity) in
        [("Docker", docker, [id, host, root]), ("Podman", podman, ["", host, root])]
    {
        let Some(read) = engine_in(&answer) else {
            // Docker's program has no version of an engine that does not answer.
            assert_eq!(version, "");
            continue;
        };
        assert_eq!([&read["kind"], &read["version"]], [kind, version]);
        assert_eq!(
            [&read["identity"], &read["rootless"]],
            [&json!(identity), &json!(input.rootless)]
        );
    }
});
