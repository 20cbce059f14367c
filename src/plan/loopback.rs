//! A loopback address derived from the slug, for published ports.

use std::net::Ipv4Addr;

use super::NetworkPlanned;

impl NetworkPlanned {
    /// The slug's own loopback address, to [publish](crate::BundleSpec::publish) the bundle's ports on.
    ///
    /// It is for engines whose bridge addresses cannot be reached: rootless, in a virtual machine, or remote and
    /// behind a tunnel. An allowlist of this address as a /32 leads to the bundle's published ports. It leads to no
    /// service that listens on 127.0.0.1, nor to another bundle's ports. It does lead to services that listen on all
    /// addresses, as `0.0.0.0`: where there are such, the allowlist should also name the ports. The address is for
    /// guests whose connections a process of this host makes: behind a TAP, 127.0.0.0/8 does not leave the guest.
    ///
    /// ```
    /// use sidecar_bundle::ipnet::Ipv4Net;
    /// use sidecar_bundle::{BundleSpec, NetworkPlanned, PortMapping, Slug};
    ///
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let loopback = plan.loopback();
    /// assert_eq!(Ipv4Net::from(loopback).to_string(), "127.27.92.187/32");
    /// let port = PortMapping::tcp(8080).host_address(loopback).host_port(8080);
    /// let spec = BundleSpec::new().publish(port);
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    ///
    /// # Derivation v1
    ///
    /// The address is one of 127.1.0.0 to 127.255.255.255, from bytes of the slug's SHA-256 that
    /// [`AddressPool`](crate::AddressPool) and [`Ipv6Addressing`](crate::Ipv6Addressing) do not use. It is never in
    /// 127.0.0.0/16, where other services listen. Names, pool and attempt do not change it. In Python:
    ///
    /// ```python
    /// import hashlib, ipaddress
    ///
    /// def loopback(slug):
    ///     d = hashlib.sha256(slug.encode()).digest()
    ///     n = int.from_bytes(d[23:27], "big") % (255 * 65536)
    ///     return ipaddress.ip_address("127.1.0.0") + n
    /// ```
    ///
    /// There are 16,711,680 addresses. Among 100 slugs, two share one with a probability of 1 in 3400, among 1000
    /// with 1 in 34. If both publish one host port at the same time, the second bundle's start is
    /// [`Error::PortTaken`](crate::Error::PortTaken).
    ///
    /// # Systems
    ///
    /// On Linux, the interface `lo` has all of 127.0.0.0/8, except for its broadcast address 127.255.255.255, which
    /// one slug in 16,711,680 gets and which takes no connections. On macOS, each address but 127.0.0.1 needs an
    /// alias first: `ifconfig lo0 alias ADDRESS`. An engine on another host publishes on that host's loopback
    /// interface. A tunnel leads there, such as `ssh -L ADDRESS:8080:ADDRESS:8080 HOST`.
    ///
    /// Rootless Docker up to 29.5 has each host port once, whatever its address
    /// ([moby#52783](https://github.com/moby/moby/issues/52783)): bundles of one such engine need different host
    /// ports.
    #[must_use]
    pub fn loopback(&self) -> Ipv4Addr {
        let d = self.slug.digest();
        let number = u32::from_be_bytes([d[23], d[24], d[25], d[26]]) % (255 * 65_536);
        Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + number)
    }
}
