//! Nothing is left behind, and nothing of others is touched: on a real engine, whatever happens.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod crowds;
mod deaths;
mod full;
#[path = "../support/owner.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod owner;
mod strays;
#[path = "../engine/support.rs"]
mod support;
