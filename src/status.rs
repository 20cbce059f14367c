//! The state of a container, its exit, and its log.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The status of a bundle's container.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Health {
    /// There is no result yet.
    Starting,
    /// The container is healthy.
    Healthy,
    /// It is not.
    Unhealthy,
}

/// The exit of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Exit {
    /// Its exit code; 128 and the signal's number if a signal ended it.
    pub code: i32,
    /// True if the engine reports that the container, or a process in it, was killed because memory ran out.
    /// Docker 20.10 under load fails to report one such kill in ten or twenty; only signal 9 is known then.
    pub out_of_memory: bool,
    /// The engine's message, such as that there is no such command; mostly empty.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The reason why a file of a container was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileProblem {
    /// There is none.
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
