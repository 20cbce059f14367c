//! The identity of an engine: what answers, not how it was configured.

use std::fmt;

use serde_json::Value;

use crate::digest::digest;

/// The two kinds of engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineKind {
    Docker,
    Podman,
}

/// The answer of an engine that is asked what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EngineInfo {
    pub(crate) kind: EngineKind,
    /// The kind of the program that answered, under whatever name it was called.
    pub(super) program: EngineKind,
    /// As the engine says it: `20.10.24+dfsg1`.
    pub(crate) version: String,
    pub(crate) identity: Identity,
    pub(crate) rootless: bool,
    /// True if the program itself says that its engine is another process's.
    pub(super) remote: bool,
    pub(super) system: String,
    /// The release of its kernel, where it says so.
    pub(super) kernel: Option<String>,
    pub(crate) swarm: Swarm,
}

/// The role of an engine in a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swarm {
    /// It is in none.
    None,
    /// It is no manager, or not yet.
    Worker,
    Manager,
    /// It is a manager that is locked, or too few of the others are there. It lists those networks alone that it has joined.
    WithoutLeader,
}

impl Swarm {
    fn read(info: &Value) -> Self {
        let swarm = &info["Swarm"];
        let error = swarm["Error"].as_str().unwrap_or_default();
        match swarm["LocalNodeState"].as_str() {
            None | Some("" | "inactive") => Self::None,
            // Only managers are locked.
            Some("locked") => Self::WithoutLeader,
            Some(_) if swarm["ControlAvailable"] != true => Self::Worker,
            Some("active") if error.is_empty() => Self::Manager,
            Some(_) => Self::WithoutLeader,
        }
    }
}

/// The facts that tell engines apart.
///
/// Docker has an id, which cloned machines share, and which two engines on one host share before Docker 23;
/// host and data directory tell these apart. Podman has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) host: String,
    /// The data directory, or podman's graph root.
    pub(crate) root: String,
}

impl Identity {
    /// 128 bits of a hash, in hexadecimal.
    pub(crate) fn digest(&self) -> String {
        let Self { id, host, root } = self;
        digest(format!("{id}\0{host}\0{root}"))
    }
}

impl EngineInfo {
    /// Reads the JSON of `info`: docker's, or podman's under whatever name it was called.
    pub(crate) fn read(info: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let Some(host) = info["host"].as_object() {
            return Some(Self {
                kind: EngineKind::Podman,
                program: EngineKind::Podman,
                version: info["version"]["Version"].as_str()?.to_owned(),
                identity: Identity {
                    id: String::new(),
                    host: text(&info["host"]["hostname"]),
                    root: text(&info["store"]["graphRoot"]),
                },
                rootless: host.get("security")?["rootless"] == true,
                remote: host.get("serviceIsRemote").is_some_and(|remote| *remote == true),
                system: text(&info["host"]["os"]),
                kernel: info["host"]["kernel"].as_str().map(str::to_owned),
                swarm: Swarm::None,
            });
        }
        let options = info["SecurityOptions"].as_array().into_iter().flatten();
        // Docker's program on podman's service, whose id is another one in each answer.
        let is_podman = info["ProductLicense"] == "Apache-2.0";
        Some(Self {
            kind: if is_podman { EngineKind::Podman } else { EngineKind::Docker },
            program: EngineKind::Docker,
            // Without an engine the program still tells of itself.
            version: info["ServerVersion"].as_str().filter(|it| !it.is_empty())?.to_owned(),
            identity: Identity {
                id: if is_podman { String::new() } else { text(&info["ID"]) },
                host: text(&info["Name"]),
                root: text(&info["DockerRootDir"]),
            },
            // Podman 4 says it in a field of its own.
            rootless: info["Rootless"] == true
                || options.filter_map(Value::as_str).any(|it| it.starts_with("name=rootless")),
            remote: false,
            system: text(&info["OperatingSystem"]),
            kernel: info["KernelVersion"].as_str().map(str::to_owned),
            swarm: Swarm::read(info),
        })
    }

    /// Returns true if the engine removes a network that is in use.
    ///
    /// Podman 4.3 compares what it is given with the names of the networks that containers have: by name it
    /// refuses, by id it removes, and leaves the bridge.
    pub(super) fn removes_networks_in_use(&self) -> bool {
        self.kind == EngineKind::Podman
    }

    #[cfg(test)]
    pub(crate) fn for_test(kind: EngineKind, identity: Identity) -> Self {
        let (version, system) = ("20.10.24".into(), String::new());
        let (program, rootless, remote, kernel) = (kind, false, false, None);
        let swarm = Swarm::None;
        Self { kind, program, version, identity, rootless, remote, system, kernel, swarm }
    }

    /// Major and minor version; 0 for a part that cannot be read.
    pub(crate) fn version(&self) -> (u32, u32) {
        let mut numbers = self.version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
        (next(), next())
    }
}

/// Prints `Docker 20.10.24+dfsg1` or `Podman 4.3.1`.
impl fmt::Display for EngineInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.version)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn docker(id: &str, name: &str, root: &str) -> EngineInfo {
        let info =
            json!({"ServerVersion": "28.5.2", "ID": id, "Name": name, "DockerRootDir": root});
        EngineInfo::read(&info).unwrap()
    }

    #[test]
    fn engines_are_told_apart_by_id_host_and_root() {
        let one = docker("A:B", "host", "/var/lib/docker").identity;
        assert_eq!(one, docker("A:B", "host", "/var/lib/docker").identity);
        for other in [
            docker("A:C", "host", "/var/lib/docker"),
            docker("A:B", "clone", "/var/lib/docker"),
            docker("A:B", "host", "/srv/docker"),
        ] {
            assert_ne!(one.digest(), other.identity.digest());
        }
        assert_eq!(one.digest().len(), 32);
    }

    #[test]
    fn podman_is_one_engine_for_both_programs() {
        let own = json!({
            "host": {"hostname": "h", "security": {"rootless": false}},
            "store": {"graphRoot": "/g"}, "version": {"Version": "4.3.1"}
        });
        let by_docker = json!({
            "ServerVersion": "4.3.1", "ID": "random", "Name": "h", "DockerRootDir": "/g",
            "ProductLicense": "Apache-2.0"
        });
        let [own, by_docker] = [own, by_docker].map(|info| EngineInfo::read(&info).unwrap());
        assert_eq!((own.kind, by_docker.kind), (EngineKind::Podman, EngineKind::Podman));
        assert!(!by_docker.rootless);
        let rootless = json!({"ServerVersion": "4.3.1", "Rootless": true});
        assert!(EngineInfo::read(&rootless).unwrap().rootless);
        assert_eq!(own.identity, by_docker.identity);
    }

    #[test]
    fn an_engine_tells_its_role_in_a_swarm() {
        for (swarm, is) in [
            (json!(null), Swarm::None),
            (json!({"LocalNodeState": "inactive", "ControlAvailable": false}), Swarm::None),
            (json!({"LocalNodeState": "pending", "ControlAvailable": false}), Swarm::Worker),
            (json!({"LocalNodeState": "error", "ControlAvailable": false}), Swarm::Worker),
            (json!({"LocalNodeState": "active", "ControlAvailable": false}), Swarm::Worker),
            (json!({"LocalNodeState": "locked", "ControlAvailable": false}), Swarm::WithoutLeader),
            (
                json!({"LocalNodeState": "pending", "ControlAvailable": true, "Error": ""}),
                Swarm::WithoutLeader,
            ),
            (
                json!({"LocalNodeState": "active", "ControlAvailable": true, "Error": ""}),
                Swarm::Manager,
            ),
            (
                json!({"LocalNodeState": "active", "ControlAvailable": true, "Error": "no leader"}),
                Swarm::WithoutLeader,
            ),
        ] {
            let info = json!({"ServerVersion": "28.5.2", "Swarm": swarm});
            assert_eq!(EngineInfo::read(&info).unwrap().swarm, is, "{info}");
        }
    }

    #[test]
    fn no_engine_is_no_answer() {
        assert_eq!(EngineInfo::read(&json!({"ClientInfo": {}, "ServerErrors": ["no"]})), None);
        assert_eq!(EngineInfo::read(&json!([])), None);
    }
}
