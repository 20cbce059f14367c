//! The library on a real engine. Each module is named after the source file that it tests.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod api;
mod attach;
mod bundles;
mod cause;
mod create;
mod discard;
mod engines;
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
mod ports;
mod reachability;
mod redactor;
mod running;
mod start;
mod teardown;
mod wait;

#[path = "../../examples/agent.rs"]
#[expect(dead_code, reason = "it has a main of its own")]
mod agent;
#[path = "../support/engine.rs"]
mod engine;
#[path = "../../examples/microvm.rs"]
#[expect(dead_code, reason = "it has a main of its own")]
mod microvm;
#[path = "../support/owner.rs"]
mod owner;
#[path = "../support/relay.rs"]
mod relay;
