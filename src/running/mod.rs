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
pub(crate) use guest::{GuestPlace, Hosted};
pub use stopper::Stopper;
use tracing::dispatcher::{get_default, with_default};

use crate::container::{CheckedSpec, Ready};
use crate::created::NetworkCreated;
use crate::engine::backend::Id;
use crate::error::{Error, StepError};
use crate::ownership::guard::{Guard, remove_both, without_a_second_panic};
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
#[must_use = "container and network are removed when this is dropped; bind it to a name, and not to `_`"]
pub struct BundleRunning(Option<Running>);

/// The parts of a bundle that has not ended.
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

    /// Sets the parts of a specification that the engine does not know: the container's end and its readiness.
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

    /// Closes the bundle in the background, and returns at once. The [`Closing`] may be waited for, or dropped.
    ///
    /// Of all bundles that are closed in the background or [together](close_all), four are torn down at the same time on an
    /// engine; the others wait for their turn.
    ///
    /// The reaper removes what is left when the process ends. It gives a container no
    /// [grace period](crate::BundleSpec::stop_grace), and [saves no log](crate::BundleSpec::save_log). A program that wants both
    /// calls [`wait_for_teardowns`](crate::wait_for_teardowns) at its end. Where no reaper runs, the bundle is closed before
    /// this returns; [`has_reaper`](crate::Engine::has_reaper) tells beforehand.
    ///
    /// A launch or a creation of a network by this process waits for the end of a teardown of the same slug, in the same subnet,
    /// or with the same bridge, and so do an attach, a discard, and a look for a free subnet. A start that publishes a chosen port
    /// of the host waits for all teardowns on its engine. Other processes find the bundle as if it ran, and its slug
    /// [taken](Error::Taken).
    ///
    /// A failure is logged as that of a drop is, and [`Closing::wait`] returns it.
    ///
    /// ```no_run
    /// # use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
    /// # let engine = Engine::docker();
    /// for name in ["first", "second"] {
    ///     let bundle = NetworkPlanned::new(Slug::new(name)?).launch(&engine, BundleSpec::new())?;
    ///     // ... the second launch does not wait for the removal of the first bundle.
    ///     bundle.close_in_background();
    /// }
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    pub fn close_in_background(mut self) -> Closing {
        let plan = self.plan().clone();
        Closing(match self.0.take() {
            Some(running) if running.has_reaper() => running.begin(Running::close_and_log),
            running => Teardown::over(plan, running.map_or(Ok(()), Running::close_and_log)),
        })
    }

    /// Begins to close it as one of many, whether a reaper runs or not: it is waited for.
    fn begin(mut self, close: fn(Running) -> Result<(), Error>) -> Option<Arc<Teardown>> {
        Some(self.0.take()?.begin(close))
    }

    /// Leaves container and network where they are and releases the slug.
    ///
    /// [`NetworkPlanned::attach`] takes them back. Until then no launch of the slug and no sweep touches them, unless their
    /// [lifetime](NetworkPlanned::with_lifetime) has ended. The engine is not asked: what somebody else has removed is missed
    /// by the attach.
    ///
    /// # Errors
    ///
    /// [`Error::Lease`] when the mark as kept cannot be written. This state is handed back, and nothing has changed.
    /// With `?` in a function that returns [`Error`], it is then closed, and the bundle is removed. To go on with it,
    /// take the error apart:
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
        let Some(mut running) = self.0.take() else { return Ok(plan) };
        let container = running.container.id().clone();
        if let Err(error) = running.network.keep_with(Some(container)) {
            self.0 = Some(running);
            return Err(StepError::new(error, self));
        }
        running.container.guard().disarm();
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

    /// The network's id: 64 hexadecimal digits, or 25 letters and digits of an
    /// [overlay](crate::NetworkOptions::overlay).
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
        Error::all(removed.into_iter().filter_map(Result::err).collect())?;
        tracing::info!("the bundle is closed");
        Ok(())
    }

    fn close_and_log(self) -> Result<(), Error> {
        let slug = self.network.plan().slug().clone();
        self.close().inspect_err(|error| {
            let (cause, error) = (error.cause(), error.chain());
            tracing::warn!(%slug, ?cause, %error, "a bundle may be left");
        })
    }

    fn has_reaper(&self) -> bool {
        self.container.session().has_reaper()
    }

    fn drops_in_background(&self) -> bool {
        self.container.session().connection().engine().drops_in_background() && self.has_reaper()
    }

    fn begin(self, close: fn(Self) -> Result<(), Error>) -> Arc<Teardown> {
        let (plan, engines) = (self.network.plan().clone(), self.network.network().engines());
        // As if it were done here.
        let (log, span) = (get_default(Clone::clone), tracing::Span::current());
        let work = move || with_default(&log, || span.in_scope(|| close(self)));
        Teardown::begin(engines, plan, work)
    }
}

impl Drop for BundleRunning {
    fn drop(&mut self) {
        let Some(running) = self.0.take() else { return };
        without_a_second_panic(|| {
            if running.drops_in_background() {
                drop(running.begin(Running::close_and_log));
            } else {
                // It is logged.
                let _ = running.close_and_log();
            }
        });
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
