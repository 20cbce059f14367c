//! The last state, in async code.

use std::fmt;
use std::ops::Deref;

use super::call;
use super::container::Container;
use super::held::{Held, State};
use crate::error::Error;
use crate::plan::NetworkPlanned;
use crate::running::BundleRunning as Blocking;

/// A running bundle in async code; see [`launch`](super::launch). It dereferences to its [`Container`].
///
/// Dropping it removes container and network in the background.
///
/// ```no_run
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use sidecar_bundle::tokio::BundleRunning;
/// use sidecar_bundle::Error;
///
/// async fn watch(bundle: BundleRunning) -> Result<(), Error> {
///     // For a task of its own, and for this one.
///     let bundle = Arc::new(bundle);
///     let its = Arc::clone(&bundle);
///     let ended = tokio::spawn(async move { its.wait_exit(Duration::MAX).await });
///     println!("{} runs at {}", bundle.plan().slug(), bundle.ip());
///     println!("it ended: {:?}", ended.await.expect("it does not panic")?);
///     Ok(())
/// }
/// ```
#[must_use = "container and network are removed when this is dropped; bind it to a name, and not to `_`"]
pub struct BundleRunning {
    // Before the bundle, whose end waits for it.
    container: Container,
    pub(super) held: Held<Blocking>,
}

impl State for Blocking {
    fn place(&self) -> (&NetworkPlanned, Vec<String>) {
        (self.plan(), self.network().engines())
    }

    fn close(self) -> Result<(), Error> {
        Self::close(self)
    }
}

impl BundleRunning {
    pub(super) fn of(held: Held<Blocking>) -> Self {
        Self { container: Container(held.lend().of_container()), held }
    }

    /// Takes a bundle from the blocking library, such as one that was [attached to](NetworkPlanned::attach).
    ///
    /// ```no_run
    /// use sidecar_bundle::tokio::BundleRunning;
    /// use sidecar_bundle::{Engine, Error, NetworkPlanned};
    ///
    /// async fn attach(plan: NetworkPlanned, engine: Engine) -> Result<BundleRunning, Error> {
    ///     let attach = move || plan.attach(&engine).map(BundleRunning::from_std);
    ///     Ok(tokio::task::spawn_blocking(attach).await.expect("it does not panic")?)
    /// }
    /// ```
    pub fn from_std(bundle: crate::BundleRunning) -> Self {
        Self::of(Held::new(bundle))
    }

    /// Hands the bundle to the blocking library, such as for a [`keep`](crate::BundleRunning::keep). Like that library, it
    /// blocks: it waits until the calls that were cancelled have ended.
    ///
    /// ```no_run
    /// use sidecar_bundle::tokio::BundleRunning;
    /// use sidecar_bundle::{Error, NetworkPlanned};
    ///
    /// async fn keep(bundle: BundleRunning) -> Result<NetworkPlanned, Error> {
    ///     let keep = move || bundle.into_std().keep();
    ///     Ok(tokio::task::spawn_blocking(keep).await.expect("it does not panic")?)
    /// }
    /// ```
    pub fn into_std(self) -> crate::BundleRunning {
        let Self { container, held } = self;
        drop(container);
        held.into_inner()
    }

    /// The plan of this bundle.
    #[must_use]
    pub fn plan(&self) -> &NetworkPlanned {
        self.held.plan()
    }

    /// The network's id; see [`network_id`](crate::BundleRunning::network_id).
    #[must_use]
    pub fn network_id(&self) -> &str {
        self.held.network_id()
    }

    /// Returns true if the bundle's address can be reached from here; see
    /// [`NetworkCreated::is_reachable`](crate::NetworkCreated::is_reachable).
    pub async fn is_reachable(&self) -> bool {
        let bundle = self.held.lend();
        call::run(None, move || bundle.is_reachable()).await.unwrap_or(false)
    }

    /// Removes the container and the network, now. Once it is polled, it goes on even if it is dropped, and a failure is
    /// also logged.
    ///
    /// # Errors
    ///
    /// Those of [`close`](crate::BundleRunning::close).
    pub async fn close(self) -> Result<(), Error> {
        let Self { container, held } = self;
        drop(container);
        held.close().await
    }
}

/// The container, with its observation.
impl Deref for BundleRunning {
    type Target = Container;

    fn deref(&self) -> &Container {
        &self.container
    }
}

/// Prints slug, address and ids.
impl fmt::Debug for BundleRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.held.fmt(f)
    }
}
