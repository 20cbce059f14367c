//! A session: the ownership of one slug on one engine, from the first request to the last removal.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::calls;
use super::labels::{self, LabelMap};
use super::lease::{Kept, Lease, directory_of};
use super::orphans::{self, Removed};
use super::random_id;
use super::reaper::{Hold, Reaper};
use super::teardown;
use crate::engine::Engine;
use crate::engine::backend::{Filter, Notice};
use crate::engine::connection::Connection;
use crate::error::Error;
use crate::host;
use crate::plan::{NetworkPlanned, Slug};

/// Lease, owner, engine, redactor, deadlines and reaper of one slug.
///
/// The guards of its resources share it; the last of them ends it.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    owner: String,
    /// The end of the lifetime of all that it makes.
    expires: Option<SystemTime>,
    /// Something may be left when the session ends.
    left: AtomicBool,
    /// A resource of this session could not be removed, or may appear yet.
    unsure: AtomicBool,
    /// Held by what makes something: the lease has room for one.
    turn: Mutex<()>,
    // In the order of teardown: the slug is free when nobody is at work for it any more.
    reaper: Option<Hold>,
    lease: Lease,
}

impl Session {
    /// Asks the engine for its identity, and takes the lease of the slug. Nothing is created on the engine.
    pub(crate) fn open(engine: &Engine, plan: &NetworkPlanned) -> Result<Self, Error> {
        let connection = Connection::open(engine);
        let connection =
            connection.map_err(|source| Error::Look { what: "its identity", source })?;
        Self::on(connection, plan)
    }

    /// Takes the lease of the slug on an engine that has been asked for its identity. It first waits for what would collide
    /// with the plan: teardowns of this process in the background, and its abandoned calls.
    pub(crate) fn on(connection: Connection, plan: &NetworkPlanned) -> Result<Self, Error> {
        let owner =
            random_id().map_err(|source| Error::Lease { path: PathBuf::from("owner"), source })?;
        calls::claim(&connection, plan)?;
        let directory = directory_of(connection.engine())?;
        let engine = connection.info().identity.digest();
        teardown::join(&engine, |it| it.collides_with(plan));
        let prefix = plan.naming().prefix();
        let lease = Lease::take(&directory, prefix, plan.slug(), &engine, &owner)?;
        let expires = plan.lifetime().and_then(labels::end_of);
        let left = AtomicBool::new(lease.previous_owner().is_some());
        let unsure = AtomicBool::new(false);
        let turn = Mutex::default();
        Ok(Self { connection, owner, expires, left, unsure, turn, reaper: None, lease })
    }

    /// The session under the protection of a reaper, if there is to be one.
    pub(crate) fn with_reaper(mut self) -> Self {
        self.reaper = Reaper::hold(&self.connection, &self.owner, self.lease.path());
        self
    }

    /// The session with what was kept as its own, and with a reaper if there is anything.
    pub(crate) fn with_kept(self) -> Result<Self, Error> {
        if self.lease.kept() == Kept::Nothing {
            return Ok(self);
        }
        let session = self.with_reaper();
        session.adopt_kept()?;
        Ok(session)
    }

    /// The session of a bundle that exists, and expires when its network does.
    pub(crate) fn expiring(mut self, expires: Option<SystemTime>) -> Self {
        self.expires = expires;
        self
    }

    /// The end of the lifetime of all that it makes.
    pub(crate) fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// Returns true if a reaper runs, which removes what this process leaves.
    pub(crate) fn has_reaper(&self) -> bool {
        self.reaper.as_ref().is_some_and(Hold::has_process)
    }

    /// Takes the mark off what was kept. The reaper listens before, so that it is removed even if this process dies.
    pub(crate) fn adopt_kept(&self) -> Result<(), Error> {
        self.confirm_reaper();
        self.lease.adopt()
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The digest of the engine's identity.
    pub(crate) fn engine(&self) -> String {
        self.connection.info().identity.digest()
    }

    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The labels of the plan's resources.
    pub(crate) fn labels(&self, plan: &NetworkPlanned) -> LabelMap {
        let labels = labels::of_plan(plan, &self.engine(), &self.lease.id(), &self.owner);
        labels::with_owner(labels, host::name(), self.expires)
    }

    /// All resources that this session made.
    pub(crate) fn own(&self) -> Filter {
        labels::of_owner(&self.owner)
    }

    /// Returns true if a resource was made under this lease.
    pub(crate) fn is_under_lease(&self, labels: &LabelMap) -> bool {
        labels::lease_in(labels) == Some(&*self.lease.id())
    }

    /// Returns true if there may be orphans: somebody owned the slug since it was last clean.
    pub(crate) fn may_have_orphans(&self) -> bool {
        self.lease.previous_owner().is_some()
    }

    /// Removes the orphans of the slug: all that was made under its lease, is neither kept nor adopted,
    /// and was not made by this session.
    pub(crate) fn remove_orphans(&self, slug: &Slug) -> Result<(), Error> {
        if !self.may_have_orphans() {
            return Ok(());
        }
        let removed =
            orphans::remove(&self.connection, slug, &self.lease, Some(&self.own())).map(drop);
        self.left.store(removed.is_err(), Ordering::SeqCst);
        if removed.is_ok() {
            Reaper::forget_others(&self.connection, &self.lease);
        }
        removed
    }

    /// Removes everything with these labels, whether it was kept or not.
    pub(crate) fn remove_labelled(&self, slug: &Slug, filter: &Filter) -> Result<Removed, Error> {
        let removed = orphans::remove_labelled(&self.connection, slug, filter);
        match removed {
            Ok(_) => self.set_clean(),
            Err(_) => self.set_left(),
        }
        removed
    }

    /// Waits until nothing else of this session is being made.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells reaper and next owner that a creating request is under way, until [`settle`](Self::settle).
    pub(crate) fn announce(&self) -> Result<Notice<'_>, Error> {
        calls::go_on()?;
        self.lease.making(Some(0))?;
        let started = |pid| {
            if let Err(error) = self.lease.making(Some(pid)) {
                tracing::debug!(error = %error.chain(), "a lease could not be written");
            }
        };
        self.renew_reaper();
        let liveness = self.reaper.as_ref().and_then(Hold::liveness);
        Ok(Notice { liveness, started: Box::new(started) })
    }

    /// Replaces a reaper that was killed meanwhile.
    pub(crate) fn renew_reaper(&self) {
        if let Some(hold) = &self.reaper {
            hold.renew(&self.connection, self.lease.path());
        }
    }

    /// The creating requests have ended; if an answer is lost, its effect may be yet to come.
    pub(crate) fn settle(&self, is_lost: bool) {
        if is_lost {
            self.lease.unsettle();
            self.unsure.store(true, Ordering::SeqCst);
        }
        self.confirm_reaper();
        if let Err(error) = self.lease.making(None) {
            tracing::warn!(error = %error.chain(), "a lease could not be written");
        }
    }

    /// Waits until the reaper listens, if it was started by this session. It starts while the engine makes something.
    fn confirm_reaper(&self) {
        if let Some(hold) = &self.reaper {
            hold.confirm(&self.connection);
        }
    }

    /// Notes that a removal failed.
    pub(crate) fn set_left(&self) {
        self.left.store(true, Ordering::SeqCst);
        self.unsure.store(true, Ordering::SeqCst);
    }

    /// Notes that nothing of the slug is left.
    fn set_clean(&self) {
        self.left.store(false, Ordering::SeqCst);
        Reaper::forget_others(&self.connection, &self.lease);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.left.load(Ordering::SeqCst) {
            self.lease.set_clean();
        }
        if let Some(hold) = &mut self.reaper {
            // The reaper looks again at the end of this process.
            hold.set_left(self.unsure.load(Ordering::SeqCst));
        }
    }
}
