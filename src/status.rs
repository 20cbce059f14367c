//! What is known of the container: its state, its end, and its log.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What the engine says of the bundle's container.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// How it last ended, if it has.
    pub exit: Option<Exit>,
    /// What its image's health check says, if it has one.
    pub health: Option<Health>,
    /// Its address on the bundle's network; `None` while it has none.
    pub address: Option<Ipv4Addr>,
    /// Its IPv6 address there, if the network has any.
    pub ipv6: Option<Ipv6Addr>,
}

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It was made, and never started.
    Created,
    /// It runs.
    Running,
    /// It has ended, and is about to be started again.
    Restarting,
    /// It is frozen.
    Paused,
    /// It has ended.
    Exited,
    /// Anything else that an engine may say.
    Other,
}

/// What a health check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// Nothing yet.
    Starting,
    /// The container is healthy.
    Healthy,
    /// It is not.
    Unhealthy,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exit {
    /// Its exit code; 128 and the signal's number if a signal ended it.
    pub code: i32,
    /// Whether it, or a process in it, was killed for want of memory, as far as the engine has noticed:
    /// under load, Docker 20.10 misses one in ten or twenty, and all that is known then is signal 9.
    pub out_of_memory: bool,
    /// What the engine says of it, such as that there is no such command; mostly empty.
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
#[non_exhaustive]
pub struct LogLine {
    /// Where it was printed.
    pub stream: LogStream,
    /// What was printed; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// Where a line was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a command in the container printed, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecOutput {
    /// Its exit code.
    pub code: i32,
    /// Its standard output, at most the last 1 MiB.
    pub stdout: String,
    /// Its standard error, at most the last 1 MiB.
    pub stderr: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_says_how() {
        let exit = |code, out_of_memory, error: &str| {
            Exit { code, out_of_memory, error: error.into() }.to_string()
        };
        assert_eq!(exit(0, false, ""), "code 0");
        assert_eq!(exit(137, false, ""), "code 137 (signal 9)");
        assert_eq!(exit(137, true, ""), "code 137 (out of memory)");
        assert_eq!(exit(127, false, "no such file"), "code 127: no such file");
    }
}
