//! Observation of a running bundle: its status, its log, and commands run in it.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::container::checked_target;
use crate::engine::backend::{ContainerInfo, EVENTS, Event, Follow, Id};
use crate::engine::cause::Cause;
use crate::engine::clock::deadline;
use crate::engine::error::{EngineError, last_bytes};
use crate::error::Error;
use crate::invalid::InvalidInput;
use crate::ownership::calls;
use crate::ownership::session::Session;
use crate::running::Container;
use crate::status::{ExecOutput, LogLine, State, Status};

/// The number of lines of the log that an error has.
const LAST_LINES: usize = 20;

impl Container {
    /// Returns the state of the container now, and the image that it was made from.
    ///
    /// ```no_run
    /// # use sidecar_bundle::{BundleRunning, Error, State};
    /// # fn run(bundle: &BundleRunning) -> Result<(), Error> {
    /// match bundle.status() {
    ///     Ok(status) if status.state == State::Running => println!("up"),
    ///     Ok(status) => println!("down: {:?}", status.state),
    ///     Err(Error::Gone { .. }) => println!("removed by somebody else"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Look`] when the engine cannot be asked, and [`Error::Gone`] when the container does not exist
    /// any more.
    pub fn status(&self) -> Result<Status, Error> {
        self.status_by(self.session().connection().engine().look_deadline())
    }

    /// Returns the names with digests by which registries know the container's image, such as `nginx@sha256:...`; none if
    /// the image was removed. An engine may list a digest that no registry knows: that of its own copy.
    ///
    /// # Errors
    ///
    /// [`Error::Look`] when the engine cannot be asked, and [`Error::Gone`] when the container does not exist any more.
    pub fn image_digests(&self) -> Result<Vec<String>, Error> {
        let connection = self.session().connection();
        let deadline = connection.engine().look_deadline();
        let image = self.look(deadline)?.image;
        let digests = connection.backend().image_digests(&image, deadline);
        digests.map_err(|source| Error::Look { what: "the container's image", source })
    }

    pub(super) fn status_by(&self, deadline: Instant) -> Result<Status, Error> {
        let info = self.look(deadline)?;
        Ok(info.status(self.network().id(), &self.plan_of_bundle().network_name()))
    }

    pub(super) fn look(&self, deadline: Instant) -> Result<ContainerInfo, Error> {
        let connection = self.session().connection();
        let asked = |source| Error::Look { what: "the container's state", source };
        let found = connection.container(self.container_id(), deadline).map_err(asked)?;
        found.ok_or_else(|| Error::Gone { container: self.container_name().to_owned() })
    }

    /// Returns the log so far, or its last lines, in the order in which the engine took them: lines of the two
    /// streams that were printed at the same moment may have changed places. At most the last 1 MiB of both together is
    /// returned. The lines are as the container printed them: secret values are not removed.
    ///
    /// ```no_run
    /// # use sidecar_bundle::{BundleRunning, Error, LogStream};
    /// # fn run(bundle: &BundleRunning) -> Result<(), Error> {
    /// let errors = bundle.logs(100)?.into_iter().filter(|line| line.stream == LogStream::Stderr);
    /// for line in errors {
    ///     eprintln!("{}", line.text);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for an engine that is driven by commands, [`Error::Look`] when the engine cannot be asked,
    /// and [`Error::Gone`] when somebody else removed the container.
    pub fn logs(&self, last: impl Into<Option<usize>>) -> Result<Vec<LogLine>, Error> {
        let connection = self.session().connection();
        let deadline = connection.engine().look_deadline();
        let lines = connection.observer("a log")?.logs(self.id(), last.into(), deadline);
        lines.map_err(|source| self.not_read("the container's log", source))
    }

    /// Returns the log as it comes, from its last lines on, or from its start.
    ///
    /// The iterator ends with the container. It ends earlier if the engine stays away for a minute: ask for the
    /// [`status`](Self::status). A cut connection is made again, and the log goes on where it was. Lines of one stream
    /// come in their order; those of the two streams may overtake each other. Lines that are not read wait, 64 at most.
    /// For the last lines, podman's log is read from its start, in half a minute at most.
    ///
    /// ```no_run
    /// # use std::thread;
    /// # use sidecar_bundle::{BundleRunning, Error};
    /// # fn run(bundle: &BundleRunning) -> Result<(), Error> {
    /// let log = bundle.follow_logs(0)?; // from now on
    /// thread::spawn(move || {
    ///     for line in log {
    ///         println!("proxy: {}", line.text);
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for an engine that is driven by commands, [`Error::Look`] when the engine cannot be asked or
    /// its log driver cannot be read, and [`Error::Gone`] when somebody else removed the container.
    pub fn follow_logs(&self, last: impl Into<Option<usize>>) -> Result<LogFollower, Error> {
        let (events, incoming) = mpsc::sync_channel(EVENTS);
        let connection = self.session().connection();
        let log = connection.observer("a log")?.follow_log(self.id(), last.into(), events);
        await_beginning(&incoming, connection.engine().look_deadline())
            .map_err(|source| self.not_read("the container's log", source))?;
        Ok(LogFollower { incoming, _log: log })
    }

    pub(super) fn not_read(&self, what: &'static str, source: EngineError) -> Error {
        match source.cause() {
            Cause::ContainerMissing => Error::Gone { container: self.container_name().to_owned() },
            _ => Error::Look { what, source },
        }
    }

    /// Reads a file in the container, such as the certificate that a proxy has made: at most 1 MiB. Links are followed.
    ///
    /// Any image will do, but for a file in memory with Docker before 23, which needs the commands
    /// `test` and `head`. Whether a file of `/proc` can be read depends on the engine.
    ///
    /// ```no_run
    /// # use sidecar_bundle::BundleRunning;
    /// # fn run(bundle: &BundleRunning) -> Result<(), Box<dyn std::error::Error>> {
    /// // For a client on this host, such as `curl --cacert target/proxy.pem`.
    /// let certificate = bundle.read_file("/var/lib/proxy/ca.pem")?;
    /// std::fs::write("target/proxy.pem", certificate)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::File`] when it does not exist, is no file or is longer, [`Error::Invalid`] when the path is not absolute,
    /// [`Error::Unsupported`] for an engine that is driven by commands, [`Error::Look`] when the engine cannot be asked,
    /// and [`Error::Gone`] when somebody else removed the container.
    pub fn read_file(&self, path: impl AsRef<Path>) -> Result<Vec<u8>, Error> {
        let path = checked_target("file", path.as_ref())?;
        let connection = self.session().connection();
        let deadline = connection.engine().look_deadline();
        let read = connection.observer("a file")?.read_file(self.id(), &path, deadline);
        let read = read.map_err(|source| self.not_read("a file of the container", source))?;
        let container = self.container_name().to_owned();
        read.map_err(|problem| Error::File { container, path, problem })
    }

    /// Returns the address of the engine's host that a TCP port of the container is published at, as the engine tells
    /// it. Of several, it is a loopback address if there is one, and the lowest of these.
    ///
    /// ```no_run
    /// # use std::net::SocketAddr;
    /// # use sidecar_bundle::{BundleRunning, Error};
    /// /// The address of the proxy, also where the engine is rootless or in a virtual machine.
    /// fn proxy(bundle: &BundleRunning) -> Result<SocketAddr, Error> {
    ///     if bundle.is_reachable() {
    ///         return Ok((bundle.ip(), 8080).into());
    ///     }
    ///     bundle.published(8080)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotPublished`] when there is none, such as while the container does not run, [`Error::Look`] when the
    /// engine cannot be asked, and [`Error::Gone`] when somebody else removed the container.
    pub fn published(&self, port: u16) -> Result<SocketAddr, Error> {
        self.published_as(format!("{port}/tcp"))
    }

    /// The same for a UDP port.
    ///
    /// # Errors
    ///
    /// As for [`published`](Self::published).
    pub fn published_udp(&self, port: u16) -> Result<SocketAddr, Error> {
        self.published_as(format!("{port}/udp"))
    }

    fn published_as(&self, port: String) -> Result<SocketAddr, Error> {
        let info = self.look(self.session().connection().engine().look_deadline())?;
        // Podman tells those of a container that has stopped, too.
        let all =
            info.published.iter().filter(|it| it.port == port && info.state == State::Running);
        match all.map(|it| it.at).min_by_key(|at| (!at.ip().is_loopback(), *at)) {
            Some(at) => Ok(at),
            None => Err(Error::NotPublished { container: self.container_name().to_owned(), port }),
        }
    }

    /// Sends a signal to the first process of the container, such as `HUP` for a daemon that reads its configuration
    /// again. `SIGHUP`, `hup` and `1` are the same.
    ///
    /// ```no_run
    /// # use sidecar_bundle::BundleRunning;
    /// # fn run(bundle: &BundleRunning) -> Result<(), Box<dyn std::error::Error>> {
    /// // Its directory is mounted at /etc/proxy.
    /// std::fs::write("/srv/proxy/allow", "api.acme.example\n")?;
    /// bundle.signal("HUP")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when it is not the name or number of a signal, [`Error::Signal`] when the engine did not send
    /// it, as to a container that does not run, and [`Error::Gone`] when somebody else removed the container.
    pub fn signal(&self, signal: &str) -> Result<(), Error> {
        if !is_signal(signal) {
            return Err(InvalidInput::new(format_args!("{signal:?} is not a signal")).into());
        }
        let connection = self.session().connection();
        let deadline = connection.engine().look_deadline();
        connection.backend().signal(self.id(), signal, deadline).map_err(|source| {
            let container = self.container_name().to_owned();
            match source.cause() {
                Cause::ContainerMissing => Error::Gone { container },
                _ => Error::Signal { container, signal: signal.to_owned(), source },
            }
        })
    }

    /// Runs a command in the container and waits for its end.
    ///
    /// The command is not read by a shell. Its own failure is no error here: it is in the exit code. If the command
    /// does not exist or may not be run, that is 126 or 127, and standard error has the engine's reason. At most the last
    /// 1 MiB of each stream is kept.
    ///
    /// The API has no mark at the end of the output. Output that was cut in the last half second of a command is
    /// therefore not known to be cut.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use sidecar_bundle::{BundleRunning, Error};
    /// # fn run(bundle: &BundleRunning) -> Result<(), Error> {
    /// let query = ["psql", "--username=postgres", "--command=CREATE DATABASE test"];
    /// let output = bundle.exec(query, Duration::from_secs(10))?;
    /// assert_eq!(output.code, 0, "{}", output.stderr);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Exec`] when the engine could not run it, or at the deadline; the command may then still
    /// run in the container. [`Error::Unsupported`] for an engine that is driven by commands: the exit code of
    /// `docker exec` may be docker's own. [`Error::Gone`] when somebody else removed the container, and
    /// [`Error::Invalid`] without a word.
    pub fn exec<I>(&self, words: I, timeout: Duration) -> Result<ExecOutput, Error>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.exec_until(&calls::is_abandoned, words, timeout)
    }

    /// The same, until the caller wants it to stop.
    pub(super) fn exec_until<I>(
        &self,
        stop: &dyn Fn() -> bool,
        words: I,
        timeout: Duration,
    ) -> Result<ExecOutput, Error>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let words: Vec<String> = words.into_iter().map(Into::into).collect();
        if words.is_empty() {
            return Err(
                InvalidInput::new(format_args!("a command without a word cannot be run")).into()
            );
        }
        let connection = self.session().connection();
        let deadline = deadline(connection.engine().now(), timeout);
        let observer = connection.observer("a command in the container")?;
        let output = observer.exec(self.id(), &words, deadline, stop);
        output.map_err(|source| {
            if stop() {
                return Error::Stopped;
            }
            if source.cause() == Cause::ContainerMissing {
                return Error::Gone { container: self.container_name().to_owned() };
            }
            let program = words.into_iter().next().unwrap_or_default();
            Error::Exec { program, source }
        })
    }
}

/// The lines of a log as they come; see [`Container::follow_logs`].
///
/// ```no_run
/// # use sidecar_bundle::{BundleRunning, Error};
/// # fn run(bundle: &BundleRunning) -> Result<(), Error> {
/// // The image prints a token at its start.
/// let mut log = bundle.follow_logs(None)?;
/// let token = log.find_map(|line| Some(line.text.strip_prefix("token: ")?.to_owned()));
/// let token = token.expect("it ended without a token");
/// # let _ = token;
/// # Ok(())
/// # }
/// ```
#[must_use = "the lines are read from it"]
pub struct LogFollower {
    incoming: mpsc::Receiver<Event>,
    _log: Follow,
}

#[cfg(feature = "tokio")]
impl LogFollower {
    /// Returns the lines, and what ends them when it is dropped.
    pub(crate) fn into_parts(self) -> (impl Iterator<Item = LogLine> + Send + 'static, Follow) {
        let Self { incoming, _log: log } = self;
        let line = |event| match event {
            Event::Line(line) => Some(line),
            _ => None,
        };
        (incoming.into_iter().map_while(line), log)
    }
}

impl fmt::Debug for LogFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogFollower").finish_non_exhaustive()
    }
}

impl Iterator for LogFollower {
    type Item = LogLine;

    fn next(&mut self) -> Option<LogLine> {
        match self.incoming.recv() {
            Ok(Event::Line(line)) => Some(line),
            Ok(_) | Err(_) => None,
        }
    }
}

/// Returns true for the names and numbers of signal(7), with or without `SIG`.
fn is_signal(text: &str) -> bool {
    const NAMES: [&str; 36] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "IOT", "BUS", "FPE", "KILL", "USR1", "SEGV",
        "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU",
        "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "POLL", "PWR", "SYS", "CLD",
        "RTMIN", "RTMAX",
    ];
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let is_number = |text: &str, most: u8| {
        let digits = text.bytes().all(|it| it.is_ascii_digit());
        digits && text.parse().is_ok_and(|number| (1..=most).contains(&number))
    };
    let is_real_time = |start, most| name.strip_prefix(start).is_some_and(|it| is_number(it, most));
    NAMES.contains(&name)
        || is_number(text, 64)
        || is_real_time("RTMIN+", 15)
        || is_real_time("RTMAX-", 14)
}

/// Waits until the engine tells what is followed, or an error. An engine that does neither may do it later.
pub(super) fn await_beginning(
    incoming: &mpsc::Receiver<Event>,
    deadline: Instant,
) -> Result<(), EngineError> {
    match incoming.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(Event::Failed(error)) => Err(error),
        _ => Ok(()),
    }
}

/// The end of the container's log, at most 4 KiB of it and without secret values; empty if it cannot be had.
pub(super) fn last_lines(session: &Session, id: &Id, deadline: Instant) -> String {
    let backend = session.connection().backend();
    let lines = backend.last_lines(id, LAST_LINES, deadline).unwrap_or_default();
    let text: Vec<_> = lines.into_iter().map(|line| line.text).collect();
    last_bytes(&backend.redacted(&text.join("\n")))
}
