//! Addresses, derived or given: gateway, bundle and dynamic range are apart, and inside.
#![no_main]

use std::net::{Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use sidecar_bundle::ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sidecar_bundle::{AddressPool, Addressing, Ipv6Addressing, NetworkPlanned, Slug};

#[derive(arbitrary::Arbitrary, Debug)]
struct Input<'a> {
    range: (Ipv4Addr, u8, u8),
    attempt: u64,
    given: (Ipv4Addr, u8, Ipv4Addr, Ipv4Addr),
    given6: (Ipv6Addr, u8, u64, u64),
    slug: &'a str,
}

fn v4(it: Addressing) {
    let (subnet, gateway, bundle) = (it.subnet(), it.gateway(), it.bundle_ip());
    assert!(subnet == subnet.trunc() && subnet.contains(&gateway) && subnet.contains(&bundle));
    let reserved = [subnet.network(), subnet.broadcast()];
    assert!(gateway != bundle && !reserved.contains(&gateway) && !reserved.contains(&bundle));
    assert_eq!(it.allowlist(), Ipv4Net::new(bundle, 32).unwrap());
    apart(subnet.into(), gateway.into(), bundle.into(), it.dynamic_range().map(IpNet::from));
    assert_eq!(it.dynamic_range().is_some(), subnet.prefix_len() < 30);
}

fn v6(it: Ipv6Addressing) {
    let (subnet, gateway, bundle) = (it.subnet(), it.gateway(), it.bundle_ip());
    assert!(subnet == subnet.trunc() && subnet.contains(&gateway) && subnet.contains(&bundle));
    assert!(gateway != bundle && ![gateway, bundle].contains(&subnet.network()));
    assert_eq!(it.allowlist(), Ipv6Net::new(bundle, 128).unwrap());
    apart(subnet.into(), gateway.into(), bundle.into(), it.dynamic_range().map(IpNet::from));
    assert_eq!(it.dynamic_range().is_some(), subnet.prefix_len() <= 120);
}

fn apart(subnet: IpNet, gateway: std::net::IpAddr, bundle: std::net::IpAddr, range: Option<IpNet>) {
    let Some(range) = range else { return };
    assert!(subnet.contains(&range) && !range.contains(&gateway) && !range.contains(&bundle));
}

fuzz_target!(|input: Input<'_>| {
    let (subnet, prefix, gateway, bundle) = input.given;
    let subnet = Ipv4Net::new(subnet, prefix % 33).unwrap().trunc();
    let _ = Addressing::new(subnet, gateway, bundle).map(v4);
    let (subnet, prefix, gateway, bundle) = input.given6;
    let subnet = Ipv6Net::new(subnet, prefix % 129).unwrap().trunc();
    let host = |number: u64| Ipv6Addr::from(u128::from(subnet.network()) | u128::from(number));
    let _ = Ipv6Addressing::new(subnet, host(gateway), host(bundle)).map(v6);

    let Ok(slug) = Slug::new(input.slug) else { return };
    let (address, range, prefix) = input.range;
    let range = Ipv4Net::new(address, range % 33).unwrap().trunc();
    let Ok(pool) = AddressPool::new(range, prefix % 33) else { return };
    let attempt = input.attempt % pool.subnets();
    let derived = pool.addressing(&slug, attempt).unwrap();
    v4(derived);
    assert_eq!(pool.addressing(&slug, attempt), Ok(derived));
    assert!(derived.subnet().hosts().take(2).eq([derived.gateway(), derived.bundle_ip()]));
    let plan = NetworkPlanned::new(slug.clone()).with_pool(pool);
    assert_eq!(*plan.addressing(), pool.addressing(&slug, 0).unwrap());
    if let Ok(next) = plan.next_attempt() {
        // An odd stride leads elsewhere.
        assert_ne!(next.subnet(), pool.addressing(&slug, 0).unwrap().subnet());
    }

    let derived = Ipv6Addressing::derived(&slug, input.attempt);
    v6(derived);
    let (subnet, network) = (derived.subnet(), u128::from(derived.subnet().network()));
    assert!(subnet.prefix_len() == 64 && network >> 120 == 0xfd);
    assert_eq!(
        [derived.gateway(), derived.bundle_ip()],
        [network + 1, network + 2].map(Ipv6Addr::from)
    );
    let at = |attempt: u64| Ipv6Addressing::derived(&slug, input.attempt.wrapping_add(attempt));
    assert!(at(1) != derived && at(1 << 16) == derived);
});
