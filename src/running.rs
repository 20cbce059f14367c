//! The last state: the container runs at its address.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::container::Ready;
use crate::created::NetworkCreated;
use crate::engine::backend::Id;
use crate::error::{Error, StepError};
use crate::ownership::guard::Guard;
use crate::ownership::session::Session;
use crate::plan::NetworkPlanned;

/// A running bundle, the last state. [`close`](Self::close) or a drop ends it.
///
/// Dropping it removes the container and then the network, and logs a failure. Hold it by a name:
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
pub struct BundleRunning {
    id: Id,
    stopper: Stopper,
    ready: Vec<Ready>,
    // In the order of teardown: a network goes after what is attached to it.
    guard: Guard,
    network: NetworkCreated,
}

impl BundleRunning {
    pub(crate) fn new(id: Id, ready: Vec<Ready>, guard: Guard, network: NetworkCreated) -> Self {
        Self { id, stopper: Stopper::default(), ready, guard, network }
    }

    /// Removes the container and then the network, now: `docker rm --force --volumes` and
    /// `docker network rm`.
    ///
    /// # Errors
    ///
    /// [`Error::NotRemoved`] for what may be left, with the command that removes it; both are tried, and
    /// if both fail the errors come as [`Error::Several`].
    pub fn close(self) -> Result<(), Error> {
        let _entered = tracing::info_span!("close", slug = %self.plan().slug()).entered();
        let container = self.guard.close();
        let network = self.network.remove();
        Error::all([container, network].into_iter().filter_map(Result::err).collect())
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
    pub fn keep(self) -> Result<NetworkPlanned, StepError<Self>> {
        let Self { id, stopper, ready, guard, network } = self;
        match network.keep_with(Some(id.clone())) {
            Ok(plan) => {
                guard.disarm();
                Ok(plan)
            }
            Err(failed) => {
                let (error, network) = failed.into_parts();
                Err(StepError::new(error, Self { id, stopper, ready, guard, network }))
            }
        }
    }

    /// The plan of this bundle. After [`NetworkPlanned::attach`], it has the addresses and options of the bundle
    /// that was found, and no other attempts.
    #[must_use]
    pub fn plan(&self) -> &NetworkPlanned {
        self.network.plan()
    }

    /// The address of the container.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        self.plan().ip()
    }

    /// The container's id: 64 hexadecimal digits.
    #[must_use]
    pub fn container_id(&self) -> &str {
        self.id.as_str()
    }

    /// The network's id: 64 hexadecimal digits.
    #[must_use]
    pub fn network_id(&self) -> &str {
        self.network.network_id()
    }

    /// Returns true if the bundle's address can be reached from here; see
    /// [`NetworkCreated::is_reachable`].
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.network.is_reachable()
    }

    /// Returns a handle that stops the waits of this bundle from any thread.
    ///
    /// The main loop of a launcher, until Ctrl-C or death:
    ///
    /// ```no_run
    /// # use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
    /// # fn on_ctrl_c(_: impl Fn() + Send + 'static) {}
    /// use std::time::Duration;
    /// use sidecar_bundle::Error;
    ///
    /// # let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let bundle = plan.launch(&Engine::docker(), BundleSpec::new())?;
    /// let stopper = bundle.stopper();
    /// on_ctrl_c(move || stopper.stop()); // for one, of the crate `ctrlc`
    /// let ended = bundle
    ///     .wait_ready(Duration::from_secs(30))
    ///     .and_then(|()| bundle.wait_exit(Duration::MAX));
    /// match ended {
    ///     Ok(exit) => println!("it ended: {exit:?}"),
    ///     Err(Error::Stopped) => println!("Ctrl-C"),
    ///     Err(error) => eprintln!("{error}"),
    /// }
    /// bundle.close()?;
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopper.is_stopped()
    }

    pub(crate) fn id(&self) -> &Id {
        &self.id
    }

    pub(crate) fn session(&self) -> &Session {
        self.network.session()
    }

    pub(crate) fn network(&self) -> &NetworkCreated {
        &self.network
    }

    /// The readiness conditions of the specification.
    pub(crate) fn ready(&self) -> &[Ready] {
        &self.ready
    }
}

/// Stops the waits of a bundle, those under way and later ones: [`wait_ready`](BundleRunning::wait_ready),
/// [`wait_for`](BundleRunning::wait_for), [`wait_exit`](BundleRunning::wait_exit) and those for its
/// [`events`](BundleRunning::events). Not a launch, of which there is no bundle yet, nor a log that is followed.
///
/// [`BundleRunning::stopper`] makes it, and its clones are the same handle. It keeps nothing alive, and does
/// nothing to the bundle itself.
#[derive(Clone, Debug, Default)]
pub struct Stopper(Arc<AtomicBool>);

impl Stopper {
    /// Stops the waits. Each returns [`Error::Stopped`], usually within 50 ms: a request to the engine that is under
    /// way is waited for, and so is a closure of [`Ready::check`].
    ///
    /// It stays so until [`resume`](Self::resume): a stop between two waits is not lost. All that this does is to
    /// set a flag, so that a signal handler may call it.
    pub fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Lets later waits wait again, such as one for the container's end after a signal to it. A wait that is under
    /// way still may not have seen the stop.
    pub fn resume(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// Returns true if the waits are stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Prints slug, address and ids.
impl fmt::Debug for BundleRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundleRunning")
            .field("slug", &self.plan().slug().as_str())
            .field("ip", &self.ip())
            .field("container", &self.id)
            .field("network", self.network.id())
            .finish_non_exhaustive()
    }
}

/// Closes the bundle, which takes as long as its removal: see [`StepError`].
impl From<StepError<BundleRunning>> for Error {
    fn from(failed: StepError<BundleRunning>) -> Self {
        let (error, state) = failed.into_parts();
        error.and(state.close())
    }
}
