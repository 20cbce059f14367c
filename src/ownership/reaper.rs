//! The reaper: the process that removes what a dead owner left.
//!
//! It is one `sh` for each engine that something is held on. It reads a socket until its process ends, in
//! whatever way, and then removes what carries a held owner's label. The lease file tells it what has been
//! kept or adopted; so it needs to be told nothing but the owners. A reaper that was not told of an owner's
//! end does no harm. One that was not told of an owner leaves that owner's resources to the next launch, so each
//! creating request replaces a reaper that has ended.

use std::collections::{BTreeMap, BTreeSet};
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

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

use super::labels::OWNER;
use super::lease::Lease;
use crate::engine::ReaperChoice;
use crate::engine::backend::ReaperSpec;
use crate::engine::cli::path_of;
use crate::engine::clock::has_passed;
use crate::engine::connection::Connection;

/// The time that a shell has to start. An owner waits for it, and for nothing else that a reaper does.
const START: Duration = Duration::from_secs(15);

/// The reapers of this process, by engine.
static REAPERS: Mutex<BTreeMap<String, Arc<Reaper>>> = Mutex::new(BTreeMap::new());

/// The handle to the reaper of one engine.
#[derive(Debug, Default)]
pub(crate) struct Reaper(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    process: Option<Process>,
    /// The owners whose resources are to be removed, each with its lease file.
    held: BTreeMap<String, PathBuf>,
    /// The owners whose hold or end the reaper has not been told of yet.
    untold: BTreeSet<String>,
}

#[derive(Debug)]
struct Process {
    /// Ends with this process.
    messages: UnixStream,
    /// The end of a message that did not fit.
    rest: Vec<u8>,
    /// Ends with this process and the last of its programs that make something.
    liveness: PipeWriter,
    /// The shell, until it has said that it listens. After `messages`, whose end also ends it.
    starting: Option<Starting>,
}

/// A shell that starts. It reads what it was told meanwhile, also if this process has ended by then.
#[derive(Debug)]
struct Starting {
    child: Child,
    end: Instant,
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

    /// Ends the protection of earlier owners of a lease in this process: all that was theirs is gone, and
    /// nothing may appear.
    pub(crate) fn forget_others(connection: &Connection, lease: &Lease) {
        if !lease.is_settled() {
            return;
        }
        let engine = connection.info().identity.digest();
        match connection.engine().reaper() {
            ReaperChoice::None | ReaperChoice::Process => {
                let reapers = REAPERS.lock().unwrap_or_else(PoisonError::into_inner);
                let reaper = reapers.get(&engine).cloned();
                drop(reapers);
                if let Some(reaper) = reaper {
                    reaper.remove_others(lease.owner(), lease.path());
                }
            }
            #[cfg(test)]
            ReaperChoice::Model(record) => record.release_others(lease.owner(), lease.path()),
        }
    }

    fn remove_others(&self, owner: &str, lease: &Path) {
        let held = self.state().held.clone();
        held.iter()
            .filter(|(other, path)| *other != owner && *path == lease)
            .for_each(|(other, _)| self.remove(other));
    }

    fn add(&self, owner: &str, lease: &Path, spec: impl FnOnce() -> ReaperSpec) {
        let mut state = self.state();
        if state.held.insert(owner.to_owned(), lease.to_owned()).is_none() {
            state.untold.insert(owner.to_owned());
        }
        if state.tell() {
            return;
        }
        state.untold = state.held.keys().cloned().collect();
        let spec = spec();
        // bash can close any descriptor that it has inherited, dash only those of one digit.
        let started = start("bash", &spec).or_else(|error| {
            tracing::debug!(%error, "no bash");
            start("sh", &spec)
        });
        state.begin(started);
    }

    /// Waits until the shell listens. One that does not is replaced by `sh`.
    fn confirm(&self, spec: impl FnOnce() -> ReaperSpec) {
        let mut state = self.state();
        let State { process: Some(process), held, .. } = &mut *state else { return };
        let Err(error) = process.confirm() else { return };
        tracing::debug!(%error, "a shell does not work");
        process.dismiss(held.keys());
        state.untold = state.held.keys().cloned().collect();
        let started = start("sh", &spec()).and_then(|mut it| it.confirm().map(|()| it));
        state.begin(started);
    }

    fn remove(&self, owner: &str) {
        let mut state = self.state();
        if state.held.remove(owner).is_none() {
            return;
        }
        state.untold.insert(owner.to_owned());
        state.tell();
        if state.held.is_empty() {
            // It ends, for it has nothing to do.
            *state = State::default();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin(&mut self, started: io::Result<Process>) {
        match started {
            Ok(process) => {
                self.process = Some(process);
                self.tell();
            }
            Err(error) => {
                self.process = None;
                tracing::warn!(%error, "no reaper: what this process leaves when it is killed stays");
            }
        }
    }

    /// Tells the reaper of these owners, as far as it reads: a stopped or slow reaper is told the rest next time. It
    /// never waits, and raises no signal. Returns false if there is no process.
    fn tell(&mut self) -> bool {
        while let Some(process) = &mut self.process {
            if process.rest.is_empty() {
                let Some(owner) = self.untold.pop_first() else {
                    if process.has_ended() {
                        self.process = None;
                    }
                    return self.process.is_some();
                };
                process.rest = message(&owner, self.held.get(&owner));
            }
            match send(process.messages.as_raw_fd(), &process.rest, FLAGS) {
                Ok(sent) => drop(process.rest.drain(..sent)),
                Err(Errno::EAGAIN) => return true,
                Err(Errno::EINTR) => {}
                // `confirm` replaces it.
                Err(_) if process.starting.is_some() => return true,
                Err(Errno::EPIPE | Errno::ECONNRESET) => self.process = None,
                // It lives, and would take the end of its socket for that of this process.
                Err(_) => return true,
            }
        }
        false
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const FLAGS: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const FLAGS: MsgFlags = MsgFlags::MSG_DONTWAIT;

/// The message that an owner is held under a lease, or has ended.
fn message(owner: &str, lease: Option<&PathBuf>) -> Vec<u8> {
    match lease {
        Some(lease) => [b"+", owner.as_bytes(), b" ", lease.as_os_str().as_bytes(), b"\n"].concat(),
        None => [b"-", owner.as_bytes(), b"\n"].concat(),
    }
}

impl Hold {
    /// Starts the process again if it has ended.
    pub(crate) fn renew(&self, connection: &Connection, lease: &Path) {
        match &self.reaper {
            Handle::Process(reaper) => reaper
                .add(&self.owner, lease, || connection.backend().reaper_spec(connection.info())),
            #[cfg(test)]
            Handle::Model(_) => {}
        }
    }

    /// Waits until the process listens, which it does while the engine makes something.
    pub(crate) fn confirm(&self, connection: &Connection) {
        match &self.reaper {
            Handle::Process(reaper) => {
                reaper.confirm(|| connection.backend().reaper_spec(connection.info()));
            }
            #[cfg(test)]
            Handle::Model(_) => {}
        }
    }

    /// The pipe that a program holds which makes something, so that the reaper waits for its end.
    pub(crate) fn liveness(&self) -> Option<PipeWriter> {
        match &self.reaper {
            Handle::Process(reaper) => {
                let mut state = reaper.state();
                state.tell();
                state.process.as_ref()?.liveness.try_clone().ok()
            }
            #[cfg(test)]
            Handle::Model(_) => None,
        }
    }

    pub(crate) fn has_process(&self) -> bool {
        match &self.reaper {
            Handle::Process(reaper) => reaper.state().tell(),
            #[cfg(test)]
            Handle::Model(_) => true,
        }
    }

    pub(crate) fn set_left(&mut self, left: bool) {
        self.left = left;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        match &self.reaper {
            Handle::Process(reaper) => reaper.remove(&self.owner),
            #[cfg(test)]
            Handle::Model(record) => record.release(&self.owner),
        }
    }
}

/// Starts the process.
fn start(shell: &str, spec: &ReaperSpec) -> io::Result<Process> {
    if !Path::new(&spec.program).exists() {
        let missing = format!("{} was not found, by which it would remove", spec.program.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, missing));
    }
    let end = Instant::now() + START;
    let (messages, theirs) = UnixStream::pair()?;
    messages.set_read_timeout(Some(START))?;
    let theirs = OwnedFd::from(theirs);
    let (liveness_end, liveness) = io::pipe()?;
    let lists = [
        &spec.identify,
        &spec.list_containers,
        &spec.remove_container,
        &spec.list_networks,
        &spec.remove_network,
    ];
    // With a socket as its standard input, bash takes itself for a remote shell, and reads the user's ~/.bashrc.
    let options = (shell == "bash").then_some("--norc");
    let child = Command::new(path_of(shell.as_ref())?)
        .args(options)
        .args(["-c", include_str!("reaper.sh"), "sidecar-bundle-reaper"])
        .arg(&spec.program)
        .args([OWNER, &spec.identity])
        .args(lists.map(|words| words.join("\n")))
        .arg(spec.list_attached.join("\n"))
        .stdin(theirs)
        .stdout(liveness_end)
        .stderr(Stdio::null())
        .process_group(0)
        .current_dir("/")
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .spawn()?;
    let starting = Some(Starting { child, end });
    Ok(Process { messages, rest: Vec::new(), liveness, starting })
}

impl Process {
    /// Returns true if it listened and has ended.
    fn has_ended(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK.union(MsgFlags::MSG_DONTWAIT);
        let said = || recv(self.messages.as_raw_fd(), &mut [0], flags);
        // One that has not read everything resets the connection.
        self.starting.is_none() && !matches!(said(), Ok(1..) | Err(Errno::EAGAIN | Errno::EINTR))
    }

    /// Waits until it listens.
    fn confirm(&mut self) -> io::Result<()> {
        let Some(mut starting) = self.starting.take() else { return Ok(()) };
        let ready = (&self.messages).read_exact(&mut [0; 6]);
        if ready.is_err()
            && let Ok(None) = starting.child.try_wait()
        {
            // It may have ended by itself.
            let _ = starting.child.kill();
        }
        ready
    }

    /// Tells a process that is given up that nothing is held: it may be slow, and would take the end of its socket for
    /// that of this process.
    fn dismiss<'a>(&mut self, held: impl Iterator<Item = &'a String>) {
        let rest = std::mem::take(&mut self.rest);
        let all = held.fold(rest, |all, owner| [all, message(owner, None)].concat());
        // One that has ended reads nothing more. A socket takes some thousand owners.
        if let Err(error) = send(self.messages.as_raw_fd(), &all, FLAGS) {
            tracing::debug!(%error, "a shell was not dismissed");
        }
    }
}

/// It goes into the background by itself, or was killed: this process gets no child that it did not ask for.
impl Drop for Starting {
    fn drop(&mut self) {
        const AT_LEAST: Duration = Duration::from_secs(1);
        let end = self.end.max(Instant::now() + AT_LEAST);
        while !has_passed(end) {
            // An error tells that somebody else waits for this process's children.
            let Ok(None) = self.child.try_wait() else { break };
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::*;

    fn owner(number: u32) -> String {
        format!("{number:032x}")
    }

    fn spec(program: &Path) -> ReaperSpec {
        fs::write(program, "").unwrap();
        let env = vec![("PATH".into(), std::env::var_os("PATH").unwrap())];
        let none = Vec::new;
        ReaperSpec {
            program: program.into(),
            env,
            identify: none(),
            identity: String::new(),
            list_containers: none(),
            remove_container: none(),
            list_networks: none(),
            remove_network: none(),
            list_attached: none(),
        }
    }

    /// The processes with this program among their arguments.
    fn processes(program: &Path) -> Vec<Pid> {
        let has = |pid: i32| {
            let cmdline = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = cmdline.split(|byte| *byte == 0);
            words.any(|word| word == program.as_os_str().as_bytes())
        };
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|it| it.file_name().to_str()?.parse().ok());
        pids.filter(|pid| has(*pid)).map(Pid::from_raw).collect()
    }

    #[track_caller]
    fn wait_until(what: &str, done: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < end, "{what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// A process that is stopped for as long as this lives.
    struct Stopped(Pid);

    impl Stopped {
        fn new(pid: Pid) -> Self {
            kill(pid, Signal::SIGSTOP).unwrap();
            Self(pid)
        }
    }

    impl Drop for Stopped {
        fn drop(&mut self) {
            let _ = kill(self.0, Signal::SIGCONT);
        }
    }

    /// Returns true if the last message, too, is sent to its end: a socket may take a part of one.
    fn is_told_everything(reaper: &Reaper) -> bool {
        let mut state = reaper.state();
        let lives = state.tell();
        lives && state.untold.is_empty() && state.process.as_ref().unwrap().rest.is_empty()
    }

    #[test]
    fn an_owner_never_waits_for_a_reaper_that_is_stopped() {
        let room = tempfile::tempdir().unwrap();
        let program = room.path().join("engine");
        let reaper = Reaper::default();
        let add = |number| reaper.add(&owner(number), room.path(), || spec(&program));
        add(0);
        reaper.confirm(|| spec(&program));
        let [pid] = processes(&program)[..] else { panic!("one reaper") };
        let stopped = Stopped::new(pid);
        let start = Instant::now();
        // Far more messages than a socket takes.
        for number in 1..3000 {
            add(number);
            reaper.remove(&owner(number));
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        let state = reaper.state();
        assert_eq!(state.held.len(), 1);
        assert!(!state.untold.is_empty(), "some did not fit");
        drop(state);
        drop(stopped);
        wait_until("it is told the rest", || is_told_everything(&reaper));
        assert_eq!(processes(&program), [pid]);
        reaper.remove(&owner(0));
        wait_until("it ends when nothing is held", || processes(&program).is_empty());
    }

    #[test]
    fn a_reaper_that_was_killed_is_replaced_whether_it_had_read_everything_or_not() {
        for is_stopped in [false, true] {
            let room = tempfile::tempdir().unwrap();
            let program = room.path().join("engine");
            let reaper = Reaper::default();
            reaper.add(&owner(0), room.path(), || spec(&program));
            reaper.confirm(|| spec(&program));
            let [pid] = processes(&program)[..] else { panic!("one reaper") };
            let stopped = is_stopped.then(|| Stopped::new(pid));
            reaper.add(&owner(1), room.path(), || spec(&program));
            kill(pid, Signal::SIGKILL).unwrap();
            wait_until("it is dead", || !processes(&program).contains(&pid));
            std::mem::forget(stopped);
            // Nothing new is to be told.
            reaper.add(&owner(1), room.path(), || spec(&program));
            reaper.confirm(|| spec(&program));
            assert_eq!(processes(&program).len(), 1, "{is_stopped}");
            reaper.remove(&owner(0));
            reaper.remove(&owner(1));
            wait_until("it ends when nothing is held", || processes(&program).is_empty());
        }
    }

    #[test]
    fn a_shell_that_ends_before_it_listens_leaves_no_child_and_is_replaced() {
        let room = tempfile::tempdir().unwrap();
        let program = room.path().join("engine");
        let reaper = Reaper::default();
        reaper.add(&owner(0), room.path(), || spec(&program));
        let id = reaper.state().process.as_ref().unwrap().starting.as_ref().unwrap().child.id();
        kill(Pid::from_raw(id.cast_signed()), Signal::SIGKILL).unwrap();
        let stat = || std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        wait_until("it is dead", || stat().contains(") Z "));
        // It is told more before its end is noticed.
        reaper.add(&owner(1), room.path(), || spec(&program));
        let starting =
            |state: &State| state.process.as_ref()?.starting.as_ref().map(|it| it.child.id());
        assert_eq!(starting(&reaper.state()), Some(id));
        reaper.confirm(|| spec(&program));
        assert!(!Path::new(&format!("/proc/{id}")).exists(), "a zombie");
        assert_eq!(processes(&program).len(), 1);
        reaper.remove(&owner(0));
        reaper.remove(&owner(1));
        wait_until("it ends when nothing is held", || processes(&program).is_empty());
    }

    #[test]
    fn a_shell_that_is_given_up_removes_nothing() {
        use std::os::unix::fs::PermissionsExt;
        let room = tempfile::tempdir().unwrap();
        let program = room.path().join("engine");
        let reaper = Reaper::default();
        reaper.add(&owner(0), room.path(), || {
            let spec = spec(&program);
            let called = room.path().join("called");
            fs::write(&program, format!("#!/bin/sh\n: >{}\n", called.display())).unwrap();
            fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
            spec
        });
        let mut state = reaper.state();
        let mut process = state.process.take().unwrap();
        process.dismiss(state.held.keys());
        drop((process, state));
        wait_until("it ends", || processes(&program).is_empty());
        assert!(!room.path().join("called").exists());
    }

    #[test]
    fn an_owner_that_ends_while_its_shell_starts_leaves_no_process() {
        let room = tempfile::tempdir().unwrap();
        let program = room.path().join("engine");
        let reaper = Reaper::default();
        reaper.add(&owner(0), room.path(), || spec(&program));
        let id = reaper.state().process.as_ref().unwrap().starting.as_ref().unwrap().child.id();
        reaper.remove(&owner(0));
        assert!(!Path::new(&format!("/proc/{id}")).exists(), "a zombie");
        wait_until("it ends when nothing is held", || processes(&program).is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_message_to_a_killed_reaper_raises_no_signal() {
        // This process ignores SIGPIPE, as every Rust program does, and cannot show it.
        assert!(FLAGS.contains(MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT));
    }

    #[test]
    fn nothing_stays_of_owners_that_have_ended() {
        let room = tempfile::tempdir().unwrap();
        let program = room.path().join("engine");
        let reaper = Reaper::default();
        let add = |number| reaper.add(&owner(number), room.path(), || spec(&program));
        add(0);
        (1..2000).for_each(&add);
        (1..2000).for_each(|number| reaper.remove(&owner(number)));
        wait_until("it is told everything", || is_told_everything(&reaper));
        // Nothing stays of what has ended.
        assert_eq!(reaper.state().held.len(), 1);
        reaper.remove(&owner(0));
        wait_until("it ends when nothing is held", || processes(&program).is_empty());
    }
}
