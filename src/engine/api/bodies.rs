//! The bodies of requests that create.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::container::{CheckedMount, MountKind, Options, PortMapping, RestartPolicy};
use crate::engine::backend::{ContainerRequest, NetworkRequest};
use crate::engine::dialect::Dialect;

/// `POST /networks/create`.
pub(super) fn network(dialect: Dialect, request: &NetworkRequest<'_>) -> Value {
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
    let driver = dialect.driver_options(request.options, request.ipv6.is_some());
    json!({
        "Name": request.name,
        // Docker before 25 makes a second network of the name otherwise.
        "CheckDuplicate": true,
        "Driver": "bridge",
        "Internal": request.options.internal,
        "EnableIPv6": request.ipv6.is_some(),
        "IPAM": {"Driver": "default", "Config": configs},
        "Options": driver.into_iter().collect::<BTreeMap<_, _>>(),
        "Labels": labels,
    })
}

/// `POST /containers/create`.
pub(super) fn container(request: &ContainerRequest<'_>) -> Value {
    let (spec, options) = (request.spec, &request.spec.options);
    let own = request.labels.clone().into_iter();
    let labels: BTreeMap<_, _> = options.labels.iter().cloned().chain(own).collect();
    let variables: Vec<_> =
        spec.variables.iter().map(|it| format!("{}={}", it.name(), it.value())).collect();
    let mut address = json!({"IPv4Address": request.ip});
    if let Some(ipv6) = request.ipv6 {
        address["IPv6Address"] = json!(ipv6);
    }
    let network = request.network_id.as_str();
    let mut body = json!({
        "Image": spec.image,
        "Env": variables,
        "Labels": labels,
        "HostConfig": host_config(network, &spec.mounts, options),
        "NetworkingConfig": {"EndpointsConfig": {network: {"IPAMConfig": address}}},
    });
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

fn host_config(network: &str, mounts: &[CheckedMount], options: &Options) -> Value {
    let mut config = json!({
        "NetworkMode": network,
        "Mounts": mounts.iter().map(mount).collect::<Vec<_>>(),
        "ReadonlyRootfs": options.read_only,
    });
    let mut bindings = Map::new();
    for port in &options.publish {
        let bindings = bindings.entry(port.name()).or_insert_with(|| json!([]));
        bindings.as_array_mut().into_iter().for_each(|it| it.push(binding(port)));
    }
    config["PortBindings"] = bindings.into();
    let hosts = options.hosts.iter().map(|(name, address)| format!("{name}:{address}"));
    config["ExtraHosts"] = hosts.collect::<Vec<_>>().into();
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
    config["SecurityOpt"] =
        privileges.into_iter().chain(options.security.iter().cloned()).collect::<Vec<_>>().into();
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
        "HostIp": port.host_address.map(|it| it.to_string()).unwrap_or_default(),
        "HostPort": port.host_port.map(|it| it.to_string()).unwrap_or_default(),
    })
}

fn mount(mount: &CheckedMount) -> Value {
    let (kind, source, size) = match &mount.kind {
        MountKind::Host(path) => ("bind", Some(path), None),
        MountKind::Volume(name) => ("volume", Some(name), None),
        MountKind::Tmpfs(size) => ("tmpfs", None, *size),
    };
    let mut json = json!({"Type": kind, "Target": mount.container, "ReadOnly": mount.read_only});
    if let Some(source) = source {
        json["Source"] = json!(source);
    }
    if let Some(size) = size {
        json["TmpfsOptions"] = json!({"SizeBytes": size});
    }
    json
}
