//! `podman system service`: podman has no daemon, so that its API is a process of this library's.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{env, fmt, thread};

#[cfg(target_os = "linux")]
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;

use super::socket::connect;
use crate::engine::cli::Cli;
use crate::engine::cli::path_of;
use crate::engine::identity::EngineInfo;

/// Runs the service, and removes its directory when it has ended.
///
/// It is never told to end: on a signal in the middle of a start, podman 4.3 may wait for itself without end, and hold
/// the container's lock, for which each `podman ps` then waits. It ends by itself when nobody is connected. Its output
/// goes to a file, since it would not survive the end of a pipe's reader.
const SCRIPT: &str = r#"
directory=$1
shift
for fd in 3 4 5 6 7 8 9; do eval "exec $fd>&-"; done
mkdir -m 700 -- "$directory" 2>&1 || exit
# Where a container has run out of memory, conmon leaves a file in it.
cd -- "$directory" 2>&1 || exit
"$@" >/dev/null 2>"$directory/log"
cat <"$directory/log"
cd /
rm -f -- "$directory/s" "$directory/log" "$directory/oom"
rmdir -- "$directory"
"#;

/// The seconds for which the service stays without a connection. A connection on which nothing is asked counts for twice
/// as long.
const IDLE: &str = "10";

/// The bytes of its words that are kept.
const MOST: usize = 64 << 10;

/// The time that the service has to start for a request without a deadline.
const STARTED: Duration = Duration::from_secs(30);

/// The variables that podman reads beside those that every engine's program reads. Without those of a service manager:
/// they are for the launcher.
const READ: [&str; 7] = [
    "DBUS_SESSION_BUS_ADDRESS",
    "LANG",
    "REGISTRIES_CONFIG_PATH",
    "STORAGE_DRIVER",
    "STORAGE_OPTS",
    "TZ",
    "_CONTAINERS_USERNS_CONFIGURED",
];

/// The services of this process, by program and environment.
static SERVICES: Mutex<BTreeMap<Key, Weak<Service>>> = Mutex::new(BTreeMap::new());

type Key = (OsString, Vec<(OsString, OsString)>);

/// A service, which is started when it is needed, and again when it has ended.
pub(super) struct Service {
    program: OsString,
    /// The whole environment.
    env: Vec<(OsString, OsString)>,
    running: Mutex<Option<Running>>,
}

struct Running {
    socket: PathBuf,
    info: Option<EngineInfo>,
    /// Its words, until somebody has connected.
    starting: Option<Words>,
}

/// The standard output of a service, which ends with it.
struct Words {
    stdout: UnixStream,
    said: Vec<u8>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("program", &self.program).finish_non_exhaustive()
    }
}

impl Service {
    /// The service of the podman that works on this host, one for the process.
    pub(super) fn of(cli: &Cli) -> Arc<Self> {
        let (program, mut env) = cli.way();
        env.extend(READ.iter().filter_map(|name| Some((name.into(), env::var_os(name)?))));
        let mut services = SERVICES.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (program.clone(), env.clone());
        if let Some(service) = services.get(&key).and_then(Weak::upgrade) {
            return service;
        }
        let service = Arc::new(Self { program, env, running: Mutex::default() });
        services.retain(|_, service| service.strong_count() > 0);
        services.insert(key, Arc::downgrade(&service));
        service
    }

    pub(super) fn program(&self) -> &OsStr {
        &self.program
    }

    /// Connects to it, and starts it before if it does not run. One that is not there in time goes on starting.
    pub(super) fn open(&self, timeout: Option<Duration>) -> io::Result<UnixStream> {
        let end = Instant::now() + timeout.unwrap_or(STARTED).min(STARTED);
        loop {
            if let Some(stream) = self.try_open()? {
                return Ok(stream);
            }
            if Instant::now() >= end {
                return Err(ErrorKind::TimedOut.into());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// `None` while it starts.
    fn try_open(&self) -> io::Result<Option<UnixStream>> {
        let mut running = self.running();
        let service = match &mut *running {
            Some(service) => service,
            None => running.insert(self.start()?),
        };
        let connected = connect(&service.socket, Some(Duration::from_secs(1)));
        if let Some(stream) = listened(connected, geteuid().as_raw())? {
            service.starting = None;
            return Ok(Some(stream));
        }
        match &mut service.starting {
            Some(words) => {
                if let Some(said) = words.at_its_end() {
                    *running = None;
                    return Err(io::Error::new(ENDED, said));
                }
            }
            // It has ended, and the next turn starts another.
            None => *running = None,
        }
        Ok(None)
    }

    /// The description of the engine that the service has given, with the place of that service.
    pub(super) fn known(&self) -> Option<(PathBuf, EngineInfo)> {
        let running = self.running();
        running.as_ref().and_then(|it| Some((it.socket.clone(), it.info.clone()?)))
    }

    pub(super) fn learn(&self, info: &EngineInfo) {
        if let Some(running) = &mut *self.running() {
            running.info = Some(info.clone());
        }
    }

    /// Held no longer than a start or a connection takes.
    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self) -> io::Result<Running> {
        if Path::new(&self.program).is_relative() {
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
        let handle = duct::cmd(path_of("sh".as_ref())?, words)
            .full_env(self.env.iter().cloned())
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
        // No zombie of it stays, whenever it ends. Without the thread, one does.
        let _ = thread::Builder::new().spawn(move || drop(handle.wait()));
        Ok(Running { socket, info: None, starting: Some(Words { stdout, said: Vec::new() }) })
    }
}

impl Words {
    /// Its last line, once it has ended.
    fn at_its_end(&mut self) -> Option<String> {
        let mut piece = [0; 4096];
        loop {
            match self.stdout.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => {
                    let room = MOST.saturating_sub(self.said.len());
                    self.said.extend(&piece[..length.min(room)]);
                }
                Err(_) => return None,
            }
        }
        let said = String::from_utf8_lossy(&self.said);
        let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
        Some(last.unwrap_or("podman's service ended at once").to_owned())
    }
}

/// The kind of the error of a service that did not start.
pub(super) const ENDED: ErrorKind = ErrorKind::ConnectionAborted;

/// Returns true if it is a process of this user that listens. On other systems than Linux, no service is run.
fn is_of(stream: &UnixStream, user: u32) -> bool {
    #[cfg(target_os = "linux")]
    let listener = getsockopt(stream, PeerCredentials).map(|it| it.uid());
    #[cfg(not(target_os = "linux"))]
    let listener = Err::<u32, _>(stream);
    listener == Ok(user)
}

/// The connection to a service of this user's; `None` if none listens.
fn listened(connected: io::Result<UnixStream>, user: u32) -> io::Result<Option<UnixStream>> {
    match connected {
        // The directory of another has gone with the service, and somebody else has made one of its name.
        Ok(stream) => Ok(Some(stream).filter(|it| is_of(it, user))),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(error),
        },
    }
}

/// The parent of a service's directory, whose path fits into the address of a socket as it is.
fn parent() -> PathBuf {
    let is_own = |it: &PathBuf| it.metadata().is_ok_and(|it| it.uid() == geteuid().as_raw());
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(is_own);
    let candidates = [runtime, Some(env::temp_dir())];
    candidates.into_iter().flatten().find(|it| is_plain(it)).unwrap_or_else(|| "/tmp".into())
}

/// Returns true if it is a directory whose path fits into an address.
fn is_plain(directory: &Path) -> bool {
    let fits = |text: &str| {
        text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
    };
    directory.is_absolute() && directory.is_dir() && directory.to_str().is_some_and(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::dialect::Dialect;

    #[test]
    fn a_service_is_known_as_long_as_somebody_has_it() {
        let cli =
            |name: &str| Cli::new(Dialect::Podman).with_program(format!("/no/such/{name}").into());
        let is_known = |name: &str| {
            let services = SERVICES.lock().unwrap();
            services.keys().any(|(program, _)| *program == *format!("/no/such/{name}"))
        };
        let held = Service::of(&cli("held"));
        drop(Service::of(&cli("dropped")));
        let _another = Service::of(&cli("another"));
        assert!(Arc::ptr_eq(&held, &Service::of(&cli("held"))));
        assert!(is_known("held") && !is_known("dropped"));
    }

    #[test]
    fn a_service_of_another_user_is_none() {
        let user = geteuid().as_raw();
        let listened = |user| listened(UnixStream::pair().map(|it| it.0), user).unwrap();
        assert!(listened(user).is_some());
        assert!(listened(user + 1).is_none());
    }

    #[test]
    fn a_service_is_awaited_while_nobody_listens_and_no_longer() {
        let listened = |kind: ErrorKind| listened(Err(kind.into()), 0).map_err(|it| it.kind());
        for kind in [ErrorKind::NotFound, ErrorKind::ConnectionRefused] {
            assert!(matches!(listened(kind), Ok(None)), "{kind}");
        }
        for kind in [ErrorKind::TimedOut, ErrorKind::PermissionDenied] {
            assert_eq!(listened(kind).unwrap_err(), kind);
        }
    }

    #[test]
    fn a_service_is_printed_without_its_environment() {
        let env = vec![("TOKEN".into(), "s3cret".into())];
        let service = Service { program: "podman".into(), env, running: Mutex::default() };
        let printed = format!("{service:?}");
        assert!(printed.contains("podman") && !printed.contains("s3cret"), "{printed}");
    }

    #[test]
    fn a_program_that_is_not_there_is_not_found() {
        let env = Vec::new();
        let service = Service { program: "podman".into(), env, running: Mutex::default() };
        assert_eq!(service.open(None).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn only_a_directory_has_directories_of_services() {
        let room = tempfile::tempdir_in("/tmp").unwrap();
        let file = room.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(is_plain(room.path()));
        for other in [&file, &room.path().join("none"), Path::new(".")] {
            assert!(!is_plain(other), "{}", other.display());
        }
    }
}
