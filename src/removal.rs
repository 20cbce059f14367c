//! How things go: by id, and settled by asking whether they still exist.

use std::time::{Duration, Instant};

use crate::engine::command::CommandError;
use crate::engine::diagnosis::Cause;
use crate::engine::{Filter, Operations, Resource};
use crate::error::Error;
use crate::labels::ownership;
use crate::reaper;

/// Removes a thing by its id.
///
/// The engine's wording changes from release to release, so a removal that failed is settled by asking
/// whether the thing still exists.
pub(crate) fn by_id(
    engine: &dyn Operations,
    resource: Resource,
    name: &str,
    id: &str,
    until: Instant,
) -> Result<(), Error> {
    const PAUSE: Duration = Duration::from_millis(100);
    // The rest is for asking what became of a removal that did not answer.
    let answered = engine.now() + until.saturating_duration_since(engine.now()) / 4 * 3;
    loop {
        let Err(error) = engine.remove(resource, id, answered) else { return Ok(()) };
        let left = engine.find(resource, &Filter::Id(id.to_owned()), until);
        if left.is_ok_and(|ids| ids.is_empty()) {
            return Ok(());
        }
        if error.cause() != Cause::RemovalInProgress || engine.now() + PAUSE >= answered {
            return Err(not_removed(engine, resource, name, Some(id), Some(error), until));
        }
        engine.pause(PAUSE);
    }
}

/// Removes what a create whose answer was lost has made, or makes yet.
///
/// The engine may still be at it, so absence counts only when seen three times over at least a second.
pub(crate) fn of_whatever_appears(
    engine: &dyn Operations,
    resource: Resource,
    name: &str,
    labels: Vec<(String, String)>,
) -> Result<(), Error> {
    const PAUSE: Duration = Duration::from_millis(500);
    const SETTLING: Duration = Duration::from_secs(3);
    let until = engine.now() + engine.remove_deadline().max(SETTLING);
    let filter = Filter::Labels(labels);
    let (mut absent, mut last) = (0, None);
    loop {
        match engine.find(resource, &filter, until) {
            // What lost the answer may keep the engine from being asked for a while.
            Err(error) => (absent, last) = (0, Some(error)),
            Ok(ids) if ids.is_empty() => absent += 1,
            Ok(ids) => {
                absent = 0;
                ids.iter().try_for_each(|id| by_id(engine, resource, name, id, until))?;
            }
        }
        if absent == 3 {
            return Ok(());
        }
        if engine.now() + PAUSE >= until {
            return Err(not_removed(engine, resource, name, None, last, until));
        }
        engine.pause(PAUSE);
    }
}

/// Removes what dead owners of a slug left, and gives the ids: containers and networks. The caller holds
/// the slug's lease.
///
/// All containers go before any network: one may be on another owner's. And one may come while its network
/// is about to go, from a command that has outlived its owner.
pub(crate) fn of_the_dead(
    engine: &dyn Operations,
    prefix: &str,
    slug: &str,
    owners: &[String],
) -> Result<(Vec<String>, Vec<String>), Error> {
    const PATIENCE: Duration = Duration::from_secs(3);
    const PAUSE: Duration = Duration::from_millis(100);
    let me = engine.owner()?;
    if let Some(directory) = engine.state_dir() {
        for owner in owners.iter().filter(|owner| **owner != me) {
            reaper::wait_for_the_last_command(&directory, owner);
        }
    }
    let patience = engine.now() + PATIENCE;
    let mut removed = (Vec::new(), Vec::new());
    let name = format!("of slug {slug}");
    loop {
        let of = |resource, ids: &mut Vec<String>| {
            owners.iter().try_for_each(|owner| {
                let labels = ownership(prefix, slug, owner);
                ids.extend(of_labelled(engine, resource, &name, labels)?);
                Ok::<_, Error>(())
            })
        };
        let done = of(Resource::Container, &mut removed.0)
            .and_then(|()| of(Resource::Network, &mut removed.1));
        match done {
            Ok(()) => return Ok(removed),
            Err(error)
                if error.cause() != Some(Cause::NetworkInUse) || engine.now() >= patience =>
            {
                return Err(error);
            }
            Err(_) => engine.pause(PAUSE),
        }
    }
}

/// Removes all things of a kind that carry these labels, and gives their ids.
fn of_labelled(
    engine: &dyn Operations,
    resource: Resource,
    name: &str,
    labels: Vec<(String, String)>,
) -> Result<Vec<String>, Error> {
    let until = engine.now() + engine.remove_deadline();
    let found = engine.find(resource, &Filter::Labels(labels), until);
    let ids =
        found.map_err(|error| not_removed(engine, resource, name, None, Some(error), until))?;
    let failures = ids.iter().map(|id| by_id(engine, resource, name, id, until));
    Error::all(failures.filter_map(Result::err).collect())?;
    Ok(ids)
}

fn not_removed(
    engine: &dyn Operations,
    resource: Resource,
    name: &str,
    id: Option<&str>,
    source: Option<CommandError>,
    until: Instant,
) -> Error {
    let in_use = source.as_ref().is_some_and(|error| error.cause() == Cause::NetworkInUse);
    let attached = match id {
        Some(id) if in_use => engine.attached(id, until).unwrap_or_default(),
        _ => Vec::new(),
    };
    Error::NotRemoved {
        resource,
        name: name.to_owned(),
        id: id.map(str::to_owned),
        attached,
        command: engine.removal_command(resource, id.unwrap_or(name)),
        source,
    }
}
