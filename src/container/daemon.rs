//! A daemon of the bundle.

use std::path::PathBuf;

use super::file::ContainerFile;
use super::parts::Parts;
use super::readiness::Ready;

/// A daemon of the bundle with its variables, secrets, mounts, files and readiness conditions.
///
/// Its name is an entry in the variable [`daemons_variable`](crate::Naming::daemons_variable), which the entry point of
/// the image, its *supervisor*, reads in order to start the daemons. The library starts no process for it. All daemons
/// of a bundle are in one container, and share its variables, mounts and files.
///
/// Independent parts of a program each add theirs to one [`BundleSpec`](crate::BundleSpec), in any order.
///
/// ```
/// use sidecar_bundle::{BundleSpec, Daemon, Ready};
///
/// let egress = Daemon::new("egress")
///     .secret("EGRESS_TOKEN", "hunter2")
///     .mount_read_only("/etc/egress", "/etc/egress")
///     .ready(Ready::tcp(8080));
/// let git_gate = Daemon::new("git-gate").variable("GIT_GATE_REPOSITORIES", "acme/*");
/// let spec = BundleSpec::new().daemon(git_gate).daemon(egress);
/// # let _ = spec;
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a daemon is a part of a specification: `BundleSpec::daemon` adds it"]
pub struct Daemon {
    pub(super) name: String,
    pub(super) parts: Parts,
    pub(super) ready: Vec<Ready>,
}

impl Daemon {
    /// A daemon that the image's supervisor knows by this name: letters, digits, `-`, `_` and `.`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), parts: Parts::default(), ready: Vec::new() }
    }

    /// Adds a variable with a value that any user of the host may read.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parts.variable(name.into(), value.into());
        self
    }

    /// Adds a variable whose value is taken from this process's environment when the bundle starts; see
    /// [`BundleSpec::inherit`](crate::BundleSpec::inherit).
    pub fn inherit(mut self, name: impl Into<String>) -> Self {
        self.parts.inherit(name.into());
        self
    }

    /// Adds a variable with a value that this library does not show; see
    /// [`BundleSpec::secret`](crate::BundleSpec::secret).
    pub fn secret(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parts.secret(name.into(), value.into());
        self
    }

    /// Mounts a path of the engine's host into the container, writable; see
    /// [`BundleSpec::mount`](crate::BundleSpec::mount).
    pub fn mount(mut self, host: impl Into<PathBuf>, container: impl Into<PathBuf>) -> Self {
        self.parts.mount(host.into(), container.into(), false);
        self
    }

    /// Mounts a path of the engine's host into the container, read-only; see
    /// [`BundleSpec::mount`](crate::BundleSpec::mount).
    pub fn mount_read_only(
        mut self,
        host: impl Into<PathBuf>,
        container: impl Into<PathBuf>,
    ) -> Self {
        self.parts.mount(host.into(), container.into(), true);
        self
    }

    /// Adds a file that is copied into the container before it starts.
    pub fn file(mut self, file: ContainerFile) -> Self {
        self.parts.files.push(file);
        self
    }

    /// Adds a condition of [`Container::wait_ready`](crate::Container::wait_ready).
    ///
    /// Nothing waits for it by itself. A bundle without daemons, such as one of a plain image, has no conditions: see
    /// [`Container::wait_for`](crate::Container::wait_for).
    pub fn ready(mut self, condition: Ready) -> Self {
        self.ready.push(condition);
        self
    }
}
