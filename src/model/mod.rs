//! The whole library against engines in this process that fail, lose answers, act late, change places and
//! stop their owners at every step.
//!
//! `world` has the engines and everything that is true of them, `engine` the backend, `actions` the
//! sequences, and `laws` what must hold.

mod actions;
mod engine;
mod laws;
pub(crate) mod world;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::engine::backend::{NetworkRequest, Resource};
use crate::ownership::guard::Guard;
use crate::ownership::session::Session;

thread_local! {
    static IS_FIRST: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Of two requests at the same time, each may come first: the model has no threads, and takes turns. None outside of the
/// model.
pub(crate) fn is_first() -> Option<bool> {
    let is_first = IS_FIRST.get()?;
    IS_FIRST.set(Some(!is_first));
    Some(is_first)
}

/// The number of sequences unless `SIDECAR_BUNDLE_MODEL` sets another.
const SEQUENCES: u32 = 10_000;

#[test]
fn whatever_happens_nothing_is_lost_and_nothing_of_others_is_touched() {
    let from_env = |name: &str| std::env::var(name).ok();
    let sequences = from_env("SIDECAR_BUNDLE_MODEL").map_or(SEQUENCES, |n| n.parse().unwrap());
    // A seed of its own for each run, and again with the one that failed.
    let seed = from_env("SIDECAR_BUNDLE_MODEL_SEED");
    let seed = seed.unwrap_or_else(|| crate::ownership::random_id().unwrap());
    let bytes: [u8; 32] = seed.as_bytes().try_into().unwrap();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { cases: sequences, failure_persistence: None, ..Config::default() };
    let strategy = (prop::collection::vec(actions::actions(), 1..16), any::<bool>());
    let start = Instant::now();
    let ran = TestRunner::new_with_rng(config, rng).run(&strategy, |(actions, reapers)| {
        laws::hold(&actions, reapers).map_err(TestCaseError::fail)
    });
    println!("model: {sequences} sequences in {:?}, seed {seed}", start.elapsed());
    if let Err(error) = ran {
        panic!("SIDECAR_BUNDLE_MODEL_SEED={seed}: {error}");
    }
}

/// Sequences that failed once, or that show a guarantee for certain.
#[test]
fn sequences_that_failed_once_hold() {
    for (actions, reapers) in actions::failed_once() {
        if let Err(error) = laws::hold(&actions, reapers) {
            panic!("{actions:?}, reapers {reapers}: {error}");
        }
    }
}

#[test]
fn a_request_that_panics_after_it_made_its_resource_leaves_nothing() {
    let model = actions::Model::new();
    let (engine, plan) = (model.engine(0, 0), actions::Model::plan(0));
    let session = Session::open(&engine, &plan).unwrap();
    let labels = session.labels(&plan);
    let mut guard = Guard::new(Arc::new(session), Resource::Network, plan.network_name());
    let name = plan.network_name();
    let request = NetworkRequest {
        name: &name,
        addressing: plan.addressing(),
        ipv6: None,
        labels: &labels,
        options: plan.options(),
    };
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        guard.create(|notice| {
            engine.backend().create_network(&request, notice, Instant::now()).unwrap();
            panic!("as planned");
        })
    }));
    panicked.unwrap_err();
    assert_eq!(model.world().items().count(), 1);
    drop(guard);
    assert_eq!(model.world().items().count(), 0);
}
