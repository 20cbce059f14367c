//! The last state: the container runs at its address.

mod bundles;
mod closing;
mod container;
mod guest;
mod stopper;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

pub use bundles::{RunningBundles, close_all};
pub use closing::Closing;
pub use container::Container;
pub use guest::Guest;
pub(crate) use guest::GuestPlace;
pub use stopper::Stopper;

use crate::container::{CheckedSpec, Ready};
use crate::created::NetworkCreated;
use crate::engine::backend::Id;
use crate::error::{Error, StepError};
use crate::ownership::guard::{Guard, drop_both, remove_both};
use crate::ownership::teardown::Teardown;
use crate::plan::NetworkPlanned;

/// A running bundle, the last state. [`close`](Self::close) or a drop ends it.
///
/// Dropping it removes the container and the network, and logs a failure; with
/// [`Engine::with_background_drop`](crate::Engine::with_background_drop) it returns before that. Hold it by a name:
/// `let _bundle = ...` lives to the end of the scope, `let _ = ...` is dropped at once.
///
/// ```no_run
/// # use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
/// # let plan = NetworkPlanned::new(Slug::new("demo")?);
/// let bundle = plan.launch(&Engine::docker(), BundleSpec::new())?;
/// println!("{}", bundle.ip());
/// bundle.close()?;
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
///
/// A closed bundle cannot be used:
///
/// ```compile_fail,E0382
/// # use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
/// # let plan = NetworkPlanned::new(Slug::new("demo")?);
/// let bundle = plan.launch(&Engine::docker(), BundleSpec::new())?;
/// bundle.close()?;
/// println!("{}", bundle.ip());
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
#[must_use = "container and network are removed when this is dropped; hold it by a name"]
pub struct BundleRunning(Option<Running>);

/// What a bundle has until it ends.
struct Running {
    // In the order of teardown, should that be cut short: a network goes after what is attached to it.
    container: Container,
    network: NetworkCreated,
}

impl BundleRunning {
    pub(crate) fn new(id: Id, ready: Vec<Ready>, guard: Guard, network: NetworkCreated) -> Self {
        let place = Arc::clone(network.network());
        let (name, ip) = (place.plan().container_name(), place.plan().ip());
        let container = Container::new(id, name, ip, ready, guard, place);
        Self(Some(Running { container, network }))
    }

    /// Sets what a specification says of the container beyond its life on the engine: its end, and when it is ready.
    pub(crate) fn set_spec(&mut self, spec: CheckedSpec) {
        if let Some(running) = &mut self.0 {
            running.container.set_end(&spec);
            running.container.set_ready(spec.ready);
        }
    }

    fn running(&self) -> &Running {
        match &self.0 {
            Some(running) => running,
            None => unreachable!("it is taken by what consumes a bundle"),
        }
    }

    /// Removes the container and the network, now. Docker is asked to take the container off its network first, and then
    /// to remove both at the same time: `docker network disconnect --force`, `docker rm --force --volumes` and
    /// `docker network rm`. Other ways to an engine remove the container and then the network.
    ///
    /// # Errors
    ///
    /// [`Error::NotRemoved`] for what may be left, with the command that removes it; both are tried, and
    /// if both fail the errors come as [`Error::Several`].
    pub fn close(mut self) -> Result<(), Error> {
        self.0.take().map_or(Ok(()), Running::close)
    }

    /// Closes the bundle in the background, and returns at once.
    ///
    /// Four bundles are torn down at the same time on an engine, and others wait for their turn. What is not removed when the
    /// process ends is removed by the reaper, which knows neither grace period nor saved log. Where no
    /// [reaper](crate::Engine::has_reaper) runs, the bundle is closed before this returns.
    ///
    /// A step of this process that would meet the teardown waits for its end: one of the same slug, into the same subnet, with
    /// the same bridge, or one that publishes a chosen port of the host. Other processes get the same errors as while the
    /// bundle ran. A failure is logged, unless [`Closing::wait`] returns it.
    ///
    /// ```no_run
    /// # use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
    /// # let engine = Engine::docker();
    /// for name in ["first", "second"] {
    ///     let bundle = NetworkPlanned::new(Slug::new(name)?).launch(&engine, BundleSpec::new())?;
    ///     // ... the second launch does not wait for the removal of the first bundle.
    ///     let _ = bundle.close_in_background();
    /// }
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    pub fn close_in_background(mut self) -> Closing {
        let plan = self.plan().clone();
        Closing(match self.0.take() {
            Some(running) if running.has_reaper() => running.begin_to_close(),
            running => Teardown::over(plan, running.map_or(Ok(()), Running::close)),
        })
    }

    fn begin_to_close(mut self) -> Option<Arc<Teardown>> {
        self.0.take().map(Running::begin_to_close)
    }

    /// Leaves container and network where they are and releases the slug.
    ///
    /// [`NetworkPlanned::attach`] takes them back. Until then no launch of the slug and no sweep touches
    /// them.
    ///
    /// # Errors
    ///
    /// [`Error::Lease`] when the mark that they stay cannot be written. This state is handed
    /// back, and nothing has changed. With `?` in a function that returns [`Error`] it is then closed, and what
    /// was to be kept is removed; with its parts it is not:
    ///
    /// ```no_run
    /// # use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
    /// # let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let bundle = plan.launch(&Engine::docker(), BundleSpec::new())?;
    /// if let Err(failed) = bundle.keep() {
    ///     let (error, bundle) = failed.into_parts();
    ///     eprintln!("not kept, and removed at the end: {error}");
    ///     // ... it is still there.
    ///     bundle.close()?;
    /// }
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    pub fn keep(mut self) -> Result<NetworkPlanned, StepError<Self>> {
        let plan = self.plan().clone();
        if let Some(running) = &mut self.0 {
            let container = running.container.id().clone();
            if let Err(error) = running.network.keep_with(Some(container)) {
                return Err(StepError::new(error, self));
            }
            running.container.guard().disarm();
        }
        Ok(plan)
    }

    /// The plan of this bundle. After [`NetworkPlanned::attach`], it has the addresses and options of the bundle
    /// that was found, and no other attempts.
    #[must_use]
    pub fn plan(&self) -> &NetworkPlanned {
        self.created().plan()
    }

    pub(crate) fn created(&self) -> &NetworkCreated {
        &self.running().network
    }

    /// The network's id: 64 hexadecimal digits.
    #[must_use]
    pub fn network_id(&self) -> &str {
        self.created().network_id()
    }

    /// Returns true if the bundle's address can be reached from here; see
    /// [`NetworkCreated::is_reachable`].
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.created().is_reachable()
    }
}

impl Running {
    fn close(mut self) -> Result<(), Error> {
        let _entered = tracing::info_span!("close", slug = %self.network.plan().slug()).entered();
        let removed = remove_both(self.container.guard(), self.network.guard());
        Error::all(removed.into_iter().filter_map(Result::err).collect())
    }

    fn has_reaper(&self) -> bool {
        self.container.session().has_reaper()
    }

    fn drops_in_background(&self) -> bool {
        self.container.session().connection().engine().drops_in_background() && self.has_reaper()
    }

    fn begin_to_close(self) -> Arc<Teardown> {
        let (plan, span) = (self.network.plan().clone(), tracing::Span::current());
        let engine = self.container.session().engine();
        Teardown::begin(&engine, plan, move || span.in_scope(|| self.close()))
    }
}

impl Drop for BundleRunning {
    fn drop(&mut self) {
        let Some(mut running) = self.0.take() else { return };
        if running.drops_in_background() {
            drop(running.begin_to_close());
        } else {
            drop_both(running.container.guard(), running.network.guard());
        }
    }
}

/// Prints slug, address and ids.
impl fmt::Debug for BundleRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundleRunning")
            .field("slug", &self.plan().slug().as_str())
            .field("ip", &self.ip())
            .field("container", self.id())
            .field("network", self.created().id())
            .finish_non_exhaustive()
    }
}

/// The container, with its observation.
impl Deref for BundleRunning {
    type Target = Container;

    fn deref(&self) -> &Container {
        &self.running().container
    }
}

/// Closes the bundle, which takes as long as its removal: see [`StepError`].
impl From<StepError<BundleRunning>> for Error {
    fn from(failed: StepError<BundleRunning>) -> Self {
        let (error, state) = failed.into_parts();
        error.and(state.close())
    }
}
