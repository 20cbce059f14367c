//! The derivation of a subnet, a gateway and the bundle's address from a slug: derivation v1.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use super::slug::Slug;
use crate::invalid::InvalidInput;

/// The addresses of one bundle: its subnet, the gateway and the address of its container.
///
/// Cut from an [`AddressPool`], or given by the caller. It is a pure value: it asks neither an engine nor
/// the host.
///
/// ```
/// use sidecar_bundle::{NetworkPlanned, Slug};
///
/// let addressing = *NetworkPlanned::new(Slug::new("demo")?).addressing();
/// assert_eq!(addressing.gateway().to_string(), "10.56.132.1");
/// assert_eq!(addressing.bundle_ip().to_string(), "10.56.132.2");
/// let guests = addressing.dynamic_range().expect("a /24 has room");
/// assert_eq!(guests.to_string(), "10.56.132.128/25");
/// # Ok::<(), sidecar_bundle::InvalidInput>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Addressing {
    subnet: Ipv4Net,
    gateway: Ipv4Addr,
    bundle_ip: Ipv4Addr,
    attempt: u64,
}

impl Addressing {
    /// Checks addresses that the caller gives.
    ///
    /// ```
    /// use sidecar_bundle::Addressing;
    ///
    /// let subnet = "192.168.211.0/24".parse()?;
    /// let own = Addressing::new(subnet, [192, 168, 211, 1].into(), [192, 168, 211, 2].into())?;
    /// assert_eq!(own.allowlist().to_string(), "192.168.211.2/32");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`] when the subnet has host bits set, or when gateway and bundle are not two distinct host
    /// addresses of it: inside, and neither the network's own address nor its broadcast address.
    pub fn new(
        subnet: Ipv4Net,
        gateway: Ipv4Addr,
        bundle_ip: Ipv4Addr,
    ) -> Result<Self, InvalidInput> {
        let reserved = [subnet.network(), subnet.broadcast()].map(IpAddr::V4);
        check_addresses(subnet.into(), gateway.into(), bundle_ip.into(), &reserved)?;
        Ok(Self { subnet, gateway, bundle_ip, attempt: 0 })
    }

    /// The network's range.
    #[must_use]
    pub fn subnet(&self) -> Ipv4Net {
        self.subnet
    }

    /// The bridge's own address in the subnet.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// The address at which the container is pinned.
    #[must_use]
    pub fn bundle_ip(&self) -> Ipv4Addr {
        self.bundle_ip
    }

    /// The number of the attempt, from 0; 0 also for addresses that the caller gave. See [`AddressPool`].
    #[must_use]
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// The allowlist of the sandbox: the bundle's address as a /32.
    #[must_use]
    pub fn allowlist(&self) -> Ipv4Net {
        Ipv4Net::from(self.bundle_ip)
    }

    /// The range from which the engine serves containers that ask for no address of their own.
    ///
    /// It is the largest aligned block of the subnet that holds neither gateway nor bundle, the
    /// highest of these if there are several: the upper half of a /24, `.4/30` of a /29. `None` where
    /// the subnet has no third host address.
    #[must_use]
    pub fn dynamic_range(&self) -> Option<Ipv4Net> {
        if self.subnet.prefix_len() >= 30 {
            return None;
        }
        // Two addresses can touch both halves of a subnet, but not all four quarters.
        (1..=2).find_map(|deeper| {
            let blocks = self.subnet.subnets(self.subnet.prefix_len() + deeper).ok()?;
            blocks.filter(|b| !b.contains(&self.gateway) && !b.contains(&self.bundle_ip)).last()
        })
    }

    /// The same addresses as another attempt of the slug.
    pub(crate) fn with_attempt(self, attempt: u64) -> Self {
        Self { attempt, ..self }
    }
}

/// Prints `<bundle ip> in <subnet> behind <gateway>`.
impl fmt::Display for Addressing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} behind {}", self.bundle_ip, self.subnet, self.gateway)
    }
}

/// A range that the subnets of bundles are cut from.
///
/// The default is `10.48.0.0/12`, cut into 4096 subnets of /24. A pool prints and parses as
/// `<range>:/<prefix of each subnet>`.
///
/// # Derivation v1
///
/// This is the algorithm that takes a slug to its addresses, in its first and only version. The address of a slug is
/// the same on every machine and in every release. Each slug has an order of the subnets of a pool; the `n`-th of
/// them, from 0, is its *attempt* `n`. In a pool of 2^k subnets, the SHA-256 of the slug gives a start and an odd
/// stride; attempt `n` is subnet number `(start + n * stride) mod 2^k`. An odd stride is coprime to 2^k, so the
/// attempts 0 to 2^k - 1 visit every subnet of the pool exactly once. The gateway is the first host of
/// the subnet and the bundle the second. In Python:
///
/// ```python
/// import hashlib, ipaddress
///
/// def derive(slug, attempt=0, pool="10.48.0.0/12", prefix=24):
///     d = hashlib.sha256(slug.encode()).digest()
///     start = int.from_bytes(d[0:8], "big")
///     stride = int.from_bytes(d[8:16], "big") | 1
///     pool = ipaddress.ip_network(pool)
///     number = (start + attempt * stride) % 2**64 % 2 ** (prefix - pool.prefixlen)
///     subnet = ipaddress.ip_network((int(pool[0]) + number * 2 ** (32 - prefix), prefix))
///     return subnet, subnet[1], subnet[2]
/// ```
///
/// ```
/// use sidecar_bundle::{AddressPool, Slug};
///
/// let pool: AddressPool = "10.48.0.0/12:/24".parse()?;
/// assert_eq!(pool, AddressPool::default());
/// assert_eq!(pool.subnets(), 4096);
/// let demo = pool.addressing(&Slug::new("demo")?, 0)?;
/// assert_eq!(demo.to_string(), "10.56.132.2 in 10.56.132.0/24 behind 10.56.132.1");
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressPool {
    range: Ipv4Net,
    subnet_prefix: u8,
}

impl AddressPool {
    /// The longest prefix of a subnet: a /29 has room for gateway, bundle and dynamic joiners.
    pub const MAX_SUBNET_PREFIX: u8 = 29;

    /// A pool of all subnets of `subnet_prefix` bits in `range`.
    ///
    /// ```
    /// use sidecar_bundle::AddressPool;
    ///
    /// let pool = AddressPool::new("172.31.0.0/16".parse()?, 28)?;
    /// assert_eq!(pool.subnets(), 4096);
    /// let refused = AddressPool::new("172.31.0.0/16".parse()?, 30).unwrap_err();
    /// assert!(refused.to_string().ends_with("the prefix must be 16 to 29"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`] when `range` has host bits set, or `subnet_prefix` is not between the range's own prefix and 29.
    pub fn new(range: Ipv4Net, subnet_prefix: u8) -> Result<Self, InvalidInput> {
        if range != range.trunc() {
            return Err(host_bits("pool", range.into()));
        }
        if subnet_prefix < range.prefix_len() || subnet_prefix > Self::MAX_SUBNET_PREFIX {
            return Err(InvalidInput::new(format_args!(
                "subnets of /{subnet_prefix} cannot be cut from {range}; the prefix must be {} to 29",
                range.prefix_len()
            )));
        }
        Ok(Self { range, subnet_prefix })
    }

    /// The whole range.
    #[must_use]
    pub fn range(&self) -> Ipv4Net {
        self.range
    }

    /// The prefix length of each subnet, in bits.
    #[must_use]
    pub fn subnet_prefix(&self) -> u8 {
        self.subnet_prefix
    }

    /// The number of subnets: a power of two.
    #[must_use]
    pub fn subnets(&self) -> u64 {
        1 << (self.subnet_prefix - self.range.prefix_len())
    }

    /// The addresses of the slug's attempt of this number, from 0, by [derivation v1](Self#derivation-v1).
    ///
    /// ```
    /// use std::collections::BTreeSet;
    ///
    /// use sidecar_bundle::{AddressPool, Slug};
    ///
    /// let (pool, suite): (AddressPool, _) = ("10.48.0.0/21:/24".parse()?, Slug::new("suite")?);
    /// let all = (0..pool.subnets()).map(|attempt| Ok(pool.addressing(&suite, attempt)?.subnet()));
    /// let all: BTreeSet<_> = all.collect::<Result<_, sidecar_bundle::InvalidInput>>()?;
    /// assert_eq!(all.len(), 8); // a subnet of its own for each of eight tests
    /// assert!(pool.addressing(&suite, 8).is_err());
    /// # Ok::<(), sidecar_bundle::InvalidInput>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`] when the pool has no more than `attempt` subnets.
    pub fn addressing(&self, slug: &Slug, attempt: u64) -> Result<Addressing, InvalidInput> {
        let subnets = self.subnets();
        if attempt >= subnets {
            return Err(InvalidInput::new(format_args!(
                "attempt {attempt} does not exist; the pool has {subnets} subnets"
            )));
        }
        Ok(self.derive(slug, attempt))
    }

    pub(super) fn first(self, slug: &Slug) -> Addressing {
        self.derive(slug, 0)
    }

    /// All attempts of the slug, from one on, each subnet once.
    pub(crate) fn attempts(self, slug: &Slug, from: u64) -> impl Iterator<Item = Addressing> {
        let walk = Walk::new(slug);
        (from..self.subnets()).map(move |attempt| self.at(walk, attempt))
    }

    fn derive(self, slug: &Slug, attempt: u64) -> Addressing {
        self.at(Walk::new(slug), attempt)
    }

    fn at(self, walk: Walk, attempt: u64) -> Addressing {
        let number = walk.start.wrapping_add(attempt.wrapping_mul(walk.stride)) % self.subnets();
        let network = u64::from(u32::from(self.range.network()))
            + (number << (32 - u32::from(self.subnet_prefix)));
        #[expect(clippy::cast_possible_truncation, reason = "a subnet of an IPv4 range is IPv4")]
        let network = network as u32;
        Addressing {
            subnet: Ipv4Net::new_assert(network.into(), self.subnet_prefix),
            gateway: (network + 1).into(),
            bundle_ip: (network + 2).into(),
            attempt,
        }
    }
}

/// The order in which a slug visits the subnets of any pool.
#[derive(Clone, Copy)]
struct Walk {
    start: u64,
    stride: u64,
}

impl Walk {
    fn new(slug: &Slug) -> Self {
        let digest = slug.digest();
        let [start, stride, ..] = digest.as_chunks::<8>().0 else { unreachable!() };
        Self { start: u64::from_be_bytes(*start), stride: u64::from_be_bytes(*stride) | 1 }
    }
}

impl Default for AddressPool {
    fn default() -> Self {
        Self { range: Ipv4Net::new_assert(Ipv4Addr::new(10, 48, 0, 0), 12), subnet_prefix: 24 }
    }
}

impl fmt::Display for AddressPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:/{}", self.range, self.subnet_prefix)
    }
}

/// As it prints.
#[cfg(feature = "serde")]
impl serde::Serialize for AddressPool {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for AddressPool {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let not_a_pool = || {
            InvalidInput::new(format_args!(
                "{text:?} is not a pool; write it as \"10.48.0.0/12:/24\""
            ))
        };
        let (range, prefix) = text.split_once(":/").ok_or_else(not_a_pool)?;
        let range = range.parse().map_err(|_| not_a_pool())?;
        let prefix = prefix.parse().map_err(|_| not_a_pool())?;
        let pool = Self::new(range, prefix)?;
        // Rust also parses numbers with a sign or with leading zeros.
        if pool.to_string() == text { Ok(pool) } else { Err(not_a_pool()) }
    }
}

/// Checks the addresses that a caller gives, of either family.
pub(super) fn check_addresses(
    subnet: IpNet,
    gateway: IpAddr,
    bundle_ip: IpAddr,
    reserved: &[IpAddr],
) -> Result<(), InvalidInput> {
    if subnet != subnet.trunc() {
        return Err(host_bits("subnet", subnet));
    }
    for (what, address) in [("gateway", gateway), ("bundle", bundle_ip)] {
        if !subnet.contains(&address) {
            return Err(InvalidInput::new(format_args!(
                "{what} {address} is not in the subnet {subnet}"
            )));
        }
        if reserved.contains(&address) {
            return Err(InvalidInput::new(format_args!(
                "{what} {address} is the network or broadcast address of {subnet}"
            )));
        }
    }
    if gateway == bundle_ip {
        return Err(InvalidInput::new(format_args!(
            "gateway and bundle have the same address {gateway}"
        )));
    }
    Ok(())
}

fn host_bits(what: &str, range: IpNet) -> InvalidInput {
    InvalidInput::new(format_args!(
        "{what} {range} has host bits set; the network is {}",
        range.trunc()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dynamic_joiners_get_what_gateway_and_bundle_leave() {
        for (subnet, gateway, bundle, range) in [
            ("10.0.0.0/24", 1, 2, Some("10.0.0.128/25")),
            ("10.0.0.0/29", 1, 2, Some("10.0.0.4/30")),
            ("10.0.0.0/24", 1, 200, Some("10.0.0.128/26")),
            ("10.0.0.0/24", 129, 200, Some("10.0.0.0/25")),
            ("10.0.0.0/29", 1, 6, Some("10.0.0.4/31")),
            ("10.0.0.0/30", 1, 2, None),
        ] {
            let own = Addressing::new(
                subnet.parse().unwrap(),
                [10, 0, 0, gateway].into(),
                [10, 0, 0, bundle].into(),
            );
            let expected = range.map(|r| r.parse().unwrap());
            assert_eq!(own.unwrap().dynamic_range(), expected, "{subnet} .{gateway} .{bundle}");
        }
    }

    #[test]
    fn a_pool_is_read_only_as_it_prints() {
        for text in ["10.48.0.0/12:/+24", "10.48.0.0/12:/024", "10.48.0.0/+12:/24"] {
            let error = text.parse::<AddressPool>().unwrap_err().to_string();
            assert!(error.contains("is not a pool"), "{error}");
        }
    }

    #[test]
    fn a_pool_of_the_whole_space_does_not_overflow() {
        let pool = AddressPool::new("0.0.0.0/0".parse().unwrap(), 29).unwrap();
        let slug = Slug::new("a").unwrap();
        assert_eq!(pool.subnets(), 1 << 29);
        for attempt in [0, 1, (1 << 29) - 1] {
            let found = pool.addressing(&slug, attempt).unwrap();
            assert_eq!(found.subnet(), found.subnet().trunc());
        }
    }
}
