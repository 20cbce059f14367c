//! What dead owners left, and even the reaper could not remove.

use std::path::Path;
use std::time::SystemTime;

use crate::engine::{Engine, Filter, Operations, Resource};
use crate::error::Error;
use crate::labels::ownership;
use crate::lease::{Claim, Kept, Lease, Record, directory_of, leases};
use crate::removal;

/// Removes what dead owners left on an engine.
///
/// It goes through the leases of the engine in its [directory](crate::CliEngine::with_state_dir), and
/// where one can be taken, its owner is dead: what the labels say was made by it goes, containers
/// first. What a living owner holds, what was kept, and what was made with leases of another
/// directory, by other users or on other hosts, is never touched. A launcher that meets the sweep
/// waits for it, ten seconds at most. The file of a swept lease stays for ten minutes: a command of the
/// dead owner may have outlived it, and make its thing only then.
///
/// ```no_run
/// use sidecar_bundle::{CliEngine, SweptOutcome, sweep};
///
/// for swept in sweep(&CliEngine::docker())? {
///     if let SweptOutcome::Removed { containers, networks } = &swept.outcome {
///         println!("{}: {} and {}", swept.slug, containers.len(), networks.len());
///     }
/// }
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Lease`] when the directory cannot be read; nothing has been touched. What goes wrong with
/// one slug is that slug's outcome, and the others are swept all the same.
pub fn sweep<E: Engine + ?Sized>(engine: &E) -> Result<Vec<Swept>, Error> {
    walk(&*engine.shared(), false)
}

/// Says what a [`sweep`] would remove, and removes nothing.
///
/// # Errors
///
/// As for [`sweep`].
pub fn sweep_dry_run<E: Engine + ?Sized>(engine: &E) -> Result<Vec<Swept>, Error> {
    walk(&*engine.shared(), true)
}

/// What a sweep did about one slug.
#[derive(Debug)]
#[non_exhaustive]
pub struct Swept {
    /// The product's prefix.
    pub prefix: String,
    /// The slug.
    pub slug: String,
    /// When its last owner took it.
    pub since: SystemTime,
    /// What was done.
    pub outcome: SweptOutcome,
}

/// What came of a slug in a sweep.
#[derive(Debug)]
#[non_exhaustive]
pub enum SweptOutcome {
    /// These were removed, or would be in a real sweep: ids, none if the reaper was there before.
    Removed {
        /// Ids of containers.
        containers: Vec<String>,
        /// Ids of networks.
        networks: Vec<String>,
    },
    /// Its owner lives.
    Held {
        /// The owner's process id.
        pid: u32,
    },
    /// It was left on purpose.
    Kept,
    /// Something could not be removed, or the engine not be asked. The next sweep tries again.
    Failed(Error),
}

fn walk(engine: &dyn Operations, dry_run: bool) -> Result<Vec<Swept>, Error> {
    let _entered = tracing::info_span!("sweep", dry_run).entered();
    let directory = directory_of(engine)?;
    let leases = leases(&directory, &engine.endpoint())
        .map_err(|source| Error::Lease { path: directory.clone(), source })?;
    let swept = leases.into_iter().filter_map(|(path, record)| {
        let outcome = sweep_one(engine, &directory, &path, &record, dry_run);
        let outcome = outcome.unwrap_or_else(|error| Some(SweptOutcome::Failed(error)))?;
        let Record { prefix, slug, since, .. } = record;
        Some(Swept { prefix, slug, since, outcome })
    });
    Ok(swept.collect())
}

/// `None` if the lease has ended well in the meantime.
fn sweep_one(
    engine: &dyn Operations,
    directory: &Path,
    path: &Path,
    record: &Record,
    dry_run: bool,
) -> Result<Option<SweptOutcome>, Error> {
    let claim = Lease::claim(directory, path)
        .map_err(|source| Error::Lease { path: path.to_owned(), source })?;
    let lease = match claim {
        Claim::Won(lease) => lease,
        Claim::Held(holder) if holder.as_ref().is_some_and(|holder| holder.sweep) => {
            return Ok(None);
        }
        Claim::Held(holder) => {
            let pid = holder.map_or(record.pid, |holder| holder.pid);
            return Ok(Some(SweptOutcome::Held { pid }));
        }
        Claim::Gone => return Ok(None),
    };
    if lease.kept() != Kept::Nothing {
        lease.abandon();
        return Ok(Some(SweptOutcome::Kept));
    }
    let removed = remove(engine, &lease, record, dry_run);
    if removed.is_ok() && !dry_run {
        lease.end();
    } else {
        lease.abandon();
    }
    let (containers, networks) = removed?;
    Ok(Some(SweptOutcome::Removed { containers, networks }))
}

/// Looked up only now that the lease is held.
fn remove(
    engine: &dyn Operations,
    lease: &Lease,
    record: &Record,
    dry_run: bool,
) -> Result<(Vec<String>, Vec<String>), Error> {
    let (prefix, slug, owners) = (&record.prefix, &record.slug, lease.predecessors());
    if !dry_run {
        return removal::of_the_dead(engine, prefix, slug, owners);
    }
    let until = engine.now() + engine.remove_deadline();
    let find = |resource| {
        let found = owners.iter().map(|owner| {
            engine.find(resource, &Filter::Labels(ownership(prefix, slug, owner)), until)
        });
        let found: Result<Vec<_>, _> = found.collect();
        found
            .map(|ids| ids.into_iter().flatten().collect())
            .map_err(|source| Error::Look { what: "what is left", source })
    };
    Ok((find(Resource::Container)?, find(Resource::Network)?))
}
