//! The removal of orphans that no reaper removed.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use super::bundles::list;
use crate::engine::Engine;
use crate::engine::backend::{Id, Listed, Resource};
use crate::engine::connection::Connection;
use crate::error::Error;
use crate::host;
use crate::ownership::labels;
use crate::ownership::lease::{Claim, Kept, Lease, Record, directory_of, leases, remove_unwritten};
use crate::ownership::orphans::{self, Removed};
use crate::ownership::reaper::Reaper;
use crate::plan::Slug;

/// Removes the orphans of the leases in an engine value's state directory, and what has expired.
///
/// First it removes every bundle on the engine whose [lifetime](crate::NetworkPlanned::with_lifetime) has ended by the
/// clock of this host, whoever owns it, kept or not, and whether its owner lives or not.
///
/// Then it goes through the leases of the engine in its [directory](Engine::with_state_dir). If a lease can be taken,
/// its owner is dead: the resources that were made under it are removed, containers first, except for kept ones. Other
/// resources of a living owner, and those under leases of another directory, user or host, are never touched. A
/// launcher that meets the sweep waits for it, ten seconds at most. The file of a swept lease stays for ten minutes if
/// a request was under way when its owner died, since the request may still have an effect. A slug that another sweep, or
/// a dry run, has in hand is left to that one, and is in the result of that one alone.
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
///         eprintln!("{}-{}, since {:?}: {error}", swept.prefix, swept.slug, swept.since);
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
    /// The time at which its last owner took it; of what has expired, at which the engine created it, if that is known.
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::texts::known_time"))]
    pub since: Option<SystemTime>,
    /// The end of its lifetime, if it was removed for that, whoever its owner is.
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::texts::known_time"))]
    pub expired: Option<SystemTime>,
    /// The name of its owner's host: of what has expired as its labels tell it, else this host's.
    pub host: Option<String>,
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
    let mut swept = remove_expired(&connection, dry_run)?;
    for (path, record) in leases {
        if swept.last().is_some_and(|last| is_away(&connection, last)) {
            break;
        }
        let outcome = sweep_one(&connection, &path, &record, dry_run);
        let Some(outcome) = outcome.unwrap_or_else(|error| Some(SweptOutcome::Failed(error)))
        else {
            continue;
        };
        let Record { prefix, slug, since, .. } = record;
        let (since, host) = (Some(since), host::name());
        swept.push(Swept { prefix, slug, since, expired: None, host, outcome });
    }
    Ok(swept)
}

/// Returns true if a slug has failed and the engine does not answer any more. Each further slug would wait as long.
fn is_away(connection: &Connection, last: &Swept) -> bool {
    let is_away = matches!(last.outcome, SweptOutcome::Failed(_))
        && connection.check(connection.engine().look_deadline()).is_err();
    if is_away {
        tracing::warn!("the engine does not answer any more; the rest is not swept");
    }
    is_away
}

/// Removes the bundles whose lifetime has ended, of any owner.
fn remove_expired(connection: &Connection, dry_run: bool) -> Result<Vec<Swept>, Error> {
    let now = SystemTime::now();
    let mut bundles: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (resource, it) in list(connection)? {
        if let (Some(bundle), Some(lease)) =
            (labels::bundle_in(&it.labels), labels::lease_in(&it.labels))
        {
            bundles.entry((bundle, lease.to_owned())).or_default().push((resource, it));
        }
    }
    let mut swept = Vec::new();
    for (((prefix, slug), _), parts) in bundles {
        let expired =
            labels::expiry(parts.iter().map(|(_, it)| &it.labels)).filter(|it| *it <= now);
        let Some(expired) = expired else { continue };
        if swept.last().is_some_and(|last| is_away(connection, last)) {
            break;
        }
        let Some(outcome) = remove_parts(connection, &slug, &parts, dry_run) else { continue };
        let since = parts.iter().filter_map(|(_, it)| it.created).min();
        let host = parts.iter().find_map(|(_, it)| labels::host_in(&it.labels));
        swept.push(Swept { prefix, slug, since, expired: Some(expired), host, outcome });
    }
    Ok(swept)
}

/// Removes what has expired of one bundle; none if its owner closed it meanwhile.
fn remove_parts(
    connection: &Connection,
    slug: &Slug,
    parts: &[(Resource, Listed)],
    dry_run: bool,
) -> Option<SweptOutcome> {
    if dry_run {
        let ids = |kind| {
            let of_kind = parts.iter().filter(move |(resource, _)| *resource == kind);
            of_kind.map(|(_, it)| it.id.to_string()).collect()
        };
        let (containers, networks) = (ids(Resource::Container), ids(Resource::Network));
        return Some(SweptOutcome::WouldRemove { containers, networks });
    }
    // A container that was added to a kept network expires later, and goes first.
    let mut by_expiry: Vec<_> = parts.iter().map(|(_, it)| &it.labels).collect();
    by_expiry.sort_by_key(|it| Reverse(labels::expires_in(it)));
    by_expiry.dedup_by_key(|it| labels::expires_in(it));
    let mut removed = Removed::default();
    let done = by_expiry.into_iter().try_for_each(|it| {
        let more = orphans::remove_labelled(connection, slug, &labels::of_expiry(it))?;
        removed.containers.extend(more.containers);
        removed.networks.extend(more.networks);
        Ok(())
    });
    match done {
        Ok(()) if removed == Removed::default() => None,
        Ok(()) => Some(removed.into()),
        Err(error) => Some(SweptOutcome::Failed(error)),
    }
}

/// The resources that were kept under a lease; nothing if all of them have gone, as those that had expired.
fn kept_still(connection: &Connection, lease: &Lease) -> Result<Kept, Error> {
    let kept = lease.kept();
    let is_gone = |resource, id: &Id| {
        let gone = connection.is_gone(resource, id, connection.engine().look_deadline());
        gone.map_err(|source| Error::Look { what: "what was kept", source })
    };
    let is_gone = match &kept {
        Kept::Nothing => true,
        Kept::Network(network) => is_gone(Resource::Network, network)?,
        Kept::Bundle { network, container } => {
            is_gone(Resource::Container, container)? && is_gone(Resource::Network, network)?
        }
    };
    Ok(if is_gone { Kept::Nothing } else { kept })
}

impl From<Removed> for SweptOutcome {
    fn from(removed: Removed) -> Self {
        let texts = |ids: Vec<Id>| ids.iter().map(Id::to_string).collect();
        Self::Removed { containers: texts(removed.containers), networks: texts(removed.networks) }
    }
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
    let none = |kept: Kept| match kept {
        Kept::Nothing => SweptOutcome::Clean,
        Kept::Network(_) | Kept::Bundle { .. } => SweptOutcome::Kept,
    };
    let kept = kept_still(connection, &lease)?;
    let removed = if dry_run {
        orphans::find(connection, &lease)?
    } else {
        if kept == Kept::Nothing {
            lease.forget()?;
        }
        let removed = orphans::remove(connection, &record.slug, &lease, None)?;
        lease.set_clean();
        Reaper::forget_others(connection, &lease);
        removed
    };
    if removed == Removed::default() {
        return Ok(Some(none(kept)));
    }
    Ok(Some(match removed.into() {
        SweptOutcome::Removed { containers, networks } if dry_run => {
            SweptOutcome::WouldRemove { containers, networks }
        }
        outcome => outcome,
    }))
}
