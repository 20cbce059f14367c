//! The laws of slugs and addresses, by the public interface alone.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use sidecar_bundle::ipnet::{Ipv4Net, Ipv6Net};
use sidecar_bundle::{
    AddressPool, AddressPools, Addressing, Engine, Engines, Ipv6Addressing, Naming, NetworkPlanned,
    Slug,
};

fn slugs() -> impl Strategy<Value = Slug> {
    "[a-z0-9][a-z0-9._-]{0,39}".prop_map(|slug| Slug::new(slug).unwrap())
}

/// Pools of any place and size, with at most 2^`bits` subnets.
fn pools(bits: u8) -> impl Strategy<Value = AddressPool> {
    (any::<u32>(), 0..=29_u8).prop_flat_map(move |(address, subnet)| {
        (subnet.saturating_sub(bits)..=subnet).prop_map(move |range| {
            let range = Ipv4Net::new(address.into(), range).unwrap().trunc();
            AddressPool::new(range, subnet).unwrap()
        })
    })
}

fn given() -> impl Strategy<Value = Addressing> {
    (any::<u32>(), 8..=30_u8, any::<(u32, u32)>()).prop_filter_map(
        "two hosts",
        |(address, prefix, (gateway, bundle))| {
            let subnet = Ipv4Net::new(address.into(), prefix).unwrap().trunc();
            let size = 1_u32 << (32 - prefix);
            let host = |n: u32| Ipv4Addr::from(u32::from(subnet.network()) + n % size);
            Addressing::new(subnet, host(gateway), host(bundle)).ok()
        },
    )
}

fn assert_dynamic_range(addressing: &Addressing) {
    let subnet = addressing.subnet();
    let Some(range) = addressing.dynamic_range() else {
        assert_eq!(subnet.prefix_len(), 30, "{addressing}");
        return;
    };
    let free = |block: &Ipv4Net| {
        !block.contains(&addressing.gateway()) && !block.contains(&addressing.bundle_ip())
    };
    assert!(subnet.contains(&range) && range == range.trunc() && free(&range), "{range}");
    // No larger block would do, and no higher one of its size.
    for prefix in subnet.prefix_len()..range.prefix_len() {
        assert!(!subnet.subnets(prefix).unwrap().any(|block| free(&block)), "{range}");
    }
    assert_eq!(subnet.subnets(range.prefix_len()).unwrap().filter(free).last(), Some(range));
}

#[test]
fn of_ten_thousand_slugs_no_two_share_a_prefix_or_a_bridge() {
    let mut prefixes = BTreeSet::new();
    let mut bridges = BTreeSet::new();
    for number in 0..10_000 {
        let slug = Slug::new(format!("agent-{number}")).unwrap();
        prefixes.insert(Ipv6Addressing::derived(&slug, 0).subnet());
        bridges.insert(NetworkPlanned::new(slug).derived_bridge_name());
    }
    assert_eq!((prefixes.len(), bridges.len()), (10_000, 10_000));
    let name = |prefix: &str, slug: &str| {
        let plan = NetworkPlanned::new(Slug::new(slug).unwrap());
        plan.with_naming(Naming::new(prefix).unwrap()).derived_bridge_name()
    };
    assert_ne!(name("a-b", "c"), name("a", "b-c"));
}

/// Engines of these names. None of them is asked.
fn engines(names: impl IntoIterator<Item = String>) -> Engines {
    Engines::new(names.into_iter().map(|name| (name, Engine::docker()))).unwrap()
}

fn names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::hash_set("[a-z/é.-]{1,12}", 1..12).prop_map(|it| it.into_iter().collect())
}

fn ranking(engines: &Engines, slug: &Slug) -> Vec<String> {
    engines.ranked(slug).into_iter().map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn a_further_engine_takes_about_its_share_and_nothing_else_moves() {
    let slugs: Vec<_> = (0..10_000).map(|it| Slug::new(format!("agent-{it}")).unwrap()).collect();
    let named = |count: usize| engines((0..count).map(|it| format!("builder-{it}")));
    for count in 1..8 {
        let (before, after) = (named(count), named(count + 1));
        let new = format!("builder-{count}");
        let moved = slugs.iter().filter(|slug| before.place(slug).0 != after.place(slug).0);
        let moved: Vec<_> = moved.map(|slug| after.place(slug).0).collect();
        assert!(moved.iter().all(|name| *name == new));
        // Five standard deviations are less than 250 slugs.
        let share = slugs.len() / (count + 1);
        assert!(moved.len().abs_diff(share) < 250, "{} of {share}", moved.len());
    }
}

proptest! {
    #[test]
    fn an_engine_that_is_away_moves_only_its_own_slugs(slug in slugs(), names in names(), which: prop::sample::Index) {
        let all = engines(names.clone());
        let ranked = ranking(&all, &slug);
        prop_assert_eq!(all.place(&slug).0, &ranked[0]);
        let gone = which.get(&names);
        let rest: Vec<_> = names.iter().filter(|it| *it != gone).cloned().collect();
        if rest.is_empty() {
            return Ok(());
        }
        let left: Vec<_> = ranked.iter().filter(|it| *it != gone).cloned().collect();
        prop_assert_eq!(ranking(&engines(rest), &slug), left);
    }

    #[test]
    fn the_order_of_engines_does_not_matter(slug in slugs(), names in names(), by in 0..12_usize) {
        let mut turned = names.clone();
        turned.reverse();
        turned.rotate_left(by % names.len());
        let [one, other] = [engines(names), engines(turned.clone())];
        prop_assert_eq!(ranking(&one, &slug), ranking(&other, &slug));
        // They are asked and listed as they were given.
        prop_assert!(other.iter().map(|(name, _)| name).eq(&turned));
        prop_assert!(other.each(|name, _| name.len()).into_iter().eq(turned.iter().map(|it| (&**it, it.len()))));
    }

    #[test]
    fn a_name_has_one_engine(names in names(), which: prop::sample::Index) {
        let twice = which.get(&names).clone();
        prop_assert!(engines(names.clone()).get(&twice).is_some());
        let twice = names.into_iter().chain([twice]).map(|name| (name, Engine::docker()));
        let error = Engines::new(twice).unwrap_err();
        prop_assert!(error.to_string().ends_with("is given twice"));
    }

    #[test]
    fn a_slug_has_one_address(slug in slugs(), pool in pools(29), attempt: u64) {
        let attempt = attempt % pool.subnets();
        let addressing = pool.addressing(&slug, attempt).unwrap();
        prop_assert_eq!(pool.addressing(&slug, attempt).unwrap(), addressing);
        let subnet = addressing.subnet();
        prop_assert!(pool.range().contains(&subnet));
        prop_assert_eq!(subnet.prefix_len(), pool.subnet_prefix());
        prop_assert_eq!(subnet, subnet.trunc());
        let mut hosts = subnet.hosts();
        prop_assert_eq!(hosts.next(), Some(addressing.gateway()));
        prop_assert_eq!(hosts.next(), Some(addressing.bundle_ip()));
        let distinct = BTreeSet::from([
            addressing.gateway(),
            addressing.bundle_ip(),
            subnet.network(),
            subnet.broadcast(),
        ]);
        prop_assert_eq!(distinct.len(), 4);
        let ip = addressing.bundle_ip();
        prop_assert_eq!(addressing.allowlist().to_string(), format!("{ip}/32"));
        prop_assert_eq!(addressing.attempt(), attempt);
        assert_dynamic_range(&addressing);
    }

    #[test]
    fn attempts_visit_every_subnet_of_the_pool_once(slug in slugs(), pool in pools(10)) {
        let visited: BTreeSet<_> = (0..pool.subnets())
            .map(|attempt| pool.addressing(&slug, attempt).unwrap().subnet())
            .collect();
        let all: BTreeSet<_> = pool.range().subnets(pool.subnet_prefix()).unwrap().collect();
        prop_assert_eq!(visited, all);
        prop_assert!(pool.addressing(&slug, pool.subnets()).is_err());
    }

    #[test]
    fn a_plan_walks_like_its_pool(slug in slugs(), pool in pools(4)) {
        let mut plan = NetworkPlanned::new(slug.clone()).with_pool(pool);
        for attempt in 0..pool.subnets() {
            let addressing = pool.addressing(&slug, attempt).unwrap();
            prop_assert_eq!(plan.addressing(), &addressing);
            prop_assert_eq!(plan.ip(), addressing.bundle_ip());
            prop_assert_eq!(&plan.clone(), &plan);
            let Ok(next) = plan.next_attempt() else {
                prop_assert_eq!(attempt + 1, pool.subnets());
                break;
            };
            plan = next;
        }
    }

    #[test]
    fn given_addresses_leave_a_range_for_others(given in given()) {
        assert_dynamic_range(&given);
    }

    #[test]
    fn ipv6_has_the_same_layout_and_follows_the_attempt(slug in slugs(), attempt in 0..4095_u64) {
        let derived = Ipv6Addressing::derived(&slug, attempt);
        prop_assert_eq!(Ipv6Addressing::derived(&slug, attempt), derived);
        let subnet = derived.subnet();
        prop_assert_eq!((subnet.prefix_len(), subnet), (64, subnet.trunc()));
        prop_assert!("fd00::/8".parse::<Ipv6Net>().unwrap().contains(&subnet));
        let host = |n: u128| Ipv6Addr::from(u128::from(subnet.network()) + n);
        prop_assert_eq!((derived.gateway(), derived.bundle_ip()), (host(1), host(2)));
        prop_assert_eq!(derived.allowlist().to_string(), format!("{}/128", host(2)));
        let given = Ipv6Addressing::new(subnet, derived.gateway(), derived.bundle_ip());
        prop_assert_eq!(given.unwrap(), derived);
        let range = derived.dynamic_range().unwrap();
        prop_assert!(subnet.contains(&range) && range == range.trunc());
        prop_assert!(!range.contains(&host(1)) && !range.contains(&host(2)));

        let pool = AddressPool::default();
        let plan = NetworkPlanned::new(slug.clone()).with_ipv6();
        let moved = plan.clone().next_attempt().unwrap();
        prop_assert_eq!(plan.ipv6(), Some(Ipv6Addressing::derived(&slug, 0)));
        prop_assert_eq!(moved.ipv6(), Some(Ipv6Addressing::derived(&slug, 1)));
        prop_assert_ne!(plan.ipv6(), moved.ipv6());
        prop_assert_eq!(moved.addressing(), &pool.addressing(&slug, 1).unwrap());
        prop_assert_eq!(NetworkPlanned::new(slug).ipv6(), None);
    }

    #[test]
    fn a_slug_has_one_loopback_address_where_no_other_service_listens(
        slug in slugs(),
        pool in pools(29),
        prefix in "[a-z0-9][a-z0-9._-]{0,12}",
    ) {
        let plan = NetworkPlanned::new(slug.clone());
        let loopback = plan.loopback();
        prop_assert!(loopback.is_loopback());
        prop_assert!(!"127.0.0.0/16".parse::<Ipv4Net>().unwrap().contains(&loopback));
        let moved = plan.clone().next_attempt().unwrap();
        let named = plan.clone().with_naming(Naming::new(prefix).unwrap());
        for same in [NetworkPlanned::new(slug), moved, named, plan.with_pool(pool).with_ipv6()] {
            prop_assert_eq!(same.loopback(), loopback);
        }
    }

    #[test]
    fn a_bridge_has_a_legal_name(prefix in "[a-z0-9][a-z0-9._-]{0,12}", slug in slugs()) {
        let plan = NetworkPlanned::new(slug).with_naming(Naming::new(prefix).unwrap());
        let name = plan.derived_bridge_name();
        prop_assert_eq!(name.len(), 15);
        prop_assert!(name.starts_with("sb"));
        prop_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b)));
        prop_assert_eq!(plan.derived_bridge_name(), name);
    }

    #[test]
    fn pools_of_roles_never_overlap(pools in prop::collection::vec(pools(10), 0..6)) {
        let roles = pools.iter().enumerate().map(|(n, pool)| (n.to_string(), *pool));
        let overlap = |a: Ipv4Net, b: Ipv4Net| a.contains(&b) || b.contains(&a);
        let disjoint = (0..pools.len())
            .all(|n| (0..n).all(|m| !overlap(pools[n].range(), pools[m].range())));
        match AddressPools::new(roles.clone()) {
            Ok(taken) => {
                prop_assert!(disjoint);
                prop_assert!(taken.iter().map(|(role, pool)| (role.to_owned(), pool)).eq(roles));
                prop_assert!(pools.iter().enumerate().all(|(n, it)| taken.get(&n.to_string()) == Some(*it)));
                prop_assert_eq!(taken.get("none of them"), None);
            }
            Err(error) => prop_assert!(!disjoint, "{error}"),
        }
    }

    #[test]
    fn what_is_printed_can_be_parsed(slug in slugs(), pool in pools(29)) {
        prop_assert_eq!(slug.to_string().parse::<Slug>().unwrap(), slug);
        prop_assert_eq!(pool.to_string().parse::<AddressPool>().unwrap(), pool);
    }

    #[test]
    fn names_are_short_enough_to_be_resolved(slug in slugs()) {
        let plan = NetworkPlanned::new(slug);
        prop_assert!(plan.container_name().len() <= 63 && plan.network_name().len() <= 63);
    }

    #[test]
    fn a_string_is_a_slug_or_the_error_points_at_the_reason(text in "[a-cA-C0-2._ü/-]{0,42}") {
        let is_slug = (1..=40).contains(&text.len())
            && text.bytes().all(|b| b"abcdefghijklmnopqrstuvwxyz0123456789-_.".contains(&b))
            && text.as_bytes()[0].is_ascii_alphanumeric();
        match Slug::new(&text) {
            Ok(slug) => prop_assert!(is_slug && slug.as_str() == text),
            Err(error) => {
                let error = error.to_string();
                let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
                let expected = match text.char_indices().find(|(_, c)| !fine(*c)) {
                    Some((at, c)) => format!("slug has the character {c:?} at byte {at}; "),
                    None if text.is_empty() => "slug is empty".into(),
                    None if "-_.".contains(&text[..1]) => format!("slug starts with {:?}; ", &text.chars().next().unwrap()),
                    None => format!("slug has {} bytes; ", text.len()),
                };
                prop_assert!(!is_slug && error.starts_with(&expected), "{}", error);
            }
        }
    }
}
