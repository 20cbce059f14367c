//! The labels of a plan are read back to the plan, and no others are taken for its.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use sidecar_bundle::fuzzing::{are_of, difference, labels_of, plan_in};
use sidecar_bundle::{AddressPool, GatewayMode, Naming, NetworkOptions, NetworkPlanned, Slug};
use sidecar_bundle_fuzz::Name;

#[derive(arbitrary::Arbitrary, Debug)]
struct Input<'a> {
    plan: (Name, Name, u64, bool),
    other: (Name, Name),
    switches: (bool, bool, Option<bool>, u8),
    mtu: Option<u32>,
    bridge: Option<&'a str>,
    trusted: Vec<&'a str>,
    labels: Vec<(&'a str, &'a str)>,
    driver: Vec<(&'a str, &'a str)>,
    changed: (u8, Option<&'a str>),
    foreign: BTreeMap<&'a str, &'a str>,
}

fn plan(prefix: &Name, slug: &Name) -> Option<NetworkPlanned> {
    let naming = Naming::new(format!("p{}", prefix.0)).ok()?;
    Some(NetworkPlanned::new(Slug::new(format!("s{}", slug.0)).ok()?).with_naming(naming))
}

fn options(input: &Input<'_>) -> NetworkOptions {
    let (internal, isolated, masquerade, mode) = input.switches;
    let modes =
        [GatewayMode::Nat, GatewayMode::NatUnprotected, GatewayMode::Routed, GatewayMode::Isolated];
    let mut options = NetworkOptions::new().internal(internal).isolated(isolated).mtu(input.mtu);
    options = options.gateway_mode(modes[usize::from(mode) % modes.len()]);
    if let Some(masquerade) = masquerade {
        options = options.masquerade(masquerade);
    }
    if let Some(name) = input.bridge {
        options = options.bridge_name(name);
    }
    options = input.trusted.iter().fold(options, |it, name| it.trusted_host_interface(*name));
    options = input.labels.iter().fold(options, |it, (key, value)| it.label(*key, *value));
    input.driver.iter().fold(options, |it, (key, value)| it.driver_option(*key, *value))
}

fuzz_target!(|input: Input<'_>| {
    let (prefix, slug, attempt, ipv6) = &input.plan;
    let Some(plan) = plan(prefix, slug) else { return };
    let pool = AddressPool::default();
    let addressing = pool.addressing(plan.slug(), attempt % pool.subnets()).unwrap();
    let plan = plan.with_addressing(addressing).with_options(options(&input));
    let plan = if *ipv6 { plan.with_ipv6() } else { plan };
    let labels = labels_of(&plan);
    let read = plan_in(&labels).unwrap();
    assert!(read == plan, "{read:?} is not {plan:?}");
    assert_eq!(labels_of(&read), labels);
    assert!(are_of(&plan, &labels) && difference(&plan, &labels).is_none());

    // A label that is changed or missing shows, but for the owner's.
    let (number, value) = input.changed;
    let key = labels.keys().nth(usize::from(number) % labels.len()).unwrap();
    let mut changed = labels.clone();
    match value {
        Some(value) => changed.insert(key.clone(), value.to_owned()),
        None => changed.remove(key),
    };
    let is_same = changed == labels || key == "sidecar-bundle.owner";
    assert_eq!(difference(&plan, &changed), (!is_same).then(|| key.clone()));
    let is_bundles = ["sidecar-bundle.prefix", "sidecar-bundle.slug"].contains(&key.as_str());
    assert_eq!(are_of(&plan, &changed), changed == labels || !is_bundles);
    // Whatever is read of them is in them.
    if let Some(read) = plan_in(&changed) {
        assert_eq!(changed["sidecar-bundle.slug"], read.slug().as_str());
        assert_eq!(changed["sidecar-bundle.prefix"], read.naming().prefix());
        assert_eq!(changed["sidecar-bundle.ip"], read.ip().to_string());
        assert_eq!(changed["sidecar-bundle.gateway"], read.gateway().to_string());
    }

    // Neither another bundle's labels nor those of other programs are ours.
    let (prefix, slug) = &input.other;
    if let Some(other) = self::plan(prefix, slug) {
        let is_same = (plan.slug(), plan.naming()) == (other.slug(), other.naming());
        assert_eq!(are_of(&plan, &labels_of(&other)), is_same);
        assert!(is_same || difference(&plan, &labels_of(&other)).is_some());
    }
    let foreign = input.foreign.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let foreign: BTreeMap<_, _> =
        foreign.filter(|(key, _)| !key.starts_with("sidecar-bundle.")).collect();
    assert!(!are_of(&plan, &foreign) && plan_in(&foreign).is_none());
    assert!(difference(&plan, &foreign).is_some());
    let both = foreign.into_iter().chain(labels.clone()).collect();
    assert!(are_of(&plan, &both) && difference(&plan, &both).is_none());
});
