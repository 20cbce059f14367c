//! The guard of one resource.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::OFlag;

use super::labels::{self, LabelMap};
use super::orphans;
use super::session::Session;
use crate::engine::backend::{CreateError, Filter, Id, Made, Notice, Resource};
use crate::engine::clock::deadline;
use crate::engine::connection::Connection;
use crate::engine::error::EngineError;
use crate::error::Error;

/// Removes one resource when it is dropped, unless it is disarmed.
#[derive(Debug)]
pub(crate) struct Guard {
    resource: Resource,
    name: String,
    made: Made,
    /// The labels by which it is found where its id is not known.
    filter: Filter,
    /// The time that a container has to end by itself.
    grace: Duration,
    /// The file that its log is saved in.
    log: Option<PathBuf>,
    // Last, so that the slug is free for others only when its resource is gone.
    session: Arc<Session>,
}

impl Guard {
    /// The guard of a resource that does not exist yet.
    pub(crate) fn new(session: Arc<Session>, resource: Resource, name: String) -> Self {
        let filter = session.own();
        let (made, grace, log) = (Made::Nothing, Duration::ZERO, None);
        Self { resource, name, made, filter, grace, log, session }
    }

    /// The same, of a resource that is to have these labels.
    pub(crate) fn with_labels(mut self, labels: &LabelMap) -> Self {
        self.filter = labels::of_same(labels);
        self
    }

    /// Makes the resource and returns its id, or the engine's error. The guard is armed before the request.
    pub(crate) fn create(
        &mut self,
        request: impl FnOnce(&Notice<'_>) -> Result<Id, CreateError>,
    ) -> Result<Result<Id, EngineError>, Error> {
        let _turn = self.session.turn();
        let notice = self.session.announce()?;
        self.made = Made::Perhaps;
        let result = request(&notice);
        drop(notice);
        let result = match result {
            Ok(id) => {
                self.made = Made::Id(id.clone());
                Ok(id)
            }
            Err(CreateError { error, made }) => {
                self.made = made;
                Err(error)
            }
        };
        self.session.settle(&self.made);
        Ok(result)
    }

    /// Guards a resource that was kept.
    pub(crate) fn adopt(&mut self, id: Id) {
        self.made = Made::Id(id);
    }

    /// Sets what comes before a container's removal: the time to end by itself, and the file for its log.
    pub(crate) fn set_end(&mut self, grace: Duration, log: Option<PathBuf>) {
        (self.grace, self.log) = (grace, log);
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Removes it now.
    pub(crate) fn close(mut self) -> Result<(), Error> {
        self.remove()
    }

    /// Leaves it where it is.
    pub(crate) fn disarm(mut self) {
        self.made = Made::Nothing;
    }

    /// Once: a failure is reported now, and not tried again by the drop.
    fn remove(&mut self) -> Result<(), Error> {
        let connection = self.session.connection();
        let removed = match std::mem::replace(&mut self.made, Made::Nothing) {
            Made::Nothing => return Ok(()),
            Made::Id(id) => {
                connection.end(&id, self.grace);
                if let Some(path) = &self.log
                    && let Err(error) = save_log(connection, &id, path)
                {
                    let path = path.display();
                    tracing::warn!(%path, error = %error, "a log was not saved");
                }
                orphans::remove_by_id(
                    connection,
                    self.resource,
                    &self.name,
                    &id,
                    connection.engine().look_deadline(),
                )
            }
            Made::Perhaps => {
                orphans::remove_as_it_appears(connection, self.resource, &self.name, &self.filter)
            }
        };
        if removed.is_err() {
            self.session.set_left();
        }
        removed
    }
}

/// Saves the log of a container, for which a removal waits ten seconds at most.
fn save_log(connection: &Connection, id: &Id, path: &Path) -> io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let engine = connection.engine();
    let end = deadline(engine.now(), PATIENCE).min(engine.look_deadline());
    let observer = connection.observer("a log").map_err(io::Error::other)?;
    let lines = observer.logs(id, None, end).map_err(io::Error::other)?;
    let text: String = lines.into_iter().flat_map(|line| [line.text, "\n".into()]).collect();
    let text = connection.backend().redacted(&text);
    let mut options = File::options();
    options.write(true).create(true).truncate(false).mode(0o600);
    // A pipe that nobody reads would wait for ever.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut file = options.custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    file.set_permissions(PermissionsExt::from_mode(0o600))?;
    file.set_len(0)?;
    file.write_all(text.as_bytes())
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(
                resource = %self.resource,
                name = self.name,
                cause = ?error.cause(),
                error = %error.chain(),
                "a resource may be left"
            );
        }
    }
}
