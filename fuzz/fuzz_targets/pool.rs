//! A pool is read as it prints, and its attempts visit each of its subnets once.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use sidecar_bundle::ipnet::Ipv4Net;
use sidecar_bundle::{AddressPool, Slug};

/// The pool that a text means, by the two numbers of its documented form.
fn parsed(text: &str) -> Option<(Ipv4Net, u8)> {
    let (range, prefix) = text.split_once(":/")?;
    let (range, prefix): (Ipv4Net, u8) = (range.parse().ok()?, prefix.parse().ok()?);
    let is_cut = range.prefix_len() <= prefix && prefix <= 29;
    let is_canonical = format!("{range}:/{prefix}") == text;
    (is_canonical && is_cut && range == range.trunc()).then_some((range, prefix))
}

// A pool, and a slug on the next line.
fuzz_target!(|text: &str| {
    let (text, slug) = text.split_once('\n').unwrap_or((text, "demo"));
    let pool = text.parse::<AddressPool>();
    assert_eq!(pool.as_ref().ok().map(|it| (it.range(), it.subnet_prefix())), parsed(text));
    let (Ok(pool), Ok(slug)) = (pool, Slug::new(slug)) else { return };
    assert_eq!(pool.to_string(), text);
    assert_eq!(pool.to_string().parse(), Ok(pool));

    let subnets = pool.subnets();
    assert_eq!(subnets, 1 << (pool.subnet_prefix() - pool.range().prefix_len()));
    assert!(pool.addressing(&slug, subnets).is_err());
    assert!(pool.addressing(&slug, u64::MAX).is_err());
    // All attempts of a small pool; the first and the last of a great one.
    let sample = (0..subnets.min(128)).chain(subnets.saturating_sub(128).max(128)..subnets);
    let mut seen = BTreeSet::new();
    for attempt in sample {
        let addressing = pool.addressing(&slug, attempt).unwrap();
        let subnet = addressing.subnet();
        assert_eq!(addressing.attempt(), attempt);
        assert_eq!(subnet.prefix_len(), pool.subnet_prefix());
        assert!(subnet == subnet.trunc() && pool.range().contains(&subnet));
        assert!(seen.insert(subnet), "{subnet} is visited twice");
    }
});
