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

use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::World;
use owner::Owner;

/// The time in which a reaper ends. After a death in a create, podman is asked by sixty programs one after another, which
/// took more than a minute on a machine with a load of 28.
const PATIENCE: Duration = Duration::from_secs(150);

/// The engine's program by a link of its own, by which an owner's reaper is known.
fn own_program(state: &Path, id: &str) -> PathBuf {
    let room = state.join(format!("{id}.room"));
    std::fs::create_dir(&room).unwrap();
    let program = room.join(engine::program());
    let held_engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/helpers/held-engine");
    std::os::unix::fs::symlink(held_engine, &program).unwrap();
    program
}

/// Returns true while there is a reaper that uses this program. It goes into the background as another process, which may
/// have a place in the list of processes that has been read already: the list is read twice.
fn is_reaping(program: &Path) -> bool {
    let mut processes = (0..2).flat_map(|_| std::fs::read_dir("/proc").unwrap().flatten());
    processes.any(|entry| {
        let cmdline = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let has = |word: &[u8]| cmdline.split(|byte| *byte == 0).any(|it| it == word);
        has(b"sidecar-bundle-reaper") && has(program.as_os_str().as_encoded_bytes())
    })
}

/// Runs an owner without a reaper, which obeys these commands and dies.
fn leave_behind(world: &World, commands: &[&str]) {
    let mut owner = Owner::program(&world.engine_words());
    owner.arg("reaper=false");
    let mut owner = Owner::spawn(owner);
    for command in commands {
        let answer = owner.ask(command);
        let is_done =
            ["network", "up", "guest", "kept", "ok"].iter().any(|it| answer.starts_with(it));
        assert!(is_done, "{command}: {answer}");
    }
    owner.tell("exit");
    owner.end();
}
