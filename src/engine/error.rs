//! The failure of one request to an engine.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use super::cause::Cause;
use super::identity::Swarm;
use super::redactor::Redactor;

/// A request to an engine that failed.
///
/// It prints as one line: the request, how it ended, and the engine's last word. It contains no secret
/// value.
///
/// ```
/// use sidecar_bundle::{Cause, Engine};
///
/// let error = Engine::docker().with_host("unix:///no/such/socket").version().unwrap_err();
/// assert_eq!(error.cause(), Cause::EngineUnreachable);
/// assert!(error.to_string().contains("/no/such/socket"), "{error}");
/// ```
#[derive(Clone)]
pub struct EngineError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    program: String,
    request: String,
    end: End,
    cause: Cause,
    /// The engine's last word, chosen before redaction.
    word: Option<String>,
    message: String,
}

/// The end of a request.
#[derive(Clone, Debug)]
pub(crate) enum End {
    NotStarted(Arc<io::Error>),
    /// It was started, and its end is not known.
    Lost(Arc<io::Error>),
    Exited(ExitStatus),
    /// It has ended, and its exit status was lost (`ECHILD`).
    StatusLost,
    Killed(Duration),
    /// There was no way to the engine: nothing was sent.
    NotReached(Arc<io::Error>),
    /// It was sent, and the connection ended before the answer did.
    Cut(Arc<io::Error>),
    /// It was sent, and not answered within this time.
    Late(Duration),
    /// It was answered with this status.
    Refused(u16),
    /// It succeeded, and its answer is not this.
    Unexpected(&'static str),
    /// It was not made, or its answer does not count, for this reason.
    Withheld(String),
}

impl EngineError {
    pub(crate) fn new(
        program: String,
        request: String,
        end: End,
        cause: Cause,
        printed: &str,
        redactor: &Redactor,
    ) -> Self {
        let word = last_word(printed).map(|word| last_bytes(&redactor.redacted(word)));
        let message = last_bytes(&redactor.redacted(printed));
        Self(Box::new(Inner { program, request, end, cause, word, message }))
    }

    /// The error of a request that is not answered by the engine that it is meant for.
    pub(crate) fn another_engine() -> Self {
        Self::withheld("another engine answers than before".into(), Cause::AnotherEngine)
    }

    /// The error of the removal of a network that these containers are on.
    pub(crate) fn in_use(attached: &[String]) -> Self {
        let why = format!("the network is in use by {}", attached.join(", "));
        Self::withheld(why, Cause::NetworkInUse)
    }

    /// The error of a request that only a manager of a swarm can do; none for one.
    pub(crate) fn of_swarm(role: Swarm) -> Result<(), Self> {
        let (why, cause) = match role {
            Swarm::Manager => return Ok(()),
            Swarm::None => ("the engine is in no swarm", Cause::SwarmMissing),
            Swarm::Worker => ("the engine is no manager of its swarm", Cause::NotSwarmManager),
            Swarm::WithoutLeader => (
                "the swarm has no leader, or this manager is locked or not ready",
                Cause::SwarmUnreachable,
            ),
        };
        Err(Self::withheld(why.to_owned(), cause))
    }

    /// The error of a container that runs without a variable's value.
    pub(crate) fn variable_lost(program: &OsStr, variable: &str) -> Self {
        let program = program.display();
        let why = format!(
            "the container has another value of variable {variable}, or none: {program} did not pass it on; is it a wrapper that clears its environment?"
        );
        Self::withheld(why, Cause::Other)
    }

    pub(crate) fn withheld(why: String, cause: Cause) -> Self {
        let (end, redactor) = (End::Withheld(why), Redactor::default());
        Self::new(String::new(), String::new(), end, cause, "", &redactor)
    }

    /// The cause of the failure, as far as it is known.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.0.cause
    }

    /// The end of the engine's message, at most 4 KiB, without secret values.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns true if the engine answered, and did not do it.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.0.end, End::Refused(_))
    }

    #[cfg(test)]
    pub(crate) fn for_test(text: &str) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let (cause, _) = super::cause::diagnose(text);
        let end = End::Exited(ExitStatus::from_raw(256));
        let redactor = Redactor::default();
        Self::new("model".into(), "model request".into(), end, cause, text, &redactor)
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { program, request, end, cause, word, .. } = &*self.0;
        match end {
            End::NotStarted(_) | End::NotReached(_) if *cause == Cause::ProgramMissing => {
                return write!(f, "{program} was not found; is it installed, and on PATH?");
            }
            End::NotStarted(_) => return write!(f, "{request} could not be run"),
            End::Lost(_) => return write!(f, "{request} was started, and could not be waited for"),
            End::Withheld(why) => return f.write_str(why),
            End::NotReached(_) => write!(f, "{request} was not sent")?,
            End::Cut(_) => write!(f, "{request} was sent, and its answer was lost")?,
            End::Late(after) => write!(f, "{request} was not answered within {after:?}")?,
            End::Refused(status) => write!(f, "{request} was answered with status {status}")?,
            End::Killed(after) => {
                write!(f, "{request} was killed at its deadline, after {after:?}")?;
            }
            End::Exited(status) => write!(f, "{request} ended with {status}")?,
            End::StatusLost => write!(f, "{request} ended with an unknown exit status")?,
            End::Unexpected(expected) => write!(f, "{request} did not answer with {expected}")?,
        }
        match (word, end) {
            (Some(line), _) => write!(f, ": {line}"),
            (None, End::Killed(_) | End::Exited(_) | End::StatusLost) => {
                f.write_str(" and printed nothing")
            }
            (None, _) => Ok(()),
        }
    }
}

impl fmt::Debug for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EngineError({:?}: {self})", self.0.cause)
    }
}

impl std::error::Error for EngineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.end {
            // It stands in the line already.
            End::NotReached(_) if self.0.word.is_some() => None,
            End::NotStarted(error)
            | End::Lost(error)
            | End::NotReached(error)
            | End::Cut(error) => Some(error.as_ref()),
            End::Exited(_)
            | End::StatusLost
            | End::Killed(_)
            | End::Late(_)
            | End::Refused(_)
            | End::Unexpected(_)
            | End::Withheld(_) => None,
        }
    }
}

/// The last line that is the engine's and not its program's advice.
fn last_word(output: &str) -> Option<&str> {
    let advice = |line: &str| {
        line.starts_with("exit status ")
            || line.ends_with("--help'.")
            || line.ends_with("--help' for more information")
    };
    output.lines().map(str::trim).rfind(|line| !line.is_empty() && !advice(line))
}

/// The last 4 KiB, from a whole character on.
pub(crate) fn last_bytes(text: &str) -> String {
    let mut from = text.len().saturating_sub(4096);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text[from..].to_owned()
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    fn error(end: End, printed: &str) -> EngineError {
        let redactor = Redactor::default();
        EngineError::new(
            "docker".into(),
            "docker run".into(),
            end,
            Cause::Other,
            printed,
            &redactor,
        )
    }

    #[test]
    fn the_last_word_is_not_the_advice_of_the_program() {
        for advice in [
            "exit status 1",
            "See 'docker run --help'.",
            "Run 'docker run --help' for more information",
        ] {
            let error = error(End::Refused(500), &format!("the moon is full\n\n{advice}\n"));
            assert_eq!(
                error.to_string(),
                "docker run was answered with status 500: the moon is full"
            );
        }
    }

    #[test]
    fn the_last_word_is_no_longer_than_a_message() {
        let error = error(End::Refused(500), &"x".repeat(10_000)).to_string();
        assert!(error.len() < 5000, "{}", error.len());
    }

    #[test]
    fn the_reason_of_a_request_that_was_not_sent_is_told_once() {
        let of = |words| {
            let reason = io::Error::from(io::ErrorKind::NotConnected);
            error(End::NotReached(reason.into()), words).source().is_some()
        };
        assert!(!of("/run/s: not connected") && of(""));
    }

    #[test]
    fn the_last_bytes_of_a_text_begin_with_a_whole_character() {
        assert_eq!(last_bytes("short"), "short");
        assert_eq!(last_bytes(&"x".repeat(5000)), "x".repeat(4096));
        // The last 4096 bytes begin in the middle of a character.
        let text = "\u{e9}".repeat(3000) + "x";
        assert_eq!(last_bytes(&text), "\u{e9}".repeat(2047) + "x");
    }
}
