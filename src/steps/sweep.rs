//! The removal of orphans that no reaper removed.

use std::path::Path;
use std::time::SystemTime;

use crate::engine::Engine;
use crate::engine::backend::Id;
use crate::engine::connection::Connection;
use crate::error::Error;
use crate::ownership::lease::{Claim, Kept, Lease, Record, directory_of, leases, remove_unwritten};
use crate::ownership::orphans::{self, Removed};
use crate::ownership::reaper::Reaper;
use crate::plan::Slug;

/// Removes the orphans of the leases in an engine value's state directory.
///
/// It goes through the leases of the engine in its [directory](Engine::with_state_dir). If a lease can be taken, its
/// owner is dead: the resources that were made under it are removed, containers first, except for kept ones. Resources
/// of a living owner, and those under leases of another directory, user or host, are never touched. A launcher that
/// meets the sweep waits for it, ten seconds at most. The file of a swept lease stays for ten minutes if a request was
/// under way when its owner died, since the request may still have an effect.
///
/// ```no_run
/// use sidecar_bundle::{Engine, SweptOutcome, sweep};
///
/// for swept in sweep(&Engine::docker())? {
///     if let SweptOutcome::Removed { containers, networks, .. } = &swept.outcome {
///         println!("{}: {} and {}", swept.slug, containers.len(), networks.len());
///     }
/// }
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Look`] when the engine cannot be asked, and [`Error::Lease`] when the directory cannot be
/// read; nothing has been touched. A failure with one slug is that slug's outcome, and the others are
/// swept all the same, unless the engine no longer answers: that slug is the last of the result then.
pub fn sweep(engine: &Engine) -> Result<Vec<Swept>, Error> {
    walk(engine, false)
}

/// Returns what a [`sweep`] would do, and removes nothing.
///
/// ```no_run
/// use sidecar_bundle::{Engine, SweptOutcome, sweep_dry_run};
///
/// for swept in sweep_dry_run(&Engine::docker())? {
///     if let SweptOutcome::WouldRemove { containers, .. } = &swept.outcome {
///         println!("{} has {} orphaned containers", swept.slug, containers.len());
///     }
/// }
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
///
/// # Errors
///
/// As for [`sweep`].
pub fn sweep_dry_run(engine: &Engine) -> Result<Vec<Swept>, Error> {
    walk(engine, true)
}

/// The result of a sweep for one slug.
///
/// ```no_run
/// use sidecar_bundle::{Engine, SweptOutcome, sweep};
///
/// for swept in sweep(&Engine::docker())? {
///     if let SweptOutcome::Failed(error) = &swept.outcome {
///         let age = swept.since.elapsed().unwrap_or_default();
///         eprintln!("{}-{}, {} s old: {error}", swept.prefix, swept.slug, age.as_secs());
///     }
/// }
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Swept {
    /// The prefix of its names.
    pub prefix: String,
    /// The slug.
    pub slug: Slug,
    /// The time at which its last owner took it.
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::texts::time"))]
    pub since: SystemTime,
    /// The outcome.
    pub outcome: SweptOutcome,
}

/// The outcome of a sweep for one slug.
///
/// ```
/// use sidecar_bundle::SweptOutcome;
///
/// fn told(outcome: &SweptOutcome) -> String {
///     match outcome {
///         SweptOutcome::Removed { networks, .. } => format!("{} networks are gone", networks.len()),
///         SweptOutcome::Held { pid, .. } => format!("process {pid} has it"),
///         _ => "nothing to do".into(),
///     }
/// }
/// assert_eq!(told(&SweptOutcome::Clean), "nothing to do");
/// ```
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum SweptOutcome {
    /// Orphans were removed.
    #[non_exhaustive]
    Removed {
        /// Ids of containers.
        containers: Vec<String>,
        /// Ids of networks.
        networks: Vec<String>,
    },
    /// Orphans would be removed; in a dry run only.
    #[non_exhaustive]
    WouldRemove {
        /// Ids of containers.
        containers: Vec<String>,
        /// Ids of networks.
        networks: Vec<String>,
    },
    /// There were no orphans.
    Clean,
    /// The owner lives.
    #[non_exhaustive]
    Held {
        /// The owner's process id.
        pid: u32,
    },
    /// A network or a bundle was kept, and there were no orphans beside it.
    Kept,
    /// An orphan could not be removed, or the engine could not be asked. The next sweep tries again.
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::texts::error"))]
    Failed(Error),
}

fn walk(engine: &Engine, dry_run: bool) -> Result<Vec<Swept>, Error> {
    let _entered = tracing::info_span!("sweep", dry_run).entered();
    let directory = directory_of(engine)?;
    let connection =
        Connection::open(engine).map_err(|source| Error::Look { what: "its identity", source })?;
    let engine = connection.info().identity.digest();
    let failed = |source| Error::Lease { path: directory.clone(), source };
    let leases = leases(&directory, &engine).map_err(failed)?;
    if !dry_run && let Err(error) = remove_unwritten(&directory, &engine) {
        tracing::debug!(%error, "an empty lease stays");
    }
    let mut swept = Vec::new();
    for (path, record) in leases {
        let outcome = sweep_one(&connection, &path, &record, dry_run);
        let Some(outcome) = outcome.unwrap_or_else(|error| Some(SweptOutcome::Failed(error)))
        else {
            continue;
        };
        let has_failed = matches!(outcome, SweptOutcome::Failed(_));
        let Record { prefix, slug, since, .. } = record;
        swept.push(Swept { prefix, slug, since, outcome });
        // Each further slug would wait for an engine that is gone as long as this one has.
        if has_failed && connection.check(connection.engine().look_deadline()).is_err() {
            tracing::warn!("the engine does not answer any more; the rest is not swept");
            break;
        }
    }
    Ok(swept)
}

/// None if the lease has ended in the meantime.
fn sweep_one(
    connection: &Connection,
    path: &Path,
    record: &Record,
    dry_run: bool,
) -> Result<Option<SweptOutcome>, Error> {
    let claim =
        Lease::claim(path).map_err(|source| Error::Lease { path: path.to_owned(), source })?;
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
    let texts = |ids: Vec<Id>| ids.iter().map(Id::to_string).collect::<Vec<_>>();
    let none = |kept: Kept| match kept {
        Kept::Nothing => SweptOutcome::Clean,
        Kept::Network(_) | Kept::Bundle { .. } => SweptOutcome::Kept,
    };
    let removed = if dry_run {
        orphans::find(connection, &lease)?
    } else {
        let removed = orphans::remove(connection, &record.slug, &lease, None)?;
        lease.set_clean();
        Reaper::forget_others(connection, &lease);
        removed
    };
    if removed == Removed::default() {
        return Ok(Some(none(lease.kept())));
    }
    let (containers, networks) = (texts(removed.containers), texts(removed.networks));
    Ok(Some(if dry_run {
        SweptOutcome::WouldRemove { containers, networks }
    } else {
        SweptOutcome::Removed { containers, networks }
    }))
}
