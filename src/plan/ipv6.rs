//! IPv6 beside IPv4: a unique-local prefix derived from the slug.

use std::fmt;
use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use super::addressing::check_addresses;
use super::slug::Slug;
use crate::invalid::InvalidInput;

/// The IPv6 addresses of one bundle: its subnet, the gateway and the address of its container.
///
/// Derived from the slug, or given by the caller; a pure value.
///
/// # Derivation v1
///
/// The subnet is a /64 of the unique-local range (RFC 4193, sections 3.1 and 3.2): `fd`, then a 40-bit
/// Global ID and a 16-bit Subnet ID from the SHA-256 of the slug, whose first 16 bytes are those of
/// [`AddressPool`](crate::AddressPool)'s derivation. The Subnet ID goes up by one with each attempt. The
/// gateway is `::1` of the subnet and the bundle `::2`. In Python:
///
/// ```python
/// import hashlib, ipaddress
///
/// def derive6(slug, attempt=0):
///     d = hashlib.sha256(slug.encode()).digest()
///     subnet_id = (int.from_bytes(d[21:23], "big") + attempt) % 2**16
///     prefix = bytes([0xFD]) + d[16:21] + subnet_id.to_bytes(2, "big")
///     subnet = ipaddress.ip_network((prefix + bytes(8), 64))
///     return subnet, subnet[1], subnet[2]
/// ```
///
/// The subnet has 56 bits of the hash: among 10,000 slugs, two collide with a probability below one in a billion.
///
/// ```
/// use sidecar_bundle::{Ipv6Addressing, Slug};
///
/// let demo = Ipv6Addressing::derived(&Slug::new("demo")?, 0);
/// assert_eq!(demo.allowlist().to_string(), format!("{}/128", demo.bundle_ip()));
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Ipv6Addressing {
    subnet: Ipv6Net,
    gateway: Ipv6Addr,
    bundle_ip: Ipv6Addr,
}

impl Ipv6Addressing {
    /// The addresses of the slug's attempt of this number, from 0, by [derivation v1](Self#derivation-v1).
    /// Attempts 65,536 apart have the same addresses.
    #[must_use]
    pub fn derived(slug: &Slug, attempt: u64) -> Self {
        let d = slug.digest();
        // Truncated to 16 bits on purpose.
        let [.., high, low] = attempt.to_be_bytes();
        let subnet_id = u16::from_be_bytes([d[21], d[22]]);
        let [high, low] = subnet_id.wrapping_add(u16::from_be_bytes([high, low])).to_be_bytes();
        let network = |last: u8| {
            let prefix = [0xfd, d[16], d[17], d[18], d[19], d[20], high, low];
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&prefix);
            bytes[15] = last;
            Ipv6Addr::from(bytes)
        };
        Self {
            subnet: Ipv6Net::new_assert(network(0), 64),
            gateway: network(1),
            bundle_ip: network(2),
        }
    }

    /// Checks addresses that the caller gives.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`] when the subnet has host bits set, or when gateway and bundle are not two distinct addresses of it,
    /// or one of them is the subnet's own (RFC 4291 reserves it as the routers' anycast address).
    pub fn new(
        subnet: Ipv6Net,
        gateway: Ipv6Addr,
        bundle_ip: Ipv6Addr,
    ) -> Result<Self, InvalidInput> {
        let reserved = [subnet.network().into()];
        check_addresses(subnet.into(), gateway.into(), bundle_ip.into(), &reserved)?;
        Ok(Self { subnet, gateway, bundle_ip })
    }

    /// The network's IPv6 range.
    #[must_use]
    pub fn subnet(&self) -> Ipv6Net {
        self.subnet
    }

    /// The bridge's own address in the subnet.
    #[must_use]
    pub fn gateway(&self) -> Ipv6Addr {
        self.gateway
    }

    /// The address at which the container is pinned.
    #[must_use]
    pub fn bundle_ip(&self) -> Ipv6Addr {
        self.bundle_ip
    }

    /// The range from which the engine serves containers that ask for no address of their own: the second
    /// quarter of the subnet, or the third or the first if gateway or bundle is in it. `None` for a
    /// subnet that is longer than a /120.
    #[must_use]
    pub fn dynamic_range(&self) -> Option<Ipv6Net> {
        if self.subnet.prefix_len() > 120 {
            return None;
        }
        let quarters = self.subnet.subnets(self.subnet.prefix_len() + 2).ok()?;
        let quarters: Vec<_> = quarters.take(3).collect();
        // Docker 20.10 cannot count to the end of a /64: the last quarter is none of these.
        let mut order = [1, 2, 0].into_iter().filter_map(|n| quarters.get(n).copied());
        order.find(|it| !it.contains(&self.gateway) && !it.contains(&self.bundle_ip))
    }

    /// The allowlist of the sandbox: the bundle's address as a /128.
    #[must_use]
    pub fn allowlist(&self) -> Ipv6Net {
        Ipv6Net::from(self.bundle_ip)
    }
}

/// Prints `<bundle ip> in <subnet> behind <gateway>`.
impl fmt::Display for Ipv6Addressing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} behind {}", self.bundle_ip, self.subnet, self.gateway)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dynamic_joiners_get_what_gateway_and_bundle_leave() {
        for (subnet, gateway, bundle, range) in [
            ("fd00::/64", "fd00::1", "fd00::2", Some("fd00:0:0:0:4000::/66")),
            ("fd00::/64", "fd00::1", "fd00::4000:0:0:2", Some("fd00:0:0:0:8000::/66")),
            ("fd00::/64", "fd00::8000:0:0:1", "fd00::4000:0:0:2", Some("fd00::/66")),
            ("fd00::/120", "fd00::1", "fd00::2", Some("fd00::40/122")),
            ("fd00::/126", "fd00::1", "fd00::2", None),
            ("fd00::/127", "fd00::", "fd00::1", None),
        ] {
            let [gateway, bundle] = [gateway, bundle].map(|it| it.parse().unwrap());
            let own =
                Ipv6Addressing { subnet: subnet.parse().unwrap(), gateway, bundle_ip: bundle };
            let range = range.map(|it| it.parse().unwrap());
            assert_eq!(own.dynamic_range(), range, "{subnet} {gateway} {bundle}");
        }
    }
}
