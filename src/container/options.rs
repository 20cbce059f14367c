//! Options of the container, beyond its image, daemons, variables and mounts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::engine_options::{self, Field};
use super::parts::{Mount, Relabel};
use super::security;
use crate::invalid::{InvalidInput, check_bytes, filled, no_nul};

/// The options of a specification, the same before and after the check.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Options {
    pub(crate) entrypoint: Option<String>,
    pub(crate) command: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) labels: Vec<(String, String)>,
    pub(super) tmpfs: Vec<Mount>,
    pub(super) relabel: Vec<(PathBuf, Relabel)>,
    pub(crate) publish: Vec<PortMapping>,
    /// The name of a second network.
    pub(crate) also_on: Option<String>,
    pub(crate) aliases: Vec<String>,
    pub(crate) hosts: Vec<(String, HostAddress)>,
    pub(crate) dns: Vec<IpAddr>,
    pub(crate) memory: Option<u64>,
    pub(crate) cpus: Option<f64>,
    pub(crate) pids: Option<u32>,
    pub(crate) add_capabilities: Vec<String>,
    pub(crate) drop_capabilities: Vec<String>,
    pub(crate) security: Vec<String>,
    pub(crate) no_new_privileges: bool,
    pub(crate) read_only: bool,
    pub(crate) init: bool,
    pub(crate) restart: RestartPolicy,
    pub(crate) pull: PullPolicy,
    /// Fields of the API's create body, and options of the program's `run`.
    pub(crate) fields: Vec<Field>,
    pub(crate) flags: Vec<String>,
    pub(crate) grace: Duration,
    /// The file that the log is saved in, absolute.
    pub(crate) save_log: Option<PathBuf>,
}

/// The address of a name in the container's `/etc/hosts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostAddress {
    Given(IpAddr),
    /// That of the engine's host, which the engine knows.
    Gateway,
}

/// As every engine takes it.
impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(address) => address.fmt(f),
            Self::Gateway => f.write_str("host-gateway"),
        }
    }
}

/// A port of the container on the engine's host, at 127.0.0.1 unless [`host_address`](Self::host_address) sets
/// another address.
///
/// Before Docker 28, hosts on the same link as the engine's can reach a port that is published on 127.0.0.1
/// ([moby#45610](https://github.com/moby/moby/issues/45610)).
///
/// ```
/// use sidecar_bundle::{BundleSpec, NetworkPlanned, PortMapping, Slug};
///
/// let plan = NetworkPlanned::new(Slug::new("demo")?);
/// let spec = BundleSpec::new()
///     .publish(PortMapping::tcp(8080)) // a free port of 127.0.0.1
///     .publish(PortMapping::tcp(8081).host_address(plan.loopback()).host_port(8081))
///     .publish(PortMapping::udp(53).host_address([0, 0, 0, 0])); // every IPv4 address of the host
/// assert_eq!(PortMapping::tcp(80), PortMapping::tcp(80).host_address([127, 0, 0, 1]));
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMapping {
    pub(crate) container: u16,
    pub(crate) host_port: Option<u16>,
    pub(crate) host_address: IpAddr,
    pub(crate) udp: bool,
}

impl PortMapping {
    /// A TCP port of the container, on a port of 127.0.0.1 that the engine chooses.
    #[must_use]
    pub fn tcp(container: u16) -> Self {
        let host_address = Ipv4Addr::LOCALHOST.into();
        Self { container, host_port: None, host_address, udp: false }
    }

    /// A UDP port of the container, on a port of 127.0.0.1 that the engine chooses.
    #[must_use]
    pub fn udp(container: u16) -> Self {
        Self { udp: true, ..Self::tcp(container) }
    }

    /// Sets the port of the host. If it is taken, the start is [`Error::PortTaken`](crate::Error::PortTaken).
    ///
    /// ```
    /// use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, PortMapping, Slug};
    ///
    /// let spec = BundleSpec::new()
    ///     .publish(PortMapping::tcp(80).host_port(8080))
    ///     .publish(PortMapping::tcp(9090).host_port(8080));
    /// let refused = NetworkPlanned::new(Slug::new("demo")?).launch(&Engine::docker(), spec);
    /// assert!(refused.unwrap_err().to_string().ends_with("both to be published at 127.0.0.1:8080"));
    /// # Ok::<(), sidecar_bundle::InvalidInput>(())
    /// ```
    #[must_use]
    pub fn host_port(self, port: u16) -> Self {
        Self { host_port: Some(port), ..self }
    }

    /// Returns true if the port of the host is not left to the engine.
    pub(crate) fn is_chosen(&self) -> bool {
        self.host_port.is_some_and(|port| port != 0)
    }

    /// Sets the address of the host, such as the slug's own [`loopback`](crate::NetworkPlanned::loopback) address.
    /// `[0, 0, 0, 0]` publishes on every IPv4 address, for other hosts, too.
    ///
    /// ```
    /// use sidecar_bundle::{NetworkPlanned, PortMapping, Slug};
    ///
    /// // Each bundle has port 8080 at an address of its own.
    /// let [first, second] = ["first", "second"].map(|slug| {
    ///     let plan = NetworkPlanned::new(Slug::new(slug).unwrap());
    ///     PortMapping::tcp(80).host_port(8080).host_address(plan.loopback())
    /// });
    /// assert_ne!(first, second);
    /// ```
    #[must_use]
    pub fn host_address(self, address: impl Into<IpAddr>) -> Self {
        Self { host_address: address.into(), ..self }
    }

    /// The container's port as engines write it: `80/tcp`.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.container, if self.udp { "udp" } else { "tcp" })
    }
}

/// The action of the engine when the container ends by itself.
///
/// ```
/// use sidecar_bundle::{BundleSpec, RestartPolicy};
///
/// // A proxy that crashes comes back three times, at the same address.
/// let spec = BundleSpec::new().image("acme/proxy:7").restart(RestartPolicy::OnFailure(Some(3)));
/// assert_eq!(RestartPolicy::default(), RestartPolicy::No);
/// # let _ = spec;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestartPolicy {
    /// Leaves it stopped.
    #[default]
    No,
    /// Starts it again if its exit code is not 0, at most this many times, or without limit for `None`.
    OnFailure(Option<u32>),
    /// Starts it again.
    Always,
    /// Starts it again unless somebody stopped it.
    UnlessStopped,
}

/// The time at which the image is pulled, by a command of its own.
///
/// An image that cannot be pulled is [`Error::Pull`](crate::Error::Pull). A pull is a span `pull` of `tracing`, with the
/// field `image`. Its start and its end are events at the level `info`, and each line of the engine's progress is one
/// at `debug`, with the field `line`.
///
/// ```
/// use sidecar_bundle::{BundleSpec, PullPolicy};
///
/// // In CI, an image that was not built before is a mistake.
/// let in_ci = std::env::var_os("CI").is_some();
/// let policy = if in_ci { PullPolicy::Never } else { PullPolicy::IfMissing };
/// let spec = BundleSpec::new().image("acme/proxy:dev").pull(policy);
/// assert_eq!(PullPolicy::default(), PullPolicy::IfMissing);
/// # let _ = spec;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PullPolicy {
    /// Never: an image that is not there is [`Error::Start`](crate::Error::Start) with
    /// [`Cause::ImageMissing`](crate::Cause::ImageMissing).
    Never,
    /// If the container cannot be created because the image is not there. It is then created again.
    #[default]
    IfMissing,
    /// Before every start.
    Always,
}

impl Options {
    /// The limit of processors in billionths, as an engine counts them.
    pub(crate) fn nano_cpus(&self) -> Option<u64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is positive, and saturates"
        )]
        self.cpus.map(|cpus| (cpus * 1e9).round() as u64)
    }

    pub(super) fn check(&self) -> Result<&Self, InvalidInput> {
        for (name, value) in [("entrypoint", &self.entrypoint), ("user", &self.user)] {
            value.as_deref().map_or(Ok(()), |value| filled(name, value))?;
        }
        for (key, value) in &self.labels {
            if key.is_empty() || key.contains('=') || key.starts_with("sidecar-bundle.") {
                return Err(InvalidInput::new(format_args!(
                    "label {key:?} cannot be set: it is empty, has a '=', or is the library's own"
                )));
            }
            no_nul("label", key)?;
            no_nul("label", value)?;
        }
        self.check_ports()?;
        let is_name = |name: &str| {
            let later = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
            name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(later)
        };
        if let Some(name) = self.also_on.as_deref().filter(|name| !is_name(name)) {
            return Err(InvalidInput::new(format_args!("{name:?} is not the name of a network")));
        }
        if let Some(name) = self.aliases.iter().find(|name| !is_name(name)) {
            return Err(InvalidInput::new(format_args!("{name:?} is not an alias")));
        }
        self.check_names()?;
        if let Some(cpus) = self.cpus.filter(|cpus| !(cpus.is_finite() && *cpus > 0.0)) {
            return Err(InvalidInput::new(format_args!("{cpus} is not a number of processors")));
        }
        if self.pids == Some(0) {
            return Err(InvalidInput::new("a limit of 0 processes is no limit; use None for that"));
        }
        self.memory.map_or(Ok(()), |bytes| check_bytes("the memory", bytes))?;
        if let Some(path) = &self.save_log {
            let refused = |why| {
                let path = path.display();
                Err(InvalidInput::new(format_args!("the log cannot be saved in {path}: {why}")))
            };
            if !path.parent().is_some_and(Path::is_dir) {
                return refused("there is no such directory");
            }
            if path.symlink_metadata().is_ok_and(|it| !it.is_file()) {
                return refused("something is there that is not a file");
            }
        }
        for name in self.add_capabilities.iter().chain(&self.drop_capabilities) {
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(InvalidInput::new(format_args!("{name:?} is not a capability")));
            }
        }
        self.security.iter().try_for_each(|option| security::check(option))?;
        engine_options::check_fields(&self.fields)?;
        // Docker refuses this, and podman would take the last.
        let limits = ["HostConfig.CpuPeriod", "HostConfig.CpuQuota"];
        if self.cpus.is_some()
            && let Some(field) = self.fields.iter().find(|it| limits.contains(&&*it.path))
        {
            return Err(InvalidInput::new(format_args!(
                "the processor time is bounded twice, by cpus and by {}",
                field.path
            )));
        }
        self.flags.iter().try_for_each(|flag| engine_options::check_flag(flag))?;
        self.command.iter().try_for_each(|word| no_nul("command", word))?;
        Ok(self)
    }

    fn check_ports(&self) -> Result<(), InvalidInput> {
        for (number, port) in self.publish.iter().enumerate() {
            if port.container == 0 {
                return Err(InvalidInput::new("port 0 of the container cannot be published"));
            }
            let Some(at) = port.host_port.filter(|it| *it != 0) else { continue };
            let at = SocketAddr::new(port.host_address, at);
            let is_there = |it: &&PortMapping| {
                let there = SocketAddr::new(it.host_address, it.host_port.unwrap_or(0));
                it.udp == port.udp && collide(there, at)
            };
            if let Some(other) = self.publish[..number].iter().find(is_there) {
                let (port, other) = (port.name(), other.name());
                return Err(InvalidInput::new(format_args!(
                    "ports {other} and {port} of the container are both to be published at {at}"
                )));
            }
        }
        Ok(())
    }

    /// Checks the names of other hosts, and the addresses of DNS servers.
    fn check_names(&self) -> Result<(), InvalidInput> {
        for (number, (name, address)) in self.hosts.iter().enumerate() {
            // For newer releases of docker's program, a name ends at an equals sign.
            let is_fine = |c: char| c.is_ascii_graphic() && !matches!(c, ':' | '=');
            if name.is_empty() || !name.chars().all(is_fine) {
                return Err(InvalidInput::new(format_args!("{name:?} is not the name of a host")));
            }
            // One of each version may be given.
            let is_apart = |other: &HostAddress| match (other, address) {
                (HostAddress::Given(other), HostAddress::Given(it)) => {
                    other.is_ipv4() != it.is_ipv4()
                }
                _ => false,
            };
            let mut others = self.hosts[..number].iter().filter(|(other, _)| other == name);
            if !others.all(|(_, other)| is_apart(other)) {
                return Err(InvalidInput::new(format_args!("host {name} is given two addresses")));
            }
        }
        let is_none = |it: &&IpAddr| it.is_unspecified() || it.is_multicast();
        match self.dns.iter().find(is_none) {
            Some(none) => {
                Err(InvalidInput::new(format_args!("{none} is not the address of a DNS server")))
            }
            None => Ok(()),
        }
    }
}

/// Returns true if a socket at one of the addresses leaves no room for one at the other.
pub(crate) fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let is_any = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && (is_any || a.ip() == b.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{BundleSpec, Daemon, Ready};
    use crate::plan::Naming;

    fn refused(spec: &BundleSpec) -> bool {
        spec.check(&Naming::default()).is_err()
    }

    #[test]
    fn no_two_ports_are_published_at_one_place() {
        let at = |port: PortMapping, host| BundleSpec::new().publish(port).publish(host);
        let tcp = |container| PortMapping::tcp(container).host_port(4000);
        for other in [tcp(81), tcp(80), tcp(81).host_address([0, 0, 0, 0])] {
            assert!(refused(&at(tcp(80), other)) && refused(&at(other, tcp(80))), "{other:?}");
        }
        for other in [
            PortMapping::tcp(80),
            PortMapping::udp(80).host_port(4000),
            tcp(80).host_port(4001),
            tcp(80).host_address([127, 0, 0, 2]),
            tcp(80).host_address(std::net::Ipv6Addr::LOCALHOST),
        ] {
            assert!(!refused(&at(tcp(80), other)), "{other:?}");
        }
    }

    #[test]
    fn a_limit_that_limits_nothing_is_refused() {
        for bytes in [0, u64::MAX] {
            assert!(refused(&BundleSpec::new().memory(bytes)));
            assert!(refused(&BundleSpec::new().tmpfs("/a", bytes)));
            assert!(refused(&BundleSpec::new().executable_tmpfs("/a", bytes)));
        }
        let spec = BundleSpec::new().memory(1).tmpfs("/a", 1).executable_tmpfs("/b", None);
        assert!(!refused(&spec));
    }

    #[test]
    fn a_name_has_one_address_of_each_version_and_a_dns_server_is_a_host() {
        let spec = || BundleSpec::new().extra_host("a", [10, 0, 0, 1]);
        assert!(refused(&spec().extra_host("a", [10, 0, 0, 2])));
        assert!(refused(&spec().host_gateway("a")));
        assert!(!refused(&spec().extra_host("a", std::net::Ipv6Addr::LOCALHOST)));
        assert!(!refused(&spec().host_gateway("b")));
        for name in ["", "a b", "a:b", "a=b"] {
            assert!(refused(&BundleSpec::new().extra_host(name, [10, 0, 0, 1])), "{name:?}");
        }
        for none in [[0, 0, 0, 0], [224, 0, 0, 1]] {
            assert!(refused(&BundleSpec::new().dns_server(none)));
        }
    }

    #[test]
    fn a_log_is_saved_in_a_file_or_not_at_all() {
        let room = tempfile::tempdir().unwrap();
        let path = |name| room.path().join(name);
        std::os::unix::fs::symlink("/none", path("link")).unwrap();
        std::fs::write(path("file"), "").unwrap();
        for (name, is_refused) in
            [("link", true), (".", true), ("no/such", true), ("file", false), ("new", false)]
        {
            assert_eq!(refused(&BundleSpec::new().save_log(path(name))), is_refused, "{name}");
        }
    }

    #[test]
    fn a_condition_that_can_never_be_met_is_refused() {
        for never in [
            Ready::tcp(0),
            Ready::http(0, "/", 200),
            Ready::http(80, "/", 9999),
            Ready::http(80, "/", 0),
            Ready::log(""),
            Ready::exec([""]),
            Ready::all([Ready::any([Ready::tcp(0)])]),
        ] {
            let daemon = Daemon::new("a").ready(never);
            assert!(refused(&BundleSpec::new().daemon(daemon.clone())), "{daemon:?}");
        }
    }

    #[test]
    fn a_limit_of_processors_is_a_finite_number_above_zero() {
        for cpus in [0.0, -0.5, f64::NAN, f64::INFINITY] {
            assert!(refused(&BundleSpec::new().cpus(cpus)), "{cpus}");
        }
        assert!(!refused(&BundleSpec::new().cpus(0.5)));
    }

    #[test]
    fn a_name_on_a_network_begins_with_a_letter_or_digit() {
        for (name, is_refused) in
            [("db", false), ("1.db_a-b", false), ("", true), ("-db", true), ("d b", true)]
        {
            assert_eq!(refused(&BundleSpec::new().network_alias(name)), is_refused, "{name:?}");
            assert_eq!(refused(&BundleSpec::new().also_on(name)), is_refused, "{name:?}");
        }
    }

    #[test]
    fn a_name_of_a_capability_has_letters_digits_and_underscores() {
        for (name, is_refused) in
            [("NET_RAW", false), ("all", false), ("", true), ("NET-RAW", true), ("A B", true)]
        {
            assert_eq!(refused(&BundleSpec::new().add_capability(name)), is_refused, "{name:?}");
            assert_eq!(refused(&BundleSpec::new().drop_capability(name)), is_refused, "{name:?}");
        }
    }

    #[test]
    fn a_key_of_a_label_is_a_word_and_not_the_librarys_own() {
        for (key, is_refused) in
            [("acme.role", false), ("", true), ("a=b", true), ("sidecar-bundle.slug", true)]
        {
            assert_eq!(refused(&BundleSpec::new().label(key, "x")), is_refused, "{key:?}");
        }
    }
}
