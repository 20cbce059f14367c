//! The cost of a plan: `cargo bench --bench plan_cost`.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use sidecar_bundle::{NetworkPlanned, Slug};

const BATCHES: usize = 200;
const PLANS: u32 = 100;
const BOUND: Duration = Duration::from_micros(5);

fn main() {
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
    // A debug build says nothing about the cost.
    assert!(cfg!(debug_assertions) || median < BOUND, "more than {BOUND:?}: {median:?}");
}
