//! The first state: a plan, which is data.

mod addressing;
mod ipv6;
mod loopback;
mod naming;
mod network_options;
mod pools;
mod proxy;
mod slug;

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

pub use addressing::{AddressPool, Addressing};
pub use ipv6::Ipv6Addressing;
pub use naming::Naming;
pub use network_options::{GatewayMode, NetworkOptions};
pub use pools::AddressPools;
pub use slug::Slug;

use crate::invalid::InvalidInput;

/// A planned bundle, the first state. [`create_network`](Self::create_network) leads to the next.
///
/// A plan is data: making, cloning, comparing or printing it touches nothing. Its address is a promise,
/// which [`create_network`](Self::create_network) keeps exactly or fails.
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
/// # use sidecar_bundle::{Engine, NetworkPlanned, Slug};
/// # let plan = NetworkPlanned::new(Slug::new("demo")?);
/// let network = plan.create_network(&Engine::docker())?;
/// println!("{}", network.plan());
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
///
/// ```compile_fail,E0382
/// # use sidecar_bundle::{Engine, NetworkPlanned, Slug};
/// # let plan = NetworkPlanned::new(Slug::new("demo")?);
/// let network = plan.create_network(&Engine::docker())?;
/// println!("{}", plan);
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct NetworkPlanned {
    naming: Naming,
    slug: Slug,
    /// The pool of the other attempts; none if the addresses were given.
    pool: Option<AddressPool>,
    addressing: Addressing,
    ipv6: Ipv6,
    options: NetworkOptions,
    lifetime: Option<Duration>,
}

/// The IPv6 addresses of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ipv6 {
    None,
    /// Those of the attempt.
    Derived,
    Given(Ipv6Addressing),
}

impl NetworkPlanned {
    /// Plans the slug's first subnet in the default pool, under the default names.
    ///
    /// A slug has a sequence of subnets in a pool, its attempts, numbered from 0; see [`AddressPool`].
    #[must_use]
    pub fn new(slug: Slug) -> Self {
        let pool = AddressPool::default();
        let addressing = pool.first(&slug);
        let (naming, options) = (Naming::default(), NetworkOptions::default());
        let pool = Some(pool);
        Self { naming, slug, pool, addressing, ipv6: Ipv6::None, options, lifetime: None }
    }

    /// Replaces the names.
    ///
    /// ```
    /// use sidecar_bundle::{AddressPool, Naming, NetworkPlanned, Slug};
    ///
    /// let demo = NetworkPlanned::new(Slug::new("demo")?);
    /// let theirs = demo.clone().with_naming(Naming::new("acme")?);
    /// assert_ne!(theirs.container_name(), demo.container_name());
    /// assert_eq!(theirs.subnet(), demo.subnet()); // they meet, unless one has another pool:
    /// let pool: AddressPool = "10.64.0.0/12:/24".parse()?;
    /// assert_ne!(theirs.with_pool(pool).subnet(), demo.subnet());
    /// # Ok::<(), sidecar_bundle::InvalidInput>(())
    /// ```
    #[must_use]
    pub fn with_naming(self, naming: Naming) -> Self {
        Self { naming, ..self }
    }

    /// Plans the slug's first subnet, attempt 0, in another pool.
    ///
    /// ```
    /// use sidecar_bundle::{AddressPool, NetworkPlanned, Slug};
    ///
    /// // A VPN has 10.0.0.0/8.
    /// let pool: AddressPool = "172.24.0.0/14:/26".parse()?;
    /// let plan = NetworkPlanned::new(Slug::new("demo")?).with_pool(pool);
    /// assert!(pool.range().contains(&plan.ip()));
    /// assert_eq!(plan.subnet().prefix_len(), 26);
    /// # Ok::<(), sidecar_bundle::InvalidInput>(())
    /// ```
    #[must_use]
    pub fn with_pool(self, pool: AddressPool) -> Self {
        let addressing = pool.first(&self.slug);
        Self { pool: Some(pool), addressing, ..self }
    }

    /// Plans addresses that the caller gives.
    ///
    /// ```
    /// use sidecar_bundle::{Addressing, NetworkPlanned, Slug};
    ///
    /// // The firewall lets this one address through.
    /// let subnet = "192.168.211.0/28".parse()?;
    /// let given = Addressing::new(subnet, [192, 168, 211, 1].into(), [192, 168, 211, 10].into())?;
    /// let plan = NetworkPlanned::new(Slug::new("demo")?).with_addressing(given);
    /// assert_eq!(plan.ip().to_string(), "192.168.211.10");
    /// assert!(plan.next_attempt().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_addressing(self, addressing: Addressing) -> Self {
        Self { pool: None, addressing, ..self }
    }

    /// Adds IPv6 addresses, derived from the slug: see [`Ipv6Addressing`].
    #[must_use]
    pub fn with_ipv6(self) -> Self {
        Self { ipv6: Ipv6::Derived, ..self }
    }

    /// Adds IPv6 addresses that the caller gives. They stay the same when the plan moves to another attempt.
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

    /// Gives the bundle a lifetime, from the start of [`create_network`](Self::create_network) or
    /// [`launch`](Self::launch) on.
    ///
    /// Nothing ends by itself: the labels of everything that is made have the end of the lifetime, rounded up to a second of
    /// the clock of this host, and a [`sweep`](crate::sweep) from any host removes what has expired by the clock of that
    /// host, whoever owns it. This is for an engine that several hosts use: if a host is lost, no other knows that its
    /// owners are dead. Without a lifetime, a sweep from elsewhere removes nothing of a bundle. On a swarm, it is a sweep of
    /// the engine that made the network.
    ///
    /// Labels cannot be changed, so a lifetime cannot be extended: a bundle that is attached to ends when it would have ended.
    /// [`bundles`](crate::bundles) tells when that is; its plan has no lifetime. What was kept without a lifetime is not taken
    /// over by a plan with one, nor the reverse, and what has expired is replaced. A sweep gives the container no grace period
    /// and saves no log. A lifetime of 0 is [`Error::Invalid`](crate::Error::Invalid) before anything is touched, and one that
    /// ends after the year 9998 does not end.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
    ///
    /// let day = Duration::from_secs(24 * 60 * 60);
    /// let plan = NetworkPlanned::new(Slug::new("demo")?).with_lifetime(day);
    /// let bundle = plan.launch(&Engine::docker(), BundleSpec::new())?;
    /// # bundle.close()?;
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    #[must_use]
    pub fn with_lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime: Some(lifetime), ..self }
    }

    /// Plans the slug's next subnet in the same pool, for when this one is taken: the attempt after this one.
    ///
    /// ```
    /// use sidecar_bundle::ipnet::Ipv4Net;
    /// use sidecar_bundle::{NetworkPlanned, Slug};
    ///
    /// let office: Ipv4Net = "10.56.0.0/16".parse()?;
    /// let mut plan = NetworkPlanned::new(Slug::new("demo")?);
    /// while office.contains(&plan.ip()) {
    ///     plan = plan.next_attempt()?;
    /// }
    /// assert_eq!(plan.addressing().attempt(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`] when this was the pool's last attempt, or when the addresses are not derived from a pool:
    /// the caller gave them, or they were read from a bundle by [`attach`](Self::attach).
    pub fn next_attempt(self) -> Result<Self, InvalidInput> {
        let Some(pool) = self.pool else {
            return Err(InvalidInput::new(format_args!(
                "subnet {} was given, not derived from the slug; there is no other attempt",
                self.addressing.subnet()
            )));
        };
        let addressing = pool.addressing(&self.slug, self.addressing.attempt() + 1)?;
        Ok(Self { addressing, ..self })
    }

    /// The slug.
    #[must_use]
    pub fn slug(&self) -> &Slug {
        &self.slug
    }

    /// The names.
    #[must_use]
    pub fn naming(&self) -> &Naming {
        &self.naming
    }

    /// The IPv6 addresses, if any are planned.
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

    /// All ranges of the network.
    pub(crate) fn ranges(&self) -> Vec<IpNet> {
        let ipv6 = self.ipv6().map(|it| it.subnet().into());
        std::iter::once(self.subnet().into()).chain(ipv6).collect()
    }

    /// Returns true if another attempt has another range in place of this one.
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

    /// The lifetime of the bundle, if it has one.
    #[must_use]
    pub fn lifetime(&self) -> Option<Duration> {
        self.lifetime
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

    /// The allowlist of the sandbox: the container's address as a /32.
    #[must_use]
    pub fn allowlist(&self) -> Ipv4Net {
        self.addressing.allowlist()
    }

    /// The name of the network.
    #[must_use]
    pub fn network_name(&self) -> String {
        self.naming.network_name(&self.slug)
    }

    /// The name of the container.
    #[must_use]
    pub fn container_name(&self) -> String {
        self.naming.container_name(&self.slug)
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
        self.naming.bridge_name(&self.slug)
    }

    /// The plan of a bundle that exists, from its labels.
    pub(crate) fn attached(
        naming: Naming,
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
        Self { naming, slug, pool: None, addressing, ipv6, options, lifetime: None }
    }

    /// Returns true if bundles of both plans cannot be on one engine at the same time.
    pub(crate) fn collides_with(&self, other: &Self) -> bool {
        let mut ranges = self.ranges().into_iter();
        let bridge = &self.options.bridge_name;
        (&self.naming.prefix(), &self.slug) == (&other.naming.prefix(), &other.slug)
            || bridge.is_some() && *bridge == other.options.bridge_name
            || ranges.any(|range| {
                other.ranges().iter().any(|it| range.contains(it) || it.contains(&range))
            })
    }

    pub(crate) fn guest_name(&self, guest: &str) -> String {
        self.naming.guest_name(&self.slug, guest)
    }

    /// The same plan at another attempt's addresses.
    pub(crate) fn at(self, addressing: Addressing) -> Self {
        Self { addressing, ..self }
    }

    pub(crate) fn pool(&self) -> Option<AddressPool> {
        self.pool
    }
}

/// Prints slug and addresses.
impl fmt::Debug for NetworkPlanned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkPlanned")
            .field("slug", &self.slug.as_str())
            .field("subnet", &self.subnet())
            .field("ip", &self.ip())
            .field("ipv6", &self.ipv6().map(|it| it.bundle_ip()))
            .finish_non_exhaustive()
    }
}

/// Names and addresses, without pool and options.
#[cfg(feature = "serde")]
impl serde::Serialize for NetworkPlanned {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut plan = serializer.serialize_struct("NetworkPlanned", 11)?;
        plan.serialize_field("prefix", self.naming.prefix())?;
        plan.serialize_field("slug", &self.slug)?;
        plan.serialize_field("network_name", &self.network_name())?;
        plan.serialize_field("container_name", &self.container_name())?;
        plan.serialize_field("derived_bridge_name", &self.derived_bridge_name())?;
        plan.serialize_field("image", self.naming.image())?;
        plan.serialize_field("daemons_variable", self.naming.daemons_variable())?;
        plan.serialize_field("addressing", &self.addressing)?;
        plan.serialize_field("ipv6", &self.ipv6())?;
        plan.serialize_field("allowlist", &self.allowlist())?;
        plan.serialize_field("loopback", &self.loopback())?;
        plan.end()
    }
}

/// Prints slug and addresses on one line.
impl fmt::Display for NetworkPlanned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.slug, self.addressing)?;
        self.ipv6().map_or(Ok(()), |ipv6| write!(f, ", and {ipv6}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned() -> NetworkPlanned {
        NetworkPlanned::new(Slug::new("demo").unwrap())
    }

    fn given() -> Ipv6Addressing {
        let ip = |text: &str| text.parse().unwrap();
        Ipv6Addressing::new("fd00::/64".parse().unwrap(), ip("fd00::1"), ip("fd00::2")).unwrap()
    }

    #[test]
    fn a_plan_prints_its_slug_and_addresses() {
        let addresses = "10.56.132.2 in 10.56.132.0/24 behind 10.56.132.1";
        assert_eq!(planned().to_string(), format!("demo: {addresses}"));
        assert_eq!(
            planned().with_ipv6_addressing(given()).to_string(),
            format!("demo: {addresses}, and fd00::2 in fd00::/64 behind fd00::1")
        );
        assert_eq!(planned().allowlist().to_string(), "10.56.132.2/32");
        let debug = format!("{:?}", planned());
        for part in ["demo", "10.56.132.0/24", "10.56.132.2", "None"] {
            assert!(debug.contains(part), "{debug}");
        }
    }

    #[test]
    fn plans_collide_if_one_of_their_ranges_is_a_part_of_another() {
        let at = |slug: &str, subnet: &str| {
            let subnet: Ipv4Net = subnet.parse().unwrap();
            let [gateway, ip] = [1, 2].map(|n| subnet.hosts().nth(n).unwrap());
            let addressing = Addressing::new(subnet, gateway, ip).unwrap();
            NetworkPlanned::new(Slug::new(slug).unwrap()).with_addressing(addressing)
        };
        for (one, other, collide) in [
            ("10.0.0.0/16", "10.0.7.0/24", true),
            ("10.0.7.0/24", "10.0.0.0/16", true),
            ("10.0.7.0/24", "10.0.7.0/24", true),
            ("10.0.7.0/24", "10.0.8.0/24", false),
        ] {
            assert_eq!(at("one", one).collides_with(&at("two", other)), collide, "{one} {other}");
        }
        assert!(at("one", "10.0.7.0/24").collides_with(&at("one", "10.0.8.0/24")));
    }

    #[test]
    fn a_range_moves_if_the_slug_decides_it_and_the_plan_has_a_pool() {
        let own = *planned().addressing();
        let (v4, v6) = (planned().subnet().into(), given().subnet().into());
        for (plan, moves) in [
            (planned().with_ipv6(), [true, true]),
            (planned().with_ipv6_addressing(given()), [true, false]),
            (planned().with_ipv6().with_addressing(own), [false, false]),
            (planned().with_ipv6_addressing(given()).with_addressing(own), [false, false]),
        ] {
            assert_eq!([v4, v6].map(|it| plan.moves(it)), moves, "{plan}");
        }
    }

    /// As far as labels tell: they have no pool.
    #[test]
    fn a_plan_of_a_bundle_that_exists_is_the_one_it_was_made_from() {
        for plan in [planned(), planned().with_ipv6(), planned().with_ipv6_addressing(given())] {
            let (naming, slug) = (plan.naming().clone(), plan.slug().clone());
            let (addressing, options) = (*plan.addressing(), plan.options().clone());
            let found = NetworkPlanned::attached(naming, slug, addressing, plan.ipv6(), options);
            assert_eq!(found.with_pool(AddressPool::default()), plan);
        }
    }
}
