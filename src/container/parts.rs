//! Variables, mounts and files, which the bundle as a whole and each of its daemons can have.

use std::fmt;
use std::path::PathBuf;

use super::file::ContainerFile;
use super::paths::{checked_path, checked_target};
use crate::invalid::{InvalidInput, check_bytes};

/// A variable that has been checked, with its value.
#[derive(Clone)]
pub(crate) enum CheckedVariable {
    /// A value that anybody may read.
    Literal(String, String),
    /// A value that is never shown.
    Hidden(String, String),
}

impl CheckedVariable {
    pub(crate) fn name(&self) -> &str {
        let (Self::Literal(name, _) | Self::Hidden(name, _)) = self;
        name
    }

    pub(crate) fn value(&self) -> &str {
        let (Self::Literal(_, value) | Self::Hidden(_, value)) = self;
        value
    }

    /// The variable as a container has it, if its value is hidden.
    pub(crate) fn hidden(&self) -> Option<String> {
        Some(format!("{}={}", self.name(), self.hidden_value()?))
    }

    pub(crate) fn hidden_value(&self) -> Option<&str> {
        match self {
            Self::Literal(..) => None,
            Self::Hidden(_, value) => Some(value),
        }
    }
}

impl fmt::Debug for CheckedVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(name, value) => write!(f, "{name}={value:?}"),
            Self::Hidden(name, _) => write!(f, "{name}=***"),
        }
    }
}

/// A mount that has been checked.
#[derive(Clone, Debug)]
pub(crate) struct CheckedMount {
    pub(crate) kind: MountKind,
    /// Without a trailing slash and `.` components.
    pub(crate) container: String,
    pub(crate) read_only: bool,
    pub(crate) relabel: Option<Relabel>,
}

#[derive(Clone, Debug)]
pub(crate) enum MountKind {
    Host(String),
    Volume(String),
    Tmpfs(Tmpfs),
}

/// A file system in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tmpfs {
    /// In bytes, if it is bounded.
    pub(crate) size: Option<u64>,
    /// Programs in it can be run.
    pub(crate) executable: bool,
}

impl Tmpfs {
    /// As engines write it in a list of options.
    pub(crate) fn options(self) -> String {
        let size = self.size.map(|bytes| format!("size={bytes}"));
        let exec = self.executable.then(|| "exec".to_owned());
        exec.into_iter().chain(size).collect::<Vec<_>>().join(",")
    }
}

/// The `SELinux` label that an engine gives to the source of a mount.
///
/// ```
/// use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Relabel, Slug};
///
/// // SELinux lets a container read nothing of a home directory without a label.
/// let spec = BundleSpec::new().mount_read_only("/home/me/rules", "/rules");
/// let spec = spec.relabel("/rules", Relabel::Shared).relabel("/cache", Relabel::Private);
/// let refused = NetworkPlanned::new(Slug::new("demo")?).launch(&Engine::podman(), spec);
/// assert!(refused.unwrap_err().to_string().contains("no path of the host is mounted"));
/// # Ok::<(), sidecar_bundle::InvalidInput>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relabel {
    /// One that every container may use.
    Shared,
    /// One that this container alone may use.
    Private,
}

/// Variables, mounts and files of one part of the specification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) variables: Vec<Variable>,
    pub(super) mounts: Vec<Mount>,
    pub(super) files: Vec<ContainerFile>,
}

impl Parts {
    pub(super) fn variable(&mut self, name: String, value: String) {
        self.variables.push(Variable { name, value: Value::Literal(value) });
    }

    pub(super) fn inherit(&mut self, name: String) {
        self.variables.push(Variable { name, value: Value::Inherited });
    }

    pub(super) fn secret(&mut self, name: String, value: String) {
        self.variables.push(Variable { name, value: Value::Secret(Secret(value)) });
    }

    pub(super) fn mount(&mut self, host: PathBuf, container: PathBuf, read_only: bool) {
        self.mounts.push(Mount { kind: Source::Host(host), container, read_only });
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: Value,
}

impl Variable {
    pub(super) fn check(&self) -> Result<CheckedVariable, InvalidInput> {
        let name = self.name.clone();
        check_variable_name(&name)?;
        if !matches!(self.value, Value::Literal(_)) && is_read_by_engine_programs(&name) {
            return Err(InvalidInput::new(format_args!(
                "variable {name} is read by the engine's program, whose environment hidden values travel through; only a literal value can have this name"
            )));
        }
        let value = match &self.value {
            Value::Literal(value) | Value::Secret(Secret(value)) => value.clone(),
            Value::Inherited => inherited(&name)?,
        };
        if value.contains('\0') {
            return Err(InvalidInput::new(format_args!(
                "the value of variable {name} contains a NUL byte"
            )));
        }
        Ok(match &self.value {
            Value::Literal(_) => CheckedVariable::Literal(name, value),
            Value::Inherited | Value::Secret(_) => CheckedVariable::Hidden(name, value),
        })
    }
}

fn inherited(name: &str) -> Result<String, InvalidInput> {
    std::env::var(name).map_err(|error| match error {
        std::env::VarError::NotPresent => {
            InvalidInput::new(format_args!("variable {name} is to be inherited, but is not set"))
        }
        std::env::VarError::NotUnicode(_) => {
            InvalidInput::new(format_args!("the inherited value of variable {name} is not UTF-8"))
        }
    })
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Literal(String),
    Inherited,
    Secret(Secret),
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) kind: Source,
    pub(super) container: PathBuf,
    pub(super) read_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Host(PathBuf),
    Volume(String),
    Tmpfs(Tmpfs),
}

impl Mount {
    pub(super) fn check(&self) -> Result<CheckedMount, InvalidInput> {
        let kind = match &self.kind {
            Source::Host(host) => MountKind::Host(checked_path("mount", host)?.to_owned()),
            Source::Volume(name) => MountKind::Volume(checked_volume(name)?.to_owned()),
            Source::Tmpfs(tmpfs) => MountKind::Tmpfs(*tmpfs),
        };
        let container = checked_target("mount", &self.container)?;
        if let MountKind::Tmpfs(Tmpfs { size: Some(size), .. }) = kind {
            check_bytes(&format!("the file system in memory at {container}"), size)?;
        }
        // Docker's program would cut it in two.
        if matches!(kind, MountKind::Tmpfs(Tmpfs { executable: true, .. }))
            && container.contains(':')
        {
            return Err(InvalidInput::new(format_args!(
                "an executable file system in memory cannot be at {container}, which has a ':'"
            )));
        }
        Ok(CheckedMount { kind, container, read_only: self.read_only, relabel: None })
    }
}

fn checked_volume(name: &str) -> Result<&str, InvalidInput> {
    let later = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(later) {
        Ok(name)
    } else {
        Err(InvalidInput::new(format_args!(
            "{name:?} is not the name of a volume; it must start with a letter or a digit, then letters, digits, '_', '.' and '-'"
        )))
    }
}

/// The engine judges references; this keeps an image from being read as an option or as two words.
pub(super) fn check_image(image: &str) -> Result<(), InvalidInput> {
    let fine = |c: char| c.is_ascii_graphic();
    if image.is_empty() || image.starts_with('-') || !image.chars().all(fine) {
        return Err(InvalidInput::new(format_args!("{image:?} is not an image reference")));
    }
    Ok(())
}

/// Returns true if an image is named by its contents: by the digest of a registry, or by its id.
pub(super) fn has_digest(image: &str) -> bool {
    let digest = image.rsplit_once('@').map_or(image, |(_, digest)| digest);
    let is_hex = |text: &str| text.len() == 64 && text.bytes().all(|it| it.is_ascii_hexdigit());
    digest.strip_prefix("sha256:").is_some_and(is_hex)
}

pub(super) fn check_variable_name(name: &str) -> Result<(), InvalidInput> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let later = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.starts_with(first) && name.chars().all(later) {
        Ok(())
    } else {
        Err(InvalidInput::new(format_args!(
            "{name:?} is not the name of a variable; it must start with a letter or '_', then letters, digits, '_', '.' and '-'"
        )))
    }
}

/// Returns true if docker, podman, their Go runtime, ssh or the dynamic loader read a variable of this name.
pub(crate) fn is_read_by_engine_programs(name: &str) -> bool {
    const PREFIXES: [&str; 9] = [
        "DOCKER_",
        "CONTAINER",
        "XDG_",
        "SSH_",
        "LD_",
        "SSL_CERT_",
        "BUILDKIT_",
        "PODMAN_",
        "DYLD_",
    ];
    const NAMES: [&str; 8] =
        ["PATH", "HOME", "TMPDIR", "USER", "GODEBUG", "GOMAXPROCS", "GOTRACEBACK", "GOMEMLIMIT"];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || NAMES.contains(&name)
        || name.to_ascii_uppercase().ends_with("_PROXY")
}

#[cfg(test)]
mod tests {
    use super::has_digest;
    use crate::container::BundleSpec;
    use crate::plan::Naming;

    #[test]
    fn the_name_of_a_volume_begins_with_a_letter_or_a_digit() {
        let is_fine =
            |name: &str| BundleSpec::new().volume(name, "/data").check(&Naming::default()).is_ok();
        for (name, fine) in [
            ("db", true),
            ("1.a_b-c", true),
            ("a", true),
            ("", false),
            (".a", false),
            ("-a", false),
            ("a b", false),
            ("a/b", false),
            ("/a", false),
        ] {
            assert_eq!(is_fine(name), fine, "{name:?}");
        }
    }

    #[test]
    fn an_image_is_known_by_its_contents_or_refused() {
        let hex = "0123456789abcdef".repeat(4);
        for image in [
            format!("nginx@sha256:{hex}"),
            format!("registry.example:5000/a/nginx:1@sha256:{hex}"),
            format!("sha256:{hex}"),
        ] {
            assert!(has_digest(&image), "{image}");
        }
        for image in [
            "nginx".to_owned(),
            "nginx:1".to_owned(),
            hex.clone(),
            format!("nginx@sha512:{hex}{hex}"),
            format!("nginx@{hex}"),
            format!("nginx:sha256:{hex}"),
            format!("nginx@sha256:{hex}0"),
            format!("nginx@sha256:{}", &hex[1..]),
            format!("nginx@sha256:{}g", &hex[1..]),
            format!("nginx@sha256:{hex}:1"),
        ] {
            assert!(!has_digest(&image), "{image}");
            let spec = BundleSpec::new().image(image.clone()).require_digest();
            let error = spec.check(&Naming::default()).unwrap_err();
            assert!(error.to_string().contains(&image), "{error}");
        }
        let default = BundleSpec::new().require_digest();
        assert!(default.check(&Naming::default()).is_err());
    }
}
