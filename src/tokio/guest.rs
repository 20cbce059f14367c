//! A guest, in async code.

use std::fmt;
use std::ops::Deref;

use super::bundle::BundleRunning;
use super::call;
use super::container::Container;
use super::held::{Held, Loan, State};
use crate::container::BundleSpec;
use crate::engine::Engine;
use crate::error::Error;
use crate::plan::NetworkPlanned;
use crate::running::Hosted;
use crate::steps::guest::{start_guest, start_guest_in_namespace, start_guest_on};

/// A container in a bundle's network, or in its network namespace, in async code; see [`BundleRunning::guest`]. It
/// dereferences to its [`Container`].
///
/// It borrows the bundle, and dropping it removes the container in the background. A task that is to outlive the borrow holds
/// the bundle, too, or a shared one.
///
/// ```no_run
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use sidecar_bundle::tokio::BundleRunning;
/// use sidecar_bundle::{BundleSpec, Error};
///
/// async fn run(bundle: Arc<BundleRunning>) {
///     let agent = tokio::spawn(async move {
///         let agent = bundle.guest("agent", BundleSpec::new().image("acme/agent:7")).await?;
///         agent.wait_exit(Duration::MAX).await
///     });
///     println!("{:?}", agent.await);
/// }
/// ```
#[must_use = "the container is removed when this is dropped; bind it to a name, and not to `_`"]
pub struct Guest<'a> {
    // Before the guest, whose end waits for it.
    container: Container,
    held: Held<Hosted<Loan<crate::BundleRunning>>>,
    bundle: Borrow<'a>,
}

/// Keeps the bundle borrowed until it is dropped.
struct Borrow<'a>(&'a BundleRunning);

impl Drop for Borrow<'_> {
    fn drop(&mut self) {}
}

impl State for Hosted<Loan<crate::BundleRunning>> {
    fn place(&self) -> (&NetworkPlanned, Vec<String>) {
        (self.plan_of_bundle(), vec![self.session().engine()])
    }

    fn close(self) -> Result<(), Error> {
        Self::close(self)
    }
}

impl BundleRunning {
    /// Starts another container in the bundle's network, as [`guest`](crate::BundleRunning::guest) does. A name that a
    /// cancelled call or a dropped guest still has is waited for.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use sidecar_bundle::tokio::BundleRunning;
    /// use sidecar_bundle::{BundleSpec, Error};
    ///
    /// async fn run(bundle: &BundleRunning) -> Result<(), Error> {
    ///     let spec = BundleSpec::new().image("acme/agent:7").hardened();
    ///     let agent = bundle.guest("agent", spec).await?;
    ///     println!("{:?}", agent.wait_exit(Duration::from_secs(600)).await?);
    ///     agent.close().await
    /// }
    /// ```
    ///
    /// The bundle cannot be closed under a living guest:
    ///
    /// ```compile_fail,E0505
    /// # use sidecar_bundle::tokio::BundleRunning;
    /// # use sidecar_bundle::{BundleSpec, Error};
    /// # async fn run(bundle: BundleRunning) -> Result<(), Error> {
    /// let agent = bundle.guest("agent", BundleSpec::new().image("acme/agent:7")).await?;
    /// bundle.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`guest`](crate::BundleRunning::guest), and as much is left.
    pub async fn guest(&self, name: &str, spec: BundleSpec) -> Result<Guest<'_>, Error> {
        let (bundle, name) = (self.held.lend(), name.to_owned());
        let start = move || start_guest(bundle, &name, spec).map(Held::new);
        call::call(Some(self.held.used()), start).await.map(|held| Guest::of(held, self))
    }

    /// Starts a guest on another engine of the bundle's swarm, as [`guest_on`](crate::BundleRunning::guest_on) does.
    ///
    /// # Errors
    ///
    /// Those of [`guest_on`](crate::BundleRunning::guest_on), and as much is left.
    pub async fn guest_on(
        &self,
        engine: &Engine,
        name: &str,
        spec: BundleSpec,
    ) -> Result<Guest<'_>, Error> {
        let (bundle, engine, name) = (self.held.lend(), engine.clone(), name.to_owned());
        let start = move || start_guest_on(bundle, &engine, &name, spec).map(Held::new);
        call::call(Some(self.held.used()), start).await.map(|held| Guest::of(held, self))
    }

    /// Starts another container in the network namespace of the bundle's container, as
    /// [`guest_in_namespace`](crate::BundleRunning::guest_in_namespace) does.
    ///
    /// # Errors
    ///
    /// Those of [`guest_in_namespace`](crate::BundleRunning::guest_in_namespace), and as much is left.
    pub async fn guest_in_namespace(
        &self,
        name: &str,
        spec: BundleSpec,
    ) -> Result<Guest<'_>, Error> {
        let (bundle, name) = (self.held.lend(), name.to_owned());
        let start = move || start_guest_in_namespace(bundle, &name, spec).map(Held::new);
        call::call(Some(self.held.used()), start).await.map(|held| Guest::of(held, self))
    }
}

impl<'a> Guest<'a> {
    fn of(held: Held<Hosted<Loan<crate::BundleRunning>>>, bundle: &'a BundleRunning) -> Self {
        let container = Container(held.lend().of_container());
        Self { container, held, bundle: Borrow(bundle) }
    }

    /// The bundle that this is a guest of.
    pub fn bundle(&self) -> &'a BundleRunning {
        self.bundle.0
    }

    /// Removes the container now. The bundle runs on.
    ///
    /// # Errors
    ///
    /// [`Error::NotRemoved`] when it may be left, with the command that removes it.
    pub async fn close(self) -> Result<(), Error> {
        let Self { container, held, bundle: _borrowed } = self;
        drop(container);
        held.close().await
    }
}

/// The container, with its observation.
impl Deref for Guest<'_> {
    type Target = Container;

    fn deref(&self) -> &Container {
        &self.container
    }
}

/// Prints name, address and id.
impl fmt::Debug for Guest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guest").field(&self.container).finish()
    }
}
