//! From a specification to the bodies of requests: each part is found again, and nothing else is in its list.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use sidecar_bundle::Slug;
use sidecar_bundle::fuzzing::{Requests, requests};
use sidecar_bundle_fuzz::{SECRET, Specification, target, variable};

fn sorted<T: Into<Value>>(values: impl IntoIterator<Item = T>) -> Vec<String> {
    let mut texts: Vec<_> = values.into_iter().map(|it| it.into().to_string()).collect();
    texts.sort();
    texts
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// The user's labels, once the library's own are taken out.
fn labels(labels: &Value) -> Value {
    let mut labels = labels.as_object().unwrap().clone();
    let all = labels.len();
    labels.retain(|key, _| !key.starts_with("sidecar-bundle."));
    assert_eq!(all - labels.len(), 10);
    labels.into()
}

fuzz_target!(|input: Specification<'_>| {
    if input.shows_a_secret() {
        return;
    }
    let Some(Requests { docker, podman, .. }) =
        requests(&Slug::new("fuzz").unwrap(), &input.build())
    else {
        return;
    };
    let mut variables: BTreeMap<String, String> = input
        .variables
        .iter()
        .map(|(name, value, is_secret)| {
            (
                variable(name),
                if *is_secret { format!("{SECRET}{value}") } else { (*value).to_owned() },
            )
        })
        .collect();
    variables.insert("CLAUDE_BOTTLE_SIDECAR_DAEMONS".into(), input.daemon.0.clone());
    // The last of two equal keys counts.
    let command = if input.command.is_empty() { json!(null) } else { json!(input.command) };
    let user: BTreeMap<_, _> = input.labels.iter().map(|(key, value)| (&key.0, value)).collect();
    // Of two mounts in memory at one place, the last counts.
    let memory: BTreeMap<_, _> =
        input.tmpfs.iter().map(|(at, size, exec)| (target(at), (size, exec))).collect();
    let binds = || {
        input
            .mounts
            .iter()
            .map(|(host, at, read_only)| (format!("/{}", host.0), target(at), read_only))
    };
    let volumes = || input.volumes.iter().map(|(name, at)| (format!("v{}", name.0), target(at)));

    let variable = |(name, value): (&String, &String)| format!("{name}={value}");
    assert_eq!(sorted(list(&docker["Env"]).to_vec()), sorted(variables.iter().map(variable)));
    assert_eq!(labels(&docker["Labels"]), json!(user));
    let host = &docker["HostConfig"];
    let mut mounts: Vec<_> = binds()
        .map(|(host, at, it)| json!({"Type": "bind", "Source": host, "Target": at, "ReadOnly": it}))
        .collect();
    mounts.extend(volumes().map(
        |(name, at)| json!({"Type": "volume", "Source": name, "Target": at, "ReadOnly": false}),
    ));
    for (at, (size, exec)) in &memory {
        if **exec {
            let options = size.map(|it| format!(",size={it}")).unwrap_or_default();
            assert_eq!(host["Tmpfs"][at], format!("exec{options}"));
            continue;
        }
        let mut mount = json!({"Type": "tmpfs", "Target": at, "ReadOnly": false});
        if let Some(size) = size {
            mount["TmpfsOptions"] = json!({"SizeBytes": size});
        }
        mounts.push(mount);
    }
    assert_eq!(sorted(list(&host["Mounts"]).to_vec()), sorted(mounts));
    let executable = memory.values().filter(|(_, exec)| **exec).count();
    assert_eq!(host["Tmpfs"].as_object().unwrap().len(), executable);
    let name = |port: u16, is_udp: bool| format!("{port}/{}", if is_udp { "udp" } else { "tcp" });
    let published =
        host["PortBindings"].as_object().unwrap().iter().flat_map(|(port, bindings)| {
            list(bindings).iter().map(move |it| json!([port, it["HostIp"], it["HostPort"]]))
        });
    let ports = input.ports.iter().map(|(port, host, is_udp, ip)| {
        json!([name(*port, *is_udp), ip, host.map(|it| it.to_string()).unwrap_or_default()])
    });
    assert_eq!(sorted(published), sorted(ports));
    let hosts = || input.hosts.iter().map(|(name, ip)| format!("{}:{ip}", name.0));
    assert_eq!(sorted(list(&host["ExtraHosts"]).to_vec()), sorted(hosts()));

    assert_eq!([&docker["Image"], &docker["Cmd"]], [&json!(input.image.0), &command]);
    let mut rest = docker.clone();
    rest["Env"].take();
    assert!(!rest.to_string().contains(SECRET));

    let Some(mut body) = podman else { return };
    assert_eq!(body["env"].take(), json!(variables));
    assert!(!body.to_string().contains(SECRET));
    assert_eq!(labels(&body["labels"]), json!(user));
    let options = |read_only: bool| if read_only { json!(["ro"]) } else { json!([]) };
    let mut mounts: Vec<_> = binds().map(|(host, at, it)| json!({"type": "bind", "source": host, "destination": at, "options": options(*it)})).collect();
    mounts.extend(memory.iter().map(|(at, (size, exec))| {
        let mut options = vec![
            "nosuid".to_owned(),
            "nodev".into(),
            if **exec { "exec" } else { "noexec" }.into(),
        ];
        options.extend(size.map(|it| format!("size={it}")));
        json!({"type": "tmpfs", "source": "tmpfs", "destination": at, "options": options})
    }));
    assert_eq!(sorted(list(&body["mounts"]).to_vec()), sorted(mounts));
    let volumes = volumes().map(|(name, at)| json!({"Name": name, "Dest": at, "Options": []}));
    assert_eq!(sorted(list(&body["volumes"]).to_vec()), sorted(volumes));
    let ports = input.ports.iter().map(|(port, host, is_udp, ip)| {
        json!({
            "container_port": port, "host_port": host.unwrap_or(0), "host_ip": ip,
            "protocol": if *is_udp { "udp" } else { "tcp" },
        })
    });
    assert_eq!(sorted(list(&body["portmappings"]).to_vec()), sorted(ports));
    assert_eq!(sorted(list(&body["hostadd"]).to_vec()), sorted(hosts()));
    assert_eq!([&body["image"], &body["command"]], [&json!(input.image.0), &command]);
});
