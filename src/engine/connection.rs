//! The engine that answered when it was asked for its identity.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Engine;
use super::backend::{Backend, ContainerInfo, Filter, Id, NetworkInfo, Observer, Resource};
use super::clock::deadline;
use super::error::EngineError;
use super::identity::{EngineInfo, Swarm};
use super::reachability::elsewhere;
use super::support::{Refused, Unsupported};
use crate::container::{CheckedMount, CheckedSpec, MountKind};

/// A backend and the identity of its engine.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    engine: Engine,
    backend: Arc<dyn Backend>,
    info: EngineInfo,
}

impl Connection {
    /// Asks the engine for its identity. Nothing is touched.
    pub(crate) fn open(engine: &Engine) -> Result<Self, EngineError> {
        Self::open_for(engine, None)
    }

    /// The same, without a secret value of the specification in any error.
    pub(crate) fn open_for(
        engine: &Engine,
        spec: Option<&CheckedSpec>,
    ) -> Result<Self, EngineError> {
        let backend = engine.backend();
        if let Some(spec) = spec {
            backend.redact(spec);
        }
        let info = backend.info(engine.look_deadline())?;
        Ok(Self { engine: engine.clone(), backend, info })
    }

    /// The engine's clock, deadlines and directories.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    pub(crate) fn info(&self) -> &EngineInfo {
        &self.info
    }

    /// The operations that commands cannot do truthfully.
    pub(crate) fn observer(&self, what: &str) -> Result<&dyn Observer, Unsupported> {
        self.backend.observer().ok_or_else(|| Unsupported::by_commands(what, &self.info))
    }

    /// Checks that the container can be made with these options. Only for a path of this host, the engine's address may
    /// be asked for.
    pub(crate) fn supports(&self, spec: &CheckedSpec) -> Result<(), Refused> {
        self.backend.supports(spec, &self.info)?;
        let host = |it: &'_ CheckedMount| match &it.kind {
            MountKind::Host(path) => Some((path.clone(), it.container.clone())),
            MountKind::Volume(_) | MountKind::Tmpfs(_) => None,
        };
        let Some((host, container)) = spec.mounts.iter().find_map(host) else { return Ok(()) };
        let elsewhere = elsewhere(&*self.backend, &self.info, self.engine.look_deadline());
        match elsewhere.map_err(Refused::Unknown)? {
            Some(at) => Err(Unsupported::mount(&host, &container, &self.info, &at).into()),
            None => Ok(()),
        }
    }

    /// Lets a container end by itself before it is removed. The removal that follows reports what matters.
    pub(crate) fn end(&self, id: &Id, grace: Duration) {
        if grace.is_zero() {
            return;
        }
        let end = deadline(self.engine.look_deadline(), grace);
        if let Err(error) = self.backend.stop(id, grace, end) {
            tracing::debug!(%error, "a container was not stopped before its removal");
        }
    }

    /// Removes by id, and never a network that is in use. An error does not say whether the resource still exists.
    pub(crate) fn remove(
        &self,
        resource: Resource,
        id: &Id,
        deadline: Instant,
    ) -> Result<(), EngineError> {
        if resource == Resource::Network && self.info.removes_networks_in_use() {
            let attached = self.backend.attached(id, deadline)?;
            if !attached.is_empty() {
                return Err(EngineError::in_use(&attached));
            }
        }
        self.backend.remove(resource, id, deadline)
    }

    /// Returns true if the resource does not exist.
    pub(crate) fn is_gone(
        &self,
        resource: Resource,
        id: &Id,
        deadline: Instant,
    ) -> Result<bool, EngineError> {
        let filter = Filter::Id(id.clone());
        // A network of a swarm is absent where the engine does not see it.
        let check = || if id.is_of_swarm() { self.check_manager(deadline) } else { Ok(()) };
        let before = check();
        let found = self.here(deadline, || self.backend.find(resource, &filter, deadline))?;
        if found.is_empty() {
            before.and_then(|()| check())?;
        }
        Ok(found.is_empty())
    }

    /// Checks that the networks which the engine does not list do not exist, before and after a look for them: a manager of
    /// a swarm without a leader lists those alone that it has joined.
    pub(crate) fn check_view(&self, deadline: Instant) -> Result<(), EngineError> {
        match self.info.swarm {
            Swarm::None | Swarm::Worker => Ok(()),
            Swarm::Manager | Swarm::WithoutLeader => match self.backend.swarm(deadline)? {
                // It has left the swarm, and the swarm's networks with it.
                Swarm::None => Ok(()),
                role => EngineError::of_swarm(role),
            },
        }
    }

    fn check_manager(&self, deadline: Instant) -> Result<(), EngineError> {
        EngineError::of_swarm(self.backend.swarm(deadline)?)
    }

    /// Returns the network of this name or id, if there is one.
    pub(crate) fn network(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<NetworkInfo>, EngineError> {
        // An engine takes the beginning of an id for a name, too.
        let is_it = |it: &NetworkInfo| it.name == name || it.id.as_str() == name;
        let look = || {
            let found = self.backend.networks(&[name], deadline)?;
            Ok(found.into_iter().find(is_it))
        };
        let id = Id::of(Resource::Network, name);
        let check = || match &id {
            Some(id) if id.is_of_swarm() => self.check_manager(deadline),
            Some(_) => Ok(()),
            None => self.check_view(deadline),
        };
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        let before = check();
        let found = self.here(deadline, look)?;
        if found.is_none() {
            before.and_then(|()| check())?;
        }
        Ok(found)
    }

    /// Returns the container of this name or id, if there is one. An absence is looked at again, and counts
    /// [here](Self::here) only.
    pub(crate) fn container(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<ContainerInfo>, EngineError> {
        let look = || self.backend.container(name, deadline);
        match look()? {
            None => self.here(deadline, look),
            found => Ok(found),
        }
    }

    /// Looks at the engine that answered before: its identity is checked before the look and after it, so that an
    /// absence that another engine answered with is not believed.
    pub(crate) fn here<T>(
        &self,
        deadline: Instant,
        look: impl FnOnce() -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.check(deadline)?;
        let found = look()?;
        self.check(deadline)?;
        Ok(found)
    }

    /// Checks that the engine that answers now is the one that answered before.
    pub(crate) fn check(&self, deadline: Instant) -> Result<(), EngineError> {
        if self.backend.info(deadline)?.identity == self.info.identity {
            Ok(())
        } else {
            Err(EngineError::another_engine())
        }
    }
}
