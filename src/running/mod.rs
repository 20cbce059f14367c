//! The last state: the container runs at its address.

mod container;
mod guest;
mod stopper;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

pub use container::Container;
pub use guest::Guest;
pub(crate) use guest::GuestPlace;
pub use stopper::Stopper;

use crate::container::{CheckedSpec, Ready};
use crate::created::NetworkCreated;
use crate::engine::backend::Id;
use crate::error::{Error, StepError};
use crate::ownership::guard::{Guard, drop_both, remove_both};
use crate::plan::NetworkPlanned;

/// A running bundle, the last state. [`close`](Self::close) or a drop ends it.
///
/// Dropping it removes the container and the network, and logs a failure. Hold it by a name:
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
    container: Container,
    network: NetworkCreated,
}

impl BundleRunning {
    pub(crate) fn new(id: Id, ready: Vec<Ready>, guard: Guard, network: NetworkCreated) -> Self {
        let place = Arc::clone(network.network());
        let (name, ip) = (place.plan().container_name(), place.plan().ip());
        Self { container: Container::new(id, name, ip, ready, guard, place), network }
    }

    /// Sets what a specification says of the container's end.
    pub(crate) fn set_end(&mut self, spec: &CheckedSpec) {
        self.container.set_end(spec);
    }

    pub(crate) fn set_ready(&mut self, ready: Vec<Ready>) {
        self.container.set_ready(ready);
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
        let _entered = tracing::info_span!("close", slug = %self.plan().slug()).entered();
        let removed = remove_both(self.container.guard(), self.network.guard());
        Error::all(removed.into_iter().filter_map(Result::err).collect())
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
        if let Err(error) = self.network.keep_with(Some(self.container.id().clone())) {
            return Err(StepError::new(error, self));
        }
        self.container.guard().disarm();
        Ok(self.plan().clone())
    }

    /// The plan of this bundle. After [`NetworkPlanned::attach`], it has the addresses and options of the bundle
    /// that was found, and no other attempts.
    #[must_use]
    pub fn plan(&self) -> &NetworkPlanned {
        self.network.plan()
    }

    pub(crate) fn created(&self) -> &NetworkCreated {
        &self.network
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
}

impl Drop for BundleRunning {
    fn drop(&mut self) {
        drop_both(self.container.guard(), self.network.guard());
    }
}

/// Prints slug, address and ids.
impl fmt::Debug for BundleRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundleRunning")
            .field("slug", &self.plan().slug().as_str())
            .field("ip", &self.ip())
            .field("container", self.id())
            .field("network", self.network.id())
            .finish_non_exhaustive()
    }
}

/// The container, with its observation.
impl Deref for BundleRunning {
    type Target = Container;

    fn deref(&self) -> &Container {
        &self.container
    }
}

/// Closes the bundle, which takes as long as its removal: see [`StepError`].
impl From<StepError<BundleRunning>> for Error {
    fn from(failed: StepError<BundleRunning>) -> Self {
        let (error, state) = failed.into_parts();
        error.and(state.close())
    }
}
