//! Files that are copied into the container before it starts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::paths::checked_target;
use crate::invalid::InvalidInput;

/// A file that is copied into the container before it starts.
///
/// It travels in the body of a request, to engines on other hosts too: this library writes it to no file. The engine
/// has it on its own disk, in the container's layer or in an anonymous volume, until the container is removed. `Debug`
/// shows its length, not its contents. Directories that are missing are made, owned by root, with mode 755. A link that the
/// image has at this path is replaced by the file, and a link to a directory on the way is followed, in the container.
///
/// ```
/// use sidecar_bundle::{BundleSpec, ContainerFile};
///
/// let spec = BundleSpec::new()
///     .file(ContainerFile::new("/etc/proxy.yaml", "listen: 8080\n"))
///     .file(ContainerFile::secret("/run/keys/ca.pem", "-----BEGIN").mode(0o400).owner(1000, 1000));
/// assert!(!format!("{spec:?}").contains("BEGIN"));
/// ```
#[derive(Clone, PartialEq, Eq)]
#[must_use = "`BundleSpec::file` or `Daemon::file` adds it"]
pub struct ContainerFile {
    path: PathBuf,
    pub(crate) contents: Arc<[u8]>,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) is_secret: bool,
}

impl ContainerFile {
    /// A file at this absolute path, owned by root, with mode 644.
    ///
    /// ```
    /// use sidecar_bundle::ContainerFile;
    ///
    /// let upstreams = ["api.acme.example", "git.acme.example"];
    /// let file = ContainerFile::new("/etc/proxy/allow", upstreams.join("\n"));
    /// let shown = r#"ContainerFile("/etc/proxy/allow", 33 bytes, mode 644, owner 0:0)"#;
    /// assert_eq!(format!("{file:?}"), shown);
    /// ```
    pub fn new(path: impl Into<PathBuf>, contents: impl Into<Vec<u8>>) -> Self {
        let (path, contents) = (path.into(), contents.into().into());
        Self { path, contents, mode: 0o644, owner: (0, 0), is_secret: false }
    }

    /// The same with mode 600, and with contents that this library does not show: the whole, and each line of at
    /// least 8 bytes, are removed from errors and traces. A process that does not run as root can read it only if it is
    /// the [`owner`](Self::owner).
    ///
    /// ```
    /// use sidecar_bundle::ContainerFile;
    ///
    /// let key = ContainerFile::secret("/run/keys/proxy.pem", "-----BEGIN PRIVATE KEY-----");
    /// assert!(format!("{key:?}").ends_with("27 bytes, mode 600, owner 0:0)"));
    /// // Errors and traces may have the contents of this one:
    /// let shown = ContainerFile::new("/run/keys/proxy.pem", "-----BEGIN PRIVATE KEY-----").mode(0o600);
    /// assert_ne!(key, shown);
    /// ```
    pub fn secret(path: impl Into<PathBuf>, contents: impl Into<Vec<u8>>) -> Self {
        Self { is_secret: true, mode: 0o600, ..Self::new(path, contents) }
    }

    /// Replaces the permission bits, such as `0o640`: at most `0o7777`.
    ///
    /// ```
    /// use sidecar_bundle::{BundleSpec, ContainerFile};
    ///
    /// let script = "#!/bin/sh\nexec proxy --listen \"$PORT\"\n";
    /// let file = ContainerFile::new("/usr/local/bin/run", script).mode(0o755);
    /// assert!(format!("{file:?}").contains("mode 755"));
    /// let spec = BundleSpec::new().file(file).entrypoint("/usr/local/bin/run");
    /// # let _ = spec;
    /// ```
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Replaces the owner, by user and group id in the container.
    ///
    /// ```
    /// use sidecar_bundle::{BundleSpec, ContainerFile};
    ///
    /// // The process is user 1000 and may read no file of root's with mode 600.
    /// let token = ContainerFile::secret("/run/keys/token", "hunter2").owner(1000, 1000);
    /// assert!(format!("{token:?}").ends_with("mode 600, owner 1000:1000)"));
    /// let spec = BundleSpec::new().user("1000:1000").file(token);
    /// # let _ = spec;
    /// ```
    pub fn owner(mut self, user: u32, group: u32) -> Self {
        self.owner = (user, group);
        self
    }

    /// Returns the path without `.` components.
    pub(super) fn check(&self) -> Result<String, InvalidInput> {
        let path = checked_target("file", &self.path)?;
        let refused =
            |problem: &str| Err(InvalidInput::new(format_args!("file path {path:?} {problem}")));
        if self.path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return refused("ends with a slash, as that of a directory does");
        }
        if HIDDEN.iter().any(|hidden| Path::new(&path).starts_with(hidden)) {
            return refused("is hidden by what the engine mounts there");
        }
        if self.mode > 0o7777 {
            return refused("has a mode that is more than permission bits");
        }
        Ok(path)
    }
}

/// The places where every engine mounts something of its own.
const HIDDEN: [&str; 6] =
    ["/dev", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/proc", "/sys"];

impl fmt::Debug for ContainerFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, group) = self.owner;
        write!(
            f,
            "ContainerFile({:?}, {} bytes, mode {:o}, owner {user}:{group})",
            self.path,
            self.contents.len(),
            self.mode
        )
    }
}

/// A file that has been checked.
#[derive(Clone, Debug)]
pub(crate) struct CheckedFile {
    /// Absolute, without a trailing slash and `.` components.
    pub(crate) path: String,
    pub(crate) file: ContainerFile,
}

impl CheckedFile {
    /// Its directory, and its name in it.
    pub(crate) fn directory_and_name(&self) -> (&str, &str) {
        match self.path.rsplit_once('/') {
            None | Some(("", _)) => ("/", &self.path[1..]),
            Some((directory, name)) => (directory, name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{BundleSpec, Daemon};
    use crate::plan::Naming;

    fn refused(spec: &BundleSpec) -> Option<String> {
        spec.check(&Naming::default()).err().map(|error| error.to_string())
    }

    fn file(path: &str) -> ContainerFile {
        ContainerFile::new(path, "x")
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        for path in [
            "",
            "x",
            "./x",
            "/",
            "/a/",
            "/a/..",
            "/../etc/x",
            "/a/../b",
            "/a\n",
            "/a\0b",
            "/proc/x",
            "/sys",
            "/dev/null",
            "/etc/hosts",
            "/etc/resolv.conf",
            "/etc/hostname",
        ] {
            assert!(refused(&BundleSpec::new().file(file(path))).is_some(), "{path:?}");
        }
        for path in ["/a", "/./a//b", "/etc/hosts.allow", "/a..b", "/...", "/etc/\u{e9}"] {
            assert_eq!(refused(&BundleSpec::new().file(file(path))), None, "{path:?}");
        }
        assert!(refused(&BundleSpec::new().file(file("/a").mode(0o10_000))).is_some());
        assert_eq!(refused(&BundleSpec::new().file(file("/a").mode(0o7777))), None);
    }

    #[test]
    fn each_file_has_a_place_of_its_own_and_no_mount_hides_it() {
        for (spec, text) in [
            (
                BundleSpec::new().file(file("/a")).daemon(Daemon::new("d").file(file("/./a"))),
                "file /a is given twice",
            ),
            (
                BundleSpec::new().file(file("/a/b/c")).file(file("/a-")).file(file("/a")),
                "file /a/b/c is under /a, which is a file",
            ),
            (
                BundleSpec::new().hardened().file(file("/tmp/x")),
                "file /tmp/x is under the mount at /tmp, which hides it",
            ),
            (
                BundleSpec::new().volume("v", "/v").file(file("/v")),
                "file /v is under the mount at /v, which hides it",
            ),
            (
                BundleSpec::new().mount("/h", "/a/b").file(file("/a")),
                "file /a is where a mount needs a directory",
            ),
        ] {
            assert_eq!(refused(&spec).as_deref(), Some(text));
        }
    }

    #[test]
    fn debug_shows_no_contents() {
        let shown = format!("{:?}", BundleSpec::new().file(ContainerFile::secret("/k", "hunter2")));
        assert!(shown.contains("7 bytes") && !shown.contains("hunter2"), "{shown}");
    }
}
