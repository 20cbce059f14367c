//! The second state: the network exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::backend::Id;
use crate::error::{Error, StepError};
use crate::host;
use crate::ownership::guard::Guard;
use crate::ownership::session::Session;
use crate::plan::NetworkPlanned;

/// A bundle whose network exists, the second state. [`start`](Self::start) leads to the next.
///
/// Dropping it removes the network.
///
/// ```no_run
/// # use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
/// # let plan = NetworkPlanned::new(Slug::new("demo")?);
/// let bundle = plan.create_network(&Engine::docker())?.start(BundleSpec::new())?;
/// # bundle.close()
/// # ; Ok::<(), sidecar_bundle::Error>(())
/// ```
///
/// A plan without a network cannot be started:
///
/// ```compile_fail,E0277
/// # use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
/// # let plan = NetworkPlanned::new(Slug::new("demo")?);
/// let bundle = plan.start(BundleSpec::new())?;
/// # bundle.close()
/// # ; Ok::<(), sidecar_bundle::Error>(())
/// ```
#[must_use = "the network is removed when this is dropped; bind it to a name, and not to `_`"]
pub struct NetworkCreated {
    guard: Guard,
    network: Arc<Network>,
}

/// A network that exists. This does not guard it.
#[derive(Debug)]
pub(crate) struct Network {
    plan: NetworkPlanned,
    id: Id,
    /// The names of the guests that live, or are being made.
    guests: Mutex<BTreeSet<String>>,
    /// The same network on other engines of its swarm, each with the session of the guests there, by engine.
    elsewhere: Mutex<BTreeMap<String, Arc<Network>>>,
    /// Held while the session on an engine is opened.
    opening: Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
    session: Arc<Session>,
}

impl NetworkCreated {
    pub(crate) fn new(plan: NetworkPlanned, id: Id, guard: Guard) -> Self {
        let session = Arc::clone(guard.session());
        Self { guard, network: Arc::new(Network::new(plan, id, session)) }
    }

    /// Removes the network now: `docker network rm`.
    ///
    /// # Errors
    ///
    /// [`Error::NotRemoved`] when the network may be left, with the command that removes it.
    pub fn close(self) -> Result<(), Error> {
        let _entered = tracing::info_span!("close", slug = %self.plan().slug()).entered();
        self.remove()
    }

    /// Leaves the network where it is and releases the slug.
    ///
    /// [`NetworkPlanned::create_network`] of the plan that is returned takes the network back, in this
    /// process or in a later one.
    ///
    /// # Errors
    ///
    /// [`Error::Lease`] when the mark as kept cannot be written. This state is handed back, and nothing has changed.
    /// With `?` in a function that returns [`Error`], it is then closed, and the network is removed. To go on with it,
    /// take the error apart:
    ///
    /// ```no_run
    /// # use sidecar_bundle::{Engine, NetworkPlanned, Slug};
    /// # let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let network = plan.create_network(&Engine::docker())?;
    /// if let Err(failed) = network.keep() {
    ///     let (error, network) = failed.into_parts();
    ///     eprintln!("not kept, and removed at the end: {error}");
    ///     // ... it is still there.
    ///     network.close()?;
    /// }
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    pub fn keep(mut self) -> Result<NetworkPlanned, StepError<Self>> {
        match self.keep_with(None) {
            Ok(()) => Ok(self.network.plan.clone()),
            Err(error) => Err(StepError::new(error, self)),
        }
    }

    pub(crate) fn remove(self) -> Result<(), Error> {
        self.guard.close()
    }

    /// Keeps the network, and the container with it.
    pub(crate) fn keep_with(&mut self, container: Option<Id>) -> Result<(), Error> {
        self.network.session.lease().keep(self.id().clone(), container)?;
        self.guard.disarm();
        Ok(())
    }

    pub(crate) fn guard(&mut self) -> &mut Guard {
        &mut self.guard
    }

    /// The plan that this was created from; after [`NetworkPlanned::create_network_in_free_subnet`], the one
    /// that was free.
    #[must_use]
    pub fn plan(&self) -> &NetworkPlanned {
        &self.network.plan
    }

    /// The network's id: 64 hexadecimal digits, or 25 letters and digits of an
    /// [overlay](crate::NetworkOptions::overlay).
    #[must_use]
    pub fn network_id(&self) -> &str {
        self.id().as_str()
    }

    /// Returns true if the bundle's address can be reached from here.
    ///
    /// That is so if the bridge of this very network is an interface of this host, in this network
    /// namespace, and packets to the bundle leave by it. No packet is sent to find out. With an engine
    /// elsewhere it is false, and whatever answers at the address is not the bundle;
    /// [`Engine::reachability`](crate::Engine::reachability) tells the reason. Podman makes the bridge
    /// with the network's first container, and removes it with the last.
    /// It is also false where the engine cannot be asked for the bridge, and for an
    /// [overlay](crate::NetworkOptions::overlay), which no host is on.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.network.is_proven_reachable().unwrap_or(false)
    }

    pub(crate) fn id(&self) -> &Id {
        &self.network.id
    }

    pub(crate) fn network(&self) -> &Arc<Network> {
        &self.network
    }
}

impl Network {
    fn new(plan: NetworkPlanned, id: Id, session: Arc<Session>) -> Self {
        let (elsewhere, opening) = (Mutex::default(), Mutex::default());
        Self { plan, id, guests: Mutex::default(), elsewhere, opening, session }
    }

    /// This network on another engine of its swarm. The session there lasts as long as the bundle, since one that ends
    /// with its last guest may not have released the slug when the next guest comes.
    pub(crate) fn on(
        &self,
        engine: String,
        open: impl FnOnce() -> Result<Session, Error>,
    ) -> Result<Arc<Self>, Error> {
        let turn = Arc::clone(lock(&self.opening).entry(engine.clone()).or_default());
        let _turn = lock(&turn);
        if let Some(known) = lock(&self.elsewhere).get(&engine) {
            return Ok(Arc::clone(known));
        }
        let session = Arc::new(open()?);
        let there = Arc::new(Self::new(self.plan.clone(), self.id.clone(), session));
        lock(&self.elsewhere).insert(engine, Arc::clone(&there));
        Ok(there)
    }

    /// The engines on which this process holds the slug, from the bundle's own on.
    pub(crate) fn engines(&self) -> Vec<String> {
        let own = [self.session.engine()];
        own.into_iter().chain(lock(&self.elsewhere).keys().cloned()).collect()
    }

    pub(crate) fn is_proven_reachable(&self) -> Result<bool, Error> {
        let (ip, gateway) = (self.plan.ip(), self.plan.gateway());
        if !host::leaves_by_gateway(ip, gateway, self.plan.subnet()) {
            return Ok(false);
        }
        // Another engine's network may have the same addresses: this one's bridge is known by its name.
        Ok(self.bridge()?.is_some_and(|bridge| host::has(&bridge, gateway.into())))
    }

    /// The name of the network's bridge, as the engine says it.
    pub(crate) fn bridge(&self) -> Result<Option<String>, Error> {
        let connection = self.session.connection();
        let deadline = connection.engine().look_deadline();
        let networks = connection.backend().networks(&[self.id.as_str()], deadline);
        let networks =
            networks.map_err(|source| Error::Look { what: "the network's bridge", source })?;
        Ok(networks.into_iter().next().and_then(|it| it.bridge))
    }

    pub(crate) fn plan(&self) -> &NetworkPlanned {
        &self.plan
    }

    pub(crate) fn id(&self) -> &Id {
        &self.id
    }

    pub(crate) fn guests(&self) -> MutexGuard<'_, BTreeSet<String>> {
        lock(&self.guests)
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints slug, addresses and id.
impl fmt::Debug for NetworkCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkCreated")
            .field("slug", &self.plan().slug().as_str())
            .field("subnet", &self.plan().subnet())
            .field("ip", &self.plan().ip())
            .field("network", self.id())
            .finish_non_exhaustive()
    }
}

/// Closes the network, which takes as long as its removal: see [`StepError`].
impl From<StepError<NetworkCreated>> for Error {
    fn from(failed: StepError<NetworkCreated>) -> Self {
        let (error, state) = failed.into_parts();
        error.and(state.close())
    }
}
