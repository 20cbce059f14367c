//! The library against a fake `docker` program: no engine is needed.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod commands;
mod dead_owners;
mod disobedience;
mod failures;
mod fake;
#[path = "../support/owner.rs"]
mod owner;
mod ownership;
mod secrets;
mod surroundings;
mod teardown;
mod texts;
mod types;
