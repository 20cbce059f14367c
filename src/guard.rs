//! The only `Drop`s: what removes the engine's things, and what lets go of the lease after them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::engine::{Made, Operations, Resource};
use crate::error::Error;
use crate::labels::Labels;
use crate::lease::{Kept, Lease};
use crate::reaper::Reaper;
use crate::removal;

/// Removes one thing of the engine, unless told otherwise.
///
/// It is armed before the command that makes the thing.
#[derive(Debug)]
pub(crate) struct Guard {
    engine: Arc<dyn Operations>,
    resource: Resource,
    name: String,
    labels: Labels,
    made: Made,
    /// What a container is given to end by itself.
    grace: Duration,
    // Last, so that the slug is free for others only when its thing is gone.
    hold: Arc<Hold>,
}

impl Guard {
    /// A guard of something that does not exist yet.
    pub(crate) fn new(
        engine: Arc<dyn Operations>,
        resource: Resource,
        name: String,
        labels: Labels,
        hold: Arc<Hold>,
    ) -> Self {
        let (made, grace) = (Made::Nothing, Duration::ZERO);
        Self { engine, resource, name, labels, made, grace, hold }
    }

    /// A guard of another thing of the same slug.
    pub(crate) fn beside(&self, resource: Resource, name: String) -> Self {
        let (engine, hold) = (Arc::clone(&self.engine), Arc::clone(&self.hold));
        Self::new(engine, resource, name, self.labels.clone(), hold)
    }

    /// The command that makes the thing is about to run.
    pub(crate) fn arm(&mut self) {
        self.made = Made::Perhaps;
    }

    pub(crate) fn set_made(&mut self, made: Made) {
        self.made = made;
    }

    pub(crate) fn set_grace(&mut self, grace: Duration) {
        self.grace = grace;
    }

    /// Somebody else has made the thing, and now it is ours.
    pub(crate) fn adopt(&mut self, id: String) {
        self.hold.reaper(|reaper| reaper.adopt(self.resource, &id));
        self.made = Made::Id(id);
    }

    pub(crate) fn engine(&self) -> &dyn Operations {
        &*self.engine
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn labels(&self) -> &Labels {
        &self.labels
    }

    pub(crate) fn hold(&self) -> &Hold {
        &self.hold
    }

    /// The id, empty while none is known.
    pub(crate) fn id(&self) -> &str {
        match &self.made {
            Made::Id(id) => id,
            Made::Nothing | Made::Perhaps => "",
        }
    }

    /// Removes it now.
    pub(crate) fn close(mut self) -> Result<(), Error> {
        self.remove()
    }

    /// Leaves it where it is.
    pub(crate) fn disarm(mut self) {
        if let Made::Id(id) = std::mem::replace(&mut self.made, Made::Nothing) {
            self.hold.reaper(|reaper| reaper.keep(&id));
        }
    }

    /// Once: what cannot be removed now is reported now, and not tried again by the drop.
    fn remove(&mut self) -> Result<(), Error> {
        let engine = &*self.engine;
        let removed = match std::mem::replace(&mut self.made, Made::Nothing) {
            Made::Nothing => return Ok(()),
            Made::Id(id) => {
                if !self.grace.is_zero() {
                    let until = engine.now() + self.grace + engine.remove_deadline();
                    // The removal that follows says what matters.
                    if let Err(error) = engine.stop(&id, self.grace, until) {
                        tracing::debug!(%error, "a container was not stopped before its removal");
                    }
                }
                let until = engine.now() + engine.remove_deadline();
                let removed = removal::by_id(engine, self.resource, &self.name, &id, until);
                if removed.is_ok() {
                    self.hold.reaper(|reaper| reaper.forget(&id));
                }
                removed
            }
            Made::Perhaps => {
                let labels = self.labels.ownership();
                removal::of_whatever_appears(engine, self.resource, &self.name, labels)
            }
        };
        if removed.is_err() {
            self.hold.leave();
        }
        removed
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(
                resource = %self.resource,
                name = self.name,
                cause = ?error.cause(),
                error = %error.chain(),
                "a dropped bundle left something behind"
            );
        }
    }
}

/// A program that goes on until it is not wanted any more.
#[derive(Debug)]
pub(crate) struct KillOnDrop(duct::Handle);

impl KillOnDrop {
    pub(crate) fn new(handle: duct::Handle) -> Self {
        Self(handle)
    }

    /// How it ended by itself, if it does within a moment.
    pub(crate) fn end(self) -> Option<std::process::ExitStatus> {
        for _ in 0..200 {
            if let Ok(Some(output)) = self.0.try_wait() {
                return Some(output.status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // It may have ended, and there is nobody left to tell of anything else.
        let _ = self.0.kill();
        // Killed, it needs a moment until it can be waited for, so that it is no zombie.
        for _ in 0..100 {
            match self.0.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(2)),
                Ok(Some(_)) | Err(_) => break,
            }
        }
    }
}

/// The slug's lease, shared by the guards of its things; the last of them lets go of it.
#[derive(Debug)]
pub(crate) struct Hold {
    lease: Option<Lease>,
    reaper: Option<Arc<Reaper>>,
    something_left: AtomicBool,
}

impl Hold {
    pub(crate) fn new(lease: Lease, reaper: Option<Arc<Reaper>>) -> Self {
        if let Some(reaper) = &reaper {
            reaper.hold();
        }
        Self { lease: Some(lease), reaper, something_left: AtomicBool::new(false) }
    }

    /// Who may have left things of this slug behind, and is dead.
    pub(crate) fn predecessors(&self) -> &[String] {
        self.lease.as_ref().map_or(&[], Lease::predecessors)
    }

    /// What was left on purpose.
    pub(crate) fn kept(&self) -> Kept {
        self.lease.as_ref().map_or(Kept::Nothing, Lease::kept)
    }

    /// Marks on the disk what stays after its owner.
    pub(crate) fn keep(&self, kept: Kept) -> Result<(), Error> {
        match &self.lease {
            Some(lease) if lease.kept() != kept => lease.set_kept(kept),
            _ => Ok(()),
        }
    }

    /// Something that was not to stay does.
    pub(crate) fn leave(&self) {
        self.something_left.store(true, Ordering::SeqCst);
    }

    pub(crate) fn reaper(&self, tell: impl FnOnce(&Reaper)) {
        if let Some(reaper) = &self.reaper {
            tell(reaper);
        }
    }

    /// What a command that makes something holds, so that the reaper waits for its end.
    pub(crate) fn tether(&self) -> Option<std::io::PipeWriter> {
        self.reaper.as_ref().and_then(|reaper| reaper.tether())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        // The reaper goes on trying to remove what could not be removed now.
        if self.something_left.load(Ordering::SeqCst) {
            return lease.abandon();
        }
        self.reaper(Reaper::release);
        match lease.kept() {
            Kept::Nothing => lease.end(),
            Kept::Network | Kept::Bundle => lease.abandon(),
        }
    }
}
