//! The connection that carries the engine's HTTP API: a socket, or the program that leads to one.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};
use ureq::{Agent, Error};

use super::service::{self, Service};
use super::socket::connect;
use crate::engine::cause::Cause;
use crate::engine::cli::path_of;
use crate::engine::clock::has_passed;
use crate::engine::error::End;
use crate::engine::http;
use crate::engine::identity::EngineInfo;
use crate::engine::retried::retried;

/// The way to an engine.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// Its socket on this host.
    Socket(PathBuf),
    /// `docker system dial-stdio`, or podman's: one raw connection on its standard input and output.
    Program(DialStdio),
    /// The service that this process runs for podman.
    Service(Arc<Service>),
}

/// Prints what is at the end of the way.
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "the engine at {}", path.display()),
            Self::Program(dial) => {
                write!(f, "the engine behind {} system dial-stdio", dial.program.display())
            }
            Self::Service(it) => write!(f, "{} system service", it.program().display()),
        }
    }
}

/// The program that leads to the engine, with its arguments and what it changes in the environment.
#[derive(Clone)]
pub(super) struct DialStdio {
    command: duct::Expression,
    /// The name of the program.
    program: OsString,
    /// The standard error of the connection that was opened last.
    words: Arc<Mutex<Words>>,
}

/// The end of a program's standard error, at most 4 KiB of it.
type Words = Arc<Mutex<Vec<u8>>>;

impl fmt::Debug for DialStdio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialStdio").field("program", &self.program).finish_non_exhaustive()
    }
}

/// No way could be opened: nothing has been sent.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct NotOpened(pub(super) io::Error);

impl Way {
    /// A client that opens one connection, and no second one when that has ended.
    pub(super) fn agent(&self) -> Agent {
        let config = http::config()
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .max_response_header_size(BUFFER)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(Duration::from_secs(1 << 30))
            .build();
        Agent::with_parts(
            config,
            Once { way: self.clone(), opened: AtomicBool::new(false) },
            NoNames,
        )
    }

    /// The reason why a way was not open: the words of the program, or the path and its error.
    pub(super) fn said(&self, end: &End) -> String {
        match (self, end) {
            (Self::Program(dial), _) => {
                let words =
                    Words::clone(&dial.words.lock().unwrap_or_else(PoisonError::into_inner));
                let words = words.lock().unwrap_or_else(PoisonError::into_inner);
                let words = String::from_utf8_lossy(&words).into_owned();
                match end {
                    End::NotReached(error) if words.trim().is_empty() => {
                        format!("{}: {error}", dial.program.display())
                    }
                    _ => words,
                }
            }
            (Self::Socket(path), End::NotReached(error)) => format!("{}: {error}", path.display()),
            (Self::Service(_), End::NotReached(error)) => format!("{self}: {error}"),
            (Self::Socket(_) | Self::Service(_), _) => String::new(),
        }
    }

    /// The cause of a way that was not open, as far as the operating system tells.
    pub(super) fn cause(&self, error: &io::Error) -> Cause {
        match (self, error.kind()) {
            (Self::Program(_) | Self::Service(_), ErrorKind::NotFound) => Cause::ProgramMissing,
            (Self::Socket(_), ErrorKind::PermissionDenied) => Cause::PermissionDenied,
            (_, ErrorKind::TimedOut) => Cause::TimedOut,
            _ => Cause::Other,
        }
    }

    /// The engine at its end, where that cannot change unseen, with a name for it.
    pub(super) fn known(&self) -> Option<(PathBuf, EngineInfo)> {
        match self {
            Self::Service(service) => service.known(),
            Self::Socket(_) | Self::Program(_) => None,
        }
    }

    /// Returns true if nothing was sent for a reason that has gone when it is asked again.
    pub(super) fn is_renewed(&self, error: &io::Error) -> bool {
        const LASTING: [ErrorKind; 4] =
            [service::ENDED, ErrorKind::NotFound, ErrorKind::TimedOut, ErrorKind::PermissionDenied];
        matches!(self, Self::Service(_)) && !LASTING.contains(&error.kind())
    }

    /// Keeps what the engine says of itself, where it cannot change unseen.
    pub(super) fn learn(&self, info: &EngineInfo) {
        if let Self::Service(service) = self {
            service.learn(info);
        }
    }

    fn open(&self, timeout: Option<Duration>) -> io::Result<Wire> {
        match self {
            Self::Socket(path) => Ok(Wire::new(connect(path, timeout)?, None)),
            Self::Program(dial) => dial.open(),
            Self::Service(service) => Ok(Wire::new(service.open(timeout)?, None)),
        }
    }
}

/// The bytes of a buffer, of which a connection has two.
const BUFFER: usize = 32 << 10;

/// A way that is taken once.
#[derive(Debug)]
struct Once {
    way: Way,
    opened: AtomicBool,
}

impl Connector for Once {
    type Out = Wire;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Wire>, Error> {
        if self.opened.swap(true, Ordering::SeqCst) {
            let text =
                "the connection was closed after an answer; does a proxy on the way do that?";
            let ended = io::Error::new(ErrorKind::NotConnected, text);
            return Err(Error::Other(Box::new(NotOpened(ended))));
        }
        let timeout = details.timeout.not_zero().map(|it| *it);
        let wire =
            self.way.open(timeout).map_err(|error| Error::Other(Box::new(NotOpened(error))))?;
        let stream: Weak<Stream> = Arc::downgrade(&wire.stream);
        (details.register_shutdown)(stream)?;
        Ok(Some(wire))
    }
}

/// The engine has no name that could be looked up.
#[derive(Debug)]
struct NoNames;

impl Resolver for NoNames {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

impl DialStdio {
    pub(super) fn new(program: &OsStr, command: duct::Expression) -> Self {
        Self { command, program: program.to_owned(), words: Arc::default() }
    }

    fn open(&self) -> io::Result<Wire> {
        let words = Words::default();
        *self.words.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&words);
        path_of(&self.program)?;
        let (ours, theirs) = UnixStream::pair()?;
        let (stderr, their_stderr) = UnixStream::pair()?;
        let theirs = OwnedFd::from(theirs);
        let handle = self
            .command
            .stdin_file(theirs.try_clone()?)
            .stdout_file(theirs)
            .stderr_file(OwnedFd::from(their_stderr))
            // Ctrl-C is for the launcher; without it, the program ends with the connection.
            .before_spawn(|command| {
                command.process_group(0);
                Ok(())
            })
            .unchecked()
            .start()?;
        let mut program = Program { handle, stderr, reader: None };
        program.read(words)?;
        Ok(Wire::new(ours, Some(program)))
    }
}

/// A socket that another thread can shut down.
#[derive(Debug)]
struct Stream(UnixStream);

impl ShutdownHandle for Stream {
    fn shutdown(&self) {
        // It may be closed already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// A connection to an engine.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Arc<Stream>,
    program: Option<Program>,
    buffers: LazyBuffers,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

/// The program at the other end. It is ended with its connection.
#[derive(Debug)]
struct Program {
    handle: duct::Handle,
    stderr: UnixStream,
    reader: Option<JoinHandle<()>>,
}

impl Wire {
    fn new(stream: UnixStream, program: Option<Program>) -> Self {
        let buffers = LazyBuffers::new(BUFFER, BUFFER);
        let stream = Arc::new(Stream(stream));
        Self { stream, program, buffers, read_timeout: None, write_timeout: None }
    }
}

impl Program {
    /// Reads its standard error as long as it lives: a program that prints much would wait for ever otherwise.
    fn read(&mut self, words: Words) -> io::Result<()> {
        let mut stderr = self.stderr.try_clone()?;
        let read = move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = stderr.read(&mut piece) {
                let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
                words.extend(&piece[..length]);
                // The last words tell why it ends.
                let from = words.len().saturating_sub(piece.len());
                words.drain(..from);
            }
        };
        let reader = thread::Builder::new().name("sidecar-bundle-words".into()).spawn(read)?;
        self.reader = Some(reader);
        Ok(())
    }

    /// Its connection has ended, and it may be about to say why.
    fn ended(&self) {
        let is_reading = || self.reader.as_ref().is_some_and(|it| !it.is_finished());
        let end = Instant::now() + Duration::from_millis(200);
        while is_reading() && !has_passed(end) {
            thread::sleep(Duration::from_millis(4));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let handle = &self.handle;
        // It may have ended by itself, and in a process that ignores SIGCHLD its id may be another's by now.
        if matches!(handle.try_wait(), Ok(None)) {
            let _ = handle.kill();
        }
        // A killed process needs a moment until it can be waited for, so that it is no zombie.
        for _ in 0..100 {
            match handle.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(2)),
                Ok(Some(_)) | Err(_) => break,
            }
        }
        // Its own child may hold the other end.
        let _ = self.stderr.shutdown(Shutdown::Both);
    }
}

/// Changes a timeout of the socket where that is necessary.
fn set(
    known: &mut Option<Duration>,
    wanted: &NextTimeout,
    set: impl FnOnce(Option<Duration>) -> io::Result<()>,
) -> io::Result<()> {
    let wanted = wanted.not_zero().map(|it| *it);
    if *known != wanted {
        set(wanted)?;
        *known = wanted;
    }
    Ok(())
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let stream = &self.stream.0;
        set(&mut self.write_timeout, &timeout, |it| stream.set_write_timeout(it))?;
        let mut rest = &self.buffers.output()[..amount];
        while !rest.is_empty() {
            match send(stream.as_raw_fd(), rest, NO_SIGNAL) {
                Ok(sent) => rest = &rest[sent..],
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(Error::Timeout(timeout.reason)),
                Err(error) => {
                    self.program.iter().for_each(Program::ended);
                    return Err(Error::Io(error.into()));
                }
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let stream = &self.stream.0;
        set(&mut self.read_timeout, &timeout, |it| stream.set_read_timeout(it))?;
        match retried(|| (&self.stream.0).read(self.buffers.input_append_buf())) {
            Ok(0) => {
                self.program.iter().for_each(Program::ended);
                Ok(false)
            }
            Ok(length) => {
                self.buffers.input_appended(length);
                Ok(true)
            }
            Err(error) => {
                if error.kind() == ErrorKind::WouldBlock {
                    return Err(Error::Timeout(timeout.reason));
                }
                self.program.iter().for_each(Program::ended);
                // A reset would be taken for the end of an answer that ends with its connection.
                Err(Error::Io(io::Error::other(error)))
            }
        }
    }

    /// Nothing waits to be read, not even the connection's end.
    fn is_open(&mut self) -> bool {
        let flags = MsgFlags::MSG_PEEK.union(MsgFlags::MSG_DONTWAIT);
        recv(self.stream.0.as_raw_fd(), &mut [0], flags) == Err(Errno::EAGAIN)
    }
}

/// A connection that the engine has closed is an error, and no signal to this process.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NO_SIGNAL: MsgFlags = MsgFlags::MSG_NOSIGNAL;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const NO_SIGNAL: MsgFlags = MsgFlags::empty();

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn the_operating_system_tells_why_a_way_is_not_open() {
        let socket = || Way::Socket("/no/such/socket".into());
        let program = || Way::Program(DialStdio::new("docker".as_ref(), duct::cmd!("docker")));
        for (way, kind, cause) in [
            (socket(), ErrorKind::PermissionDenied, Cause::PermissionDenied),
            (socket(), ErrorKind::NotFound, Cause::Other),
            (socket(), ErrorKind::TimedOut, Cause::TimedOut),
            (program(), ErrorKind::NotFound, Cause::ProgramMissing),
            (program(), ErrorKind::PermissionDenied, Cause::Other),
            (program(), ErrorKind::TimedOut, Cause::TimedOut),
        ] {
            assert_eq!(way.cause(&kind.into()), cause, "{way} {kind}");
        }
    }

    #[test]
    fn a_connection_that_its_engine_has_ended_is_not_used_again() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut wire = Wire::new(ours, None);
        assert!(wire.is_open());
        drop(theirs);
        // A program that another test starts has it for a moment.
        let deadline = Instant::now() + Duration::from_secs(10);
        while wire.is_open() {
            assert!(Instant::now() < deadline);
        }
    }

    #[test]
    fn a_program_is_printed_without_its_environment() {
        let command = duct::cmd!("docker").env("TOKEN", "s3cret");
        let way = format!("{:?}", Way::Program(DialStdio::new("docker".as_ref(), command)));
        assert!(way.contains("docker") && !way.contains("s3cret"), "{way}");
    }

    #[test]
    fn a_program_tells_why_it_leads_nowhere_and_else_the_operating_system_does() {
        let dial = DialStdio::new("docker".as_ref(), duct::cmd!("docker"));
        let said = || {
            let end = End::NotReached(Arc::new(ErrorKind::BrokenPipe.into()));
            Way::Program(dial.clone()).said(&end)
        };
        assert_eq!(said(), "docker: broken pipe");
        *dial.words.lock().unwrap().lock().unwrap() = b"unknown context\n".to_vec();
        assert_eq!(said(), "unknown context\n");
    }

    #[test]
    fn the_last_words_of_a_program_are_awaited_for_a_moment() {
        let (silence, said) = mpsc::channel::<()>();
        let program = Program {
            handle: duct::cmd!("true").start().unwrap(),
            stderr: UnixStream::pair().unwrap().0,
            reader: Some(thread::spawn(move || _ = said.recv())),
        };
        let (ended, outcome) = mpsc::channel();
        thread::spawn(move || {
            let start = Instant::now();
            program.ended();
            ended.send(start.elapsed()).unwrap();
        });
        let waited = outcome.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(waited >= Duration::from_millis(200), "{waited:?}");
        drop(silence);
    }
}
