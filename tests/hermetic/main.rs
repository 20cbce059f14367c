//! The library against a fake `docker` program, and against an engine that does as a script says: no real engine
//! is needed. Each module is named after the source
//! file that it tests.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod api;
mod attach;
mod bundles;
mod by_curl;
mod cli;
mod create;
mod created;
mod discard;
mod engines;
mod error;
mod events;
mod follow;
mod guard;
mod guest;
mod health;
mod identity;
mod labels;
mod lease;
mod observe;
mod operations;
mod orphans;
mod ports;
mod reachability;
mod reaper;
mod redactor;
mod service;
mod session;
mod start;
mod survey;
mod sweep;
mod teardown;
#[cfg(feature = "tokio")]
mod tokio;
mod types;
mod wait;
mod wire;

#[path = "../support/fake.rs"]
mod fake;
#[path = "../support/faults.rs"]
mod faults;
#[path = "../support/owner.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod owner;
#[path = "../support/scripted.rs"]
mod scripted;
#[path = "../support/surroundings.rs"]
mod surroundings;
#[path = "../support/texts.rs"]
mod texts;
