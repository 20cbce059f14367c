//! What a bundle's container is made of.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use crate::product::Product;

/// What the bundle's container is made of: image, daemons, variables and mounts.
///
/// Everything is checked by the step that takes the specification, before that step asks the engine
/// for anything. Methods that take one thing add to what was added before.
///
/// There are three kinds of variables. A [`variable`](Self::variable) is a literal and stands on the
/// engine's command line, where every user of the host can read it. An [`inherit`](Self::inherit)ed one
/// takes its value from this process's environment, a [`secret`](Self::secret) from the caller. The
/// values of these two reach the container through the environment of the engine's program alone, and
/// show neither in `Debug` nor in errors or traces.
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct BundleSpec {
    image: Option<String>,
    daemons: Option<Vec<String>>,
    variables: Vec<Variable>,
    mounts: Vec<Mount>,
}

impl BundleSpec {
    /// The product's image with the daemons `egress` and `pipelock`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the product's image.
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.image = Some(image.into());
        self
    }

    /// Replaces the list of daemons; an empty one is legal.
    ///
    /// Names are made of letters, digits, `-`, `_` and `.`, since they travel as a CSV.
    pub fn daemons<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.daemons = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a variable with a value that anyone may read.
    pub fn variable(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let value = value.into();
        self.with_variable(name, Value::Literal(value))
    }

    /// Adds a variable whose value is taken from this process's environment when the bundle starts.
    ///
    /// It must be set by then.
    pub fn inherit(self, name: impl Into<String>) -> Self {
        self.with_variable(name, Value::Inherited)
    }

    /// Adds a variable with a value that nobody else may see.
    pub fn secret(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let value = Secret(value.into());
        self.with_variable(name, Value::Secret(value))
    }

    /// Mounts a path of the engine's host into the container, writable.
    ///
    /// Both paths are absolute. Whether `host` exists is for the engine to say, which may run elsewhere.
    pub fn mount(self, host: impl Into<PathBuf>, container: impl Into<PathBuf>) -> Self {
        self.with_mount(host.into(), container.into(), false)
    }

    /// Mounts a path of the engine's host into the container, read-only.
    ///
    /// Both paths are absolute. Whether `host` exists is for the engine to say, which may run elsewhere.
    pub fn mount_read_only(self, host: impl Into<PathBuf>, container: impl Into<PathBuf>) -> Self {
        self.with_mount(host.into(), container.into(), true)
    }

    /// Everything that can be said without an engine; reads the inherited variables.
    pub(crate) fn check(&self, product: &Product) -> Result<CheckedSpec, SpecError> {
        let daemons = match &self.daemons {
            None => "egress,pipelock".to_owned(),
            Some(names) => daemons_csv(names)?,
        };
        let image = self.image.as_deref().unwrap_or(product.image());
        check_image(image)?;

        let mut names = BTreeSet::new();
        let mut variables =
            vec![CheckedVariable::Literal(product.daemons_variable().to_owned(), daemons)];
        check_variable_name(product.daemons_variable())?;
        names.insert(product.daemons_variable());
        for variable in &self.variables {
            if !names.insert(&variable.name) {
                return Err(SpecError::DuplicateVariable { name: variable.name.clone() });
            }
            variables.push(variable.check()?);
        }

        let mut targets = BTreeSet::new();
        let mut mounts = Vec::new();
        for mount in &self.mounts {
            let checked = mount.check()?;
            if !targets.insert(checked.container.clone()) {
                return Err(SpecError::DuplicateTarget { target: mount.container.clone() });
            }
            mounts.push(checked);
        }
        Ok(CheckedSpec { image: image.to_owned(), variables, mounts })
    }

    fn with_variable(mut self, name: impl Into<String>, value: Value) -> Self {
        self.variables.push(Variable { name: name.into(), value });
        self
    }

    fn with_mount(mut self, host: PathBuf, container: PathBuf, read_only: bool) -> Self {
        self.mounts.push(Mount { host, container, read_only });
        self
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
    name: String,
    value: Value,
}

impl Variable {
    fn check(&self) -> Result<CheckedVariable, SpecError> {
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
enum Value {
    Literal(String),
    Inherited,
    Secret(Secret),
}

#[derive(Clone, PartialEq, Eq)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    host: PathBuf,
    container: PathBuf,
    read_only: bool,
}

impl Mount {
    fn check(&self) -> Result<CheckedMount, SpecError> {
        Ok(CheckedMount {
            host: checked_path(&self.host)?.to_owned(),
            container: normal_target(&self.container)?,
            read_only: self.read_only,
        })
    }
}

/// A specification with nothing left to go wrong before the engine is asked.
#[derive(Clone)]
pub struct CheckedSpec {
    pub(crate) image: String,
    pub(crate) variables: Vec<CheckedVariable>,
    pub(crate) mounts: Vec<CheckedMount>,
}

#[derive(Clone)]
pub(crate) enum CheckedVariable {
    /// Name and value, for the command line.
    Literal(String, String),
    /// Name and value, for the environment of the engine's program.
    Hidden(String, OsString),
}

#[derive(Clone)]
pub(crate) struct CheckedMount {
    pub(crate) host: String,
    /// Without a trailing slash and `.` components.
    pub(crate) container: String,
    pub(crate) read_only: bool,
}

/// What is wrong with a [`BundleSpec`]. Its step has not asked the engine for anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The image is empty, starts with `-`, or has white space or control characters.
    #[error("image {image:?} is not an image reference")]
    #[non_exhaustive]
    Image {
        /// The image as given.
        image: String,
    },
    /// A daemon's name cannot travel in a CSV.
    #[error("daemon {name:?} is not a name; allowed are letters, digits, '-', '_' and '.'")]
    #[non_exhaustive]
    DaemonName {
        /// The name as given.
        name: String,
    },
    /// A daemon is listed twice.
    #[error("daemon {name:?} is listed twice")]
    #[non_exhaustive]
    DuplicateDaemon {
        /// The daemon's name.
        name: String,
    },
    /// The name of a variable is not one.
    #[error(
        "variable {name:?} is not a name; it must start with a letter or '_', then letters, digits, '_', '.' and '-'"
    )]
    #[non_exhaustive]
    VariableName {
        /// The name as given.
        name: String,
    },
    /// A variable is given twice, or is the one that lists the daemons.
    #[error("variable {name} is given twice")]
    #[non_exhaustive]
    DuplicateVariable {
        /// The variable's name.
        name: String,
    },
    /// An inherited or secret variable has a name that the engine's own program reads.
    #[error(
        "variable {name} would steer the engine's program, whose environment it travels through; only a literal value can have this name"
    )]
    #[non_exhaustive]
    SteersEngine {
        /// The variable's name.
        name: String,
    },
    /// A variable to be inherited is not set in this process's environment.
    #[error("variable {name} is to be inherited, and is not set")]
    #[non_exhaustive]
    Unset {
        /// The variable's name.
        name: String,
    },
    /// A variable's value holds a NUL byte, which no environment can carry.
    #[error("the value of variable {name} holds a NUL byte")]
    #[non_exhaustive]
    NulInValue {
        /// The variable's name.
        name: String,
    },
    /// A path of a mount is relative, holds control characters, or is not UTF-8; a target also must
    /// not be `/` nor have a `..` in it.
    #[error("mount path {path:?} {problem}")]
    #[non_exhaustive]
    MountPath {
        /// The path as given.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two mounts have the same target.
    #[error("mount target {target:?} is given twice")]
    #[non_exhaustive]
    DuplicateTarget {
        /// The second one, as given.
        target: PathBuf,
    },
}

fn daemons_csv(names: &[String]) -> Result<String, SpecError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() || !name.chars().all(allowed) {
            return Err(SpecError::DaemonName { name: name.clone() });
        }
        if !seen.insert(name) {
            return Err(SpecError::DuplicateDaemon { name: name.clone() });
        }
    }
    Ok(names.join(","))
}

/// The engine judges references; this keeps an image from being read as an option or as two words.
fn check_image(image: &str) -> Result<(), SpecError> {
    let fine = |c: char| c.is_ascii_graphic();
    if image.is_empty() || image.starts_with('-') || !image.chars().all(fine) {
        return Err(SpecError::Image { image: image.to_owned() });
    }
    Ok(())
}

fn check_variable_name(name: &str) -> Result<(), SpecError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(spec: &BundleSpec) -> String {
        spec.check(&Product::default()).err().unwrap().to_string()
    }

    #[test]
    fn each_rule_has_its_message() {
        let new = BundleSpec::new;
        for (spec, message) in [
            (new().image(""), "image \"\" is not an image reference"),
            (new().image("-v/:/x"), "image \"-v/:/x\" is not an image reference"),
            (new().image("a b"), "image \"a b\" is not an image reference"),
            (
                new().daemons(["a,b"]),
                "daemon \"a,b\" is not a name; allowed are letters, digits, '-', '_' and '.'",
            ),
            (
                new().daemons([""]),
                "daemon \"\" is not a name; allowed are letters, digits, '-', '_' and '.'",
            ),
            (new().daemons(["a", "b", "a"]), "daemon \"a\" is listed twice"),
            (
                new().variable("A=B", "1"),
                "variable \"A=B\" is not a name; it must start with a letter or '_', then letters, digits, '_', '.' and '-'",
            ),
            (
                new().secret("", "1"),
                "variable \"\" is not a name; it must start with a letter or '_', then letters, digits, '_', '.' and '-'",
            ),
            (new().variable("A", "1").secret("A", "2"), "variable A is given twice"),
            (
                new().variable("CLAUDE_BOTTLE_SIDECAR_DAEMONS", "x"),
                "variable CLAUDE_BOTTLE_SIDECAR_DAEMONS is given twice",
            ),
            (
                new().secret("DOCKER_HOST", "x"),
                "variable DOCKER_HOST would steer the engine's program, whose environment it travels through; only a literal value can have this name",
            ),
            (
                new().inherit("SIDECAR_BUNDLE_NEVER_SET"),
                "variable SIDECAR_BUNDLE_NEVER_SET is to be inherited, and is not set",
            ),
            (new().secret("A", "1\0"), "the value of variable A holds a NUL byte"),
            (new().mount("a", "/b"), "mount path \"a\" is relative"),
            (new().mount("/a", "b"), "mount path \"b\" is relative"),
            (new().mount("/a", "/"), "mount path \"/\" is the container's root"),
            (new().mount("/a", "/b/../c"), "mount path \"/b/../c\" has \"..\" in it"),
            (new().mount("/a\n", "/b"), "mount path \"/a\\n\" holds a control character"),
            (
                new().mount("/a", "/b").mount_read_only("/c", "/./b/"),
                "mount target \"/./b/\" is given twice",
            ),
        ] {
            assert_eq!(refused(&spec), message);
        }
    }

    #[test]
    fn names_that_steer_the_program_are_fine_as_literals_only() {
        for name in [
            "DOCKER_CONFIG",
            "CONTAINERS_CONF",
            "http_proxy",
            "NO_PROXY",
            "PATH",
            "LD_PRELOAD",
            "HOME",
        ] {
            let checked = |spec: BundleSpec| spec.check(&Product::default()).map(drop);
            let steers = Err(SpecError::SteersEngine { name: name.into() });
            assert_eq!(checked(BundleSpec::new().secret(name, "x")), steers);
            assert_eq!(checked(BundleSpec::new().inherit(name)), steers);
            assert_eq!(checked(BundleSpec::new().variable(name, "x")), Ok(()));
        }
    }

    #[test]
    fn a_path_that_is_not_utf8_is_refused() {
        use std::os::unix::ffi::OsStringExt;
        let path = OsString::from_vec(b"/\xff".to_vec());
        let message = refused(&BundleSpec::new().mount(path, "/b"));
        assert_eq!(message, "mount path \"/\\xFF\" is not UTF-8");
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", BundleSpec::new().secret("A", "hunter2"));
        assert!(shown.contains("Secret(***)") && !shown.contains("hunter2"), "{shown}");
    }
}
