//! The process that removes what its owner could not, having died.
//!
//! It is one `sh` for each engine program and environment, started before the first thing is made. It
//! reads a pipe until its owner lets go of it, whatever way, and then removes what carries its owner's
//! label: by name, it could hurt the slug's next owner.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, PipeWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::Resource;
use crate::engine::dialect::{Dialect, list};

/// How a stranger to this process can remove things from an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    pub(crate) program: OsString,
    pub(crate) dialect: Dialect,
    /// Set, or removed from what this process has.
    pub(crate) env: Vec<(&'static str, Option<OsString>)>,
    /// Locked while the owner, or the last of its commands that make something, lives.
    pub(crate) alive: Option<PathBuf>,
    /// The label that this owner's things carry, as `key=value`.
    pub(crate) label: String,
}

/// A handle to the reaper of one engine.
#[derive(Debug)]
pub(crate) struct Reaper {
    stranger: Stranger,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pipes: Option<Pipes>,
    /// How many slugs may have something to remove.
    held: usize,
    /// What carries another owner's label and is this one's all the same.
    adopted: BTreeMap<String, Resource>,
    /// What carries this owner's label and is to stay.
    kept: BTreeSet<String>,
}

#[derive(Debug)]
struct Pipes {
    /// Ends with the owner.
    messages: PipeWriter,
    /// Ends with the owner and the last of its engine's commands that make something.
    tether: PipeWriter,
}

impl Reaper {
    /// The reaper for an engine, started if there is none yet.
    ///
    /// Where it cannot be started, for want of an `sh`, things are removed by their guards alone.
    pub(crate) fn of(stranger: Stranger) -> Arc<Self> {
        static REAPERS: Mutex<Vec<Arc<Reaper>>> = Mutex::new(Vec::new());
        let mut reapers = REAPERS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reaper) = reapers.iter().find(|it| it.stranger == stranger) {
            return Arc::clone(reaper);
        }
        let reaper = Arc::new(Self { stranger, state: Mutex::default() });
        reapers.push(Arc::clone(&reaper));
        reaper
    }

    /// One more slug may have something to remove.
    pub(crate) fn hold(&self) {
        self.tell(|state| state.held += 1);
    }

    /// One slug less.
    pub(crate) fn release(&self) {
        self.tell(|state| state.held = state.held.saturating_sub(1));
    }

    /// This is to be removed, whoever made it.
    pub(crate) fn adopt(&self, resource: Resource, id: &str) {
        self.tell(|state| {
            state.kept.remove(id);
            state.adopted.insert(id.to_owned(), resource);
        });
    }

    /// This is to stay.
    pub(crate) fn keep(&self, id: &str) {
        self.tell(|state| {
            state.adopted.remove(id);
            state.kept.insert(id.to_owned());
        });
    }

    /// This is gone.
    pub(crate) fn forget(&self, id: &str) {
        let mut state = self.state();
        state.adopted.remove(id);
        state.kept.remove(id);
    }

    /// What a command that makes something holds on to, so that the reaper waits for its end.
    pub(crate) fn tether(&self) -> Option<PipeWriter> {
        self.state().pipes.as_ref().and_then(|pipes| pipes.tether.try_clone().ok())
    }

    /// Changes the state and sends all of it, to a new process if the old one has been killed.
    fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let message = state.message();
        let sent = state.pipes.as_mut().map(|pipes| pipes.messages.write_all(message.as_bytes()));
        if matches!(sent, Some(Ok(()))) {
            return;
        }
        let started = start(&self.stranger).and_then(|mut pipes| {
            pipes.messages.write_all(message.as_bytes())?;
            Ok(pipes)
        });
        match started {
            Ok(pipes) => state.pipes = Some(pipes),
            Err(error) => {
                state.pipes = None;
                tracing::warn!(%error, "no reaper: what this process leaves when killed stays");
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// All of it, on one line.
    fn message(&self) -> String {
        let mut message = format!("{}", self.held);
        for (id, resource) in &self.adopted {
            let _ = write!(message, " +{resource}:{id}");
        }
        for id in &self.kept {
            let _ = write!(message, " -{id}");
        }
        message + "\n"
    }
}

/// Which file is locked while an owner, or the last of its commands that make something, lives.
pub(crate) fn alive_file(directory: &Path, owner: &str) -> PathBuf {
    directory.join(format!("alive-{owner}"))
}

/// Waits until the last command of a dead owner has ended, ten seconds at most: what it is about to make
/// cannot be removed yet, and podman does not like to have it removed half-way.
pub(crate) fn wait_for_the_last_command(directory: &Path, owner: &str) {
    const PATIENCE: Duration = Duration::from_secs(10);
    // Without a reaper there is none.
    let Ok(file) = File::open(alive_file(directory, owner)) else { return };
    let until = Instant::now() + PATIENCE;
    while matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && Instant::now() < until {
        thread::sleep(Duration::from_millis(10));
    }
}

/// The lock is the reaper's: it is shared by all who hold the file as it was opened here.
fn locked(path: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        // An earlier reaper of this process has it still, if it was stopped.
        Ok(()) | Err(TryLockError::WouldBlock) => Ok(file),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn start(stranger: &Stranger) -> io::Result<Pipes> {
    let (messages_end, messages) = io::pipe()?;
    let (tether_end, tether) = io::pipe()?;
    let program = match Path::new(&stranger.program) {
        // The reaper leaves this directory.
        path if path.components().count() > 1 => std::path::absolute(path)?.into_os_string(),
        _ => stranger.program.clone(),
    };
    let mut sh = Command::new("sh");
    sh.args(["-c", include_str!("reaper.sh"), "sidecar-bundle-reaper"])
        .arg(program)
        .arg(&stranger.label)
        .args([Resource::Container, Resource::Network].into_iter().flat_map(|resource| {
            [list(resource), stranger.dialect.removal(resource)].map(|words| words.join(" "))
        }))
        .arg(if stranger.dialect.protects_networks_in_use() { "" } else { "look" })
        .arg(stranger.alive.as_deref().unwrap_or(Path::new("")))
        .stdin(messages_end)
        // Of the three descriptors that can be handed over, those that are left.
        .stdout(tether_end)
        .stderr(match stranger.alive.as_deref().map(locked) {
            Some(Ok(file)) => file.into(),
            // Who comes after a dead owner then does not wait for its last command.
            Some(Err(_)) | None => Stdio::null(),
        })
        .process_group(0)
        .current_dir("/");
    for (name, value) in &stranger.env {
        match value {
            Some(value) => sh.env(name, value),
            None => sh.env_remove(name),
        };
    }
    // It goes into the background by itself: this process gets no child that it did not ask for.
    let status = sh.status()?;
    if !status.success() {
        return Err(io::Error::other(format!("sh ended with {status}")));
    }
    Ok(Pipes { messages, tether })
}
