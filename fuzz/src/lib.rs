//! Values that several targets draw.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use arbitrary::{Arbitrary, Result, Unstructured};
use sidecar_bundle::{BundleSpec, Daemon, PortMapping};

/// The beginning of each secret value.
pub const SECRET: &str = "hunter2hunter2hunter2";

/// A word of printable ASCII characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word(pub String);

/// A word of letters, digits, `-`, `_` and `.`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(pub String);

fn drawn(u: &mut Unstructured<'_>, letters: &[u8]) -> Result<String> {
    let bytes: &[u8] = u.arbitrary()?;
    Ok(bytes.iter().map(|byte| char::from(letters[usize::from(*byte) % letters.len()])).collect())
}

impl<'a> Arbitrary<'a> for Word {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let letters: Vec<u8> = (b'!'..=b'~').collect();
        drawn(u, &letters).map(Self)
    }
}

impl<'a> Arbitrary<'a> for Name {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        drawn(u, b"abcdefghijklmnopqrstuvwxyz0123456789-_.").map(Self)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A specification, of which most are accepted.
#[derive(Arbitrary, Clone, Debug)]
pub struct Specification<'a> {
    pub image: Word,
    pub daemon: Name,
    /// With the third true, it is a secret.
    pub variables: Vec<(Name, &'a str, bool)>,
    /// With the third true, it is read-only.
    pub mounts: Vec<(Word, Word, bool)>,
    pub volumes: Vec<(Name, Word)>,
    /// With the third true, it is executable.
    pub tmpfs: Vec<(Word, Option<u64>, bool)>,
    pub labels: Vec<(Word, &'a str)>,
    /// With the third true, it is UDP.
    pub ports: Vec<(u16, Option<u16>, bool, IpAddr)>,
    pub hosts: Vec<(Word, IpAddr)>,
    pub command: Vec<&'a str>,
    pub flags: Vec<Word>,
}

/// The place in a container of a mount at a word.
pub fn target(word: &Word) -> String {
    let path = Path::new("/").join(&word.0).components().collect::<std::path::PathBuf>();
    path.to_str().unwrap().to_owned()
}

impl Specification<'_> {
    pub fn build(&self) -> BundleSpec {
        let mut daemon = Daemon::new(&self.daemon.0);
        for (name, value, is_secret) in &self.variables {
            daemon = match is_secret {
                true => daemon.secret(variable(name), format!("{SECRET}{value}")),
                false => daemon.variable(variable(name), *value),
            };
        }
        let mut spec = BundleSpec::new().image(&self.image.0).daemon(daemon);
        for (host, at, read_only) in &self.mounts {
            let (host, at) = (format!("/{}", host.0), format!("/{}", at.0));
            spec = if *read_only { spec.mount_read_only(host, at) } else { spec.mount(host, at) };
        }
        for (name, at) in &self.volumes {
            spec = spec.volume(format!("v{}", name.0), format!("/{}", at.0));
        }
        for (at, size, executable) in &self.tmpfs {
            let at = format!("/{}", at.0);
            spec =
                if *executable { spec.executable_tmpfs(at, *size) } else { spec.tmpfs(at, *size) };
        }
        for (port, host_port, is_udp, address) in &self.ports {
            let port = if *is_udp { PortMapping::udp(*port) } else { PortMapping::tcp(*port) };
            let port = port.host_address(*address);
            spec = spec.publish(host_port.map_or(port, |it| port.host_port(it)));
        }
        spec = self.labels.iter().fold(spec, |spec, (key, value)| spec.label(&key.0, *value));
        spec = self.hosts.iter().fold(spec, |spec, (name, it)| spec.extra_host(&name.0, *it));
        spec = self
            .flags
            .iter()
            .fold(spec, |spec, flag| spec.engine_flag(format!("--sysctl={}", flag.0)));
        spec.command(self.command.iter().copied())
    }

    /// Returns true if the input happens to have what secret values begin with.
    pub fn shows_a_secret(&self) -> bool {
        format!("{self:?}").contains(SECRET)
    }
}

pub fn variable(name: &Name) -> String {
    format!("V{}", name.0)
}
