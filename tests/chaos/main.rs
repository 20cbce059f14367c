//! Nothing is left behind, and nothing of others is touched: on a real engine, whatever happens.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod attach;
mod crowds;
mod deaths;
mod discard;
mod guests;
mod lease;
mod orphans;
mod survey;
mod sweep;

#[path = "../support/engine.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod engine;
#[path = "../support/owner.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod owner;
#[path = "../support/relay.rs"]
mod relay;

use engine::World;
use owner::Owner;

/// Runs an owner without a reaper, which obeys these commands and dies.
fn leave_behind(world: &World, commands: &[&str]) {
    let mut owner = Owner::program(&world.engine_words());
    owner.arg("reaper=false");
    let mut owner = Owner::spawn(owner);
    for command in commands {
        let answer = owner.ask(command);
        assert!(!answer.starts_with("error"), "{answer}");
    }
    owner.tell("exit");
    owner.end();
}
