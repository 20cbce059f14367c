//! The first state: everything is known, and nothing exists.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ipnet::Ipv4Net;

use crate::addressing::{AddressPool, Addressing, AddressingError};
use crate::created::NetworkCreated;
use crate::engine::diagnosis::Cause;
use crate::engine::{Engine, Failed, Made, NetworkFacts, NetworkRequest, Operations, Resource};
use crate::error::{Error, State, StepError};
use crate::guard::{Guard, Hold};
use crate::labels::Labels;
use crate::lease::{Lease, owner};
use crate::product::Product;
use crate::running::BundleRunning;
use crate::slug::Slug;
use crate::spec::BundleSpec;

/// A bundle that is planned: [`new`](Self::new) leads here, [`create_network`](Self::create_network)
/// leads on.
///
/// It is data: to make, clone, compare or print it asks no engine and touches nothing. Its address is
/// a promise that [`create_network`](Self::create_network) keeps exactly, or fails.
///
/// ```
/// use sidecar_bundle::{NetworkPlanned, Slug};
///
/// let plan = NetworkPlanned::new(Slug::new("demo")?);
/// assert_eq!(plan.network_name(), "claude-bottle-bundle-demo");
/// assert_eq!(plan.container_name(), "claude-bottle-sidecars-demo");
/// assert_eq!(plan.allowlist().to_string(), "10.56.132.2/32");
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
///
/// A plan moves on only once:
///
/// ```no_run
/// # use sidecar_bundle::{CliEngine, NetworkPlanned, Slug};
/// # let plan = NetworkPlanned::new(Slug::new("demo")?);
/// let network = plan.create_network(&CliEngine::docker())?;
/// println!("{}", network.plan());
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
///
/// ```compile_fail,E0382
/// # use sidecar_bundle::{CliEngine, NetworkPlanned, Slug};
/// # let plan = NetworkPlanned::new(Slug::new("demo")?);
/// let network = plan.create_network(&CliEngine::docker())?;
/// println!("{}", plan);
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a plan alone creates nothing"]
pub struct NetworkPlanned {
    product: Product,
    slug: Slug,
    /// What other attempts are cut from, unless the addresses were given.
    pool: Option<AddressPool>,
    addressing: Addressing,
}

impl NetworkPlanned {
    /// Plans the slug's first attempt in the default pool, under the default product's names.
    pub fn new(slug: Slug) -> Self {
        let pool = AddressPool::default();
        let addressing = pool.first(&slug);
        Self { product: Product::default(), slug, pool: Some(pool), addressing }
    }

    /// Replaces the names.
    pub fn with_product(self, product: Product) -> Self {
        Self { product, ..self }
    }

    /// Plans the slug's first attempt in another pool.
    pub fn with_pool(self, pool: AddressPool) -> Self {
        let addressing = pool.first(&self.slug);
        Self { pool: Some(pool), addressing, ..self }
    }

    /// Plans addresses that the caller brings along.
    pub fn with_addressing(self, addressing: Addressing) -> Self {
        Self { pool: None, addressing, ..self }
    }

    /// Plans the slug's next attempt in the same pool, for when something stands in the way of this.
    ///
    /// # Errors
    ///
    /// When this was the pool's last attempt, or the addresses were given and not derived.
    pub fn next_attempt(self) -> Result<Self, AddressingError> {
        let Some(pool) = self.pool else {
            return Err(AddressingError::Given { subnet: self.addressing.subnet() });
        };
        let addressing = pool.addressing(&self.slug, self.addressing.attempt() + 1)?;
        Ok(Self { addressing, ..self })
    }

    /// Creates the network: `docker network create`.
    ///
    /// The slug's lease is taken first, and held until the bundle is gone. A network of this name that
    /// exists already is taken over only if its subnet, gateway and labels are those of the plan, as
    /// they are after [`NetworkCreated::keep`].
    ///
    /// # Errors
    ///
    /// The plan is handed back, and nothing of this step is left, unless an [`Error::NotRemoved`]
    /// comes with the error:
    ///
    /// - [`Error::Taken`] or [`Error::Lease`] before the engine is asked for anything,
    /// - [`Error::CreateNetwork`] when the engine did not create it,
    /// - [`Error::NetworkDiffers`] when something else has the name; it has been left alone.
    pub fn create_network<E: Engine + ?Sized>(
        self,
        engine: &E,
    ) -> Result<NetworkCreated, StepError<Self>> {
        let span =
            tracing::info_span!("create_network", slug = %self.slug, subnet = %self.subnet());
        let _entered = span.enter();
        match self.create(engine.shared()) {
            Ok(guard) => Ok(NetworkCreated::new(self, guard)),
            Err(error) => Err(StepError::new(error, self)),
        }
    }

    /// Creates the network and starts the container in it: both steps at once.
    ///
    /// ```no_run
    /// use sidecar_bundle::{BundleSpec, CliEngine, NetworkPlanned, Slug};
    ///
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let bundle = plan.launch(&CliEngine::docker(), BundleSpec::new())?;
    /// assert_eq!(bundle.ip().octets()[3], 2);
    /// bundle.close()?;
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of both steps, and a wrong specification before either. The plan is handed back, and
    /// nothing of either step is left, unless an [`Error::NotRemoved`] comes with the error.
    pub fn launch<E: Engine + ?Sized>(
        self,
        engine: &E,
        spec: BundleSpec,
    ) -> Result<BundleRunning, StepError<Self>> {
        if let Err(error) = spec.check(&self.product) {
            return Err(StepError::new(error.into(), self));
        }
        self.create_network(engine)?.start(spec).map_err(|failed| {
            let (error, network) = failed.into_parts();
            let plan = network.plan().clone();
            StepError::new(error.and(network.close()), plan)
        })
    }

    /// The slug.
    #[must_use]
    pub fn slug(&self) -> &Slug {
        &self.slug
    }

    /// The names.
    #[must_use]
    pub fn product(&self) -> &Product {
        &self.product
    }

    /// All addresses.
    #[must_use]
    pub fn addressing(&self) -> &Addressing {
        &self.addressing
    }

    /// The network's range.
    #[must_use]
    pub fn subnet(&self) -> Ipv4Net {
        self.addressing.subnet()
    }

    /// The bridge's own address in the subnet.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        self.addressing.gateway()
    }

    /// The address that the container will have.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        self.addressing.bundle_ip()
    }

    /// What the sandbox may talk to: the container's address as a /32.
    #[must_use]
    pub fn allowlist(&self) -> Ipv4Net {
        self.addressing.allowlist()
    }

    /// The name of the network.
    #[must_use]
    pub fn network_name(&self) -> String {
        self.product.network_name(&self.slug)
    }

    /// The name of the container.
    #[must_use]
    pub fn container_name(&self) -> String {
        self.product.container_name(&self.slug)
    }

    fn create(&self, engine: Arc<dyn Operations>) -> Result<Guard, Error> {
        let lease = self.lease(&*engine)?;
        let labels = Labels::new(
            self.product.prefix(),
            &self.slug,
            &self.addressing,
            lease.directory_id(),
            owner()?,
        );
        let hold = Arc::new(Hold::new(lease));
        let mut guard = Guard::arm(engine, Resource::Network, self.network_name(), labels, hold);
        let request = NetworkRequest {
            name: guard.name(),
            addressing: &self.addressing,
            labels: guard.labels(),
        };
        match guard.engine().create_network(&request) {
            Ok(id) => {
                guard.set_made(Made::Id(id));
                match guard.hold().unkeep() {
                    Ok(()) => Ok(guard),
                    Err(error) => Err(error.and(guard.close())),
                }
            }
            Err(Failed { error, made }) => {
                guard.set_made(made);
                match self.existing(&guard, error.cause()) {
                    Ok(Some(id)) => {
                        // Only then is it ours to remove.
                        guard.hold().unkeep()?;
                        guard.set_made(Made::Id(id));
                        Ok(guard)
                    }
                    Ok(None) => {
                        let network = self.network_name();
                        Err(Error::CreateNetwork { network, source: error }.and(guard.close()))
                    }
                    Err(error) => Err(error.and(guard.close())),
                }
            }
        }
    }

    fn lease(&self, engine: &dyn Operations) -> Result<Lease, Error> {
        let directory = engine.state_dir().ok_or_else(|| Error::Lease {
            path: PathBuf::from("sidecar-bundle"),
            source: std::io::Error::other("neither XDG_STATE_HOME nor a home directory is known"),
        })?;
        Lease::take(&directory, self.product.prefix(), &self.slug, &engine.endpoint())
    }

    /// The network that has the name already, if it is the planned one and the name is the trouble.
    fn existing(&self, guard: &Guard, cause: Cause) -> Result<Option<String>, Error> {
        if cause != Cause::NetworkExists {
            return Ok(None);
        }
        let network = guard.name();
        let until = Instant::now() + guard.engine().remove_deadline();
        let found = guard
            .engine()
            .network(network, until)
            .map_err(|source| Error::CreateNetwork { network: network.to_owned(), source })?;
        let Some(found) = found else { return Ok(None) };
        match self.difference(guard.labels(), &found) {
            None => Ok(Some(found.id)),
            Some((field, planned, has)) => Err(Error::NetworkDiffers {
                network: network.to_owned(),
                id: found.id,
                field,
                planned,
                found: has,
            }),
        }
    }

    fn difference(
        &self,
        labels: &Labels,
        found: &NetworkFacts,
    ) -> Option<(String, String, Option<String>)> {
        let (subnet, gateway) = (self.subnet(), self.gateway());
        if found.subnet != Some(subnet) {
            let has = found.subnet.map(|subnet| subnet.to_string());
            return Some(("subnet".into(), subnet.to_string(), has));
        }
        if found.gateway != Some(gateway) {
            let has = found.gateway.map(|gateway| gateway.to_string());
            return Some(("gateway".into(), gateway.to_string(), has));
        }
        let (key, planned, has) = labels.difference(&found.labels)?;
        Some((key, planned.to_owned(), has))
    }
}

/// Prints slug and addresses on one line.
impl fmt::Display for NetworkPlanned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.slug, self.addressing)
    }
}

/// Nothing to remove.
impl State for NetworkPlanned {
    fn give_up(self) -> Result<(), Error> {
        Ok(())
    }
}
