//! A guest, in async code.

use std::fmt;
use std::ops::Deref;

use super::bundle::BundleRunning;
use super::container::Container;
use super::held::{Held, Loan, State};
use crate::error::Error;
use crate::ownership::session::Session;
use crate::plan::NetworkPlanned;
use crate::running::Hosted;

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
    fn place(&self) -> (&NetworkPlanned, &Session) {
        (self.plan_of_bundle(), self.session())
    }

    fn close(self) -> Result<(), Error> {
        Self::close(self)
    }
}

impl<'a> Guest<'a> {
    pub(super) fn of(
        held: Held<Hosted<Loan<crate::BundleRunning>>>,
        bundle: &'a BundleRunning,
    ) -> Self {
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
