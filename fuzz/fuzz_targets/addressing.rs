//! Slug and addressing: whatever comes in is refused, or obeys the laws.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidecar_bundle::ipnet::Ipv4Net;
use sidecar_bundle::{AddressPool, Slug};

fuzz_target!(|input: (&str, u32, u8, u8, u64)| {
    let (text, address, range, prefix, attempt) = input;
    let Ok(slug) = Slug::new(text) else { return };
    assert!(text.len() <= Slug::MAX_LEN && text.is_ascii());
    assert_eq!(slug.to_string().parse(), Ok(slug.clone()));

    let Ok(range) = Ipv4Net::new(address.into(), range % 33) else { return };
    let Ok(pool) = AddressPool::new(range, prefix % 33) else {
        assert!(range != range.trunc() || prefix % 33 > 29 || prefix % 33 < range.prefix_len());
        return;
    };
    assert_eq!(pool.to_string().parse(), Ok(pool));
    let Ok(addressing) = pool.addressing(&slug, attempt) else {
        assert!(attempt >= pool.subnets());
        return;
    };
    assert_eq!(pool.addressing(&slug, attempt), Ok(addressing));
    let subnet = addressing.subnet();
    assert!(pool.range().contains(&subnet) && subnet == subnet.trunc());
    let mut hosts = subnet.hosts();
    assert_eq!(hosts.next(), Some(addressing.gateway()));
    assert_eq!(hosts.next(), Some(addressing.bundle_ip()));
    let dynamic = addressing.dynamic_range().expect("a /29 has room for others");
    assert!(subnet.contains(&dynamic));
    assert!(!dynamic.contains(&addressing.gateway()));
    assert!(!dynamic.contains(&addressing.bundle_ip()));

    // An odd stride: the next attempt is elsewhere, unless there is only this one.
    if let Ok(next) = pool.addressing(&slug, attempt + 1) {
        assert_ne!(next.subnet(), subnet);
    }
});
