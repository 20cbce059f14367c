//! How the container runs, beyond what it is made of.

use std::net::IpAddr;
use std::time::Duration;

use crate::spec::{BundleSpec, Mount, Source, SpecError};

/// What users of such a container expect to set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Options {
    entrypoint: Option<String>,
    command: Vec<String>,
    user: Option<String>,
    labels: Vec<(String, String)>,
    tmpfs: Vec<Mount>,
    publish: Vec<Publish>,
    hosts: Vec<(String, IpAddr)>,
    memory: Option<u64>,
    cpus: Option<f64>,
    pids: Option<u32>,
    add_capabilities: Vec<String>,
    drop_capabilities: Vec<String>,
    security: Vec<String>,
    no_new_privileges: bool,
    read_only: bool,
    init: bool,
    restart: Restart,
    pull: Pull,
    unmodelled: Vec<String>,
    grace: Duration,
}

/// A port of the container on the engine's host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    container: u16,
    host: Option<u16>,
    address: Option<IpAddr>,
    udp: bool,
}

impl Publish {
    /// A TCP port of the container, on a port of the host that the engine chooses, on all addresses.
    #[must_use]
    pub fn tcp(container: u16) -> Self {
        Self { container, host: None, address: None, udp: false }
    }

    /// A UDP port of the container, on a port of the host that the engine chooses, on all addresses.
    #[must_use]
    pub fn udp(container: u16) -> Self {
        Self { udp: true, ..Self::tcp(container) }
    }

    /// Chooses the port of the host.
    #[must_use]
    pub fn on_port(self, host: u16) -> Self {
        Self { host: Some(host), ..self }
    }

    /// Chooses the address of the host.
    #[must_use]
    pub fn on_address(self, address: impl Into<IpAddr>) -> Self {
        Self { address: Some(address.into()), ..self }
    }

    fn argument(&self) -> String {
        let host = self.host.map(|port| port.to_string()).unwrap_or_default();
        let before = match self.address {
            Some(IpAddr::V6(address)) => format!("[{address}]:{host}:"),
            Some(address) => format!("{address}:{host}:"),
            None if host.is_empty() => String::new(),
            None => format!("{host}:"),
        };
        format!("{before}{}/{}", self.container, if self.udp { "udp" } else { "tcp" })
    }
}

/// What the engine does when the container ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Restart {
    /// Leaves it.
    #[default]
    No,
    /// Starts it again if it failed, at most so many times if that is bounded.
    OnFailure(Option<u32>),
    /// Starts it again.
    Always,
    /// Starts it again unless somebody stopped it.
    UnlessStopped,
}

/// When the image is pulled: a step of its own, before the container is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pull {
    /// Never: an image that is not there is an error.
    Never,
    /// If the image is not there.
    #[default]
    IfMissing,
    /// Before every start.
    Always,
}

impl BundleSpec {
    /// Replaces the image's entry point by one program.
    pub fn entrypoint(mut self, program: impl Into<String>) -> Self {
        self.options.entrypoint = Some(program.into());
        self
    }

    /// Replaces the image's command.
    pub fn command<I>(mut self, words: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.options.command = words.into_iter().map(Into::into).collect();
        self
    }

    /// Replaces the image's user: a name or an id, and after a `:` a group.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.options.user = Some(user.into());
        self
    }

    /// Adds a label to the container; `sidecar-bundle.` is the library's own.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.labels.push((key.into(), value.into()));
        self
    }

    /// Mounts a named volume, which the engine makes if there is none, and which outlives the bundle.
    pub fn volume(
        mut self,
        name: impl Into<String>,
        container: impl Into<std::path::PathBuf>,
    ) -> Self {
        let (kind, container) = (Source::Volume(name.into()), container.into());
        self.parts.mounts.push(Mount { kind, container, read_only: false });
        self
    }

    /// Mounts an empty file system in memory, of at most `size` bytes unless that is `None`.
    pub fn tmpfs(
        mut self,
        container: impl Into<std::path::PathBuf>,
        size: impl Into<Option<u64>>,
    ) -> Self {
        let (kind, container) = (Source::Tmpfs(size.into()), container.into());
        self.options.tmpfs.push(Mount { kind, container, read_only: false });
        self
    }

    /// Takes back what was mounted there by [`tmpfs`](Self::tmpfs) or [`hardened`](Self::hardened).
    pub fn without_tmpfs(mut self, container: impl Into<std::path::PathBuf>) -> Self {
        let container = container.into();
        self.options.tmpfs.retain(|mount| mount.container != container);
        self
    }

    /// Publishes a port on the engine's host.
    pub fn publish(mut self, port: Publish) -> Self {
        self.options.publish.push(port);
        self
    }

    /// Adds a line to the container's `/etc/hosts`.
    pub fn extra_host(mut self, name: impl Into<String>, address: impl Into<IpAddr>) -> Self {
        self.options.hosts.push((name.into(), address.into()));
        self
    }

    /// Bounds the memory, in bytes; swap is not added to it.
    pub fn memory(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.options.memory = bytes.into();
        self
    }

    /// Bounds the processor time, in cores.
    pub fn cpus(mut self, cores: impl Into<Option<f64>>) -> Self {
        self.options.cpus = cores.into();
        self
    }

    /// Bounds the number of processes and threads.
    pub fn pids(mut self, most: impl Into<Option<u32>>) -> Self {
        self.options.pids = most.into();
        self
    }

    /// Replaces the list of capabilities that are added, such as `NET_BIND_SERVICE`.
    pub fn add_capabilities<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.options.add_capabilities = names.into_iter().map(Into::into).collect();
        self
    }

    /// Replaces the list of capabilities that are dropped, such as `NET_RAW` or `ALL`.
    pub fn drop_capabilities<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.options.drop_capabilities = names.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a security option, such as `seccomp=/etc/profile.json`.
    pub fn security_option(mut self, option: impl Into<String>) -> Self {
        self.options.security.push(option.into());
        self
    }

    /// Whether processes are kept from gaining privileges, by setuid programs for one.
    pub fn no_new_privileges(mut self, yes: bool) -> Self {
        self.options.no_new_privileges = yes;
        self
    }

    /// Whether the root file system can only be read.
    pub fn read_only_root(mut self, yes: bool) -> Self {
        self.options.read_only = yes;
        self
    }

    /// Whether a small init is process 1, forwards signals and reaps zombies.
    pub fn init(mut self, yes: bool) -> Self {
        self.options.init = yes;
        self
    }

    /// Sets what the engine does when the container ends by itself.
    pub fn restart(mut self, policy: Restart) -> Self {
        self.options.restart = policy;
        self
    }

    /// Sets when the image is pulled.
    pub fn pull(mut self, policy: Pull) -> Self {
        self.options.pull = policy;
        self
    }

    /// Lets the container end by itself when it is removed: the image's stop signal first, and the end
    /// after this time; rounded up to whole seconds. Zero, the default, ends it at once.
    pub fn stop_grace(mut self, grace: Duration) -> Self {
        self.options.grace = grace;
        self
    }

    /// Adds an option of the engine's `run` that this library does not model, as one word in its long
    /// form with its value: `--dns=1.1.1.1`, `--tty=true`.
    ///
    /// What the library guarantees cannot be overridden so: name, network, address, labels, detachment,
    /// variables, mounts, and that the container is there after its end.
    pub fn engine_option(mut self, option: impl Into<String>) -> Self {
        self.options.unmodelled.push(option.into());
        self
    }

    /// Lets the container do less harm.
    ///
    /// | part | taken back by |
    /// |---|---|
    /// | no capabilities | [`drop_capabilities`](Self::drop_capabilities)`([""; 0])`, [`add_capabilities`](Self::add_capabilities) |
    /// | no new privileges | [`no_new_privileges`](Self::no_new_privileges)`(false)` |
    /// | root file system read-only | [`read_only_root`](Self::read_only_root)`(false)` |
    /// | 64 MiB in memory at `/tmp` | [`without_tmpfs`](Self::without_tmpfs)`("/tmp")` |
    /// | 256 processes and threads | [`pids`](Self::pids)`(None)` |
    /// | 512 MiB of memory | [`memory`](Self::memory)`(None)` |
    ///
    /// A call after this one replaces its part, too: `hardened().pids(1024)`.
    pub fn hardened(self) -> Self {
        self.drop_capabilities(["ALL"])
            .no_new_privileges(true)
            .read_only_root(true)
            .without_tmpfs("/tmp")
            .tmpfs("/tmp", 64 << 20)
            .pids(256)
            .memory(512 << 20)
    }
}

/// Options as the engine's program takes them.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    /// Between `run` and the image.
    pub(crate) arguments: Vec<String>,
    /// After the image.
    pub(crate) command: Vec<String>,
    pub(crate) pull: Pull,
    pub(crate) grace: Duration,
    /// Whether the engine starts it again.
    pub(crate) restarts: bool,
}

impl Options {
    pub(super) fn tmpfs_mounts(&self) -> impl Iterator<Item = Mount> {
        self.tmpfs.iter().cloned()
    }

    pub(super) fn check(&self) -> Result<Checked, SpecError> {
        let mut arguments = Vec::new();
        let mut add = |name: &str, value: String| arguments.push(format!("--{name}={value}"));
        if let Some(program) = &self.entrypoint {
            add("entrypoint", filled("entrypoint", program)?);
        }
        if let Some(user) = &self.user {
            add("user", filled("user", user)?);
        }
        for (key, value) in &self.labels {
            if key.is_empty() || key.contains('=') || key.starts_with("sidecar-bundle.") {
                let problem =
                    "is empty, has a '=', or starts with the library's \"sidecar-bundle.\"";
                return Err(wrong(format!("label {key:?}"), problem));
            }
            add("label", no_nul("label", &format!("{key}={value}"))?);
        }
        for port in &self.publish {
            if port.container == 0 {
                return Err(wrong("publish 0".into(), "is not a port of a container"));
            }
            add("publish", port.argument());
        }
        for (name, address) in &self.hosts {
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_graphic() && c != ':') {
                return Err(wrong(format!("extra host {name:?}"), "is not a name"));
            }
            add("add-host", format!("{name}:{address}"));
        }
        if let Some(memory) = self.memory {
            add("memory", format!("{memory}b"));
            add("memory-swap", format!("{memory}b"));
        }
        if let Some(cpus) = self.cpus {
            if !(cpus.is_finite() && cpus > 0.0) {
                return Err(wrong(format!("cpus {cpus}"), "is not a number of cores"));
            }
            add("cpus", cpus.to_string());
        }
        if let Some(pids) = self.pids {
            if pids == 0 {
                return Err(wrong("pids 0".into(), "would bound nothing; None does"));
            }
            add("pids-limit", pids.to_string());
        }
        for (name, capabilities) in
            [("cap-add", &self.add_capabilities), ("cap-drop", &self.drop_capabilities)]
        {
            for capability in capabilities {
                if !capability.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                    return Err(wrong(format!("{name} {capability:?}"), "is not a capability"));
                }
                add(name, filled(name, capability)?);
            }
        }
        if self.no_new_privileges {
            add("security-opt", "no-new-privileges".into());
        }
        for option in &self.security {
            add("security-opt", filled("security option", option)?);
        }
        if self.read_only {
            add("read-only", "true".into());
        }
        if self.init {
            add("init", "true".into());
        }
        match self.restart {
            Restart::No => {}
            Restart::OnFailure(None) => add("restart", "on-failure".into()),
            Restart::OnFailure(Some(times)) => add("restart", format!("on-failure:{times}")),
            Restart::Always => add("restart", "always".into()),
            Restart::UnlessStopped => add("restart", "unless-stopped".into()),
        }
        for option in &self.unmodelled {
            arguments.push(engine_option(option)?);
        }
        for word in &self.command {
            no_nul("command", word)?;
        }
        Ok(Checked {
            arguments,
            command: self.command.clone(),
            pull: self.pull,
            grace: self.grace,
            restarts: self.restart != Restart::No,
        })
    }
}

fn wrong(option: String, problem: &'static str) -> SpecError {
    SpecError::Option { option, problem }
}

fn no_nul(name: &str, value: &str) -> Result<String, SpecError> {
    if value.contains('\0') {
        return Err(wrong(format!("{name} {value:?}"), "holds a NUL byte"));
    }
    Ok(value.to_owned())
}

fn filled(name: &str, value: &str) -> Result<String, SpecError> {
    if value.is_empty() {
        return Err(wrong(format!("{name} \"\""), "is empty"));
    }
    no_nul(name, value)
}

/// One word, in its long form, and nothing that a guarantee rests on. Docker's and podman's names.
fn engine_option(option: &str) -> Result<String, SpecError> {
    const GUARANTEED: [&str; 28] = [
        "annotation",
        "attach",
        "cidfile",
        "conmon-pidfile",
        "detach",
        "detach-keys",
        "entrypoint",
        "env",
        "env-file",
        "env-host",
        "env-merge",
        "help",
        "ip",
        "ip6",
        "label",
        "label-file",
        "link-local-ip",
        "mount",
        "name",
        "net",
        "network",
        "pod",
        "pod-id-file",
        "pull",
        "replace",
        "rm",
        "tmpfs",
        "volume",
    ];
    let of = |problem| Err(wrong(format!("{option:?}"), problem));
    let Some(word) = option.strip_prefix("--") else {
        return of("is not an option in its long form, such as --dns=1.1.1.1");
    };
    // Without a value, one that wants it would take the next word of the command.
    let Some((name, _)) = word.split_once('=') else {
        return of("has no value; write --init=true, too");
    };
    if name.is_empty()
        || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    {
        return of("is not an option in its long form, such as --dns=1.1.1.1");
    }
    if name.starts_with('-') {
        return of("is not an option in its long form, such as --dns=1.1.1.1");
    }
    if GUARANTEED.contains(&name) {
        return of("would override what the library guarantees, or has a method of its own");
    }
    no_nul("engine option", option)
}
