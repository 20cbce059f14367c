//! The guard of one resource.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::fcntl::OFlag;
use tracing::dispatcher::{Dispatch, with_default};

use super::labels::{self, LabelMap};
use super::orphans;
use super::session::Session;
use crate::engine::backend::{CreateError, Filter, Id, Made, Notice, Resource};
use crate::engine::cause::Cause;
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
        let session = Arc::clone(&self.session);
        let _turn = session.turn();
        let notice = session.announce()?;
        self.made = Made::Perhaps;
        let result = request(&notice);
        drop(notice);
        let result = self.note(result);
        self.session.settle(self.made == Made::Perhaps);
        Ok(result)
    }

    /// Makes this and another resource at the same time. Both guards are armed before the requests.
    pub(crate) fn create_beside(
        &mut self,
        other: &mut Self,
        request: impl FnOnce(&Notice<'_>) -> Result<Id, CreateError>,
        other_request: impl Fn() -> Result<Id, CreateError> + Sync,
    ) -> Result<[Result<Id, EngineError>; 2], Error> {
        let session = Arc::clone(&self.session);
        let _turn = session.turn();
        let notice = session.announce()?;
        (self.made, other.made) = (Made::Perhaps, Made::Perhaps);
        let [result, others] = at_once(|| request(&notice), other_request);
        drop(notice);
        let name = &other.name;
        tracing::debug!(name, is_made = others.is_ok(), "it was asked for at the same time");
        let results = [self.note(result), other.note(others)];
        self.session.settle(self.made == Made::Perhaps || other.made == Made::Perhaps);
        Ok(results)
    }

    fn note(&mut self, result: Result<Id, CreateError>) -> Result<Id, EngineError> {
        match result {
            Ok(id) => {
                self.made = Made::Id(id.clone());
                Ok(id)
            }
            Err(CreateError { error, made }) => {
                self.made = made;
                Err(error)
            }
        }
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

    /// Removes it now. It may be created again.
    pub(crate) fn undo(&mut self) -> Result<(), Error> {
        self.remove()
    }

    /// Removes it now.
    pub(crate) fn close(mut self) -> Result<(), Error> {
        self.remove()
    }

    /// Leaves it where it is.
    pub(crate) fn disarm(&mut self) {
        self.made = Made::Nothing;
    }

    /// Once: a failure is reported now, and not tried again by the drop.
    fn remove(&mut self) -> Result<(), Error> {
        self.end();
        let removed = self.remove_made();
        self.settle(&removed);
        removed
    }

    /// Notes the result of the removal.
    fn settle(&mut self, removed: &Result<(), Error>) {
        self.disarm();
        if removed.is_err() {
            self.session.set_left();
        }
    }

    /// Lets a container end by itself, and saves its log.
    fn end(&self) {
        let Made::Id(id) = &self.made else { return };
        let connection = self.session.connection();
        connection.end(id, self.grace);
        if let Some(path) = &self.log
            && let Err(error) = save_log(connection, id, path)
        {
            let path = path.display();
            tracing::warn!(%path, error = %error, "a log was not saved");
        }
    }

    fn remove_made(&self) -> Result<(), Error> {
        let connection = self.session.connection();
        let (resource, name) = (self.resource, &self.name);
        match &self.made {
            Made::Nothing => Ok(()),
            Made::Id(id) => {
                let deadline = connection.engine().look_deadline();
                orphans::remove_by_id(connection, resource, name, id, deadline)
            }
            Made::Perhaps => {
                orphans::remove_as_it_appears(connection, resource, name, &self.filter)
            }
        }
    }
}

/// Removes a container and its network, at the same time if the engine takes the one off the other first.
pub(crate) fn remove_both(container: &mut Guard, network: &mut Guard) -> [Result<(), Error>; 2] {
    container.end();
    let removed = if are_apart(container, network) {
        let [of_container, mut of_network] =
            at_once(|| container.remove_made(), || network.remove_made());
        tracing::debug!("container and network were removed at the same time");
        let is_in_use = |error: &Error| error.cause() == Some(Cause::NetworkInUse);
        // The container may have come back to it for a moment.
        if of_container.is_ok() && of_network.as_ref().is_err_and(is_in_use) {
            of_network = network.remove_made();
        }
        [of_container, of_network]
    } else {
        [container.remove_made(), network.remove_made()]
    };
    container.settle(&removed[0]);
    network.settle(&removed[1]);
    removed
}

/// Does one thing here, and the other at the same time in a thread of its own, or afterwards if there is no room for one.
///
/// The other is not logged: the caller, which waits for it, may hold a lock that a subscriber needs.
fn at_once<T: Send>(here: impl FnOnce() -> T, beside: impl Fn() -> T + Sync) -> [T; 2] {
    let beside = || with_default(&Dispatch::none(), &beside);
    #[cfg(test)]
    match crate::model::is_first() {
        Some(true) => {
            let done = here();
            return [done, beside()];
        }
        Some(false) => {
            let other = beside();
            return [here(), other];
        }
        None => {}
    }
    thread::scope(|scope| {
        let spawned = thread::Builder::new().spawn_scoped(scope, beside);
        let done = here();
        match spawned.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(other)) => [done, other],
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => [done, beside()],
        }
    })
}

/// Takes a container off its network; false if it may be on it yet.
fn are_apart(container: &Guard, network: &Guard) -> bool {
    let (Made::Id(container), Made::Id(id)) = (&container.made, &network.made) else {
        return false;
    };
    let connection = network.session.connection();
    let now = connection.engine().now();
    let whole = connection.engine().look_deadline().saturating_duration_since(now);
    // The removals that follow report what matters, and have all the time.
    let deadline = deadline(now, whole / 3);
    connection.backend().disconnect(id, container, deadline).unwrap_or_else(|error| {
        tracing::debug!(%error, "a container was not taken off its network before its removal");
        false
    })
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
        without_a_second_panic(|| {
            if let Err(error) = self.remove() {
                tracing::warn!(
                    resource = %self.resource,
                    name = self.name,
                    cause = ?error.cause(),
                    error = %error.chain(),
                    "a resource may be left"
                );
            }
        });
    }
}

/// Does the work of a drop. A second panic, such as a subscriber's, while another unwinds would end the process.
pub(crate) fn without_a_second_panic(work: impl FnOnce()) {
    if thread::panicking() {
        let _ = catch_unwind(AssertUnwindSafe(work));
    } else {
        work();
    }
}
