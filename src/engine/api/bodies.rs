//! The bodies of requests that create.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::archive;
use crate::container::{
    CheckedMount, CheckedSpec, MountKind, Options, PortMapping, RestartPolicy, Tmpfs,
};
use crate::engine::backend::{ContainerRequest, NetworkRequest};
use crate::engine::dialect::Dialect;

/// `POST /networks/create`.
pub(super) fn network(request: &NetworkRequest<'_>) -> Value {
    let addressing = request.addressing;
    let config = |subnet: String, gateway: String, range: Option<String>| {
        let mut config = json!({"Subnet": subnet, "Gateway": gateway});
        if let Some(range) = range {
            config["IPRange"] = range.into();
        }
        config
    };
    let mut configs = vec![config(
        addressing.subnet().to_string(),
        addressing.gateway().to_string(),
        addressing.dynamic_range().map(|it| it.to_string()),
    )];
    configs.extend(request.ipv6.map(|ipv6| {
        config(
            ipv6.subnet().to_string(),
            ipv6.gateway().to_string(),
            ipv6.dynamic_range().map(|it| it.to_string()),
        )
    }));
    let own = request.labels.clone().into_iter();
    let labels: BTreeMap<_, _> = request.options.labels.iter().cloned().chain(own).collect();
    let driver = Dialect::Docker.driver_options(request.options, request.ipv6.is_some());
    let mut body = json!({
        "Name": request.name,
        // Docker before 25 makes a second network of the name otherwise.
        "CheckDuplicate": true,
        "Driver": if request.options.is_overlay() { "overlay" } else { "bridge" },
        "Internal": request.options.internal,
        "EnableIPv6": request.ipv6.is_some(),
        "IPAM": {"Driver": "default", "Config": configs},
        "Options": driver.into_iter().collect::<BTreeMap<_, _>>(),
        "Labels": labels,
    });
    if request.options.is_overlay() {
        // Without it, only the tasks of services may join.
        body["Attachable"] = json!(true);
    }
    body
}

/// `POST /containers/create`.
pub(super) fn container(request: &ContainerRequest<'_>) -> Value {
    let (spec, options) = (request.spec, &request.spec.options);
    let own = request.labels.clone().into_iter();
    let labels: BTreeMap<_, _> = options.labels.iter().cloned().chain(own).collect();
    let variables: Vec<_> =
        spec.variables.iter().map(|it| format!("{}={}", it.name(), it.value())).collect();
    let mode = match request.attachment.network() {
        Ok(network) => network.to_string(),
        Err(container) => format!("container:{container}"),
    };
    let mut body = json!({
        "Image": spec.image,
        "Env": variables,
        "Labels": labels,
        "HostConfig": host_config(&mode, spec),
    });
    if request.attachment.network().is_ok() {
        let mut endpoint = endpoint(options);
        for address in request.attachment.addresses() {
            let name = if address.is_ipv4() { "IPv4Address" } else { "IPv6Address" };
            endpoint["IPAMConfig"][name] = json!(address);
        }
        body["NetworkingConfig"] = json!({"EndpointsConfig": {mode: endpoint}});
    }
    if !options.publish.is_empty() {
        let ports = options.publish.iter().map(|port| (port.name(), json!({})));
        body["ExposedPorts"] = ports.collect::<Map<_, _>>().into();
    }
    if let Some(program) = &options.entrypoint {
        body["Entrypoint"] = json!([program]);
    }
    if !options.command.is_empty() {
        body["Cmd"] = json!(options.command);
    }
    if let Some(user) = &options.user {
        body["User"] = json!(user);
    }
    for field in &options.fields {
        match field.path.strip_prefix("HostConfig.") {
            Some(name) => body["HostConfig"][name] = field.value(),
            None => body[&field.path] = field.value(),
        }
    }
    body
}

/// A container's place on a network, at whatever address.
pub(super) fn endpoint(options: &Options) -> Value {
    let aliases = &options.aliases;
    if aliases.is_empty() { json!({}) } else { json!({"Aliases": aliases}) }
}

fn host_config(network: &str, spec: &CheckedSpec) -> Value {
    let options = &spec.options;
    let volumes = archive::volumes(Dialect::Docker, spec).into_iter();
    let volumes = volumes.map(|directory| json!({"Type": "volume", "Target": directory}));
    let mounts = spec.mounts.iter().filter_map(mount);
    let mut config = json!({
        "NetworkMode": network,
        "Mounts": mounts.chain(volumes).collect::<Vec<_>>(),
        "ReadonlyRootfs": options.read_only,
    });
    config["Tmpfs"] = spec.mounts.iter().filter_map(executable_tmpfs).collect::<Map<_, _>>().into();
    let mut bindings = Map::new();
    for port in &options.publish {
        let bindings = bindings.entry(port.name()).or_insert_with(|| json!([]));
        bindings.as_array_mut().into_iter().for_each(|it| it.push(binding(port)));
    }
    config["PortBindings"] = bindings.into();
    let hosts = options.hosts.iter().map(|(name, address)| format!("{name}:{address}"));
    config["ExtraHosts"] = hosts.collect::<Vec<_>>().into();
    config["Dns"] = json!(options.dns);
    if let Some(memory) = options.memory {
        config["Memory"] = memory.into();
        config["MemorySwap"] = memory.into();
    }
    if let Some(nano) = options.nano_cpus() {
        config["NanoCpus"] = nano.into();
    }
    if let Some(pids) = options.pids {
        config["PidsLimit"] = pids.into();
    }
    config["CapAdd"] = json!(options.add_capabilities);
    config["CapDrop"] = json!(options.drop_capabilities);
    let privileges = options.no_new_privileges.then(|| "no-new-privileges".to_owned());
    // An error was one of `Backend::supports` already; an engine refuses a profile that is a path.
    let security = spec.security.as_ref().ok();
    let others = security.map_or(&options.security, |it| &it.options);
    config["SecurityOpt"] = privileges.iter().chain(others).cloned().collect::<Vec<_>>().into();
    if security.is_some_and(|it| it.unconfined_paths) {
        config["MaskedPaths"] = json!([]);
        config["ReadonlyPaths"] = json!([]);
    }
    if options.init {
        config["Init"] = true.into();
    }
    config["RestartPolicy"] = match options.restart {
        RestartPolicy::No => json!({"Name": "no"}),
        RestartPolicy::OnFailure(times) => {
            json!({"Name": "on-failure", "MaximumRetryCount": times.unwrap_or(0)})
        }
        RestartPolicy::Always => json!({"Name": "always"}),
        RestartPolicy::UnlessStopped => json!({"Name": "unless-stopped"}),
    };
    config
}

fn binding(port: &PortMapping) -> Value {
    json!({
        "HostIp": port.host_address.to_string(),
        "HostPort": port.host_port.map(|it| it.to_string()).unwrap_or_default(),
    })
}

/// `None` for a mount that is another field of the body.
fn mount(mount: &CheckedMount) -> Option<Value> {
    let (kind, source, size) = match &mount.kind {
        MountKind::Host(path) => ("bind", Some(path), None),
        MountKind::Volume(name) => ("volume", Some(name), None),
        MountKind::Tmpfs(Tmpfs { executable: true, .. }) => return None,
        MountKind::Tmpfs(Tmpfs { size, .. }) => ("tmpfs", None, *size),
    };
    let mut json = json!({"Type": kind, "Target": mount.container, "ReadOnly": mount.read_only});
    if let Some(source) = source {
        json["Source"] = json!(source);
    }
    if let Some(size) = size {
        json["TmpfsOptions"] = json!({"SizeBytes": size});
    }
    Some(json)
}

/// Before Docker 27, no mount in memory can have programs.
fn executable_tmpfs(mount: &CheckedMount) -> Option<(String, Value)> {
    match mount.kind {
        MountKind::Tmpfs(tmpfs) if tmpfs.executable => {
            Some((mount.container.clone(), tmpfs.options().into()))
        }
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::container::{BundleSpec, harmless};
    use crate::engine::backend::Attachment;
    use crate::plan::Naming;

    fn body(spec: &BundleSpec) -> Value {
        body_by(container, spec)
    }

    /// The body of a container of this specification, for either engine.
    pub(in crate::engine::api) fn body_by(
        container: fn(&ContainerRequest<'_>) -> Value,
        spec: &BundleSpec,
    ) -> Value {
        container(&ContainerRequest {
            name: "c",
            attachment: Attachment::Pinned {
                network: &"a".repeat(64),
                ip: Ipv4Addr::new(10, 1, 2, 3),
                ipv6: Some("fd00::3".parse().unwrap()),
            },
            gateway: Ipv4Addr::new(10, 1, 2, 1),
            labels: &BTreeMap::from([("own".to_owned(), "1".to_owned())]),
            spec: &spec.check(&Naming::default()).unwrap(),
        })
    }

    /// A specification with every option that has a method.
    pub(in crate::engine::api) fn full() -> BundleSpec {
        BundleSpec::new()
            .image("i")
            .clear_daemons()
            .secret("A", "1=2")
            .mount("/a,b", "/m")
            .mount_read_only("/r", "/n")
            .volume("v", "/v")
            .tmpfs("/t", 1 << 20)
            .tmpfs("/u", None)
            .executable_tmpfs("/x", 1 << 20)
            .executable_tmpfs("/y", None)
            .entrypoint("sh")
            .command(["-c", "x"])
            .user("1:2")
            .label("l", "m")
            .publish(PortMapping::tcp(80).host_address([0, 0, 0, 0]).host_port(8080))
            .publish(PortMapping::tcp(80).host_address([0, 0, 0, 0, 0, 0, 0, 1]))
            .publish(PortMapping::udp(53))
            .extra_host("four", [10, 0, 0, 1])
            .extra_host("six", [0xfd00, 0, 0, 0, 0, 0, 0, 1])
            .host_gateway("host.docker.internal")
            .dns_server([10, 0, 0, 53])
            .memory(64 << 20)
            .cpus(0.1)
            .pids(99)
            .add_capability("NET_ADMIN")
            .drop_capability("ALL")
            .no_new_privileges(true)
            .security_option("seccomp=unconfined")
            .security_option("systempaths=unconfined")
            .read_only_root(true)
            .init(true)
            .restart(RestartPolicy::OnFailure(Some(2)))
    }

    /// Compared with what docker's own program sends for the same options.
    #[test]
    fn options_arrive_as_the_program_sends_them() {
        let network = "a".repeat(64);
        let variables = json!([format!("{}=", Naming::default().daemons_variable()), "A=1=2"]);
        let mut body = body(&full());
        let mut sent = body["Env"].take();
        sent.as_array_mut().unwrap().sort_by_key(|it| it.as_str().unwrap().len() < 10);
        assert_eq!(sent, variables);
        let expected = json!({
            "Image": "i",
            "Env": null,
            "Labels": {"l": "m", "own": "1"},
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
            "Entrypoint": ["sh"],
            "Cmd": ["-c", "x"],
            "User": "1:2",
            "NetworkingConfig": {"EndpointsConfig": {&network: {
                "IPAMConfig": {"IPv4Address": "10.1.2.3", "IPv6Address": "fd00::3"},
            }}},
            "HostConfig": {
                "NetworkMode": network,
                "Mounts": [
                    {"Type": "bind", "Source": "/a,b", "Target": "/m", "ReadOnly": false},
                    {"Type": "bind", "Source": "/r", "Target": "/n", "ReadOnly": true},
                    {"Type": "tmpfs", "Target": "/t", "ReadOnly": false,
                        "TmpfsOptions": {"SizeBytes": 1 << 20}},
                    {"Type": "tmpfs", "Target": "/u", "ReadOnly": false},
                    {"Type": "volume", "Source": "v", "Target": "/v", "ReadOnly": false},
                ],
                "Tmpfs": {"/x": "exec,size=1048576", "/y": "exec"},
                "ReadonlyRootfs": true,
                "PortBindings": {
                    "80/tcp": [
                        {"HostIp": "0.0.0.0", "HostPort": "8080"},
                        {"HostIp": "::1", "HostPort": ""},
                    ],
                    "53/udp": [{"HostIp": "127.0.0.1", "HostPort": ""}],
                },
                "ExtraHosts": ["four:10.0.0.1", "six:fd00::1", "host.docker.internal:host-gateway"],
                "Dns": ["10.0.0.53"],
                "Memory": 64 << 20,
                "MemorySwap": 64 << 20,
                "NanoCpus": 100_000_000,
                "PidsLimit": 99,
                "CapAdd": ["NET_ADMIN"],
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges", "seccomp=unconfined"],
                "MaskedPaths": [],
                "ReadonlyPaths": [],
                "Init": true,
                "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
            },
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn an_option_that_is_not_set_is_not_sent() {
        let body = body(&BundleSpec::new());
        for field in ["Entrypoint", "Cmd", "User", "ExposedPorts"] {
            assert_eq!(body.get(field), None, "{field}");
        }
        let host = &body["HostConfig"];
        for field in ["Memory", "MemorySwap", "NanoCpus", "PidsLimit", "Init", "MaskedPaths"] {
            assert_eq!(host.get(field), None, "{field}");
        }
        assert_eq!(host["RestartPolicy"], json!({"Name": "no"}));
        assert_eq!(host["SecurityOpt"], json!([]));
    }

    #[test]
    fn no_field_of_the_escape_hatch_replaces_another() {
        // The limit of processors is one or the other.
        let full = full().cpus(None);
        let before = body(&full);
        let rows = include_str!("../../../tests/vectors/create-fields.txt").lines();
        let rows = rows.map(|row| row.trim_end_matches(" on docker"));
        let allowed = rows.filter_map(|row| row.strip_suffix(" allowed"));
        let allowed = allowed.map(|row| row.split(' ').next().unwrap());
        let with_field = |spec: BundleSpec, path| spec.engine_option(path, harmless(path));
        let mut after = body(&allowed.clone().fold(full, with_field));
        for path in allowed {
            let (parent, name) = match path.split_once('.') {
                Some((parent, name)) => (after.get_mut(parent).unwrap(), name),
                None => (&mut after, path),
            };
            let sent = parent.as_object_mut().unwrap().remove(name);
            assert_eq!(sent, Some(serde_json::from_str(harmless(path)).unwrap()), "{path}");
        }
        assert_eq!(after, before);
    }
}
