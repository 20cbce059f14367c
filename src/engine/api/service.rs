//! `podman system service`: podman has no daemon, so that its API is a process of this library's.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{env, fmt, thread};

use super::wire::connect;
use crate::engine::cli::Cli;
use crate::engine::identity::EngineInfo;

/// Runs the service, and removes its directory when it has ended.
///
/// It is never told to end: on a signal in the middle of a start, podman 4.3 may wait for itself without end, and hold
/// the container's lock, for which each `podman ps` waits then. It ends by itself when nobody is connected. Its words
/// go to a file, since it would not survive the end of who reads a pipe.
const SCRIPT: &str = r#"
directory=$1
shift
mkdir -m 700 -- "$directory" || exit
"$@" >/dev/null 2>"$directory/log"
cat <"$directory/log"
rm -f -- "$directory/s" "$directory/log"
rmdir -- "$directory"
"#;

/// The seconds for which the service stays without a connection. A connection on which nothing is asked counts for twice
/// as long.
const IDLE: &str = "10";

/// The bytes of its words that are kept.
const MOST: usize = 64 << 10;

/// The time in which the service is there, where the request has no deadline.
const STARTED: Duration = Duration::from_secs(30);

/// The variables by which a process is told of its own service manager, and that are not podman's business.
const MANAGED: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET"];

/// The services of this process, by program and environment.
static SERVICES: Mutex<BTreeMap<Key, Weak<Service>>> = Mutex::new(BTreeMap::new());

type Key = (OsString, Vec<(OsString, OsString)>);

/// A service, which is started when it is needed, and again when it has ended.
pub(super) struct Service {
    program: OsString,
    env: Vec<(&'static str, Option<OsString>)>,
    running: Mutex<Option<Running>>,
}

struct Running {
    socket: PathBuf,
    info: Option<EngineInfo>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("program", &self.program).finish_non_exhaustive()
    }
}

impl Service {
    /// The service of the podman that works on this host, one for the process.
    pub(super) fn of(cli: &Cli) -> Arc<Self> {
        let (program, whole_env) = cli.way();
        let mut services = SERVICES.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (program.clone(), whole_env);
        if let Some(service) = services.get(&key).and_then(Weak::upgrade) {
            return service;
        }
        let env = cli.pinned().chain(MANAGED.map(|name| (name, None))).collect();
        let service = Arc::new(Self { program, env, running: Mutex::default() });
        services.retain(|_, service| service.strong_count() > 0);
        services.insert(key, Arc::downgrade(&service));
        service
    }

    pub(super) fn program(&self) -> &OsStr {
        &self.program
    }

    /// Connects to it, and starts it before if it does not run.
    pub(super) fn open(&self, timeout: Option<Duration>) -> io::Result<UnixStream> {
        let end = Instant::now() + timeout.unwrap_or(STARTED).min(STARTED);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Running { socket, .. }) = &*running {
            match connect(socket, timeout) {
                Err(error) if is_absent(&error) => {}
                connected => return connected,
            }
        }
        *running = None;
        let (started, stream) = self.start(end)?;
        *running = Some(started);
        Ok(stream)
    }

    /// The description of the engine that the service has given, with the place of that service.
    pub(super) fn known(&self) -> Option<(PathBuf, EngineInfo)> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().and_then(|it| Some((it.socket.clone(), it.info.clone()?)))
    }

    pub(super) fn learn(&self, info: &EngineInfo) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &mut *running {
            running.info = Some(info.clone());
        }
    }

    fn start(&self, end: Instant) -> io::Result<(Running, UnixStream)> {
        if Path::new(&self.program).components().count() < 2 {
            return Err(ErrorKind::NotFound.into());
        }
        let random = RandomState::new().hash_one(Instant::now());
        let directory = parent().join(format!("sidecar-bundle-{random:016x}"));
        let socket = directory.join("s");
        let (stdout, their_stdout) = UnixStream::pair()?;
        stdout.set_nonblocking(true)?;
        let mut address = OsString::from("unix://");
        address.push(&socket);
        let words: [&OsStr; 10] = [
            "-c".as_ref(),
            SCRIPT.as_ref(),
            "sh".as_ref(),
            directory.as_os_str(),
            &self.program,
            "system".as_ref(),
            "service".as_ref(),
            "--time".as_ref(),
            IDLE.as_ref(),
            &address,
        ];
        let command =
            self.env.iter().fold(duct::cmd("sh", words), |command, (name, value)| match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            });
        let handle = command
            .stdin_null()
            .stdout_file(OwnedFd::from(their_stdout))
            .stderr_null()
            // Ctrl-C is for the launcher.
            .before_spawn(|command| {
                command.process_group(0);
                Ok(())
            })
            .unchecked()
            .start()?;
        let (mut all, mut piece) = (Vec::new(), [0; 4096]);
        // No zombie of it stays, whenever it ends. Without the thread, one does.
        let _ = thread::Builder::new().spawn(move || drop(handle.wait()));
        loop {
            match connect(&socket, Some(Duration::from_secs(1))) {
                Err(error) if is_absent(&error) => {}
                connected => {
                    return Ok((Running { socket, info: None }, connected?));
                }
            }
            match (&stdout).read(&mut piece) {
                Ok(0) => return Err(io::Error::other(said(&all))),
                Ok(length) => all.extend(&piece[..length.min(MOST.saturating_sub(all.len()))]),
                // It runs still.
                Err(_) => {}
            }
            if Instant::now() >= end {
                return Err(ErrorKind::TimedOut.into());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Returns true if nobody listens on the socket.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

/// The parent of a service's directory, whose path fits into the address of a socket as it is.
fn parent() -> PathBuf {
    let plain = |it: &PathBuf| {
        let fits = |text: &str| {
            text.len() <= 64
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
        };
        it.is_absolute() && it.is_dir() && it.to_str().is_some_and(fits)
    };
    let candidates = [env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), Some(env::temp_dir())];
    candidates.into_iter().flatten().find(plain).unwrap_or_else(|| "/tmp".into())
}

/// The last line of a service that did not start.
fn said(words: &[u8]) -> String {
    let words = String::from_utf8_lossy(words);
    let last = words.lines().map(str::trim).rfind(|line| !line.is_empty());
    last.unwrap_or("podman's service ended at once").to_owned()
}
