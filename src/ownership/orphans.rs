//! Removal: by id, and settled by looking whether the resource still exists.

use std::time::{Duration, Instant};

use super::labels;
use super::lease::Lease;
use crate::engine::backend::{Filter, Id, Resource};
use crate::engine::cause::Cause;
use crate::engine::connection::Connection;
use crate::engine::error::EngineError;
use crate::error::Error;
use crate::plan::Slug;

/// The ids of resources that were removed, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) containers: Vec<Id>,
    pub(crate) networks: Vec<Id>,
}

/// Removes a resource by its id.
///
/// The engine's wording changes from release to release, so a removal that failed is settled by looking
/// if the resource still exists.
pub(crate) fn remove_by_id(
    connection: &Connection,
    resource: Resource,
    name: &str,
    id: &Id,
    deadline: Instant,
) -> Result<(), Error> {
    const PAUSE: Duration = Duration::from_millis(100);
    // Podman refuses it in the moment in which a container ends by itself, and Docker while its file system is busy.
    const TRIES_OF_A_CONTAINER: usize = 4;
    // A manager that was away knows the end of a container a second after its node does.
    const TRIES_IN_A_SWARM: usize = 50;
    let engine = connection.engine();
    let mut tries = 0;
    // The rest is for a look after a removal that did not answer.
    let answered = engine.now() + deadline.saturating_duration_since(engine.now()) / 4 * 3;
    loop {
        tries += 1;
        let Err(error) = connection.remove(resource, id, answered) else {
            await_absence(connection, id, answered);
            return Ok(());
        };
        let error = match connection.is_gone(resource, id, deadline) {
            Ok(true) => return Ok(()),
            Err(look) if look.cause() == Cause::AnotherEngine => look,
            Ok(false) | Err(_) => error,
        };
        // An engine lists for a moment what it does not know any more.
        let may_be_going = matches!(
            error.cause(),
            Cause::RemovalInProgress | Cause::ContainerMissing | Cause::NetworkMissing
        ) || resource == Resource::Container
            && error.cause() != Cause::AnotherEngine
            && tries < TRIES_OF_A_CONTAINER
            || id.is_of_swarm() && error.cause() == Cause::NetworkInUse && tries < TRIES_IN_A_SWARM;
        if !may_be_going || engine.now() + PAUSE >= answered {
            let target = Filter::Id(id.clone());
            return Err(not_removed(connection, resource, name, &target, Some(error), deadline));
        }
        engine.pause(PAUSE);
    }
}

/// Waits until the engine does not list a network that its swarm has removed, for two seconds at most. Until then, its name
/// is taken there.
fn await_absence(connection: &Connection, id: &Id, deadline: Instant) {
    const PAUSE: Duration = Duration::from_millis(20);
    const LOOKS: usize = 100;
    let engine = connection.engine();
    for _ in 0..LOOKS {
        if !id.is_of_swarm()
            || !matches!(connection.is_gone(Resource::Network, id, deadline), Ok(false))
        {
            return;
        }
        engine.pause(PAUSE);
    }
    tracing::debug!(%id, "the engine still lists a network that its swarm has removed");
}

/// Removes the resources with these labels that exist, or appear: the answer to a create was lost.
///
/// The engine may still be at work, so an absence counts only when it was seen three times over at least a
/// second. What appears later is left to the reaper and to the next launch.
pub(crate) fn remove_as_it_appears(
    connection: &Connection,
    resource: Resource,
    name: &str,
    filter: &Filter,
) -> Result<(), Error> {
    const PAUSE: Duration = Duration::from_millis(500);
    const SETTLING: Duration = Duration::from_secs(3);
    let (engine, backend) = (connection.engine(), connection.backend());
    let deadline = engine.look_deadline().max(engine.now() + SETTLING);
    let (mut absent, mut last) = (0, None);
    loop {
        let check = || match resource {
            Resource::Container => Ok(()),
            Resource::Network => connection.check_view(deadline),
        };
        let before = check();
        match connection.here(deadline, || backend.find(resource, filter, deadline)) {
            // An engine that lost the answer may not answer for a while.
            Err(error) => (absent, last) = (0, Some(error)),
            Ok(ids) if ids.is_empty() => match before.and_then(|()| check()) {
                Ok(()) => absent += 1,
                Err(error) => (absent, last) = (0, Some(error)),
            },
            Ok(ids) => {
                absent = 0;
                ids.iter()
                    .try_for_each(|id| remove_by_id(connection, resource, name, id, deadline))?;
            }
        }
        if absent == 3 {
            return Ok(());
        }
        if engine.now() + PAUSE >= deadline {
            return Err(not_removed(connection, resource, name, filter, last, deadline));
        }
        engine.pause(PAUSE);
    }
}

/// Removes everything that was made under a lease, but for what its record exempts and what is `own`. The
/// caller holds the lease.
///
/// All containers go before any network. A container may come while its network is about to go, from a
/// request that has outlived its owner.
pub(crate) fn remove(
    connection: &Connection,
    slug: &Slug,
    lease: &Lease,
    own: Option<&Filter>,
) -> Result<Removed, Error> {
    remove_all(
        connection,
        slug,
        |resource, deadline| find_orphans(connection, lease, own, resource, deadline),
        |_, source| Error::Look { what: "orphans", source },
    )
}

/// Finds what [`remove`] would remove.
pub(crate) fn find(connection: &Connection, lease: &Lease) -> Result<Removed, Error> {
    let found = find_all(connection, |resource, deadline| {
        find_orphans(connection, lease, None, resource, deadline)
    });
    found.map_err(|source| Error::Look { what: "orphans", source })
}

/// Removes everything with these labels.
pub(crate) fn remove_labelled(
    connection: &Connection,
    slug: &Slug,
    filter: &Filter,
) -> Result<Removed, Error> {
    remove_all(
        connection,
        slug,
        |resource, deadline| find_of_engine(connection, filter, resource, deadline),
        |resource, error| {
            let deadline = connection.engine().look_deadline();
            not_removed(connection, resource, &of(slug), filter, Some(error), deadline)
        },
    )
}

/// Finds what [`remove_labelled`] would remove.
pub(crate) fn find_labelled(connection: &Connection, filter: &Filter) -> Result<Removed, Error> {
    find_all(connection, |resource, deadline| {
        find_of_engine(connection, filter, resource, deadline)
    })
    .map_err(|source| Error::Look { what: "the slug's resources", source })
}

/// Finds what has these labels, but for networks that another engine of the same swarm has made. Their owners are there.
fn find_of_engine(
    connection: &Connection,
    filter: &Filter,
    resource: Resource,
    deadline: Instant,
) -> Result<Vec<Id>, EngineError> {
    let find = |filter: &Filter| connection.backend().find(resource, filter, deadline);
    let mut found = find(filter)?;
    if found.iter().any(Id::is_of_swarm) {
        let own = find(&labels::of_engine(&connection.info().identity.digest()))?;
        found.retain(|id| !id.is_of_swarm() || own.contains(id));
    }
    Ok(found)
}

fn find_orphans(
    connection: &Connection,
    lease: &Lease,
    own: Option<&Filter>,
    resource: Resource,
    deadline: Instant,
) -> Result<Vec<Id>, EngineError> {
    let find = |filter: &Filter| connection.backend().find(resource, filter, deadline);
    let mut orphans = find(&labels::of_lease(&lease.id()))?;
    let exempt = lease.exempt();
    orphans.retain(|id| !exempt.contains(id));
    if let (Some(own), false) = (own, orphans.is_empty()) {
        let own = find(own)?;
        orphans.retain(|id| !own.contains(id));
    }
    Ok(orphans)
}

fn find_all(
    connection: &Connection,
    find: impl Fn(Resource, Instant) -> Result<Vec<Id>, EngineError>,
) -> Result<Removed, EngineError> {
    let deadline = connection.engine().look_deadline();
    connection.here(deadline, || {
        let containers = find(Resource::Container, deadline)?;
        connection.check_view(deadline)?;
        let networks = find(Resource::Network, deadline)?;
        connection.check_view(deadline)?;
        Ok(Removed { containers, networks })
    })
}

/// Removes what is found, until nothing is left; `failed` is the error of a look.
fn remove_all(
    connection: &Connection,
    slug: &Slug,
    find: impl Fn(Resource, Instant) -> Result<Vec<Id>, EngineError>,
    failed: impl Fn(Resource, EngineError) -> Error,
) -> Result<Removed, Error> {
    const PATIENCE: Duration = Duration::from_secs(3);
    const PAUSE: Duration = Duration::from_millis(100);
    // On a slow engine, one look takes that long.
    const LOOKS: usize = 3;
    let engine = connection.engine();
    let patience = engine.now() + PATIENCE;
    let mut looks = 0;
    let asked = |error| failed(Resource::Container, error);
    connection.check(engine.look_deadline()).map_err(asked)?;
    let mut removed = Removed::default();
    loop {
        let before = removed.containers.len();
        looks += 1;
        let remove = |resource, ids: &mut Vec<Id>| {
            let deadline = engine.look_deadline();
            let found = find(resource, deadline).map_err(|error| failed(resource, error))?;
            let mut failures = Vec::new();
            for id in found {
                match remove_by_id(connection, resource, &of(slug), &id, deadline) {
                    // An engine may list for a moment what has gone.
                    Ok(()) if ids.contains(&id) => {}
                    Ok(()) => ids.push(id),
                    Err(error) => failures.push(error),
                }
            }
            Error::all(failures)
        };
        let view = connection.check_view(engine.look_deadline());
        let done = remove(Resource::Container, &mut removed.containers)
            .and_then(|()| remove(Resource::Network, &mut removed.networks));
        match done {
            // That there is no more counts on the same engine only.
            Ok(()) => {
                let deadline = engine.look_deadline();
                connection.check(deadline).map_err(asked)?;
                let view = view.and_then(|()| connection.check_view(deadline));
                return view.map(|()| removed).map_err(|error| failed(Resource::Network, error));
            }
            // Podman removes no container before the guests in its network namespace.
            Err(_) if removed.containers.len() > before => {}
            Err(error)
                if error.cause() != Some(Cause::NetworkInUse)
                    || engine.now() >= patience && looks >= LOOKS =>
            {
                return Err(error);
            }
            Err(_) => engine.pause(PAUSE),
        }
    }
}

fn of(slug: &Slug) -> String {
    format!("of slug {slug}")
}

fn not_removed(
    connection: &Connection,
    resource: Resource,
    name: &str,
    target: &Filter,
    source: Option<EngineError>,
    deadline: Instant,
) -> Error {
    let backend = connection.backend();
    let in_use = source.as_ref().is_some_and(|error| error.cause() == Cause::NetworkInUse);
    let (id, attached) = match target {
        Filter::Id(id) if in_use => (Some(id), backend.attached(id, deadline).unwrap_or_default()),
        Filter::Id(id) => (Some(id), Vec::new()),
        Filter::Labels(_) | Filter::Running => (None, Vec::new()),
    };
    Error::NotRemoved {
        resource,
        name: name.to_owned(),
        id: id.map(Id::to_string),
        attached,
        command: backend.advice(resource, target),
        source,
    }
}
