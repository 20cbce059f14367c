//! What a plan costs: `cargo test --release --test plan_cost -- --nocapture`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use sidecar_bundle::{NetworkPlanned, Slug};

const BATCHES: usize = 200;
const PLANS: u32 = 100;

#[test]
fn a_plan_takes_less_than_five_microseconds() {
    let mut each: Vec<Duration> = (0..BATCHES)
        .map(|batch| {
            let slugs: Vec<_> = (0..PLANS).map(|it| format!("agent-{batch}-{it}")).collect();
            let start = Instant::now();
            for slug in &slugs {
                black_box(NetworkPlanned::new(Slug::new(black_box(slug)).unwrap()));
            }
            start.elapsed() / PLANS
        })
        .collect();
    each.sort();
    let median = each[BATCHES / 2];
    println!("a plan from a slug: median {median:?} of {BATCHES} batches of {PLANS}");
    // A debug build says nothing of the cost, and still must not be out of all proportion.
    let bound = if cfg!(debug_assertions) { 100 } else { 5 };
    assert!(median < Duration::from_micros(bound), "{median:?}");
}
