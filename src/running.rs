//! The last state: the container runs at its address.

use std::net::Ipv4Addr;

use crate::attach;
use crate::created::NetworkCreated;
use crate::engine::{Engine, Operations};
use crate::error::{Error, GiveUp, StepError};
use crate::guard::Guard;
use crate::lease::Kept;
use crate::planned::NetworkPlanned;
use crate::product::Product;
use crate::ready::Ready;
use crate::slug::Slug;

/// A bundle that runs: [`NetworkCreated::start`] leads here, [`close`](Self::close) or a drop ends it.
///
/// Dropping it removes the container and then the network, and logs what it could not remove. Hold it
/// by a name: `let _bundle = ...` lives to the end of the scope, `let _ = ...` is dropped at once.
///
/// ```no_run
/// # use sidecar_bundle::{BundleSpec, CliEngine, NetworkPlanned, Slug};
/// # let plan = NetworkPlanned::new(Slug::new("demo")?);
/// let bundle = plan.launch(&CliEngine::docker(), BundleSpec::new())?;
/// println!("{}", bundle.ip());
/// bundle.close()?;
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
///
/// What is closed cannot be used:
///
/// ```compile_fail,E0382
/// # use sidecar_bundle::{BundleSpec, CliEngine, NetworkPlanned, Slug};
/// # let plan = NetworkPlanned::new(Slug::new("demo")?);
/// let bundle = plan.launch(&CliEngine::docker(), BundleSpec::new())?;
/// bundle.close()?;
/// println!("{}", bundle.ip());
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "container and network are removed when this is dropped; hold it by a name"]
pub struct BundleRunning {
    // In the order of teardown: a network goes after what is attached to it.
    container: Guard,
    network: NetworkCreated,
    ready: Vec<Ready>,
}

impl BundleRunning {
    pub(crate) fn new(container: Guard, ready: Vec<Ready>, network: NetworkCreated) -> Self {
        Self { container, network, ready }
    }

    pub(crate) fn engine(&self) -> &dyn Operations {
        self.container.engine()
    }

    pub(crate) fn network(&self) -> &NetworkCreated {
        &self.network
    }

    /// What the daemons brought along to be waited for.
    pub(crate) fn ready(&self) -> &[Ready] {
        &self.ready
    }

    /// Removes the container and then the network, now: `docker rm --force --volumes` and
    /// `docker network rm`.
    ///
    /// # Errors
    ///
    /// [`Error::NotRemoved`] for what may be left, with the command that removes it; both steps are
    /// tried, and if both fail the errors come as [`Error::Several`].
    pub fn close(self) -> Result<(), Error> {
        let _entered = tracing::info_span!("close", slug = %self.plan().slug()).entered();
        let container = self.container.close();
        let network = self.network.remove();
        Error::all([container, network].into_iter().filter_map(Result::err).collect())
    }

    /// Takes a bundle that was [kept](Self::keep) back under guard, in this process or in a later one.
    ///
    /// The plan is rebuilt from the bundle's labels. Names are the default product's;
    /// [`attach_as`](Self::attach_as) takes others.
    ///
    /// ```no_run
    /// use sidecar_bundle::{BundleRunning, BundleSpec, CliEngine, NetworkPlanned, Slug};
    ///
    /// let engine = CliEngine::docker();
    /// let bundle = NetworkPlanned::new(Slug::new("demo")?).launch(&engine, BundleSpec::new())?;
    /// let ip = bundle.ip();
    /// bundle.keep()?;
    /// // ... in any later process:
    /// let bundle = BundleRunning::attach(Slug::new("demo")?, &engine)?;
    /// assert_eq!(bundle.ip(), ip);
    /// bundle.close()?;
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Whatever was kept has been left alone, and can be attached to again:
    ///
    /// - [`Error::Taken`] or [`Error::Lease`] before the engine is asked for anything,
    /// - [`Error::NotKept`] when no bundle of the slug was kept, or nothing of it exists any more,
    /// - [`Error::Changed`] when labels, subnet or address are not as they were, or it does not run,
    /// - [`Error::Look`] when the engine could not be asked.
    pub fn attach<E: Engine + ?Sized>(slug: Slug, engine: &E) -> Result<Self, Error> {
        Self::attach_as(Product::default(), slug, engine)
    }

    /// Like [`attach`](Self::attach), under another product's names.
    ///
    /// # Errors
    ///
    /// As for [`attach`](Self::attach).
    pub fn attach_as<E: Engine + ?Sized>(
        product: Product,
        slug: Slug,
        engine: &E,
    ) -> Result<Self, Error> {
        let _entered = tracing::info_span!("attach", %slug).entered();
        attach::attach(product, slug, engine.shared())
    }

    /// Leaves container and network where they are and lets go of the slug.
    ///
    /// [`attach`](Self::attach) takes them back. Until then no launch of the slug and no sweep touches
    /// them.
    ///
    /// # Errors
    ///
    /// [`Error::Lease`] when the mark that they stay cannot be written. This state is handed back, and
    /// nothing has changed.
    pub fn keep(self) -> Result<NetworkPlanned, StepError<Self>> {
        let Self { container, network, ready } = self;
        match network.keep_as(Kept::Bundle) {
            Ok(plan) => {
                container.disarm();
                Ok(plan)
            }
            Err(failed) => {
                let (error, network) = failed.into_parts();
                Err(StepError::new(error, Self { container, network, ready }))
            }
        }
    }

    /// The plan that has come true.
    #[must_use]
    pub fn plan(&self) -> &NetworkPlanned {
        self.network.plan()
    }

    /// The address that the container is pinned at.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        self.plan().ip()
    }

    /// The container's id, as the engine returned it.
    #[must_use]
    pub fn container_id(&self) -> &str {
        self.container.id()
    }

    /// The network's id, as the engine returned it.
    #[must_use]
    pub fn network_id(&self) -> &str {
        self.network.network_id()
    }

    /// Whether the bundle's address can be reached from here; see [`NetworkCreated::is_reachable`].
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.network.is_reachable()
    }
}

impl GiveUp for BundleRunning {
    fn give_up(self) -> Result<(), Error> {
        self.close()
    }
}
