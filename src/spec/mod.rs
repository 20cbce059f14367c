//! What a bundle's container is made of.

mod daemon;
mod options;
mod parts;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

pub use daemon::Daemon;
pub use options::{Publish, Pull, Restart};

use crate::product::Product;
use crate::ready::Ready;
use options::Options;
use parts::{Mount, Parts, Source, Value, Variable, check_image, check_variable_name};

/// What the bundle's container is made of: image, daemons, variables and mounts.
///
/// Everything is checked by the step that takes the specification, before that step asks the engine
/// for anything. Methods that take one thing add to what was added before. What the bundle and its
/// [`Daemon`]s bring along is merged, in any order to the same result; where two of them want different
/// things, the error names both.
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
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct BundleSpec {
    image: Option<String>,
    daemons: Option<Vec<Daemon>>,
    parts: Parts,
    options: Options,
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

    /// Replaces the list of daemons by plain names; an empty one is legal.
    ///
    /// Names are made of letters, digits, `-`, `_` and `.`, since they travel as a CSV, in their
    /// alphabetical order.
    pub fn daemons<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.daemons = Some(names.into_iter().map(Daemon::new).collect());
        self
    }

    /// Adds a daemon with what it brings along; the first one replaces the default list.
    pub fn daemon(mut self, daemon: Daemon) -> Self {
        self.daemons.get_or_insert_default().push(daemon);
        self
    }

    /// Adds a variable with a value that anyone may read.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parts.variable(name.into(), value.into());
        self
    }

    /// Adds a variable whose value is taken from this process's environment when the bundle starts.
    ///
    /// It must be set by then.
    pub fn inherit(mut self, name: impl Into<String>) -> Self {
        self.parts.inherit(name.into());
        self
    }

    /// Adds a variable with a value that nobody else may see.
    pub fn secret(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parts.secret(name.into(), value.into());
        self
    }

    /// Mounts a path of the engine's host into the container, writable.
    ///
    /// Both paths are absolute. Whether `host` exists is for the engine to say, which may run elsewhere.
    pub fn mount(mut self, host: impl Into<PathBuf>, container: impl Into<PathBuf>) -> Self {
        self.parts.mount(host.into(), container.into(), false);
        self
    }

    /// Mounts a path of the engine's host into the container, read-only.
    ///
    /// Both paths are absolute. Whether `host` exists is for the engine to say, which may run elsewhere.
    pub fn mount_read_only(
        mut self,
        host: impl Into<PathBuf>,
        container: impl Into<PathBuf>,
    ) -> Self {
        self.parts.mount(host.into(), container.into(), true);
        self
    }

    /// Everything that can be said without an engine; reads the inherited variables.
    pub(crate) fn check(&self, product: &Product) -> Result<CheckedSpec, SpecError> {
        let image = self.image.as_deref().unwrap_or(product.image());
        check_image(image)?;
        let mut daemons = match &self.daemons {
            None => vec![Daemon::new("egress"), Daemon::new("pipelock")],
            Some(daemons) => daemons.clone(),
        };
        daemons.sort_by(|a, b| a.name.cmp(&b.name));
        let list = Variable {
            name: product.daemons_variable().to_owned(),
            value: Value::Literal(daemons_csv(&daemons)?),
        };

        let mut variables: BTreeMap<&str, (Side, &Variable)> = BTreeMap::new();
        let mut mounts: BTreeMap<String, (Side, CheckedMount)> = BTreeMap::new();
        check_variable_name(product.daemons_variable())?;
        variables.insert(&list.name, (Side::List, &list));
        let tmpfs: Vec<_> = self.options.tmpfs_mounts().collect();
        for (side, theirs, more) in std::iter::once((Side::Bundle, &self.parts, tmpfs.as_slice()))
            .chain(daemons.iter().map(|it| (Side::Daemon(&it.name), &it.parts, &[][..])))
        {
            for variable in &theirs.variables {
                match variables.get(variable.name.as_str()) {
                    Some((other, there)) if there.value != variable.value => {
                        return Err(SpecError::VariableConflict {
                            name: variable.name.clone(),
                            first: other.to_string(),
                            second: side.to_string(),
                        });
                    }
                    Some(_) => {}
                    None => {
                        variables.insert(&variable.name, (side, variable));
                    }
                }
            }
            for mount in theirs.mounts.iter().chain(more) {
                let mount = mount.check()?;
                if let Some((other, _)) = mounts.get(&mount.container) {
                    return Err(SpecError::TargetConflict {
                        target: mount.container.into(),
                        first: other.to_string(),
                        second: side.to_string(),
                    });
                }
                mounts.insert(mount.container.clone(), (side, mount));
            }
        }
        Ok(CheckedSpec {
            image: image.to_owned(),
            variables: variables
                .into_values()
                .map(|(_, variable)| variable.check())
                .collect::<Result<_, _>>()?,
            mounts: mounts.into_values().map(|(_, mount)| mount).collect(),
            ready: daemons.iter().flat_map(|daemon| daemon.ready.iter().cloned()).collect(),
            options: self.options.check()?,
        })
    }
}

/// Who wants something.
#[derive(Clone, Copy)]
enum Side<'a> {
    List,
    Bundle,
    Daemon(&'a str),
}

impl fmt::Display for Side<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List => f.write_str("the list of daemons"),
            Self::Bundle => f.write_str("the bundle"),
            Self::Daemon(name) => write!(f, "daemon {name}"),
        }
    }
}

/// A specification with nothing left to go wrong before the engine is asked.
#[derive(Clone)]
pub struct CheckedSpec {
    pub(crate) image: String,
    /// By name.
    pub(crate) variables: Vec<CheckedVariable>,
    /// By target.
    pub(crate) mounts: Vec<CheckedMount>,
    pub(crate) ready: Vec<Ready>,
    pub(crate) options: options::Checked,
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
    pub(crate) kind: MountKind,
    /// Without a trailing slash and `.` components.
    pub(crate) container: String,
    pub(crate) read_only: bool,
}

#[derive(Clone)]
pub(crate) enum MountKind {
    Host(String),
    Volume(String),
    Tmpfs(Option<u64>),
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
    /// A variable has two values.
    #[error("variable {name} has two values, one of {first} and one of {second}")]
    #[non_exhaustive]
    VariableConflict {
        /// The variable's name.
        name: String,
        /// Who gave the first.
        first: String,
        /// Who gave the second.
        second: String,
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
    #[error("mount target {} is wanted twice, by {first} and by {second}", target.display())]
    #[non_exhaustive]
    TargetConflict {
        /// The target, without a trailing slash and `.` components.
        target: PathBuf,
        /// Who wants it first.
        first: String,
        /// Who wants it, too.
        second: String,
    },
    /// A volume's name is not one.
    #[error(
        "volume {name:?} is not a name; it must start with a letter or a digit, then letters, digits, '_', '.' and '-'"
    )]
    #[non_exhaustive]
    VolumeName {
        /// The name as given.
        name: String,
    },
    /// A pattern for log lines is not a regular expression.
    #[error("{pattern:?} is not a regular expression")]
    #[non_exhaustive]
    Pattern {
        /// The pattern as given.
        pattern: String,
    },
    /// An option cannot be as it is.
    #[error("option {option} {problem}")]
    #[non_exhaustive]
    Option {
        /// Which option, with its value.
        option: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

fn daemons_csv(sorted: &[Daemon]) -> Result<String, SpecError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let names: Vec<_> = sorted.iter().map(|daemon| daemon.name.as_str()).collect();
    if let Some(name) = names.iter().find(|name| name.is_empty() || !name.chars().all(allowed)) {
        return Err(SpecError::DaemonName { name: (*name).to_owned() });
    }
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(SpecError::DuplicateDaemon { name: twice[0].to_owned() });
    }
    Ok(names.join(","))
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
            (
                new().variable("A", "1").secret("A", "2"),
                "variable A has two values, one of the bundle and one of the bundle",
            ),
            (
                new().variable("CLAUDE_BOTTLE_SIDECAR_DAEMONS", "x"),
                "variable CLAUDE_BOTTLE_SIDECAR_DAEMONS has two values, one of the list of daemons and one of the bundle",
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
                "mount target /b is wanted twice, by the bundle and by the bundle",
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
    fn options_that_cannot_be_are_refused() {
        let new = BundleSpec::new;
        for (spec, message) in [
            (new().user(""), "option user \"\" is empty"),
            (
                new().label("sidecar-bundle.owner", "me"),
                "option label \"sidecar-bundle.owner\" is empty, has a '=', or starts with the library's \"sidecar-bundle.\"",
            ),
            (new().publish(Publish::tcp(0)), "option publish 0 is not a port of a container"),
            (new().extra_host("a:b", [1, 2, 3, 4]), "option extra host \"a:b\" is not a name"),
            (new().cpus(f64::NAN), "option cpus NaN is not a number of cores"),
            (new().pids(0), "option pids 0 would bound nothing; None does"),
            (
                new().add_capabilities(["NET ADMIN"]),
                "option cap-add \"NET ADMIN\" is not a capability",
            ),
            (new().command(["a\0"]), "option command \"a\\0\" holds a NUL byte"),
            (
                new().volume("/a", "/b"),
                "volume \"/a\" is not a name; it must start with a letter or a digit, then letters, digits, '_', '.' and '-'",
            ),
            (
                new().tmpfs("/a", None).mount("/b", "/a/"),
                "mount target /a is wanted twice, by the bundle and by the bundle",
            ),
            (
                new()
                    .daemon(Daemon::new("a").secret("X", "1"))
                    .daemon(Daemon::new("b").secret("X", "2")),
                "variable X has two values, one of daemon a and one of daemon b",
            ),
            (
                new().daemon(Daemon::new("a").mount("/x", "/y")).mount("/z", "/y"),
                "mount target /y is wanted twice, by the bundle and by daemon a",
            ),
        ] {
            assert_eq!(refused(&spec), message);
        }
        assert_eq!(
            Ready::log_matching("(").unwrap_err().to_string(),
            "\"(\" is not a regular expression"
        );
    }

    #[test]
    fn the_escape_hatch_overrides_no_guarantee_in_any_spelling() {
        for word in [
            "--name=x",
            "--name",
            "--network=host",
            "--net=host",
            "--net",
            "--ip=1.2.3.4",
            "--ip6=::1",
            "--label=a=b",
            "--label-file=/x",
            "-l",
            "-la=b",
            "-d",
            "-d=false",
            "-dit",
            "--detach=false",
            "--detach",
            "--rm=true",
            "--rm",
            "-e",
            "-eX=y",
            "--env=X=y",
            "--env-file=/x",
            "-it",
            "--",
            "--=x",
            "",
            "x",
            "image",
            "---name=x",
            "--Name=x",
            " --dns=1",
            "--na\u{200b}me=x",
            "--attach=stdin",
            "--replace=true",
            "--pod=x",
            "--cidfile=/x",
            "--link-local-ip=1.2.3.4",
            "--help=true",
            "--entrypoint=x",
            "--mount=type=bind",
            "--volume=/a:/b",
            "--tmpfs=/a",
            "--pull=always",
            "--detach-keys=a",
        ] {
            let spec = BundleSpec::new().engine_option(word);
            let refused = spec.check(&Product::default()).is_err();
            assert!(refused, "{word:?} was let through");
        }
        for word in
            ["--dns=1.1.1.1", "--tty=true", "--shm-size=1g", "--network-alias=x", "--sysctl=a=b"]
        {
            let spec = BundleSpec::new().engine_option(word);
            let checked = spec.check(&Product::default()).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(checked.options.arguments, [word]);
        }
        assert_eq!(
            refused(&BundleSpec::new().engine_option("--name=x")),
            "option \"--name=x\" would override what the library guarantees, or has a method of its own"
        );
        assert_eq!(
            refused(&BundleSpec::new().engine_option("--init")),
            "option \"--init\" has no value; write --init=true, too"
        );
        assert_eq!(
            refused(&BundleSpec::new().engine_option("-d")),
            "option \"-d\" is not an option in its long form, such as --dns=1.1.1.1"
        );
    }

    mod laws {
        use proptest::prelude::*;

        use super::super::*;

        /// A daemon of few names, values and targets, so that many of them are in conflict.
        fn daemons() -> impl Strategy<Value = Vec<Daemon>> {
            let part = (0..3_u8, "[AB]", "[12]");
            let daemon = ("[a-e]", prop::collection::vec(part, 0..3));
            let daemon = daemon.prop_map(|(name, parts)| {
                parts.into_iter().fold(
                    Daemon::new(name),
                    |daemon, (kind, name, value)| match kind {
                        0 => daemon.variable(name, value),
                        1 => daemon.secret(name, value),
                        _ => daemon.mount(format!("/{value}"), format!("/{name}/{value}")),
                    },
                )
            });
            prop::collection::vec(daemon, 0..5)
        }

        /// All that comes of it, or that nothing does.
        fn merged(daemons: &[Daemon]) -> Option<String> {
            let spec = daemons.iter().cloned().fold(BundleSpec::new(), BundleSpec::daemon);
            let checked = spec.check(&Product::default()).ok()?;
            let variables = checked.variables.iter().map(|variable| match variable {
                CheckedVariable::Literal(name, value) => format!("{name}={value}"),
                CheckedVariable::Hidden(name, value) => format!("{name}:{value:?}"),
            });
            let mounts = checked.mounts.iter().map(|mount| match &mount.kind {
                MountKind::Host(host) => format!("{host}>{}", mount.container),
                MountKind::Volume(_) | MountKind::Tmpfs(_) => unreachable!("none is made here"),
            });
            Some(variables.chain(mounts).collect::<Vec<_>>().join(" "))
        }

        proptest! {
            #[test]
            fn daemons_merge_in_any_order_to_the_same(
                (one, other) in daemons().prop_flat_map(|it| (Just(it.clone()), Just(it).prop_shuffle()))
            ) {
                prop_assert_eq!(merged(&one), merged(&other));
            }

            #[test]
            fn what_goes_in_comes_out(daemons in daemons()) {
                let Some(merged) = merged(&daemons) else { return Ok(()) };
                for daemon in &daemons {
                    for variable in &daemon.parts.variables {
                        prop_assert!(merged.contains(&variable.name));
                    }
                    for mount in &daemon.parts.mounts {
                        prop_assert!(merged.contains(mount.container.to_str().unwrap()));
                    }
                    prop_assert!(merged.contains(&daemon.name));
                }
            }

            #[test]
            fn whether_two_daemons_get_along_does_not_depend_on_who_comes_first(
                mut daemons in daemons()
            ) {
                let before = merged(&daemons).is_some();
                daemons.reverse();
                prop_assert_eq!(merged(&daemons).is_some(), before);
            }
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", BundleSpec::new().secret("A", "hunter2"));
        assert!(shown.contains("Secret(***)") && !shown.contains("hunter2"), "{shown}");
    }
}
