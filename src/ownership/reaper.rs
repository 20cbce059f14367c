//! The reaper: the process that removes what a dead owner left.
//!
//! It is one `sh` for each engine that something is held on. It reads a socket until its process ends, in
//! whatever way, and then removes what carries a held owner's label. The lease file tells it what has been
//! kept or adopted; so it needs to be told nothing but the owners, and a reaper that missed a message does
//! no harm.

use std::collections::BTreeMap;
use std::io::{self, PipeWriter, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, send};

use super::labels::OWNER;
use crate::engine::ReaperChoice;
use crate::engine::backend::ReaperSpec;
use crate::engine::connection::Connection;

/// The time that a reaper has to start.
const START: Duration = Duration::from_secs(5);

/// The reapers of this process, by engine.
static REAPERS: Mutex<BTreeMap<String, Arc<Reaper>>> = Mutex::new(BTreeMap::new());

/// The handle to the reaper of one engine.
#[derive(Debug, Default)]
pub(crate) struct Reaper(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    process: Option<Process>,
    /// Reapers that did not take a message. They act on what they know when this process ends, and would do
    /// so at once if their sockets were closed.
    retired: Vec<Process>,
    /// The owners whose resources are to be removed, each with its lease file.
    held: BTreeMap<String, PathBuf>,
}

#[derive(Debug)]
struct Process {
    /// Ends with this process.
    messages: UnixStream,
    /// Ends with this process and the last of its programs that make something.
    liveness: PipeWriter,
}

/// The protection of one owner. It ends when this is dropped, unless something is left.
#[derive(Debug)]
pub(crate) struct Hold {
    reaper: Handle,
    owner: String,
    left: bool,
}

#[derive(Debug)]
enum Handle {
    Process(Arc<Reaper>),
    #[cfg(test)]
    Model(Arc<crate::model::world::ReaperRecord>),
}

impl Reaper {
    /// Protects an owner, if the engine value wants a reaper. A process that cannot be started is logged.
    pub(crate) fn hold(connection: &Connection, owner: &str, lease: &Path) -> Option<Hold> {
        let reaper = match connection.engine().reaper() {
            ReaperChoice::None => return None,
            ReaperChoice::Process => {
                let engine = connection.info().identity.digest();
                let mut reapers = REAPERS.lock().unwrap_or_else(PoisonError::into_inner);
                let reaper = Arc::clone(reapers.entry(engine).or_default());
                drop(reapers);
                reaper.add(owner, lease, || connection.backend().reaper_spec(connection.info()));
                Handle::Process(reaper)
            }
            #[cfg(test)]
            ReaperChoice::Model(record) => {
                record.hold(&connection.info().identity.digest(), owner, lease);
                Handle::Model(Arc::clone(record))
            }
        };
        Some(Hold { reaper, owner: owner.to_owned(), left: false })
    }

    fn add(&self, owner: &str, lease: &Path, spec: impl FnOnce() -> ReaperSpec) {
        let mut state = self.state();
        state.held.insert(owner.to_owned(), lease.to_owned());
        let message = held_message(owner, lease);
        if state.tell(&message) {
            return;
        }
        // It is told all that is held.
        match start(&spec()) {
            Ok(process) => {
                let held = state.held.iter().map(|(owner, lease)| held_message(owner, lease));
                let held = held.collect::<Vec<_>>().concat();
                state.process = Some(process);
                if !state.tell(&held) {
                    tracing::warn!("the reaper does not listen");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "no reaper: what this process leaves when it is killed stays");
            }
        }
    }

    fn remove(&self, owner: &str) {
        let mut state = self.state();
        if state.held.remove(owner).is_none() {
            return;
        }
        if state.held.is_empty() {
            // It ends, for it has nothing to do.
            let _ = state.tell(format!("-{owner}\n").as_bytes());
            state.process = None;
            state.retired.clear();
        } else if !state.tell(format!("-{owner}\n").as_bytes()) {
            tracing::debug!("the reaper was not told that an owner has ended");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Sends a message and returns true if it has arrived whole. It never waits, and raises no signal.
    fn tell(&mut self, message: &[u8]) -> bool {
        let Some(process) = &self.process else { return false };
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let flags = MsgFlags::MSG_DONTWAIT;
        let sent = send(process.messages.as_raw_fd(), message, flags);
        match sent {
            Ok(bytes) if bytes == message.len() => true,
            // A stopped reaper goes on one day.
            Ok(_) | Err(nix::errno::Errno::EAGAIN) => {
                self.retired.extend(self.process.take());
                false
            }
            Err(_) => {
                self.process = None;
                false
            }
        }
    }
}

impl Hold {
    /// The pipe that a program holds which makes something, so that the reaper waits for its end.
    pub(crate) fn liveness(&self) -> Option<PipeWriter> {
        match &self.reaper {
            Handle::Process(reaper) => reaper.state().process.as_ref()?.liveness.try_clone().ok(),
            #[cfg(test)]
            Handle::Model(_) => None,
        }
    }

    /// Ends the protection of an earlier owner of this process, whose resources are gone now.
    pub(crate) fn forget(&self, owner: &str) {
        match &self.reaper {
            Handle::Process(reaper) => reaper.remove(owner),
            #[cfg(test)]
            Handle::Model(record) => record.release(owner),
        }
    }

    pub(crate) fn set_left(&mut self, left: bool) {
        self.left = left;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.left {
            self.forget(&self.owner);
        }
    }
}

fn held_message(owner: &str, lease: &Path) -> Vec<u8> {
    [b"+", owner.as_bytes(), b" ", lease.as_os_str().as_bytes(), b"\n"].concat()
}

/// Starts the process and waits until it listens.
fn start(spec: &ReaperSpec) -> io::Result<Process> {
    let (messages, theirs) = UnixStream::pair()?;
    let theirs = OwnedFd::from(theirs);
    let (liveness_end, liveness) = io::pipe()?;
    let lists = [
        &spec.identify,
        &spec.list_containers,
        &spec.remove_container,
        &spec.list_networks,
        &spec.remove_network,
    ];
    let shell = |name| {
        let mut shell = Command::new(name);
        shell
            .args(["-c", include_str!("reaper.sh"), "sidecar-bundle-reaper"])
            .arg(&spec.program)
            .args([OWNER, &spec.identity])
            .args(lists.map(|words| words.join("\n")))
            .arg(if spec.removes_networks_in_use { "look" } else { "" })
            .stderr(Stdio::null())
            .process_group(0)
            .current_dir("/")
            .env_clear()
            .envs(spec.env.iter().map(|(name, value)| (name, value)));
        shell.stdin(theirs.try_clone()?).stdout(liveness_end.try_clone()?).spawn()
    };
    // bash can close any descriptor that it has inherited, dash only those of one digit.
    let mut child = match shell("bash") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => shell("sh")?,
        child => child?,
    };
    drop((theirs, liveness_end));
    messages.set_read_timeout(Some(START))?;
    let ready = (&messages).read_exact(&mut [0; 6]);
    reap(&mut child);
    ready?;
    Ok(Process { messages, liveness })
}

/// It went into the background by itself: this process gets no child that it did not ask for.
fn reap(child: &mut Child) {
    let end = Instant::now() + START;
    // An error tells that somebody else waits for this process's children.
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
    }
}
