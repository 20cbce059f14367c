//! Observation of a running bundle: its status, its log, and commands run in it.

use std::fmt;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::engine::backend::{EVENTS, Event, Follow, Id};
use crate::engine::cause::Cause;
use crate::engine::clock::deadline;
use crate::engine::error::{EngineError, last_bytes};
use crate::error::Error;
use crate::invalid::InvalidInput;
use crate::ownership::session::Session;
use crate::running::Container;
use crate::status::{ExecOutput, LogLine, Status};

/// The number of lines of the log that an error has.
const LAST_LINES: usize = 20;

impl Container {
    /// Returns the state of the container now.
    ///
    /// # Errors
    ///
    /// [`Error::Look`] when the engine cannot be asked, and [`Error::Gone`] when the container does not exist
    /// any more.
    pub fn status(&self) -> Result<Status, Error> {
        self.status_by(self.session().connection().engine().look_deadline())
    }

    pub(super) fn status_by(&self, deadline: Instant) -> Result<Status, Error> {
        let connection = self.session().connection();
        let asked = |source| Error::Look { what: "the container's state", source };
        match connection.container(self.container_id(), deadline).map_err(asked)? {
            Some(info) => {
                Ok(info.status(self.network().id(), &self.plan_of_bundle().network_name()))
            }
            None => Err(Error::Gone { container: self.container_name().to_owned() }),
        }
    }

    /// Returns the log so far, or its last lines, in the order in which the engine took them: lines of the two
    /// streams that were printed at the same moment may have changed places. At most the last 1 MiB
    /// of both.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for an engine that is driven by commands, [`Error::Look`] when the engine cannot be asked,
    /// and [`Error::Gone`] when somebody else removed the container.
    pub fn logs(&self, last: impl Into<Option<usize>>) -> Result<Vec<LogLine>, Error> {
        let connection = self.session().connection();
        let deadline = connection.engine().look_deadline();
        let lines = connection.observer("a log")?.logs(self.id(), last.into(), deadline);
        lines.map_err(|source| self.not_read("the container's log", source))
    }

    /// Returns the log as it comes, from its last lines on, or from its start.
    ///
    /// The iterator ends with the container. It ends earlier if the engine stays away for a minute: ask for the
    /// [`status`](Self::status). A cut connection is made again, and the log goes on where it was; lines that the two
    /// streams printed at that very moment may be missed or come twice. Lines of one stream come in their order; those
    /// of the two streams may overtake each other. Lines that are not read wait, 64 at most.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for an engine that is driven by commands, [`Error::Look`] when the engine cannot be asked or
    /// its log driver cannot be read, and [`Error::Gone`] when somebody else removed the container.
    pub fn follow_logs(&self, last: impl Into<Option<usize>>) -> Result<LogFollower, Error> {
        let (events, incoming) = mpsc::sync_channel(EVENTS);
        let connection = self.session().connection();
        let log = connection.observer("a log")?.follow_log(self.id(), last.into(), events);
        await_beginning(&incoming, connection.engine().look_deadline())
            .map_err(|source| self.not_read("the container's log", source))?;
        Ok(LogFollower { incoming, _log: log })
    }

    pub(super) fn not_read(&self, what: &'static str, source: EngineError) -> Error {
        match source.cause() {
            Cause::ContainerMissing => Error::Gone { container: self.container_name().to_owned() },
            _ => Error::Look { what, source },
        }
    }

    /// Runs a command in the container and waits for its end.
    ///
    /// The command is not read by a shell. Its own failure is no error here: it is in the exit code. If the command
    /// does not exist or may not be run, that is 126 or 127, and standard error has the engine's reason. At most the last
    /// 1 MiB of each stream is kept.
    ///
    /// The API has no mark at the end of the output. Output that was cut in the last half second of a command is
    /// therefore not known to be cut.
    ///
    /// # Errors
    ///
    /// [`Error::Exec`] when the engine could not run it, or at the deadline; the command may then still
    /// run in the container. [`Error::Unsupported`] for an engine that is driven by commands: the exit code of
    /// `docker exec` may be docker's own. [`Error::Gone`] when somebody else removed the container, and
    /// [`Error::Invalid`] without a word.
    pub fn exec<I>(&self, words: I, timeout: Duration) -> Result<ExecOutput, Error>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let words: Vec<String> = words.into_iter().map(Into::into).collect();
        if words.is_empty() {
            return Err(
                InvalidInput::new(format_args!("a command without a word cannot be run")).into()
            );
        }
        let connection = self.session().connection();
        let deadline = deadline(connection.engine().now(), timeout);
        let observer = connection.observer("a command in the container")?;
        let output = observer.exec(self.id(), &words, deadline);
        output.map_err(|source| {
            if source.cause() == Cause::ContainerMissing {
                return Error::Gone { container: self.container_name().to_owned() };
            }
            let program = words.into_iter().next().unwrap_or_default();
            Error::Exec { program, source }
        })
    }
}

/// The lines of a log as they come; see [`Container::follow_logs`].
#[must_use = "the lines are read from it"]
pub struct LogFollower {
    incoming: mpsc::Receiver<Event>,
    _log: Follow,
}

impl fmt::Debug for LogFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogFollower").finish_non_exhaustive()
    }
}

impl Iterator for LogFollower {
    type Item = LogLine;

    fn next(&mut self) -> Option<LogLine> {
        match self.incoming.recv() {
            Ok(Event::Line(line)) => Some(line),
            Ok(_) | Err(_) => None,
        }
    }
}

/// Waits until the engine tells what is followed, or an error. An engine that does neither may do it later.
pub(super) fn await_beginning(
    incoming: &mpsc::Receiver<Event>,
    deadline: Instant,
) -> Result<(), EngineError> {
    match incoming.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(Event::Failed(error)) => Err(error),
        _ => Ok(()),
    }
}

/// The end of the container's log, at most 4 KiB of it and without secret values; empty if it cannot be had.
pub(super) fn last_lines(session: &Session, id: &Id, deadline: Instant) -> String {
    let backend = session.connection().backend();
    let lines = backend.last_lines(id, LAST_LINES, deadline).unwrap_or_default();
    let text: Vec<_> = lines.into_iter().map(|line| line.text).collect();
    last_bytes(&backend.redacted(&text.join("\n")))
}
