//! Programs that hang, act and lose their answer, or leave children behind.

use std::thread;
use std::time::{Duration, Instant};

use crate::fake::Fake;

/// A way in which a program fails a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) snippet: &'static str,
    /// Returns true if the command does what it should, however it ends.
    pub(crate) acts: bool,
    /// Returns true if it also reports that.
    pub(crate) succeeds: bool,
}

const fn fault(snippet: &'static str, acts: bool, succeeds: bool) -> Fault {
    Fault { snippet, acts, succeeds }
}

const CHILD: &str = "trap '' TERM; sleep 60 & echo $! >>\"$dir/pids\"";

const FAULTS: &[Fault] = &[
    fault("exit 1", false, false),
    fault("echo 'the moon is full' >&2; exit 1", false, false),
    fault("kill -9 $$", false, false),
    fault("env >&2; exit 1", false, false),
    fault("trap '' TERM; exec sleep 60", false, false),
    fault("CHILD; exit 1", false, false),
    fault("CHILD; exec sleep 60", false, false),
    fault("CHILD; obey", true, true),
    fault("CHILD; obey >/dev/null; exit 1", true, false),
    fault("obey >/dev/null; echo 'the moon is full' >&2; exit 1", true, false),
    fault("obey >/dev/null; env >&2; exit 1", true, false),
    fault("obey >/dev/null; kill -9 $$", true, false),
    fault("obey >/dev/null; trap '' TERM; exec sleep 60", true, false),
];

/// Everything is over long before any child is.
const BOUND: Duration = Duration::from_secs(30);

/// Each fault in a thread of its own; most of their time is waiting.
pub(crate) fn for_each_fault(operation: &str, check: impl Fn(&Fake, Fault) + Sync) {
    let check = &check;
    thread::scope(|scope| {
        for fault in FAULTS {
            scope.spawn(move || {
                let fake = Fake::new();
                fake.on(operation, &fault.snippet.replace("CHILD", CHILD));
                let start = Instant::now();
                check(&fake, *fault);
                assert!(start.elapsed() < BOUND, "{fault:?}: {:?}", start.elapsed());
            });
        }
    });
}
