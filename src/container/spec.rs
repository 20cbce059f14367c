//! The specification of a bundle's container, as callers build it.

use std::net::IpAddr;
use std::path::{self, PathBuf};
use std::time::Duration;

use super::daemon::Daemon;
use super::engine_options::Field;
use super::file::ContainerFile;
use super::options::{HostAddress, Options, PortMapping, PullPolicy, RestartPolicy};
use super::parts::{Mount, Parts, Relabel, Source, Tmpfs};

/// The specification of a bundle's container: image, daemons, variables, mounts and options.
///
/// The step that takes the specification checks it before it asks the engine for anything. For a list, a
/// method in the singular adds one element, one in the plural replaces all, and `clear_...` empties it.
/// The parts of the bundle and of its [`Daemon`]s are merged; the order does not matter. The error of a
/// conflict names both sides.
///
/// There are three kinds of variables. A [`variable`](Self::variable) is a literal; with an engine that is driven
/// by commands, it stands on a command line, where every user of the host can read it. An
/// [`inherit`](Self::inherit)ed one takes its value from this process's environment, a [`secret`](Self::secret)
/// from the caller. The values of these two travel in the body of a request, or in the environment of the engine's
/// program, and show neither in `Debug` nor in errors or traces.
///
/// ```
/// use sidecar_bundle::BundleSpec;
///
/// let spec = BundleSpec::new()
///     .daemons(["egress"])
///     .secret("API_TOKEN", "hunter2")
///     .mount_read_only("/etc/rules", "/rules");
/// assert!(!format!("{spec:?}").contains("hunter2"));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "nothing has these options until `launch` or `start` takes them"]
pub struct BundleSpec {
    pub(super) image: Option<String>,
    pub(super) require_digest: bool,
    /// None for the default list.
    pub(super) daemons: Option<Vec<Daemon>>,
    pub(super) parts: Parts,
    pub(super) options: Options,
}

impl BundleSpec {
    /// The default image of the plan's [`Naming`](crate::Naming), with the daemons `egress` and `pipelock`, and without
    /// conditions: [`Daemon::ready`] adds one.
    ///
    /// That image is on no registry: build it, or name another with [`image`](Self::image). An image that
    /// knows no daemons ignores the variable that lists them.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the default image.
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.image = Some(image.into());
        self
    }

    /// Refuses an image whose name may be given to another image later, with [`Error::Invalid`](crate::Error::Invalid)
    /// before anything is touched. The name must have a digest, such as `nginx@sha256:` and 64 hexadecimal digits, with
    /// or without a tag, or be the [id](crate::Status::image_id) of an image.
    ///
    /// ```
    /// use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
    ///
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let spec = BundleSpec::new().image("nginx:1").require_digest();
    /// let refused = plan.launch(&Engine::docker(), spec).unwrap_err();
    /// assert!(refused.to_string().starts_with("image nginx:1 has no digest"));
    /// # Ok::<(), sidecar_bundle::InvalidInput>(())
    /// ```
    pub fn require_digest(mut self) -> Self {
        self.require_digest = true;
        self
    }

    /// Replaces the list of daemons.
    ///
    /// A name consists of letters, digits, `-`, `_` and `.`. The container gets the names in alphabetical order, as a
    /// CSV in the variable that [`Naming`](crate::Naming) names; see [`Daemon`].
    pub fn daemons<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.daemons = Some(names.into_iter().map(Daemon::new).collect());
        self
    }

    /// Empties the list of daemons.
    pub fn clear_daemons(mut self) -> Self {
        self.daemons = Some(Vec::new());
        self
    }

    /// Adds a daemon; the first one replaces the default list.
    pub fn daemon(mut self, daemon: Daemon) -> Self {
        self.daemons.get_or_insert_default().push(daemon);
        self
    }

    /// Adds a variable with a value that any user of the host may read.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parts.variable(name.into(), value.into());
        self
    }

    /// Adds a variable whose value is taken from this process's environment when the bundle starts.
    ///
    /// If it is not set then, or is not UTF-8, the step fails with [`Error::Invalid`](crate::Error::Invalid)
    /// before the engine is asked for anything.
    pub fn inherit(mut self, name: impl Into<String>) -> Self {
        self.parts.inherit(name.into());
        self
    }

    /// Adds a variable with a value that this library does not show, and that is on no command line.
    ///
    /// The engine does show it: `docker inspect` has the container's environment, for anybody who may use the
    /// engine. A value of one or two bytes is no secret: where an engine's message has it by chance, it stays.
    pub fn secret(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parts.secret(name.into(), value.into());
        self
    }

    /// Mounts a path of the engine's host into the container, writable.
    ///
    /// Both paths are absolute. If `host` does not exist there, the start fails with
    /// [`Error::Start`](crate::Error::Start), whose cause is
    /// [`Cause::MountSourceMissing`](crate::Cause::MountSourceMissing).
    ///
    /// An engine whose address is that of another host sees no path of this one: the mount is
    /// [`Error::Unsupported`](crate::Error::Unsupported) then, before anything is made. A [`file`](Self::file) travels with
    /// the request, and a [`volume`](Self::volume) is there. A virtual machine shares some paths of this host, and what
    /// is behind a forwarded socket none; neither is refused.
    ///
    /// A single file is mounted as it is at the start. If another file takes its name later, as with editors and `mv`,
    /// the container keeps the old one. The container cannot replace the file, either. Mount its directory for that.
    pub fn mount(mut self, host: impl Into<PathBuf>, container: impl Into<PathBuf>) -> Self {
        self.parts.mount(host.into(), container.into(), false);
        self
    }

    /// Mounts a path of the engine's host into the container, read-only; the rest is as for [`mount`](Self::mount).
    pub fn mount_read_only(
        mut self,
        host: impl Into<PathBuf>,
        container: impl Into<PathBuf>,
    ) -> Self {
        self.parts.mount(host.into(), container.into(), true);
        self
    }

    /// Has the engine label the source of the mount at `container` for `SELinux`, as `:z` and `:Z` do. The label stays when
    /// the bundle is gone.
    ///
    /// Only podman supports this. For Docker, which would create a missing source, it is
    /// [`Error::Unsupported`](crate::Error::Unsupported): label the source with `chcon`.
    pub fn relabel(mut self, container: impl Into<PathBuf>, relabel: Relabel) -> Self {
        self.options.relabel.push((container.into(), relabel));
        self
    }

    /// Adds a file that is copied into the container before it starts.
    ///
    /// It may not be under a mount, which would hide it. With a [read-only root](Self::read_only_root), Docker copies
    /// nothing into the root: the file's directory is an anonymous volume then, which begins with the image's files and
    /// goes with the container. It is writable for processes with the permission, and cannot be the root itself.
    /// [`Error::Unsupported`](crate::Error::Unsupported) for an engine that is driven by commands.
    ///
    /// ```
    /// use sidecar_bundle::{BundleSpec, ContainerFile, Engine, NetworkPlanned, Slug};
    ///
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let spec = BundleSpec::new()
    ///     .mount_read_only("/srv/proxy", "/etc/proxy")
    ///     .file(ContainerFile::new("/etc/proxy/listen.yaml", "port: 8080\n"));
    /// let refused = plan.launch(&Engine::docker(), spec).unwrap_err();
    /// assert!(refused.to_string().ends_with("is under the mount at /etc/proxy, which hides it"));
    /// # Ok::<(), sidecar_bundle::InvalidInput>(())
    /// ```
    pub fn file(mut self, file: ContainerFile) -> Self {
        self.parts.files.push(file);
        self
    }

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
    pub fn volume(mut self, name: impl Into<String>, container: impl Into<PathBuf>) -> Self {
        let (kind, container) = (Source::Volume(name.into()), container.into());
        self.parts.mounts.push(Mount { kind, container, read_only: false });
        self
    }

    /// Mounts an empty file system in memory, of at most `size` bytes unless that is `None`. No program in it can be run.
    /// It replaces an earlier one at the same place.
    pub fn tmpfs(self, container: impl Into<PathBuf>, size: impl Into<Option<u64>>) -> Self {
        self.in_memory(container.into(), Tmpfs { size: size.into(), executable: false })
    }

    /// The same as [`tmpfs`](Self::tmpfs), and programs in it can be run: `hardened().executable_tmpfs("/tmp", 64 << 20)`.
    pub fn executable_tmpfs(
        self,
        container: impl Into<PathBuf>,
        size: impl Into<Option<u64>>,
    ) -> Self {
        self.in_memory(container.into(), Tmpfs { size: size.into(), executable: true })
    }

    fn in_memory(mut self, container: PathBuf, tmpfs: Tmpfs) -> Self {
        self.options.tmpfs.retain(|mount| mount.container != container);
        self.options.tmpfs.push(Mount { kind: Source::Tmpfs(tmpfs), container, read_only: false });
        self
    }

    /// Empties the list of file systems in memory.
    pub fn clear_tmpfs(mut self) -> Self {
        self.options.tmpfs.clear();
        self
    }

    /// Publishes a port on the engine's host, at 127.0.0.1 unless the [`PortMapping`] has another address.
    ///
    /// ```no_run
    /// use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, PortMapping, Slug};
    ///
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let spec = BundleSpec::new().image("nginx:1").publish(PortMapping::tcp(80).host_port(8080));
    /// let bundle = plan.launch(&Engine::docker(), spec)?;
    /// println!("open http://127.0.0.1:8080/");
    /// # bundle.close()?;
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    pub fn publish(mut self, port: PortMapping) -> Self {
        self.options.publish.push(port);
        self
    }

    /// Also connects the container to a network that exists, by its name, before it starts.
    ///
    /// The bundle's own network must be [internal](crate::NetworkOptions::internal): the default route then leads
    /// through the second one on every engine, and ports are published through it. The pinned address stays on the
    /// bundle's own. A step with another plan is [`Error::Invalid`](crate::Error::Invalid), before anything is touched.
    /// If there is no such network, the start fails with [`Cause::NetworkMissing`](crate::Cause::NetworkMissing). The
    /// second network itself is left alone. There is only one second network: a later call replaces it.
    /// [`Error::Unsupported`](crate::Error::Unsupported) for an engine that is driven by commands.
    ///
    /// ```no_run
    /// use sidecar_bundle::{BundleSpec, Engine, NetworkOptions, NetworkPlanned, Slug};
    ///
    /// // After `docker network create egress`.
    /// let internal = NetworkOptions::new().internal(true);
    /// let plan = NetworkPlanned::new(Slug::new("demo")?).with_options(internal);
    /// let proxy = BundleSpec::new().image("acme/proxy:7").also_on("egress");
    /// let bundle = plan.launch(&Engine::docker(), proxy)?;
    /// # bundle.close()?;
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    pub fn also_on(mut self, network: impl Into<String>) -> Self {
        self.options.also_on = Some(network.into());
        self
    }

    /// Adds a name by which containers on its networks find this one.
    pub fn network_alias(mut self, name: impl Into<String>) -> Self {
        self.options.aliases.push(name.into());
        self
    }

    /// Adds a line to the container's `/etc/hosts`.
    pub fn extra_host(mut self, name: impl Into<String>, address: impl Into<IpAddr>) -> Self {
        self.options.hosts.push((name.into(), HostAddress::Given(address.into())));
        self
    }

    /// Adds a line to the container's `/etc/hosts` by which it finds the engine's host, such as
    /// `host_gateway("host.docker.internal")`. Docker chooses the address: that of the host on its default bridge, if its
    /// configuration has no other. A container of an internal network may be unable to reach it. With podman it is the
    /// network's gateway. [`Error::Unsupported`](crate::Error::Unsupported) where the engine is rootless, and for
    /// podman by docker's commands.
    pub fn host_gateway(mut self, name: impl Into<String>) -> Self {
        self.options.hosts.push((name.into(), HostAddress::Gateway));
        self
    }

    /// Adds a DNS server, which the engine asks for names that it does not know itself. The first one replaces the
    /// servers of the engine's host. With podman before 4.4, the container then finds no other container by its name.
    pub fn dns_server(mut self, address: impl Into<IpAddr>) -> Self {
        self.options.dns.push(address.into());
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

    /// Adds a capability, such as `NET_BIND_SERVICE`.
    pub fn add_capability(mut self, name: impl Into<String>) -> Self {
        self.options.add_capabilities.push(name.into());
        self
    }

    /// Empties the list of added capabilities.
    pub fn clear_added_capabilities(mut self) -> Self {
        self.options.add_capabilities.clear();
        self
    }

    /// Drops a capability, such as `NET_RAW` or `ALL`.
    pub fn drop_capability(mut self, name: impl Into<String>) -> Self {
        self.options.drop_capabilities.push(name.into());
        self
    }

    /// Empties the list of dropped capabilities.
    pub fn clear_dropped_capabilities(mut self) -> Self {
        self.options.drop_capabilities.clear();
        self
    }

    /// Adds a security option, such as `seccomp=/etc/profile.json`.
    ///
    /// The profile of `seccomp` is a file of this host, as for the engine's program. Over its API, Docker is sent the
    /// contents; if the file cannot be read, is longer than 1 MiB or is not JSON, the step fails with
    /// [`Error::Invalid`](crate::Error::Invalid) before anything is touched. Podman reads the file itself, on its own
    /// host. An option that podman does not know is [`Error::Invalid`](crate::Error::Invalid), too.
    pub fn security_option(mut self, option: impl Into<String>) -> Self {
        self.options.security.push(option.into());
        self
    }

    /// Sets whether processes cannot gain privileges, such as by setuid programs.
    pub fn no_new_privileges(mut self, yes: bool) -> Self {
        self.options.no_new_privileges = yes;
        self
    }

    /// Sets whether the root file system is read-only.
    pub fn read_only_root(mut self, yes: bool) -> Self {
        self.options.read_only = yes;
        self
    }

    /// Sets whether process 1 is a small init, which forwards signals and reaps zombies.
    pub fn init(mut self, yes: bool) -> Self {
        self.options.init = yes;
        self
    }

    /// Sets the action of the engine when the container ends by itself.
    pub fn restart(mut self, policy: RestartPolicy) -> Self {
        self.options.restart = policy;
        self
    }

    /// Sets the time at which the image is pulled.
    pub fn pull(mut self, policy: PullPolicy) -> Self {
        self.options.pull = policy;
        self
    }

    /// Sets the time that the container has to end by itself before it is removed. It gets the image's stop
    /// signal first. The time is rounded up to whole seconds; with zero, the default, it is killed at once. The reaper,
    /// which removes what a process leaves, gives it none.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sidecar_bundle::BundleSpec;
    ///
    /// // A database writes its last checkpoint.
    /// let spec = BundleSpec::new().image("postgres:17").stop_grace(Duration::from_secs(10));
    /// assert_eq!(spec.stop_grace(Duration::ZERO), BundleSpec::new().image("postgres:17"));
    /// ```
    pub fn stop_grace(mut self, grace: Duration) -> Self {
        self.options.grace = grace;
        self
    }

    /// Saves the log in a file of this host when the container is removed, by a close or a drop: its last 1 MiB, without
    /// secret values, and readable by this user alone. The file is replaced; something else in its place, such as a
    /// symbolic link, is [`Error::Invalid`](crate::Error::Invalid), and so is a directory that does not exist. A container
    /// with a [grace period](Self::stop_grace) has ended by then. A start that fails saves no log;
    /// [`Error::Died`](crate::Error::Died) has its last lines.
    ///
    /// A failure is logged, and hinders no removal. Nothing is saved for a bundle that is kept, and nothing if the
    /// process is killed, or ends before a close [in the background](crate::Engine::with_background_drop).
    /// [`Error::Unsupported`](crate::Error::Unsupported) for an engine that is driven by commands.
    ///
    /// ```no_run
    /// use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
    ///
    /// # fn test_it(_: &sidecar_bundle::BundleRunning) {}
    /// let log = std::env::temp_dir().join("demo.log");
    /// let spec = BundleSpec::new().image("acme/proxy:7").save_log(&log);
    /// let bundle = NetworkPlanned::new(Slug::new("demo")?).launch(&Engine::docker(), spec)?;
    /// test_it(&bundle); // the log is saved also if this panics
    /// bundle.close()?;
    /// assert!(log.is_file());
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    ///
    /// A relative path begins at the working directory of this call.
    pub fn save_log(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.options.save_log = Some(path::absolute(&path).unwrap_or(path));
        self
    }

    /// Adds a field of the body of the API's
    /// [`POST /containers/create`](https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerCreate)
    /// that has no method here, with its value in JSON: `engine_option("HostConfig.ShmSize", "1048576")`.
    ///
    /// Only these are allowed, since they change nothing that the library guarantees: `Domainname`,
    /// `Healthcheck`, `Hostname`, `Shell`, `StopSignal`, `StopTimeout` and `WorkingDir`; and of `HostConfig`:
    /// `BlkioDeviceReadBps`, `BlkioDeviceReadIOps`, `BlkioDeviceWriteBps`, `BlkioDeviceWriteIOps`,
    /// `BlkioWeight`, `BlkioWeightDevice`, `CgroupParent`, `CgroupnsMode`, `CpuPeriod`, `CpuQuota`, `CpuRealtimePeriod`, `CpuRealtimeRuntime`, `CpuShares`, `CpusetCpus`, `CpusetMems`,
    /// `DeviceCgroupRules`, `DeviceRequests`, `Devices`, `DnsOptions`, `DnsSearch`, `GroupAdd`,
    /// `LogConfig`, `MemoryReservation`, `MemorySwappiness`, `OomKillDisable`, `OomScoreAdj`, `Runtime`,
    /// `ShmSize`, `StorageOpt`, `Sysctls` and `Ulimits`. Names are spelled as here. A value has the form that the
    /// API's definition gives it, with its names and spelling, without null, and with no numbers but integers. Durations
    /// are in nanoseconds, sizes in bytes.
    ///
    /// Podman does not have all of them: `Domainname`, `Shell`, and of `HostConfig` the rates of block devices
    /// (`BlkioDevice...`, `BlkioWeightDevice`), `DeviceCgroupRules` and `DeviceRequests` are
    /// [`Error::Unsupported`](crate::Error::Unsupported) there, and so is a device with a colon in its path.
    ///
    /// A value is no place for a secret: `Debug` of the specification shows it, and so does the engine.
    ///
    /// An engine that is driven by commands has no such fields: see [`engine_flag`](Self::engine_flag).
    ///
    /// ```
    /// use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
    ///
    /// let spec = BundleSpec::new()
    ///     .engine_option("HostConfig.Ulimits", r#"[{"Name": "nofile", "Soft": 4096, "Hard": 4096}]"#)
    ///     .engine_option("HostConfig.Privileged", "true");
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let refused = plan.launch(&Engine::docker(), spec).unwrap_err();
    /// assert!(refused.to_string().starts_with(r#"engine option "HostConfig.Privileged" is refused"#));
    /// # Ok::<(), sidecar_bundle::InvalidInput>(())
    /// ```
    pub fn engine_option(mut self, field: impl Into<String>, json: impl Into<String>) -> Self {
        self.options.fields.push(Field { path: field.into(), json: json.into() });
        self
    }

    /// Adds an option of the program's `run` that has no method here, as one word in its long form with its
    /// value: `--shm-size=1g`.
    ///
    /// Only these are allowed, since they change nothing that the library guarantees: `blkio-weight`,
    /// `cgroup-parent`, `cgroupns`, `cpu-period`, `cpu-quota`, `cpu-rt-period`, `cpu-rt-runtime`, `cpu-shares`,
    /// `cpuset-cpus`, `cpuset-mems`, `device`, `device-cgroup-rule`, `dns-opt`, `dns-option`,
    /// `dns-search`, `domainname`, `gpus`, `group-add`, `health-cmd`, `health-interval`, `health-retries`,
    /// `health-start-period`, `health-timeout`, `hostname`, `log-driver`, `log-opt`, `mac-address`,
    /// `memory-reservation`, `memory-swappiness`, `no-healthcheck`, `oom-kill-disable`,
    /// `oom-score-adj`, `platform`, `runtime`, `shm-size`, `stop-signal`, `stop-timeout`, `sysctl` and `ulimit`.
    ///
    /// An engine that is asked over its API has no such options: see [`engine_option`](Self::engine_option).
    ///
    /// ```
    /// use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
    ///
    /// let spec = BundleSpec::new().engine_flag("--gpus=all").engine_flag("--shm-size");
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let refused = plan.launch(&Engine::docker_cli(), spec).unwrap_err();
    /// assert!(refused.to_string().ends_with("it has no value, such as in --shm-size=1g"));
    /// # Ok::<(), sidecar_bundle::InvalidInput>(())
    /// ```
    pub fn engine_flag(mut self, flag: impl Into<String>) -> Self {
        self.options.flags.push(flag.into());
        self
    }

    /// Limits the harm that the container can do.
    ///
    /// | limit | undone by |
    /// |---|---|
    /// | no capabilities | [`clear_dropped_capabilities`](Self::clear_dropped_capabilities), [`add_capability`](Self::add_capability) |
    /// | no new privileges | [`no_new_privileges`](Self::no_new_privileges)`(false)` |
    /// | root file system read-only, but for volumes, mounts and the directories of [files](Self::file) | [`read_only_root`](Self::read_only_root)`(false)` |
    /// | 64 MiB in memory at `/tmp` | [`clear_tmpfs`](Self::clear_tmpfs) |
    /// | 256 processes and threads | [`pids`](Self::pids)`(None)` |
    /// | 512 MiB of memory | [`memory`](Self::memory)`(None)` |
    ///
    /// A later call replaces its part: `hardened().pids(1024)`.
    ///
    /// ```
    /// use sidecar_bundle::BundleSpec;
    ///
    /// let agent = BundleSpec::new().image("acme/agent:7").hardened();
    /// assert_eq!(agent, agent.clone().pids(256).memory(512 << 20));
    /// let build = agent.clone().memory(4 << 30).executable_tmpfs("/tmp", 1 << 30);
    /// assert_eq!(build.hardened(), agent); // the last call decides
    /// ```
    pub fn hardened(self) -> Self {
        self.clear_dropped_capabilities()
            .drop_capability("ALL")
            .no_new_privileges(true)
            .read_only_root(true)
            .tmpfs("/tmp", 64 << 20)
            .pids(256)
            .memory(512 << 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_of_a_hardened_container_can_be_undone() {
        let undone = BundleSpec::new()
            .hardened()
            .clear_dropped_capabilities()
            .no_new_privileges(false)
            .read_only_root(false)
            .clear_tmpfs()
            .pids(None)
            .memory(None);
        assert_eq!(undone, BundleSpec::new());
        let limits = BundleSpec::new()
            .drop_capability("ALL")
            .no_new_privileges(true)
            .read_only_root(true)
            .tmpfs("/tmp", 67_108_864)
            .pids(256)
            .memory(536_870_912);
        assert_eq!(BundleSpec::new().hardened(), limits);
    }

    #[test]
    fn a_list_is_emptied_and_the_rest_stays() {
        let spec = || BundleSpec::new().image("acme/agent:7");
        assert_eq!(spec().add_capability("NET_RAW").clear_added_capabilities(), spec());
        assert_eq!(spec().drop_capability("NET_RAW").clear_dropped_capabilities(), spec());
        assert_eq!(spec().tmpfs("/tmp", None).clear_tmpfs(), spec());
    }
}
