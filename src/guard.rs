//! The only `Drop`s: what removes the engine's things, and what lets go of the lease after them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::command::CommandError;
use crate::engine::diagnosis::Cause;
use crate::engine::{Filter, Made, Operations, Resource};
use crate::error::Error;
use crate::labels::Labels;
use crate::lease::Lease;

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
    // Last, so that the slug is free for others only when its thing is gone.
    hold: Arc<Hold>,
}

impl Guard {
    /// A guard of something that is about to be made.
    pub(crate) fn arm(
        engine: Arc<dyn Operations>,
        resource: Resource,
        name: String,
        labels: Labels,
        hold: Arc<Hold>,
    ) -> Self {
        Self { engine, resource, name, labels, made: Made::Perhaps, hold }
    }

    /// A guard of another thing of the same slug.
    pub(crate) fn arm_beside(&self, resource: Resource, name: String) -> Self {
        let (engine, hold) = (Arc::clone(&self.engine), Arc::clone(&self.hold));
        Self::arm(engine, resource, name, self.labels.clone(), hold)
    }

    pub(crate) fn set_made(&mut self, made: Made) {
        self.made = made;
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
        self.made = Made::Nothing;
    }

    /// Once: what cannot be removed now is reported now, and not tried again by the drop.
    fn remove(&mut self) -> Result<(), Error> {
        let removed = match std::mem::replace(&mut self.made, Made::Nothing) {
            Made::Nothing => return Ok(()),
            Made::Id(id) => self.remove_id(&id, Instant::now() + self.engine.remove_deadline()),
            Made::Perhaps => self.remove_whatever_appears(),
        };
        if removed.is_err() {
            self.hold.leave();
        }
        removed
    }

    /// A removal that failed is settled by asking whether the thing still exists.
    fn remove_id(&self, id: &str, until: Instant) -> Result<(), Error> {
        const PAUSE: Duration = Duration::from_millis(100);
        loop {
            let Err(error) = self.engine.remove(self.resource, id, until) else { return Ok(()) };
            let left = self.engine.find(self.resource, &Filter::Id(id.to_owned()), until);
            if left.is_ok_and(|ids| ids.is_empty()) {
                return Ok(());
            }
            if error.cause() != Cause::RemovalInProgress || Instant::now() + PAUSE >= until {
                return Err(self.not_removed(Some(id), Some(error)));
            }
            thread::sleep(PAUSE);
        }
    }

    /// After an answer that was lost: the engine may still be at it, so absence counts only when seen
    /// three times over at least a second.
    fn remove_whatever_appears(&self) -> Result<(), Error> {
        const PAUSE: Duration = Duration::from_millis(500);
        const SETTLING: Duration = Duration::from_secs(3);
        let until = Instant::now() + self.engine.remove_deadline().max(SETTLING);
        let filter = Filter::Labels(self.labels.ownership());
        let mut absent = 0;
        loop {
            match self.engine.find(self.resource, &filter, until) {
                Err(error) => return Err(self.not_removed(None, Some(error))),
                Ok(ids) if ids.is_empty() => absent += 1,
                Ok(ids) => {
                    absent = 0;
                    ids.iter().try_for_each(|id| self.remove_id(id, until))?;
                }
            }
            if absent == 3 {
                return Ok(());
            }
            if Instant::now() + PAUSE >= until {
                return Err(self.not_removed(None, None));
            }
            thread::sleep(PAUSE);
        }
    }

    fn not_removed(&self, id: Option<&str>, source: Option<CommandError>) -> Error {
        Error::NotRemoved {
            resource: self.resource,
            name: self.name.clone(),
            id: id.map(str::to_owned),
            command: self.engine.removal_command(self.resource, id.unwrap_or(&self.name)),
            source,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(
                resource = %self.resource,
                name = self.name,
                cause = ?error.cause(),
                %error,
                "a dropped bundle left something behind"
            );
        }
    }
}

/// The slug's lease, shared by the guards of its things; the last of them lets go of it.
#[derive(Debug)]
pub(crate) struct Hold {
    lease: Option<Lease>,
    something_left: AtomicBool,
}

impl Hold {
    pub(crate) fn new(lease: Lease) -> Self {
        let something_left = AtomicBool::new(lease.kept());
        Self { lease: Some(lease), something_left }
    }

    /// Marks on the disk that the slug's things stay after their owner.
    pub(crate) fn keep(&self) -> Result<(), Error> {
        self.leave();
        self.lease.as_ref().map_or(Ok(()), |lease| lease.set_kept(true))
    }

    /// The slug's things are this owner's again.
    pub(crate) fn unkeep(&self) -> Result<(), Error> {
        match &self.lease {
            Some(lease) if lease.kept() => lease.set_kept(false)?,
            _ => {}
        }
        self.something_left.store(false, Ordering::SeqCst);
        Ok(())
    }

    fn leave(&self) {
        self.something_left.store(true, Ordering::SeqCst);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        match self.lease.take() {
            Some(lease) if self.something_left.load(Ordering::SeqCst) => lease.abandon(),
            Some(lease) => lease.end(),
            None => {}
        }
    }
}
