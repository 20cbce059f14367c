//! The places and subnets of 100,000 bundles on 1,000 hosts, without any host: `cargo bench --bench many_hosts`.
//!
//! The guide `many_hosts` has the figures.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]
#![expect(clippy::cast_precision_loss, reason = "the counts are small")]

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::thread;
use std::time::Instant;

use sidecar_bundle::{AddressPool, Engine, Engines, Ipv6Addressing, Slug};

const HOSTS: usize = 1000;
const BUNDLES: usize = 100_000;
const THREADS: usize = 2;

fn main() {
    let slugs: Vec<_> = (0..BUNDLES).map(|it| Slug::new(format!("agent-{it}")).unwrap()).collect();
    let engine = Engine::docker();
    let engines_of =
        |names: &[&str]| Engines::new(names.iter().map(|it| (*it, engine.clone()))).unwrap();
    let names: Vec<_> = (0..HOSTS).map(|it| format!("host-{it}")).collect();
    let all = engines_of(&names.iter().map(String::as_str).collect::<Vec<_>>());

    let start = Instant::now();
    let some = slugs.iter().take(1000);
    assert_eq!(some.map(|slug| all.place(black_box(slug)).0).filter(|it| it.is_empty()).count(), 0);
    println!("one place among {HOSTS} hosts: {:?}", start.elapsed() / 1000);

    let places = placed(&all, &slugs);
    let loads: BTreeMap<_, _> = places.iter().fold(BTreeMap::new(), |mut loads, name| {
        *loads.entry(*name).or_insert(0_usize) += 1;
        loads
    });
    let mean = BUNDLES as f64 / HOSTS as f64;
    let variance = loads.values().map(|it| (*it as f64 - mean).powi(2)).sum::<f64>() / HOSTS as f64;
    let (least, most) = (loads.values().min().unwrap(), loads.values().max().unwrap());
    println!(
        "{BUNDLES} bundles on {HOSTS} hosts: {least} to {most} on each, standard deviation {:.1}",
        variance.sqrt()
    );
    assert_eq!(loads.len(), HOSTS);
    assert!(*least > 50 && *most < 150);

    // A weight does not depend on the other engines: a slug's second place is its place without the first.
    let homeless = slugs.iter().zip(&places).filter(|(_, name)| **name == "host-0");
    let to: Vec<_> = homeless.map(|(slug, _)| all.ranked(slug)[1].0).collect();
    let hosts = to.iter().collect::<BTreeSet<_>>().len();
    println!("one host less: {} bundles move, to {hosts} hosts", to.len());
    let won = slugs
        .iter()
        .zip(&places)
        .filter(|(slug, name)| engines_of(&[name, "one-more"]).place(slug).0 == "one-more");
    let won = won.count();
    println!("one host more: {won} bundles move, all of them to it");
    assert!((50..150).contains(&won));

    for pool in ["10.48.0.0/12:/24", "10.0.0.0/8:/24", "10.48.0.0/12:/28", "10.48.0.0/12:/29"] {
        collisions(pool, &slugs, &places);
    }
    println!("all of them in one place, such as the Services of one cluster:");
    for pool in ["10.48.0.0/12:/29", "10.0.0.0/8:/29"] {
        collisions(pool, &slugs, &vec!["cluster"; BUNDLES]);
    }
    let prefixes: BTreeSet<_> =
        slugs.iter().map(|slug| Ipv6Addressing::derived(slug, 0).subnet()).collect();
    println!("IPv6: {} subnets of {BUNDLES} bundles on all hosts", prefixes.len());
}

/// The name of each slug's engine.
fn placed<'a>(engines: &'a Engines, slugs: &[Slug]) -> Vec<&'a str> {
    thread::scope(|scope| {
        let place = |part: &[Slug]| part.iter().map(|it| engines.place(it).0).collect::<Vec<_>>();
        let parts: Vec<_> = slugs.chunks(slugs.len().div_ceil(THREADS)).collect();
        let parts: Vec<_> =
            parts.into_iter().map(|part| scope.spawn(move || place(part))).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
}

/// Bundles that start one after another, each in its first subnet that no other bundle of its place has.
fn collisions(pool: &str, slugs: &[Slug], places: &[&str]) {
    let pool: AddressPool = pool.parse().unwrap();
    let mut taken: BTreeMap<&str, BTreeSet<_>> = BTreeMap::new();
    let mut moved = Vec::new();
    for (slug, place) in slugs.iter().zip(places) {
        let taken = taken.entry(place).or_default();
        let is_free = |it: &u64| taken.insert(pool.addressing(slug, *it).unwrap().subnet());
        let attempt = (0..pool.subnets()).find(is_free).unwrap();
        if attempt > 0 {
            moved.push((*place, attempt));
        }
    }
    let hosts: BTreeSet<_> = moved.iter().map(|(place, _)| place).collect();
    let last = moved.iter().map(|(_, attempt)| attempt).max().unwrap();
    println!(
        "pool {pool} of {} subnets: {} bundles move, in {} places, to attempt {last} at most",
        pool.subnets(),
        moved.len(),
        hosts.len()
    );
}
