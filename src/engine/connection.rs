//! The engine that answered when it was asked for its identity.

use std::sync::Arc;
use std::time::Instant;

use super::Engine;
use super::backend::{Backend, Filter, Id, Resource};
use super::error::EngineError;
use super::identity::EngineInfo;
use crate::container::CheckedSpec;

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

    /// Removes by id, and never a network that is in use. An error does not say if the resource still exists.
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
        let found = self.here(deadline, || self.backend.find(resource, &filter, deadline))?;
        Ok(found.is_empty())
    }

    /// Looks at the engine that answered before: its identity is checked before the look and after it, so that an
    /// absence that another engine answered with is not believed.
    pub(crate) fn here<T>(
        &self,
        deadline: Instant,
        look: impl FnOnce() -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.check_identity(deadline)?;
        let found = look()?;
        self.check_identity(deadline)?;
        Ok(found)
    }

    /// Checks that the engine that answers now is the one that answered before.
    pub(crate) fn check_identity(&self, deadline: Instant) -> Result<(), EngineError> {
        if self.backend.info(deadline)?.identity == self.info.identity {
            Ok(())
        } else {
            Err(EngineError::another_engine())
        }
    }
}
