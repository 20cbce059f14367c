//! The first state: everything is known, and nothing exists.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};

use crate::addressing::{AddressPool, Addressing, AddressingError};
use crate::created::NetworkCreated;
use crate::engine::command::CommandError;
use crate::engine::diagnosis::Cause;
use crate::engine::{Engine, Failed, Made, NetworkFacts, NetworkRequest, Operations, Resource};
use crate::error::{Error, GiveUp, StepError};
use crate::guard::{Guard, Hold};
use crate::ipv6::Ipv6Addressing;
use crate::labels::{Labels, owner_in};
use crate::lease::{Kept, Lease};
use crate::network_options::{NetworkOptions, NetworkOptionsError};
use crate::product::Product;
use crate::reaper::Reaper;
use crate::removal;
use crate::running::BundleRunning;
use crate::slug::Slug;
use crate::spec::BundleSpec;
use crate::survey;

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
pub struct NetworkPlanned {
    product: Product,
    slug: Slug,
    /// What other attempts are cut from, unless the addresses were given.
    pool: Option<AddressPool>,
    addressing: Addressing,
    ipv6: Ipv6,
    options: NetworkOptions,
}

/// What IPv6 addresses a plan has, beside the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ipv6 {
    None,
    /// Those of the attempt.
    Derived,
    Given(Ipv6Addressing),
}

impl NetworkPlanned {
    /// Plans the slug's first attempt in the default pool, under the default product's names.
    #[must_use]
    pub fn new(slug: Slug) -> Self {
        let pool = AddressPool::default();
        let addressing = pool.first(&slug);
        let (product, options) = (Product::default(), NetworkOptions::default());
        Self { product, slug, pool: Some(pool), addressing, ipv6: Ipv6::None, options }
    }

    /// Replaces the names.
    #[must_use]
    pub fn with_product(self, product: Product) -> Self {
        Self { product, ..self }
    }

    /// Plans the slug's first attempt in another pool.
    #[must_use]
    pub fn with_pool(self, pool: AddressPool) -> Self {
        let addressing = pool.first(&self.slug);
        Self { pool: Some(pool), addressing, ..self }
    }

    /// Plans addresses that the caller brings along.
    #[must_use]
    pub fn with_addressing(self, addressing: Addressing) -> Self {
        Self { pool: None, addressing, ..self }
    }

    /// Adds IPv6 addresses, derived from the slug: see [`Ipv6Addressing`].
    #[must_use]
    pub fn with_ipv6(self) -> Self {
        Self { ipv6: Ipv6::Derived, ..self }
    }

    /// Adds IPv6 addresses that the caller brings along; no other attempt moves them.
    #[must_use]
    pub fn with_ipv6_addressing(self, addressing: Ipv6Addressing) -> Self {
        Self { ipv6: Ipv6::Given(addressing), ..self }
    }

    /// Replaces the network's options, which are checked by
    /// [`create_network`](Self::create_network) before anything is touched.
    #[must_use]
    pub fn with_options(self, options: NetworkOptions) -> Self {
        Self { options, ..self }
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
    /// The slug's lease is taken first, and held until the bundle is gone. What a dead owner of the slug
    /// left is removed. A network of this name that exists is taken over only if it was
    /// [kept](NetworkCreated::keep), and its subnet, gateway and labels are those of the plan.
    ///
    /// # Errors
    ///
    /// The plan is handed back, and nothing of this step is left, unless an [`Error::NotRemoved`]
    /// comes with the error:
    ///
    /// - [`Error::NetworkOptions`] before anything else (but for a bridge's name that the host has already,
    ///   which is seen just before the network would be created), and [`Error::Unsupported`] when the engine
    ///   cannot do what they ask for, or [`Error::Look`] when it cannot be asked what it is,
    /// - [`Error::Taken`] or [`Error::Lease`] before the engine is asked for anything else,
    /// - [`Error::Kept`] when a whole bundle of the slug was kept; it has been left alone,
    /// - [`Error::SubnetTaken`] when another network has the range, or, on the engine's host, an interface
    ///   or a closer route does,
    /// - [`Error::NetworkDiffers`] when another network has the name; it has been left alone,
    /// - [`Error::CreateNetwork`] when the engine did not create it for another reason,
    /// - [`Error::NotRemoved`] alone when what a dead owner left cannot be removed.
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
        match spec.check(&self.product) {
            Ok(spec) => engine.hide(&spec),
            Err(error) => return Err(StepError::new(error.into(), self)),
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

    /// The IPv6 addresses, if there are to be any.
    #[must_use]
    pub fn ipv6(&self) -> Option<Ipv6Addressing> {
        self.ipv6_of(self.addressing.attempt())
    }

    pub(crate) fn ipv6_of(&self, attempt: u64) -> Option<Ipv6Addressing> {
        match self.ipv6 {
            Ipv6::None => None,
            Ipv6::Derived => Some(Ipv6Addressing::derived(&self.slug, attempt)),
            Ipv6::Given(addressing) => Some(addressing),
        }
    }

    /// All ranges that the network is to have.
    pub(crate) fn ranges(&self) -> Vec<IpNet> {
        let ipv6 = self.ipv6().map(|it| it.subnet().into());
        std::iter::once(self.subnet().into()).chain(ipv6).collect()
    }

    /// Whether another attempt has other addresses instead of this one.
    pub(crate) fn moves(&self, range: IpNet) -> bool {
        match (range, self.ipv6) {
            (IpNet::V4(_), _) => self.pool.is_some(),
            (IpNet::V6(_), ipv6) => self.pool.is_some() && ipv6 == Ipv6::Derived,
        }
    }

    /// The network's options.
    #[must_use]
    pub fn options(&self) -> &NetworkOptions {
        &self.options
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

    /// A name for the network's bridge, the same on every machine, for
    /// [`NetworkOptions::bridge_name`] and for firewall rules that are written before anything runs.
    ///
    /// It has 15 bytes: `sb`, and 65 bits of the SHA-256 of prefix, NUL and slug in lower-case base32. In
    /// Python: `"sb" + b32encode(sha256(f"{prefix}\0{slug}".encode()).digest()).decode().lower()[:13]`.
    ///
    /// ```
    /// use sidecar_bundle::{NetworkOptions, NetworkPlanned, Slug};
    ///
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let bridge = plan.derived_bridge_name();
    /// assert_eq!(bridge.len(), 15);
    /// println!("iptables -I FORWARD -o {bridge} -j ACCEPT");
    /// let plan = plan.with_options(NetworkOptions::new().bridge_name(bridge));
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    #[must_use]
    pub fn derived_bridge_name(&self) -> String {
        self.product.bridge_name(&self.slug)
    }

    /// A plan whose addresses have come true already.
    pub(crate) fn attached(
        product: Product,
        slug: Slug,
        addressing: Addressing,
        ipv6: Option<Ipv6Addressing>,
        options: NetworkOptions,
    ) -> Self {
        let derived = Ipv6Addressing::derived(&slug, addressing.attempt());
        let ipv6 = match ipv6 {
            None => Ipv6::None,
            Some(theirs) if theirs == derived => Ipv6::Derived,
            Some(theirs) => Ipv6::Given(theirs),
        };
        Self { product, slug, pool: None, addressing, ipv6, options }
    }

    /// The same plan at another attempt's addresses.
    pub(crate) fn at(self, addressing: Addressing) -> Self {
        Self { addressing, ..self }
    }

    pub(crate) fn pool(&self) -> Option<AddressPool> {
        self.pool
    }

    fn create(&self, engine: Arc<dyn Operations>) -> Result<Guard, Error> {
        self.options.check(self.ipv6().is_some())?;
        engine.supports(&self.options, self.ipv6().is_some())?;
        let owner = engine.owner()?;
        let lease = Lease::of(&*engine, &self.product, &self.slug, &owner)?;
        if lease.kept() == Kept::Bundle {
            lease.abandon();
            return Err(Error::Kept { slug: self.slug.clone() });
        }
        let labels = Labels::new(&self.product, &self.slug, &self.addressing, &lease, &owner);
        let labels = labels.with_ipv6(self.ipv6()).with_options(&self.options);
        let hold = Arc::new(Hold::new(lease, engine.stranger(&owner).map(Reaper::of)));
        let mut guard = Guard::new(engine, Resource::Network, self.network_name(), labels, hold);
        if guard.hold().kept() == Kept::Network && self.take_over(&mut guard)? {
            return Ok(guard);
        }
        self.bury_predecessors(&guard)?;

        // What a dead owner's last command makes may appear while this one is at it.
        let patience = guard.engine().now() + Duration::from_secs(5);
        loop {
            if let Some(in_the_way) = self.in_the_way(&guard) {
                if guard.hold().predecessors().is_empty() || guard.engine().now() >= patience {
                    return Err(in_the_way);
                }
                guard.engine().pause(Duration::from_millis(100));
                self.bury_predecessors(&guard)?;
                continue;
            }
            guard.arm();
            let request = NetworkRequest {
                tether: guard.hold().tether(),
                name: guard.name(),
                addressing: &self.addressing,
                ipv6: self.ipv6(),
                labels: guard.labels(),
                options: &self.options,
            };
            match guard.engine().create_network(&request) {
                Ok(id) => {
                    guard.set_made(Made::Id(id));
                    return Ok(guard);
                }
                Err(Failed { error, made }) => {
                    guard.set_made(made);
                    if let Err(error) = self.must_be_of_the_dead(&guard, error, patience) {
                        return Err(error.and(guard.close()));
                    }
                    self.bury_predecessors(&guard)?;
                    guard.engine().pause(Duration::from_millis(100));
                }
            }
        }
    }

    /// What of the engine's host is in the way, of which the engine would not tell.
    fn in_the_way(&self, guard: &Guard) -> Option<Error> {
        for subnet in self.ranges() {
            let holder = survey::in_the_way(guard.engine(), subnet);
            if holder.is_some() {
                return Some(Error::SubnetTaken { subnet, holder, source: None });
            }
        }
        let name = self.options.bridge_name.clone()?;
        match survey::is_foreign_bridge(guard.engine(), &name) {
            Ok(false) => None,
            Ok(true) => Some(NetworkOptionsError::BridgeExists { name }.into()),
            Err(error) => Some(error),
        }
    }

    /// Takes over the network that was kept; false if there is none any more.
    ///
    /// It is looked for before anything is created: afterwards, what an owner has kept could not be told
    /// from what it has made just now.
    fn take_over(&self, guard: &mut Guard) -> Result<bool, Error> {
        let Some(found) = namesake(guard)? else {
            guard.hold().keep(Kept::Nothing)?;
            return Ok(false);
        };
        if let Some(differs) = self.difference(guard, &found, is_dead(guard, &found.labels)) {
            return Err(differs);
        }
        guard.hold().keep(Kept::Nothing)?;
        guard.adopt(found.id);
        Ok(true)
    }

    /// Removes what dead owners of the slug left.
    fn bury_predecessors(&self, guard: &Guard) -> Result<(), Error> {
        let (prefix, slug) = (self.product.prefix(), self.slug.as_str());
        let dead = guard.hold().predecessors();
        let buried = removal::of_the_dead(guard.engine(), prefix, slug, dead);
        if buried.is_err() {
            guard.hold().leave();
        }
        buried.map(drop)
    }

    /// An error, unless what stands in the way is a dead owner's, or may be, and so is to go.
    fn must_be_of_the_dead(
        &self,
        guard: &Guard,
        error: CommandError,
        patience: Instant,
    ) -> Result<(), Error> {
        let patient = guard.engine().now() < patience;
        match error.cause() {
            Cause::NetworkExists => match namesake(guard)? {
                Some(found) if patient && is_dead(guard, &found.labels) => Ok(()),
                None if patient => Ok(()),
                None => Err(Error::CreateNetwork { network: self.network_name(), source: error }),
                // Where all is as planned, the owner included, it is this process's own, left before.
                Some(found) => Err(self
                    .difference(guard, &found, false)
                    .unwrap_or(Error::CreateNetwork { network: found.name, source: error })),
            },
            Cause::SubnetOverlap if patient && !guard.hold().predecessors().is_empty() => Ok(()),
            Cause::SubnetOverlap => {
                let holder = survey::holder(guard.engine(), &self.ranges());
                let held = |range: &IpNet| holder.as_ref().is_some_and(|it| it.overlaps(*range));
                let subnet = self.ranges().into_iter().find(held);
                let subnet = subnet.unwrap_or(self.subnet().into());
                Err(Error::SubnetTaken { subnet, holder, source: Some(error) })
            }
            _ => Err(Error::CreateNetwork { network: self.network_name(), source: error }),
        }
    }

    /// How a network differs from the planned one - but for the owner, if it does not matter who made it.
    fn difference(
        &self,
        guard: &Guard,
        found: &NetworkFacts,
        whoever_made_it: bool,
    ) -> Option<Error> {
        let has = found.subnets.first();
        let (subnet, gateway) = (self.subnet(), self.gateway());
        let (field, planned, has) = match has {
            Some((theirs, _)) if *theirs != IpNet::V4(subnet) => {
                ("subnet".into(), subnet.to_string(), Some(theirs.to_string()))
            }
            None => ("subnet".into(), subnet.to_string(), None),
            Some((_, theirs)) if *theirs != Some(IpAddr::V4(gateway)) => {
                ("gateway".into(), gateway.to_string(), theirs.map(|it| it.to_string()))
            }
            Some(_) => {
                match self.ipv6().map(|it| (it.subnet().into(), Some(it.gateway().into()))) {
                    Some(ipv6) if !found.subnets.contains(&ipv6) => {
                        ("IPv6 subnet".into(), ipv6.0.to_string(), None)
                    }
                    _ => guard.labels().difference(&found.labels, whoever_made_it)?,
                }
            }
        };
        let (network, id) = (found.name.clone(), found.id.clone());
        Some(Error::NetworkDiffers { network, id, field, planned, found: has })
    }
}

fn is_dead(guard: &Guard, labels: &BTreeMap<String, String>) -> bool {
    let owner = owner_in(labels);
    owner.is_some_and(|owner| guard.hold().predecessors().iter().any(|dead| dead == owner))
}

fn namesake(guard: &Guard) -> Result<Option<NetworkFacts>, Error> {
    let until = guard.engine().now() + guard.engine().remove_deadline();
    let found = guard.engine().networks(&[guard.name()], until);
    let found = found.map_err(|source| Error::Look { what: "a network of this name", source })?;
    // An engine takes the beginning of an id for a name, too.
    Ok(found.into_iter().find(|network| network.name == guard.name()))
}

/// Prints slug and addresses on one line.
impl fmt::Display for NetworkPlanned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.slug, self.addressing)?;
        self.ipv6().map_or(Ok(()), |ipv6| write!(f, ", and {ipv6}"))
    }
}

/// Nothing to remove.
impl GiveUp for NetworkPlanned {
    fn give_up(self) -> Result<(), Error> {
        Ok(())
    }
}
