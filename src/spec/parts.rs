//! What the bundle as a whole and each of its daemons can bring along: variables and mounts.

use std::ffi::OsString;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use crate::spec::{CheckedMount, CheckedVariable, MountKind, SpecError};

/// Variables and mounts of one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) variables: Vec<Variable>,
    pub(super) mounts: Vec<Mount>,
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
    pub(super) fn check(&self) -> Result<CheckedVariable, SpecError> {
        let name = self.name.clone();
        check_variable_name(&name)?;
        if !matches!(self.value, Value::Literal(_)) && steers_the_program(&name) {
            return Err(SpecError::SteersEngine { name });
        }
        let value = match &self.value {
            Value::Literal(value) | Value::Secret(Secret(value)) => OsString::from(value),
            Value::Inherited => match std::env::var_os(&name) {
                Some(value) => value,
                None => return Err(SpecError::Unset { name }),
            },
        };
        if value.as_encoded_bytes().contains(&0) {
            return Err(SpecError::NulInValue { name });
        }
        Ok(match &self.value {
            Value::Literal(value) => CheckedVariable::Literal(name, value.clone()),
            Value::Inherited | Value::Secret(_) => CheckedVariable::Hidden(name, value),
        })
    }
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
    /// With its size in bytes, if it is bounded.
    Tmpfs(Option<u64>),
}

impl Mount {
    pub(super) fn check(&self) -> Result<CheckedMount, SpecError> {
        let kind = match &self.kind {
            Source::Host(host) => MountKind::Host(checked_path(host)?.to_owned()),
            Source::Volume(name) => MountKind::Volume(checked_volume(name)?.to_owned()),
            Source::Tmpfs(size) => MountKind::Tmpfs(*size),
        };
        let container = normal_target(&self.container)?;
        Ok(CheckedMount { kind, container, read_only: self.read_only })
    }
}

fn checked_volume(name: &str) -> Result<&str, SpecError> {
    let later = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(later) {
        Ok(name)
    } else {
        Err(SpecError::VolumeName { name: name.to_owned() })
    }
}

/// The engine judges references; this keeps an image from being read as an option or as two words.
pub(super) fn check_image(image: &str) -> Result<(), SpecError> {
    let fine = |c: char| c.is_ascii_graphic();
    if image.is_empty() || image.starts_with('-') || !image.chars().all(fine) {
        return Err(SpecError::Image { image: image.to_owned() });
    }
    Ok(())
}

pub(super) fn check_variable_name(name: &str) -> Result<(), SpecError> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let later = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.starts_with(first) && name.chars().all(later) {
        Ok(())
    } else {
        Err(SpecError::VariableName { name: name.to_owned() })
    }
}

/// Whether docker, podman, their Go runtime, ssh or the dynamic loader read a variable of this name.
fn steers_the_program(name: &str) -> bool {
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

fn checked_path(path: &Path) -> Result<&str, SpecError> {
    let wrong = |problem| SpecError::MountPath { path: path.to_owned(), problem };
    let text = path.to_str().ok_or_else(|| wrong("is not UTF-8"))?;
    if !text.starts_with('/') {
        return Err(wrong("is relative"));
    }
    if text.chars().any(char::is_control) {
        return Err(wrong("holds a control character"));
    }
    Ok(text)
}

fn normal_target(path: &Path) -> Result<String, SpecError> {
    let wrong = |problem| SpecError::MountPath { path: path.to_owned(), problem };
    checked_path(path)?;
    if path.components().any(|c| c == Component::ParentDir) {
        return Err(wrong("has \"..\" in it"));
    }
    let normal: PathBuf = path.components().collect();
    match normal.to_str() {
        Some("/") | None => Err(wrong("is the container's root")),
        Some(text) => Ok(text.to_owned()),
    }
}
