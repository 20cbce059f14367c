//! The library on a real engine. Each module is named after the source file that it tests.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod api;
mod cause;
mod create;
mod discard;
mod events;
mod file;
mod guard;
mod guest;
mod identity;
mod ipv6;
mod lease;
mod network_options;
mod observe;
mod options;
mod reachability;
mod redactor;
mod running;
mod start;
mod wait;

#[path = "../support/engine.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod engine;
#[path = "../support/owner.rs"]
mod owner;
#[path = "../support/relay.rs"]
mod relay;
