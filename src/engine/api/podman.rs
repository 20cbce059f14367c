//! The bodies of podman's own requests that create, as its program sends them to a service.
//!
//! The fields are those of podman 4.3.1: `pkg/specgen/specgen.go`, and `libpod/network/types` of its common library.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::container::{
    CheckedMount, CheckedSpec, Field, HostAddress, MountKind, Options, PortMapping, Relabel,
    RestartPolicy,
};
use crate::engine::backend::{ContainerRequest, NetworkRequest};
use crate::engine::dialect::Dialect;
use crate::invalid::InvalidInput;

/// `POST /libpod/networks/create`.
pub(super) fn network(request: &NetworkRequest<'_>) -> Value {
    let addressing = request.addressing;
    let mut subnets = vec![subnet(
        addressing.subnet().into(),
        addressing.gateway().into(),
        addressing.dynamic_range().map(IpNet::from),
    )];
    subnets.extend(request.ipv6.map(|ipv6| {
        let range = ipv6.dynamic_range().map(IpNet::from);
        subnet(ipv6.subnet().into(), ipv6.gateway().into(), range)
    }));
    let own = request.labels.clone().into_iter();
    let labels: BTreeMap<_, _> = request.options.labels.iter().cloned().chain(own).collect();
    let driver = Dialect::Podman.driver_options(request.options, request.ipv6.is_some());
    let mut body = json!({
        "name": request.name,
        "driver": "bridge",
        "subnets": subnets,
        "ipv6_enabled": request.ipv6.is_some(),
        "internal": request.options.internal,
        "dns_enabled": true,
        "labels": labels,
        "options": driver.into_iter().collect::<BTreeMap<_, _>>(),
    });
    if let Some(name) = &request.options.bridge_name {
        body["network_interface"] = json!(name);
    }
    body
}

fn subnet(subnet: IpNet, gateway: IpAddr, range: Option<IpNet>) -> Value {
    let mut body = json!({"subnet": subnet.to_string(), "gateway": gateway});
    if let Some(range) = range {
        body["lease_range"] = json!({"start_ip": first(range), "end_ip": range.broadcast()});
    }
    body
}

/// The first address behind that of the range itself.
fn first(range: IpNet) -> IpAddr {
    match range {
        IpNet::V4(range) => range.hosts().next().unwrap_or(range.network()).into(),
        IpNet::V6(range) => Ipv6Addr::from_bits(range.network().to_bits() + 1).into(),
    }
}

/// `POST /libpod/containers/create`.
///
/// The proxies of the service's environment are not passed on, as with Docker, and a read-only root has no writable
/// directory but those of the specification.
pub(super) fn container(request: &ContainerRequest<'_>) -> Value {
    let (spec, options) = (request.spec, &request.spec.options);
    let own = request.labels.clone().into_iter();
    let labels: BTreeMap<_, _> = options.labels.iter().cloned().chain(own).collect();
    let variables: BTreeMap<_, _> =
        spec.variables.iter().map(|it| (it.name(), it.value())).collect();
    let hosts = options.hosts.iter().map(|(name, address)| match address {
        HostAddress::Given(address) => format!("{name}:{address}"),
        HostAddress::Gateway => format!("{name}:{}", request.gateway),
    });
    let (volumes, mounts): (Vec<_>, Vec<_>) =
        spec.mounts.iter().partition(|it| matches!(it.kind, MountKind::Volume(_)));
    let mut body = json!({
        "name": request.name,
        "image": spec.image,
        "raw_image_name": spec.image,
        "image_volume_mode": "anonymous",
        "env": variables,
        "labels": labels,
        "portmappings": options.publish.iter().map(port).collect::<Vec<_>>(),
        "hostadd": hosts.collect::<Vec<_>>(),
        "dns_server": options.dns,
        "mounts": mounts.into_iter().map(mount).collect::<Vec<_>>(),
        "volumes": volumes.into_iter().map(mount).collect::<Vec<_>>(),
        "cap_add": options.add_capabilities,
        "cap_drop": options.drop_capabilities,
        "no_new_privileges": options.no_new_privileges,
        "read_only_filesystem": options.read_only,
        "init": options.init,
        "resource_limits": limits(options),
        "systemd": "true",
        "umask": "0022",
        "stop_timeout": 10,
    });
    match request.attachment.network() {
        Ok(network) => {
            let place = |addresses: Vec<IpAddr>| {
                let mut place = json!({});
                if !addresses.is_empty() {
                    place["static_ips"] = json!(addresses);
                }
                if !options.aliases.is_empty() {
                    place["aliases"] = json!(options.aliases);
                }
                place
            };
            body["netns"] = json!({"nsmode": "bridge"});
            body["Networks"] = json!({network: place(request.attachment.addresses())});
            if let Some(other) = &options.also_on {
                body["Networks"][other] = place(Vec::new());
            }
        }
        Err(container) => {
            body["netns"] = json!({"nsmode": "container", "value": container.as_str()});
        }
    }
    // An empty list would replace the image's.
    if let Some(program) = &options.entrypoint {
        body["entrypoint"] = json!([program]);
    }
    if !options.command.is_empty() {
        body["command"] = json!(options.command);
    }
    if let Some(user) = &options.user {
        body["user"] = json!(user);
    }
    let (policy, times) = match options.restart {
        RestartPolicy::No => ("no", None),
        RestartPolicy::OnFailure(times) => ("on-failure", times),
        RestartPolicy::Always => ("always", None),
        RestartPolicy::UnlessStopped => ("unless-stopped", None),
    };
    body["restart_policy"] = policy.into();
    if let Some(times) = times {
        body["restart_tries"] = times.into();
    }
    // `check` has refused every option that podman does not know.
    let known = options.security.iter().filter_map(|it| security(it).ok());
    known.for_each(|(name, value)| match (&mut body[name], value) {
        (Value::Array(all), Value::Array(more)) => all.extend(more),
        (field, value) => *field = value,
    });
    // By these, `podman inspect` tells them.
    for option in &options.security {
        if let Some((name @ ("apparmor" | "label" | "seccomp"), value)) = option.split_once('=') {
            body["annotations"][format!("io.podman.annotations.{name}")] = value.into();
        }
    }
    for field in &options.fields {
        if let Some((place, value)) = placed(field) {
            set(&mut body, place, value);
        }
    }
    body
}

/// Checks that podman has all of a specification's options: the first field of Docker's that it does not have.
pub(super) fn check(spec: &CheckedSpec) -> Result<Option<&Field>, InvalidInput> {
    spec.options.security.iter().try_for_each(|option| security(option).map(drop))?;
    Ok(spec.options.fields.iter().find(|field| placed(field).is_none()))
}

fn limits(options: &Options) -> Value {
    let mut limits = json!({});
    if let Some(memory) = options.memory {
        limits["memory"] = json!({"limit": memory, "swap": memory});
    }
    if let Some(nano) = options.nano_cpus() {
        limits["cpu"] = json!({"period": 100_000, "quota": nano / 10_000});
    }
    if let Some(pids) = options.pids {
        limits["pids"] = json!({"limit": pids});
    }
    limits
}

fn port(port: &PortMapping) -> Value {
    json!({
        "container_port": port.container,
        "host_port": port.host_port.unwrap_or(0),
        "host_ip": port.host_address.to_string(),
        "protocol": if port.udp { "udp" } else { "tcp" },
    })
}

fn mount(mount: &CheckedMount) -> Value {
    let mut options: Vec<_> = mount.read_only.then(|| "ro".to_owned()).into_iter().collect();
    options.extend(mount.relabel.map(|relabel| match relabel {
        Relabel::Shared => "z".to_owned(),
        Relabel::Private => "Z".to_owned(),
    }));
    let (kind, source) = match &mount.kind {
        MountKind::Volume(name) => {
            return json!({"Name": name, "Dest": mount.container, "Options": options});
        }
        MountKind::Host(path) => ("bind", path.as_str()),
        MountKind::Tmpfs(tmpfs) => {
            // Docker's by default.
            options.extend(["nosuid".to_owned(), "nodev".to_owned()]);
            options.push(if tmpfs.executable { "exec" } else { "noexec" }.to_owned());
            options.extend(tmpfs.size.map(|bytes| format!("size={bytes}")));
            ("tmpfs", "tmpfs")
        }
    };
    json!({"type": kind, "source": source, "destination": mount.container, "options": options})
}

/// A security option, as podman's program reads it.
fn security(option: &str) -> Result<(&'static str, Value), InvalidInput> {
    let (name, value) = option.split_once('=').unwrap_or((option, "true"));
    let list = |separator: char| json!(value.split(separator).collect::<Vec<_>>());
    Ok(match (name, value) {
        ("no-new-privileges", "true" | "false") => ("no_new_privileges", json!(value == "true")),
        ("label", _) => ("selinux_opts", json!([value])),
        ("apparmor", _) => ("apparmor_profile", json!(value)),
        ("seccomp", "builtin") => ("seccomp_profile_path", json!("")),
        ("seccomp", _) => ("seccomp_profile_path", json!(value)),
        ("systempaths", "unconfined") => ("unmask", json!(["ALL"])),
        ("unmask", _) => ("unmask", list(':')),
        ("mask", _) => ("mask", list(':')),
        ("proc-opts", _) => ("procfs_opts", list(',')),
        _ => {
            return Err(InvalidInput::new(format_args!(
                "podman has no security option {option:?}"
            )));
        }
    })
}

/// The place and the value of a field of Docker's in podman's body; `None` if podman does not have it.
fn placed(field: &Field) -> Option<(&'static str, Value)> {
    let value = field.value();
    let path = field.path.strip_prefix("HostConfig.").unwrap_or(&field.path);
    let place = match path {
        "Hostname" => "hostname",
        "WorkingDir" => "work_dir",
        "StopSignal" => return Some(("stop_signal", signal(value.as_str()?)?)),
        "StopTimeout" => "stop_timeout",
        "Healthcheck" => return Some(("healthconfig", health_check(value))),
        "CgroupParent" => "cgroup_parent",
        "CgroupnsMode" => return Some(("cgroupns", json!({"nsmode": value}))),
        "BlkioWeight" => "resource_limits/blockIO/weight",
        "CpuPeriod" => "resource_limits/cpu/period",
        "CpuQuota" => "resource_limits/cpu/quota",
        "CpuRealtimePeriod" => "resource_limits/cpu/realtimePeriod",
        "CpuRealtimeRuntime" => "resource_limits/cpu/realtimeRuntime",
        "CpuShares" => "resource_limits/cpu/shares",
        "CpusetCpus" => "resource_limits/cpu/cpus",
        "CpusetMems" => "resource_limits/cpu/mems",
        "MemoryReservation" => "resource_limits/memory/reservation",
        "MemorySwappiness" => "resource_limits/memory/swappiness",
        "OomKillDisable" => "resource_limits/memory/disableOOMKiller",
        "OomScoreAdj" => "oom_score_adj",
        "Devices" => return Some(("devices", each(&value, device)?)),
        "DnsOptions" => "dns_option",
        "DnsSearch" => "dns_search",
        "GroupAdd" => "groups",
        "LogConfig" => return Some(("log_configuration", log(&value)?)),
        "Runtime" => "oci_runtime",
        "ShmSize" => "shm_size",
        "StorageOpt" => "storage_opts",
        "Sysctls" => "sysctl",
        "Ulimits" => return Some(("r_limits", each(&value, ulimit)?)),
        _ => return None,
    };
    Some((place, value))
}

fn each(values: &Value, one: fn(&Value) -> Option<Value>) -> Option<Value> {
    values.as_array()?.iter().map(one).collect()
}

/// Docker takes a field of 0, or none, for its default. Podman's program sets the same defaults itself.
fn health_check(mut check: Value) -> Value {
    const SECOND: u64 = 1_000_000_000;
    for (name, default) in [("Interval", 30 * SECOND), ("Timeout", 30 * SECOND), ("Retries", 3)] {
        if check.is_object() && check[name].as_u64().is_none_or(|it| it == 0) {
            check[name] = default.into();
        }
    }
    check
}

/// Podman takes a device as its program does, where a colon ends a path.
fn device(device: &Value) -> Option<Value> {
    let part = |name: &str| device[name].as_str().filter(|it| !it.contains(':'));
    let (host, inside) = (part("PathOnHost")?, part("PathInContainer")?);
    let permissions = part("CgroupPermissions")?;
    Some(json!({"path": format!("{host}:{inside}:{permissions}")}))
}

/// Podman takes a signal by its number.
fn signal(name: &str) -> Option<Value> {
    let name = name.to_uppercase();
    let by_name = || Signal::from_str(&format!("SIG{}", name.trim_start_matches("SIG"))).ok();
    let number = name.parse().ok().or_else(|| by_name().map(|it| it as i32))?;
    Some(json!(number))
}

fn ulimit(limit: &Value) -> Option<Value> {
    Some(json!({
        "type": limit["Name"].as_str()?,
        // Without a limit, it is -1 of 64 bits.
        "soft": limit["Soft"].as_i64()?.cast_unsigned(),
        "hard": limit["Hard"].as_i64()?.cast_unsigned(),
    }))
}

/// Podman ignores what is not one of these.
fn log(config: &Value) -> Option<Value> {
    let mut log = json!({"driver": config["Type"]});
    for (name, value) in config["Config"].as_object().into_iter().flatten() {
        match name.as_str() {
            "tag" => log["options"]["tag"] = value.clone(),
            "path" => log["path"] = value.clone(),
            // In bytes: the units are the program's.
            "max-size" => log["size"] = value.as_str()?.parse::<i64>().ok()?.into(),
            _ => return None,
        }
    }
    Some(log)
}

/// Sets a value at a path of names.
fn set(body: &mut Value, place: &str, value: Value) {
    let field = place.split('/').fold(body, |body, name| &mut body[name]);
    *field = value;
}

#[cfg(test)]
mod tests {
    use super::super::bodies::tests::{body_by, full};
    use super::*;
    use crate::container::BundleSpec;
    use crate::plan::{Addressing, Ipv6Addressing, Naming, NetworkOptions, Slug};

    fn body(spec: &BundleSpec) -> Value {
        body_by(container, spec)
    }

    #[test]
    fn an_option_of_a_log_is_podmans_or_the_log_is_refused() {
        let config = |options| log(&json!({"Type": "k8s-file", "Config": options}));
        let sent = config(json!({"path": "/l", "tag": "t", "max-size": "7"})).unwrap();
        let options = json!({"tag": "t"});
        assert_eq!(
            sent,
            json!({"driver": "k8s-file", "path": "/l", "size": 7, "options": options})
        );
        assert_eq!(config(json!({"mode": "non-blocking"})), None);
    }

    #[test]
    fn a_health_check_has_the_defaults_of_podmans_program() {
        let nanos = 30_000_000_000_u64;
        let defaults = json!({"Interval": nanos, "Timeout": nanos, "Retries": 3});
        assert_eq!(health_check(json!({})), defaults);
        assert_eq!(health_check(json!({"Interval": 0, "Timeout": 0, "Retries": 0})), defaults);
        let set = json!({"Interval": 1, "Timeout": 2, "Retries": 4});
        assert_eq!(health_check(set.clone()), set);
    }

    /// Compared with what podman's own program sends to a service, 4.3.1, for the same options.
    #[test]
    fn a_container_is_sent_as_podmans_program_sends_it() {
        let spec = full().security_option("label=disable").security_option("apparmor=unconfined");
        let list = Naming::default();
        let bind = |source, target, options| json!({"type": "bind", "source": source, "destination": target, "options": options});
        let tmpfs = |target, options| json!({"type": "tmpfs", "source": "tmpfs", "destination": target, "options": options});
        let port = |address, host, container, protocol| json!({"host_ip": address, "host_port": host, "container_port": container, "protocol": protocol});
        let none = json!([]);
        let expected = json!({
            "name": "c",
            "image": "i",
            "raw_image_name": "i",
            "image_volume_mode": "anonymous",
            "env": {"A": "1=2", list.daemons_variable(): ""},
            "labels": {"l": "m", "own": "1"},
            "annotations": {
                "io.podman.annotations.label": "disable",
                "io.podman.annotations.apparmor": "unconfined",
                "io.podman.annotations.seccomp": "unconfined",
            },
            "netns": {"nsmode": "bridge"},
            "Networks": {"a".repeat(64): {"static_ips": ["10.1.2.3", "fd00::3"]}},
            "portmappings": [
                port("0.0.0.0", 8080, 80, "tcp"),
                port("::1", 0, 80, "tcp"),
                port("127.0.0.1", 0, 53, "udp"),
            ],
            "hostadd": ["four:10.0.0.1", "six:fd00::1", "host.docker.internal:10.1.2.1"],
            "dns_server": ["10.0.0.53"],
            "mounts": [
                bind("/a,b", "/m", &none),
                bind("/r", "/n", &json!(["ro"])),
                tmpfs("/t", json!(["nosuid", "nodev", "noexec", "size=1048576"])),
                tmpfs("/u", json!(["nosuid", "nodev", "noexec"])),
                tmpfs("/x", json!(["nosuid", "nodev", "exec", "size=1048576"])),
                tmpfs("/y", json!(["nosuid", "nodev", "exec"])),
            ],
            "volumes": [{"Name": "v", "Dest": "/v", "Options": []}],
            "entrypoint": ["sh"],
            "command": ["-c", "x"],
            "user": "1:2",
            "resource_limits": {
                "memory": {"limit": 64 << 20, "swap": 64 << 20},
                "cpu": {"period": 100_000, "quota": 10_000},
                "pids": {"limit": 99},
            },
            "cap_add": ["NET_ADMIN"],
            "cap_drop": ["ALL"],
            "no_new_privileges": true,
            "selinux_opts": ["disable"],
            "apparmor_profile": "unconfined",
            "seccomp_profile_path": "unconfined",
            "unmask": ["ALL"],
            "read_only_filesystem": true,
            "init": true,
            "restart_policy": "on-failure",
            "restart_tries": 2,
            "systemd": "true",
            "umask": "0022",
            "stop_timeout": 10,
        });
        assert_eq!(body(&spec), expected);
    }

    #[test]
    fn an_option_that_is_not_set_is_not_sent() {
        let body = body(&BundleSpec::new());
        for field in ["entrypoint", "command", "user", "restart_tries", "annotations"] {
            assert_eq!(body.get(field), None, "{field}");
        }
        assert_eq!(body["resource_limits"], json!({}));
    }

    #[test]
    fn a_network_is_sent_as_podmans_program_sends_it() {
        let addressing = Addressing::new(
            "10.77.1.0/24".parse().unwrap(),
            [10, 77, 1, 1].into(),
            [10, 77, 1, 2].into(),
        );
        let ipv6 = Ipv6Addressing::derived(&Slug::new("a").unwrap(), 0);
        let body = network(&NetworkRequest {
            name: "n",
            addressing: &addressing.unwrap(),
            ipv6: Some(ipv6),
            labels: &BTreeMap::from([("own".to_owned(), "1".to_owned())]),
            options: &NetworkOptions::all(),
        });
        let range = ipv6.dynamic_range().unwrap();
        let expected = json!({
            "name": "n",
            "driver": "bridge",
            "network_interface": "sb0",
            "subnets": [
                {
                    "subnet": "10.77.1.0/24",
                    "gateway": "10.77.1.1",
                    "lease_range": {"start_ip": "10.77.1.129", "end_ip": "10.77.1.255"},
                },
                {
                    "subnet": ipv6.subnet().to_string(),
                    "gateway": ipv6.gateway(),
                    "lease_range": {
                        "start_ip": Ipv6Addr::from_bits(range.network().to_bits() + 1),
                        "end_ip": range.broadcast(),
                    },
                },
            ],
            "ipv6_enabled": true,
            "internal": true,
            "dns_enabled": true,
            "labels": {"acme.role": "x", "own": "1"},
            "options": {"isolate": "true", "mtu": "1400", "k": "v"},
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_mount_is_relabelled_by_a_letter() {
        let spec = BundleSpec::new().mount("/a", "/b").mount_read_only("/a", "/c");
        let spec = spec.relabel("/b", Relabel::Private).relabel("/c/.", Relabel::Shared);
        let body = body_by(container, &spec);
        assert_eq!(body["mounts"][0]["options"], json!(["Z"]));
        assert_eq!(body["mounts"][1]["options"], json!(["ro", "z"]));
    }

    #[test]
    fn a_field_of_dockers_is_at_its_place_or_not_supported() {
        for (path, json, place, value) in [
            ("Hostname", "\"h\"", "/hostname", json!("h")),
            ("StopSignal", "\"SIGUSR1\"", "/stop_signal", json!(10)),
            ("StopSignal", "\"term\"", "/stop_signal", json!(15)),
            ("StopSignal", "\"9\"", "/stop_signal", json!(9)),
            ("HostConfig.CgroupnsMode", "\"host\"", "/cgroupns", json!({"nsmode": "host"})),
            ("HostConfig.CpuShares", "5", "/resource_limits/cpu/shares", json!(5)),
            ("HostConfig.MemoryReservation", "7", "/resource_limits/memory/reservation", json!(7)),
            (
                "HostConfig.LogConfig",
                r#"{"Type": "k8s-file", "Config": {"max-size": "1000", "tag": "t"}}"#,
                "/log_configuration",
                json!({"driver": "k8s-file", "size": 1000, "options": {"tag": "t"}}),
            ),
            (
                "HostConfig.Ulimits",
                r#"[{"Name": "nofile", "Soft": 10, "Hard": -1}]"#,
                "/r_limits/0",
                json!({"type": "nofile", "soft": 10, "hard": u64::MAX}),
            ),
            (
                "HostConfig.Devices",
                r#"[{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"}]"#,
                "/devices/0/path",
                json!("/dev/a:/dev/b:r"),
            ),
            (
                "Healthcheck",
                r#"{"Test": ["CMD", "true"], "Interval": 5}"#,
                "/healthconfig",
                json!({"Test": ["CMD", "true"], "Interval": 5, "Timeout": 30_000_000_000_u64, "Retries": 3}),
            ),
        ] {
            let spec = BundleSpec::new().memory(64 << 20).engine_option(path, json);
            let body = body(&spec);
            assert_eq!(body.pointer(place), Some(&value), "{path}");
            assert_eq!(body["resource_limits"]["memory"]["limit"], 64 << 20);
        }
        let colon =
            r#"[{"PathOnHost": "/a:b", "PathInContainer": "/c", "CgroupPermissions": "r"}]"#;
        let units = r#"{"Type": "k8s-file", "Config": {"max-size": "1m"}}"#;
        for (path, json) in [
            ("Domainname", "\"d\""),
            ("HostConfig.Devices", colon),
            ("HostConfig.LogConfig", units),
        ] {
            let spec = BundleSpec::new().engine_option(path, json).check(&Naming::default());
            assert_eq!(check(&spec.unwrap()).unwrap().unwrap().path, path);
        }
    }

    #[test]
    fn every_field_of_dockers_is_decided_for_podman() {
        let rows = include_str!("../../../tests/vectors/create-fields.txt").lines();
        let rows = rows.filter(|row| !row.starts_with('#'));
        for row in rows.filter(|row| row.contains(" allowed")) {
            let path = row.split(' ').next().unwrap().to_owned();
            let json = match path.as_str() {
                "HostConfig.Devices" | "HostConfig.Ulimits" => "[]",
                "StopSignal" => "\"INT\"",
                _ => "\"x\"",
            };
            let is_placed = placed(&Field { path, json: json.to_owned() }).is_some();
            assert_eq!(is_placed, row.ends_with(" allowed"), "{row}");
        }
    }

    #[test]
    fn a_security_option_is_podmans_or_refused() {
        for (option, expected) in [
            ("no-new-privileges", Some(("no_new_privileges", json!(true)))),
            ("no-new-privileges=false", Some(("no_new_privileges", json!(false)))),
            ("seccomp=builtin", Some(("seccomp_profile_path", json!("")))),
            ("seccomp=/p", Some(("seccomp_profile_path", json!("/p")))),
            ("mask=/a:/b", Some(("mask", json!(["/a", "/b"])))),
            ("unmask=/a:/b", Some(("unmask", json!(["/a", "/b"])))),
            ("proc-opts=a,b", Some(("procfs_opts", json!(["a", "b"])))),
            ("systempaths=other", None),
            ("credentialspec=x", None),
        ] {
            assert_eq!(security(option).ok(), expected, "{option}");
        }
    }
}
