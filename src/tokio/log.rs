//! A log as a stream.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use futures_core::Stream;
use tokio::sync::mpsc::{self, Receiver};

use crate::engine::backend::{EVENTS, Follow};
use crate::engine::cause::Cause;
use crate::engine::error::EngineError;
use crate::error::Error;
use crate::status::LogLine;

/// The lines of a log as they come, a `futures_core::Stream`; see [`Container::follow_logs`](super::Container::follow_logs).
///
/// It ends with the container. Lines that are not read wait, 128 at most. Dropping it ends the connection and the threads
/// behind it.
///
/// ```no_run
/// use sidecar_bundle::tokio::LogFollower;
///
/// /// The token that the image prints at its start.
/// async fn token(log: &mut LogFollower) -> Option<String> {
///     while let Some(line) = log.next_line().await {
///         if let Some(token) = line.text.strip_prefix("token: ") {
///             return Some(token.to_owned());
///         }
///     }
///     None
/// }
/// ```
#[must_use = "the lines are read from it"]
pub struct LogFollower {
    incoming: Receiver<LogLine>,
    _log: Follow,
}

impl LogFollower {
    pub(super) fn of(log: crate::LogFollower) -> Result<Self, Error> {
        let (mut lines, log) = log.into_parts();
        let (sender, incoming) = mpsc::channel(EVENTS);
        // Not one of the runtime's, whose end would wait for it.
        let name = "sidecar-log".into();
        let spawned = thread::Builder::new()
            .name(name)
            .spawn(move || lines.all(|line| sender.blocking_send(line).is_ok()));
        match spawned {
            Ok(_) => Ok(Self { incoming, _log: log }),
            Err(error) => {
                let why = format!("no thread started: {error}");
                let source = EngineError::withheld(why, Cause::Other);
                Err(Error::Look { what: "the container's log", source })
            }
        }
    }

    /// Returns the next line, or `None` at the end. A future of this that is dropped loses no line.
    pub async fn next_line(&mut self) -> Option<LogLine> {
        self.incoming.recv().await
    }
}

impl Stream for LogFollower {
    type Item = LogLine;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<LogLine>> {
        self.get_mut().incoming.poll_recv(context)
    }
}

impl fmt::Debug for LogFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogFollower").finish_non_exhaustive()
    }
}
