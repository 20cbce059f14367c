//! The survey of an engine and its host for free subnets.

use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::created::NetworkCreated;
use crate::engine::backend::{Id, NetworkInfo, Resource};
use crate::engine::connection::Connection;
use crate::engine::error::EngineError;
use crate::engine::{Engine, Reachability};
use crate::error::{Error, StepError};
use crate::host::{self, Holder};
use crate::ownership::labels;
use crate::ownership::session::Session;
use crate::ownership::teardown;
use crate::plan::{Addressing, NetworkPlanned};

impl NetworkPlanned {
    /// Moves on to the first attempt, from this one on, whose subnet nothing overlaps.
    ///
    /// These count: the networks of the engine; if the engine is on this host, the host's interfaces and routes; if
    /// it is rootless, only the interfaces, since podman refuses a subnet that overlaps one.
    ///
    /// Routes are those of the Linux kernel's main table, and for IPv6 of all tables. Default routes, whole (`/0`) or
    /// in halves (`/1`), do not count. A rule of policy routing counts where the kernel, asked for its route to the
    /// bundle's address, follows it before the main table: then even the default route of its table would take
    /// packets away from the bundle. A route to a wider range, such as a VPN's to `10.0.0.0/8`, takes all
    /// subnets in it. Then plan with another pool, or call [`create_network`](Self::create_network), which is less
    /// strict: it refuses only a route to the subnet or to a part of it, and an interface with an address in it.
    ///
    /// The slug's own network does not count, whoever holds it. If it has the subnet of one of these attempts, and
    /// nothing else overlaps that, the plan moves there: a network that was kept is found again.
    ///
    /// With [`Engine::docker_cli`], docker's program inspects one network after another, so the cost grows with the
    /// number of networks.
    ///
    /// Nothing is created: another process may take the subnet before
    /// [`create_network`](Self::create_network) does.
    /// [`create_network_in_free_subnet`](Self::create_network_in_free_subnet) then tries the next one.
    ///
    /// ```no_run
    /// use sidecar_bundle::{Engine, NetworkPlanned, Slug};
    ///
    /// let plan = NetworkPlanned::new(Slug::new("demo")?).in_free_subnet(&Engine::docker())?;
    /// println!("allow {}", plan.allowlist());
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The plan is handed back, and nothing has been touched:
    ///
    /// - [`Error::PoolFull`] when something overlaps every subnet of the pool from this attempt on, with the
    ///   holders,
    /// - [`Error::SubnetTaken`] when the addresses were given, and something overlaps them,
    /// - [`Error::Look`] when the engine could not be asked.
    pub fn in_free_subnet(self, engine: &Engine) -> Result<Self, StepError<Self>> {
        let connection =
            Connection::open(engine).map_err(|source| Error::Look { what: "its identity", source });
        match connection.and_then(|connection| first_free(&connection, &self)) {
            Ok(free) => Ok(free),
            Err(error) => Err(StepError::new(error, self)),
        }
    }

    /// Creates the network in the first free subnet, and tries the next one if another process takes that subnet
    /// first.
    ///
    /// The address is final only in the state that comes back.
    ///
    /// ```no_run
    /// use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
    ///
    /// # fn allow(_: impl std::fmt::Display) {}
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let network = plan.create_network_in_free_subnet(&Engine::docker())?;
    /// allow(network.plan().allowlist()); // not before: the plan may have moved
    /// let bundle = network.start(BundleSpec::new().image("nginx:1"))?;
    /// # bundle.close()?;
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`in_free_subnet`](Self::in_free_subnet) and [`create_network`](Self::create_network). The plan of
    /// the last attempt is handed back. [`Error::SubnetTaken`] comes for given addresses, and when the engine has
    /// refused eight subnets and no holder of one can be seen for 15 seconds.
    pub fn create_network_in_free_subnet(
        self,
        engine: &Engine,
    ) -> Result<NetworkCreated, StepError<Self>> {
        let mut plan = self;
        let mut unseen = Vec::new();
        // Each turn is another attempt: the pool bounds them.
        loop {
            let failed = match plan.in_free_subnet(engine)?.create_network(engine) {
                Err(failed) => failed,
                created => return created,
            };
            let (error, lost) = failed.into_parts();
            match &error {
                Error::SubnetTaken { subnet, holder, .. } if lost.moves(*subnet) => {
                    unseen.extend(holder.is_none().then_some(*subnet));
                }
                _ => return Err(StepError::new(error, lost)),
            }
            if unseen.len() == UNSEEN && !is_one_seen(engine, &mut unseen) {
                return Err(StepError::new(error, lost));
            }
            plan = match lost.clone().next_attempt() {
                Ok(next) => next,
                Err(_) => return Err(StepError::new(error, lost)),
            };
        }
    }
}

/// The number of refused subnets without a holder with which a search waits for one.
const UNSEEN: usize = 8;

/// Forgets the ranges whose holder can be seen now, and returns true if there is one.
///
/// An engine refuses the subnet of a network that it is making, and lists the network later.
fn is_one_seen(engine: &Engine, unseen: &mut Vec<IpNet>) -> bool {
    let patience = engine.patience();
    loop {
        if let Ok(connection) = Connection::open(engine) {
            unseen.retain(|range| holder(&connection, &[*range]).is_none());
        }
        if unseen.len() < UNSEEN || !engine.is_patient(patience) {
            return unseen.len() < UNSEEN;
        }
    }
}

fn first_free(connection: &Connection, plan: &NetworkPlanned) -> Result<NetworkPlanned, Error> {
    teardown::join(&connection.info().identity.digest(), |it| it.collides_with(plan));
    let mut survey = Survey::of(connection, Some(plan))?;
    let may_be_here = reachability(connection)?.may_be_here();
    // What is found holds at least this subnet, so each turn is another one.
    loop {
        let free = survey.first_free(plan)?;
        match diversion(&free).filter(|_| may_be_here) {
            Some(holder) => survey.holders.push(holder),
            None => return Ok(free),
        }
    }
}

/// The route that would take packets away from the bundle, whatever bridge it has.
fn diversion(plan: &NetworkPlanned) -> Option<Holder> {
    let ipv6 = plan.ipv6().map(|it| (it.bundle_ip().into(), it.subnet().into()));
    let mut addresses = [(plan.ip().into(), plan.subnet().into())].into_iter().chain(ipv6);
    addresses.find_map(|(ip, subnet)| host::diversion(ip, subnet))
}

/// The holder of one of the ranges, as far as it is known.
pub(crate) fn holder(connection: &Connection, ranges: &[IpNet]) -> Option<Holder> {
    let holds = |it: &Holder| ranges.iter().any(|range| it.overlaps(*range));
    let network = networks(connection).ok()?.iter().flat_map(held_by).find(holds);
    network.or_else(|| Survey::of(connection, None).ok()?.holders.into_iter().find(holds))
}

/// A network of the slug under a lease that is not here, but for this session's own. Of two hosts at once, the later one may
/// meet the subnet or the bridge in place of the name; and where their subnets differ, Docker may make networks for both.
pub(super) fn elsewhere(
    plan: &NetworkPlanned,
    session: &Session,
    own: Option<&Id>,
) -> Result<Option<NetworkInfo>, EngineError> {
    let connection = session.connection();
    let deadline = connection.engine().look_deadline();
    let filter = labels::of_slug(plan.naming(), plan.slug());
    for id in connection.backend().find(Resource::Network, &filter, deadline)? {
        if let Some(found) = connection.network(id.as_str(), deadline)?
            && Some(&id) != own
            && !session.is_under_lease(&found.labels)
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The interface or route of the engine's host that would take packets away from the addresses of a plan, and the
/// range of these: an interface with an address in it, a route to it or to a part of it, or one that a rule puts
/// before all of the main table.
///
/// Docker does not look. The engine is asked for nothing unless something is there.
pub(crate) fn in_the_way(
    connection: &Connection,
    plan: &NetworkPlanned,
) -> Option<(IpNet, Holder)> {
    let diverted = || {
        let holder = diversion(plan).filter(|_| may_be_here(connection))?;
        let range = plan.ranges().into_iter().find(|it| holder.overlaps(*it))?;
        Some((range, holder))
    };
    let in_range = |range| Some((range, in_range(connection, range)?));
    plan.ranges().into_iter().find_map(in_range).or_else(diverted)
}

/// A network of the engine in the range of a plan, but for its own. A swarm does not look at the networks of its nodes.
pub(crate) fn network_in_the_way(
    connection: &Connection,
    plan: &NetworkPlanned,
    is_own: impl Fn(&NetworkInfo) -> bool,
) -> Result<Option<(IpNet, Holder)>, Error> {
    let networks = networks(connection)?;
    let mut held = networks.iter().filter(|it| !is_own(it)).flat_map(held_by);
    Ok(held.find_map(|holder| {
        let range = plan.ranges().into_iter().find(|range| holder.overlaps(*range))?;
        Some((range, holder))
    }))
}

fn in_range(connection: &Connection, range: IpNet) -> Option<Holder> {
    // An interface with a wider range and its own address elsewhere counts no more than a wider route.
    let mut in_the_way = host::interfaces_in(range);
    in_the_way.extend(host::routes_in(range));
    if in_the_way.is_empty() || !may_be_here(connection) {
        return None;
    }
    // A network's own bridge is the engine's business, which says it better.
    let networks = networks(connection).ok()?;
    let with_bridges = networks.iter().filter(|it| !it.id.is_of_swarm());
    let is_a_network = with_bridges.flat_map(held_by).any(|it| it.overlaps(range));
    in_the_way.into_iter().next().filter(|_| !is_a_network)
}

/// Returns true if an interface of this name is on the engine's host and is not a bridge of its networks.
///
/// An unknown is an error: the engine would take the interface.
pub(crate) fn is_foreign_bridge(connection: &Connection, name: &str) -> Result<bool, Error> {
    if !host::is_there(name) {
        return Ok(false);
    }
    let is_its_own = |it: &NetworkInfo| it.bridge.as_deref() == Some(name);
    Ok(reachability(connection)?.may_be_here() && !networks(connection)?.iter().any(is_its_own))
}

fn reachability(connection: &Connection) -> Result<Reachability, Error> {
    let reachability = connection.engine().reachability();
    reachability.map_err(|source| Error::Look { what: "the place of its bridges", source })
}

/// Returns true if the engine's interfaces are this host's, as far as is known.
fn may_be_here(connection: &Connection) -> bool {
    reachability(connection).is_ok_and(|it| it.may_be_here())
}

/// The ranges that are held where an engine is.
struct Survey {
    /// The holders of ranges, in the order of the ranges, a network before its bridge's interface and route.
    /// Without the plan's own network, whoever made it: it is taken over, removed or refused by its name.
    holders: Vec<Holder>,
    /// The ranges of the plan's own network.
    own: Vec<IpNet>,
}

impl Survey {
    fn of(connection: &Connection, plan: Option<&NetworkPlanned>) -> Result<Self, Error> {
        let is_own = |network: &NetworkInfo| {
            plan.is_some_and(|plan| {
                network.name == plan.network_name()
                    && labels::are_of(plan.naming(), plan.slug(), &network.labels)
            })
        };
        let (own, others): (Vec<_>, Vec<_>) = networks(connection)?.into_iter().partition(is_own);
        let own: Vec<_> = own.iter().flat_map(held_by).map(|it| it.range()).collect();
        let mut all: Vec<_> = others.iter().flat_map(held_by).collect();
        let reachability = reachability(connection)?;
        if reachability.may_be_here() || reachability == Reachability::Rootless {
            all.extend(host::interfaces());
        }
        if reachability.may_be_here() {
            all.extend(host::routes());
        }
        all.retain(|it| !own.contains(&it.range()));
        let mut holders = BTreeMap::new();
        for holder in all {
            holders.entry(holder.range()).or_insert(holder);
        }
        Ok(Self { holders: holders.into_values().collect(), own })
    }

    fn first_free(&self, plan: &NetworkPlanned) -> Result<NetworkPlanned, Error> {
        let Self { holders, own } = self;
        let taken = Ranges::of(holders);
        let within = |range: IpNet| {
            let overlapping = holders.iter().filter(move |it| it.overlaps(range));
            overlapping.cloned().collect::<Vec<_>>()
        };
        for range in plan.ranges().into_iter().filter(|range| !plan.moves(*range)) {
            if let Some(holder) = within(range).into_iter().next() {
                return Err(Error::SubnetTaken {
                    subnet: range,
                    holder: Some(holder),
                    source: None,
                });
            }
        }
        let Some(pool) = plan.pool() else { return Ok(plan.clone()) };
        let full = || {
            let mut holders = within(pool.range().into());
            // All attempts have the same Global ID.
            let global = plan.ipv6().filter(|it| plan.moves(it.subnet().into()));
            let global = global.and_then(|it| Ipv6Net::new(it.subnet().network(), 48).ok());
            holders.extend(global.into_iter().flat_map(|range| within(range.trunc().into())));
            Error::PoolFull { pool, subnets: pool.subnets(), holders }
        };
        // One network over all of a large pool need not be met at each of its subnets.
        if taken.contain(pool.range()) {
            return Err(full());
        }
        let from = plan.addressing().attempt();
        let free_of_ipv6 = |attempt| {
            let subnet = plan.ipv6_of(attempt).map(|it| IpNet::V6(it.subnet()));
            subnet.is_none_or(|subnet| !holders.iter().any(|it| it.overlaps(subnet)))
        };
        let is_free = |it: &Addressing| !taken.overlap(it.subnet()) && free_of_ipv6(it.attempt());
        let attempts = || pool.attempts(plan.slug(), from);
        let is_own = |it: &Addressing| own.contains(&it.subnet().into());
        let kept = || attempts().find(is_own).filter(is_free);
        let free = (!own.is_empty()).then(kept).flatten().or_else(|| attempts().find(is_free));
        free.map(|addressing| plan.clone().at(addressing)).ok_or_else(full)
    }
}

/// Ranges of addresses, apart from each other and in order.
struct Ranges(Vec<Ipv4Net>);

impl Ranges {
    fn of(holders: &[Holder]) -> Self {
        let ranges = holders.iter().filter_map(|it| match it.range() {
            IpNet::V4(range) => Some(range),
            IpNet::V6(_) => None,
        });
        let mut apart = Ipv4Net::aggregate(&ranges.collect());
        apart.sort();
        Self(apart)
    }

    fn overlap(&self, range: Ipv4Net) -> bool {
        let after = self.0.partition_point(|it| it.broadcast() < range.network());
        self.0.get(after).is_some_and(|it| it.network() <= range.broadcast())
    }

    fn contain(&self, range: Ipv4Net) -> bool {
        self.0.iter().any(|it| it.contains(&range))
    }
}

fn held_by(network: &NetworkInfo) -> Vec<Holder> {
    let holder = |subnet| Holder::Network { name: network.name.clone(), subnet };
    network.subnets.iter().map(|(subnet, _)| holder(*subnet)).collect()
}

fn networks(connection: &Connection) -> Result<Vec<NetworkInfo>, Error> {
    let deadline = connection.engine().look_deadline();
    let networks = connection.backend().networks(&[], deadline);
    networks.map_err(|source| Error::Look { what: "its networks", source })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{AddressPool, Addressing, Ipv6Addressing, Slug};

    fn plan(pool: &str) -> NetworkPlanned {
        let pool: AddressPool = pool.parse().unwrap();
        NetworkPlanned::new(Slug::new("survey").unwrap()).with_pool(pool)
    }

    fn first_free(plan: &NetworkPlanned, holders: &[Holder]) -> Result<NetworkPlanned, Error> {
        Survey { holders: holders.to_vec(), own: Vec::new() }.first_free(plan)
    }

    fn network(subnet: &str) -> Holder {
        Holder::Network { name: format!("net-{subnet}"), subnet: subnet.parse().unwrap() }
    }

    fn route(destination: &str) -> Holder {
        let (destination, interface) = (destination.parse().unwrap(), "wg0".into());
        Holder::Route { destination, interface, table: None }
    }

    #[test]
    fn the_one_free_subnet_of_a_pool_is_found() {
        let plan = plan("10.0.0.0/16:/24");
        for free in 0..=255 {
            let taken: Vec<_> = (0..=255)
                .filter(|it| *it != free)
                .map(|it| network(&format!("10.0.{it}.0/24")))
                .collect();
            let found = first_free(&plan, &taken).unwrap().subnet();
            assert_eq!(found.to_string(), format!("10.0.{free}.0/24"));
        }
    }

    #[test]
    fn the_slugs_own_subnet_is_found_again_while_it_is_free() {
        let plan = plan("10.0.0.0/20:/24");
        let kept = plan.clone().next_attempt().unwrap().next_attempt().unwrap();
        let found = |own: &NetworkPlanned, holders: &[Holder], plan: &NetworkPlanned| {
            let own = vec![own.subnet().into()];
            Survey { holders: holders.to_vec(), own }.first_free(plan).unwrap()
        };
        assert_eq!(found(&kept, &[], &plan), kept);
        let part = network(&format!("{}/30", kept.gateway()));
        let Holder::Network { name, subnet } = part else { unreachable!() };
        let part = Holder::Network { name, subnet: subnet.trunc() };
        assert_eq!(found(&kept, &[part], &plan), plan);
        // An earlier attempt is not gone back to, and one of another pool is none of these.
        let later = kept.clone().next_attempt().unwrap();
        assert_eq!(found(&kept, &[], &later), later);
        assert_eq!(found(&self::plan("10.1.0.0/20:/24"), &[], &plan), plan);
    }

    #[test]
    fn a_full_pool_is_said_with_what_holds_it() {
        let plan = plan("10.0.0.0/20:/24");
        let full = "none of the 16 subnets of pool 10.0.0.0/20:/24 is free; held by";
        for (holders, said) in [
            (vec![network("10.0.0.0/20")], "network net-10.0.0.0/20 (10.0.0.0/20)"),
            (
                vec![network("192.168.0.0/24"), route("10.0.0.0/8")],
                "the route to 10.0.0.0/8 via wg0",
            ),
            (
                // The first address of each is as much as any other.
                (0..16).map(|it| network(&format!("10.0.{it}.0/32"))).collect(),
                "network net-10.0.0.0/32 (10.0.0.0/32), network net-10.0.1.0/32 (10.0.1.0/32), network net-10.0.2.0/32 (10.0.2.0/32) and 13 more",
            ),
            (
                // A single address is enough to take a subnet.
                (0..16).map(|it| network(&format!("10.0.{it}.7/32"))).collect(),
                "network net-10.0.0.7/32 (10.0.0.7/32), network net-10.0.1.7/32 (10.0.1.7/32), network net-10.0.2.7/32 (10.0.2.7/32) and 13 more",
            ),
        ] {
            let error = first_free(&plan, &holders).unwrap_err();
            assert_eq!(error.to_string(), format!("{full} {said}"));
        }
    }

    /// A VPN's rule may take the packets away from any bridge.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_rule_that_leads_a_subnet_elsewhere_is_found_for_both_versions() {
        const COMMANDS: [&str; 8] = [
            "link set lo up",
            "link add up0 type bridge",
            "link set up0 up",
            "address add 2001:db8::2/64 dev up0 nodad",
            "rule add priority 100 to 10.0.0.0/24 lookup 100",
            "route add default dev up0 table 100",
            "-6 rule add priority 100 to fd00:1::/64 lookup 100",
            "-6 route add default dev up0 table 100",
        ];
        host::in_a_namespace(&COMMANDS, || {
            let said = |plan: &NetworkPlanned| diversion(plan).map(|it| it.to_string());
            let led = "the route to 10.0.0.0/24 via up0 in table 100";
            assert_eq!(said(&plan("10.0.0.0/24:/24")).as_deref(), Some(led));
            let other = plan("10.0.1.0/24:/24");
            assert_eq!(said(&other), None);
            let ip = |text: &str| text.parse().unwrap();
            let ipv6 = Ipv6Addressing::new(
                "fd00:1::/64".parse().unwrap(),
                ip("fd00:1::1"),
                ip("fd00:1::2"),
            );
            let led = "the route to fd00:1::/64 via up0 in table 100";
            assert_eq!(said(&other.with_ipv6_addressing(ipv6.unwrap())).as_deref(), Some(led));
        });
    }

    #[test]
    fn a_large_pool_that_one_network_holds_is_known_to_be_full_at_once() {
        let plan = plan("10.0.0.0/8:/29");
        let start = std::time::Instant::now();
        let error = first_free(&plan, &[network("10.0.0.0/8")]).unwrap_err();
        assert!(matches!(error, Error::PoolFull { subnets: 2_097_152, .. }), "{error}");
        assert!(start.elapsed() < std::time::Duration::from_millis(500), "{:?}", start.elapsed());
    }

    #[test]
    fn given_addresses_do_not_move() {
        let own = Addressing::new(
            "10.0.0.0/24".parse().unwrap(),
            [10, 0, 0, 1].into(),
            [10, 0, 0, 2].into(),
        );
        let plan = plan("10.0.0.0/20:/24").with_addressing(own.unwrap());
        assert_eq!(first_free(&plan, &[]).unwrap(), plan);
        let error = first_free(&plan, &[route("10.0.0.128/30")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "subnet 10.0.0.0/24 is taken by the route to 10.0.0.128/30 via wg0"
        );
    }

    proptest! {
        /// The first attempt that nothing overlaps, and a full pool only if there is none.
        #[test]
        fn a_survey_finds_the_first_free_subnet_whenever_there_is_one(
            slug in "[a-z]{1,8}",
            ranges in prop::collection::vec((any::<u16>(), 17..=32_u8, any::<bool>()), 0..40),
            taken6 in prop::collection::vec(0..64_u64, 0..40),
        ) {
            let pool: AddressPool = "10.9.0.0/18:/24".parse().unwrap();
            let slug = Slug::new(slug).unwrap();
            let mut holders: Vec<_> = ranges
                .into_iter()
                .map(|(low, prefix, is_route)| {
                    let range = format!("10.9.{}.{}/{prefix}", low >> 8 & 0x7f, low & 0xff);
                    // A holder may have host bits.
                    let range: Ipv4Net = range.parse().unwrap();
                    if is_route { route(&range.trunc().to_string()) } else { network(&range.to_string()) }
                })
                .collect();
            let ipv6 = |attempt| Ipv6Addressing::derived(&slug, attempt).subnet();
            holders.extend(taken6.into_iter().map(|attempt| network(&ipv6(attempt).to_string())));
            let plan = NetworkPlanned::new(slug.clone()).with_pool(pool).with_ipv6();
            let free = |it: &Addressing| {
                let ranges = [it.subnet().into(), ipv6(it.attempt()).into()];
                !holders.iter().any(|holder| ranges.iter().any(|range| holder.overlaps(*range)))
            };
            let expected = (0..64).map(|n| pool.addressing(plan.slug(), n).unwrap()).find(free);
            match (first_free(&plan, &holders), expected) {
                (Ok(found), Some(expected)) => prop_assert_eq!(found.addressing(), &expected),
                (Err(Error::PoolFull { subnets: 64, .. }), None) => {}
                (found, expected) => prop_assert!(false, "{found:?}, not {expected:?}"),
            }
        }
    }
}
