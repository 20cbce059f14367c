//! The state of a container, its exit, and its log.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The status of a bundle's container.
///
/// ```no_run
/// # use sidecar_bundle::{BundleRunning, Error};
/// # fn run(bundle: &BundleRunning) -> Result<(), Error> {
/// let status = bundle.status()?;
/// println!("image {}", status.image_id); // for a build log: a tag may move
/// if let Some(exit) = &status.exit {
///     println!("ended with {exit}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Status {
    /// The id of its image, `sha256:` and 64 hexadecimal digits, by which the engine finds this very image. It need not be
    /// the digest in the image's name: see [`image_digests`](crate::Container::image_digests).
    pub image_id: String,
    /// Its state.
    pub state: State,
    /// Its last exit, if it has ended.
    pub exit: Option<Exit>,
    /// The result of its image's health check, if it has one.
    pub health: Option<Health>,
    /// Its address on the bundle's network; `None` while it has none.
    pub address: Option<Ipv4Addr>,
    /// Its IPv6 address there, if the network has any.
    pub ipv6: Option<Ipv6Addr>,
}

/// The state of a container.
///
/// ```
/// use sidecar_bundle::State;
///
/// fn colour(state: State) -> &'static str {
///     match state {
///         State::Running => "green",
///         State::Created | State::Restarting | State::Paused => "yellow",
///         _ => "red",
///     }
/// }
/// assert_eq!(colour(State::Exited), "red");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum State {
    /// It was created and never started.
    Created,
    /// It runs.
    Running,
    /// It has ended, and is about to be started again.
    Restarting,
    /// It is frozen.
    Paused,
    /// It has ended.
    Exited,
    /// Any other state.
    Other,
}

/// The result of a health check.
///
/// ```
/// use sidecar_bundle::Health;
///
/// /// Some have no health check.
/// fn takes_requests(health: Option<Health>) -> bool {
///     match health {
///         None | Some(Health::Healthy) => true,
///         Some(_) => false,
///     }
/// }
/// assert!(takes_requests(None) && !takes_requests(Some(Health::Starting)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Health {
    /// There is no result yet.
    Starting,
    /// The container is healthy.
    Healthy,
    /// The container is unhealthy.
    Unhealthy,
}

/// The exit of a container.
///
/// ```no_run
/// # use sidecar_bundle::Exit;
/// fn advice(exit: &Exit) -> String {
///     match (exit.code, exit.signal()) {
///         _ if exit.out_of_memory => "raise its memory".into(),
///         (0, _) => "it is done".into(),
///         (_, Some(signal)) => format!("signal {signal} ended it"),
///         (code, None) => format!("look up {code} in its manual"),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Exit {
    /// Its exit code; 128 and the signal's number if a signal ended it.
    pub code: i32,
    /// True if the engine reports that the container, or a process in it, was killed because memory ran out.
    /// Docker 20.10 under load fails to report one such kill in ten or twenty; only signal 9 is known then.
    pub out_of_memory: bool,
    /// The engine's message, such as that there is no such command; usually empty.
    pub error: String,
}

impl Exit {
    /// The signal that ended it, by the convention of exit codes.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        (129..=192).contains(&self.code).then(|| self.code - 128)
    }
}

/// Prints `code 3`, `code 137 (signal 9)`, `code 137 (out of memory)`.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code {}", self.code)?;
        match self.signal() {
            _ if self.out_of_memory => f.write_str(" (out of memory)")?,
            Some(signal) => write!(f, " (signal {signal})")?,
            None => {}
        }
        if self.error.is_empty() { Ok(()) } else { write!(f, ": {}", self.error) }
    }
}

/// A line of the container's log, without its end.
///
/// ```no_run
/// # use sidecar_bundle::{BundleRunning, Error};
/// # fn test(bundle: &BundleRunning) -> Result<(), Error> {
/// // A test of what the proxy logs.
/// let lines = bundle.logs(None)?;
/// let denied = lines.iter().filter(|line| line.text.contains("denied evil.example"));
/// assert_eq!(denied.count(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LogLine {
    /// The stream that it was printed to.
    pub stream: LogStream,
    /// The text; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// The stream of a line.
///
/// ```
/// use sidecar_bundle::LogStream;
///
/// fn label(stream: LogStream) -> &'static str {
///     match stream {
///         LogStream::Stdout => "proxy:",
///         LogStream::Stderr => "proxy (error):",
///     }
/// }
/// assert_eq!(label(LogStream::Stderr), "proxy (error):");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The reason why a file of a container was not read.
///
/// ```no_run
/// # use sidecar_bundle::{BundleRunning, Error, FileProblem};
/// # fn report(bundle: &BundleRunning) -> Result<Option<Vec<u8>>, Error> {
/// match bundle.read_file("/var/lib/scanner/report.json") {
///     Ok(report) => Ok(Some(report)),
///     // The scanner has found nothing.
///     Err(Error::File { problem: FileProblem::Missing, .. }) => Ok(None),
///     Err(error) => Err(error),
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileProblem {
    /// The file does not exist.
    #[error("does not exist")]
    Missing,
    /// It is a directory, or something else that has no contents.
    #[error("is not a file")]
    NotAFile,
    /// It is longer than 1 MiB.
    #[error("is longer than 1 MiB")]
    TooLong,
}

impl FileProblem {
    /// The bytes of a file that is read.
    pub(crate) const LONGEST: usize = 1 << 20;
}

/// The output and the exit code of a command in the container.
///
/// ```no_run
/// # use std::time::Duration;
/// # use sidecar_bundle::{BundleRunning, Error};
/// # fn run(bundle: &BundleRunning) -> Result<(), Error> {
/// let output = bundle.exec(["proxy", "--version"], Duration::from_secs(5))?;
/// match output.code {
///     0 => println!("{}", output.stdout.trim()),
///     126 | 127 => eprintln!("no such program: {}", output.stderr),
///     code => eprintln!("code {code}: {}", output.stderr),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ExecOutput {
    /// Its exit code.
    pub code: i32,
    /// Its standard output, at most the last 1 MiB.
    pub stdout: String,
    /// Its standard error, at most the last 1 MiB.
    pub stderr: String,
}
