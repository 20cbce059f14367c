//! A look inside a running bundle: its status, its log, and commands run in it.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::engine::follow::{Event, Followed};
use crate::error::Error;
use crate::running::BundleRunning;
use crate::status::{ExecOutput, LogLine, Status};

impl BundleRunning {
    /// What the engine says of the container now.
    ///
    /// # Errors
    ///
    /// [`Error::Look`] when the engine cannot be asked, or the container does not exist any more.
    pub fn status(&self) -> Result<Status, Error> {
        let until = self.engine().now() + self.engine().remove_deadline();
        let facts = self.engine().container(self.container_id(), until);
        let facts =
            facts.map_err(|source| Error::Look { what: "the container's state", source })?;
        match facts {
            Some(facts) => Ok(self.network().with_named(|network| facts.status(network))),
            None => Err(Error::Gone { container: self.plan().container_name() }),
        }
    }

    /// The log so far, or its last lines, in the order in which the engine took them: lines of the two
    /// streams that were printed at the same moment may have changed places. At most the last 1 MiB of
    /// each stream.
    ///
    /// # Errors
    ///
    /// [`Error::Look`] when the engine cannot be asked.
    pub fn logs(&self, last: impl Into<Option<usize>>) -> Result<Vec<LogLine>, Error> {
        let lines = self.engine().logs(self.container_id(), last.into());
        lines.map_err(|source| Error::Look { what: "the container's log", source })
    }

    /// The log as it comes, from its last so many lines on, or from its start.
    ///
    /// The iterator ends with the container; dropping it ends the engine's command at once. Lines of
    /// one stream come in their order; those of the two streams may overtake each other.
    ///
    /// # Errors
    ///
    /// [`Error::Look`] when the engine's program cannot be started.
    pub fn follow_logs(&self, last: impl Into<Option<usize>>) -> Result<LogFollower, Error> {
        let (events, incoming) = mpsc::channel();
        let log = self.engine().follow_log(self.container_id(), last.into(), events);
        let log = log.map_err(|source| Error::Look { what: "the container's log", source })?;
        Ok(LogFollower { incoming, _log: log })
    }

    /// Runs a command in the container and waits for its end.
    ///
    /// The command is not read by a shell. Its own failure is no error here: it is in the exit code,
    /// 126 or 127 if it could not be run at all.
    ///
    /// # Errors
    ///
    /// [`Error::Exec`] when the engine could not run it, or at the deadline; the command may then still
    /// run in the container.
    pub fn exec<I>(&self, words: I, within: Duration) -> Result<ExecOutput, Error>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let words: Vec<String> = words.into_iter().map(Into::into).collect();
        let output = self.engine().exec(self.container_id(), &words, Instant::now() + within);
        output.map_err(|source| {
            let program = words.into_iter().next().unwrap_or_default();
            Error::Exec { program, source }
        })
    }
}

/// The lines of a log as they come; see [`BundleRunning::follow_logs`].
#[derive(Debug)]
pub struct LogFollower {
    incoming: mpsc::Receiver<Event>,
    _log: Followed,
}

impl Iterator for LogFollower {
    type Item = LogLine;

    fn next(&mut self) -> Option<LogLine> {
        match self.incoming.recv() {
            Ok(Event::Line(line)) => Some(line),
            Ok(Event::End) | Err(_) => None,
        }
    }
}
