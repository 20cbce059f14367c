//! A relay on a socket of its own, between an owner and the engine's API.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::is_podman;

/// A relay that works as long as this lives.
pub(crate) struct Relay {
    socket: PathBuf,
    ended: Arc<AtomicBool>,
}

/// A relay's treatment of what passes.
#[derive(Clone, Default)]
pub(crate) struct Treatment {
    /// The request at which it pauses once, and makes a file.
    pub(crate) hold: Option<Hold>,
    /// The time after which it cuts a connection of a follower, or of a command in the container, on which
    /// nothing passes. Other answers may take longer on a busy machine.
    pub(crate) cut_idle: Option<Duration>,
}

/// A pause at one kind of request: before it is passed on, while it is carried out, or after it was answered.
#[derive(Clone)]
pub(crate) struct Hold {
    pub(crate) op: &'static str,
    pub(crate) when: &'static str,
    pub(crate) mark: PathBuf,
}

/// The pause before and after a held request.
const PAUSE: Duration = Duration::from_millis(300);

impl Relay {
    /// Relays to the engine's socket.
    pub(crate) fn start(socket: &Path, treatment: &Treatment) -> Self {
        let engine = if is_podman() { podman_service(socket) } else { docker_socket() };
        let listener = UnixListener::bind(socket).unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let (is_ended, treatment) = (Arc::clone(&ended), treatment.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                if is_ended.load(Ordering::SeqCst) {
                    break;
                }
                let (client, engine) = (client.unwrap(), UnixStream::connect(&engine));
                // Without an engine, the connection is closed.
                let Ok(engine) = engine else { continue };
                let treatment = treatment.clone();
                thread::spawn(move || relay(&client, &engine, &treatment));
            }
        });
        Self { socket: socket.to_owned(), ended }
    }

    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Its thread sees it at the next connection.
        let _ended_already = UnixStream::connect(&self.socket);
    }
}

fn relay(client: &UnixStream, engine: &UnixStream, treatment: &Treatment) {
    let look = treatment.cut_idle.map(|_| Duration::from_millis(100));
    client.set_read_timeout(look).unwrap();
    engine.set_read_timeout(look).unwrap();
    // The answer of a held request is awaited.
    let awaited = AtomicBool::new(false);
    let (is_followed, passed) = (AtomicBool::new(false), Mutex::new(Instant::now()));
    let is_cut = || {
        let idle = passed.lock().unwrap().elapsed();
        is_followed.load(Ordering::SeqCst) && treatment.cut_idle.is_some_and(|it| idle > it)
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            pass(client, engine, is_cut, |bytes| {
                *passed.lock().unwrap() = Instant::now();
                is_followed.fetch_or(has_follower(bytes), Ordering::SeqCst);
                let hold = treatment.hold.as_ref().filter(|it| is_op(bytes, it.op, it.when));
                let Some(hold) = hold.filter(|it| !it.mark.exists()) else { return };
                match hold.when {
                    "before" => {
                        std::fs::write(&hold.mark, "").unwrap();
                        thread::sleep(PAUSE);
                    }
                    "inside" => std::fs::write(&hold.mark, "").unwrap(),
                    _ => awaited.store(true, Ordering::SeqCst),
                }
            });
        });
        pass(engine, client, is_cut, |_| {
            *passed.lock().unwrap() = Instant::now();
            if let Some(hold) = &treatment.hold
                && awaited.swap(false, Ordering::SeqCst)
            {
                std::fs::write(&hold.mark, "").unwrap();
                thread::sleep(PAUSE);
            }
        });
    });
}

fn docker_socket() -> PathBuf {
    let address =
        std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".into());
    address.strip_prefix("unix://").unwrap().into()
}

/// Starts a service of podman's own, which ends when nobody is connected, and returns its socket.
fn podman_service(socket: &Path) -> PathBuf {
    let socket = socket.with_extension("podman");
    let mut podman = Command::new("podman");
    podman.args(["system", "service", "--time", "20"]);
    podman.arg(format!("unix://{}", socket.display())).process_group(0);
    let mut podman = podman.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    thread::spawn(move || podman.wait());
    let deadline = Instant::now() + Duration::from_secs(20);
    while UnixStream::connect(&socket).is_err() {
        assert!(Instant::now() < deadline, "podman's service does not start");
        thread::sleep(Duration::from_millis(10));
    }
    socket
}

/// Passes everything on until one side ends or the connection is cut, and ends both then.
fn pass(
    mut from: &UnixStream,
    mut to: &UnixStream,
    is_cut: impl Fn() -> bool,
    meet: impl Fn(&[u8]),
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = match from.read(&mut buffer) {
            Ok(length @ 1..) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock && !is_cut() => continue,
            _ => break,
        };
        meet(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // The engine finishes a request whose client is gone.
    for it in [from, to] {
        let _ended_already = it.shutdown(Shutdown::Both);
    }
}

/// Returns true of the first bytes of a request whose answer comes as long as a container or a command runs.
fn has_follower(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    line.contains("follow=1")
        || ["/wait", "/events"].iter().any(|it| line.contains(it))
        || line.contains("/exec/") && line.contains("/start")
}

/// Returns true of the first bytes of a request of this kind. A container is created, and then started: what is
/// inside and after a run is inside and after its start.
fn is_op(bytes: &[u8], op: &str, when: &str) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let is = |method: &str, part: &str| line.starts_with(method) && line.contains(part);
    match (op, when) {
        ("create", _) => is("POST ", "/networks/create"),
        ("run", "before") => is("POST ", "/containers/create"),
        ("run", _) => is("POST ", "/containers/") && line.contains("/start"),
        ("disconnect", _) => is("POST ", "/networks/") && line.contains("/disconnect"),
        ("rm", _) => is("DELETE ", "/containers/"),
        ("network-rm", _) => is("DELETE ", "/networks/"),
        _ => false,
    }
}
