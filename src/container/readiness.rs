//! Readiness conditions.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use regex::Regex;
use ureq::http::uri::PathAndQuery;

use super::paths::checked_target;
use crate::invalid::{InvalidInput, filled};

/// A condition under which a bundle, or one of its daemons, is ready.
///
/// ```
/// use sidecar_bundle::Ready;
///
/// let ready = Ready::all([
///     Ready::log("supervisor: ready"),
///     Ready::any([Ready::tcp(8080), Ready::http(8081, "/healthz", 200)]),
/// ]);
/// assert_eq!(
///     ready.to_string(),
///     "the log line \"supervisor: ready\" and (TCP port 8080 or HTTP status 200 of port 8081 at /healthz)"
/// );
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing waits for it until `Daemon::ready` or `Container::wait_for` takes it"]
pub struct Ready(pub(crate) Condition);

#[derive(Clone)]
pub(crate) enum Condition {
    Log(String),
    LogMatching(Regex),
    Tcp(u16),
    Http { port: u16, path: String, status: u16 },
    Healthy,
    File(String),
    Exec(Vec<String>),
    Check { name: String, check: Arc<dyn Fn() -> bool + Send + Sync> },
    All(Vec<Ready>),
    Any(Vec<Ready>),
}

impl Ready {
    /// A line of the log, of either stream, has this text in it.
    ///
    /// A daemon or wait with it is [`Error::Unsupported`](crate::Error::Unsupported) for
    /// [`Engine::docker_cli`](crate::Engine::docker_cli).
    pub fn log(text: impl Into<String>) -> Self {
        Self(Condition::Log(text.into()))
    }

    /// A line of the log, of either stream, matches this regular expression.
    ///
    /// The syntax is that of the crate `regex`. Unsupported as [`log`](Self::log) is.
    ///
    /// ```
    /// use sidecar_bundle::Ready;
    ///
    /// let ready = Ready::log_matching(r"listening on \S+:8080$")?;
    /// assert_eq!(ready.to_string(), r#"a log line like "listening on \\S+:8080$""#);
    /// assert!(Ready::log_matching("listening on [").is_err());
    /// # Ok::<(), sidecar_bundle::InvalidInput>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`] when the pattern is not a regular expression. Nothing has been touched.
    pub fn log_matching(pattern: &str) -> Result<Self, InvalidInput> {
        match Regex::new(pattern) {
            Ok(regex) => Ok(Self(Condition::LogMatching(regex))),
            Err(_) => {
                Err(InvalidInput::new(format_args!("{pattern:?} is not a regular expression")))
            }
        }
    }

    /// A TCP port accepts connections at the pinned address. Where the engine is rootless or in a virtual machine, the
    /// port that is published on an address of 127.0.0.0/8 counts instead. The engine's forwarder listens there before
    /// the daemon does, so a connection counts only if it is not closed at once: [`http`](Self::http) is surer.
    pub fn tcp(port: u16) -> Self {
        Self(Condition::Tcp(port))
    }

    /// An HTTP server at the pinned address answers a GET of the path with this status.
    ///
    /// The answer may take its time: a request is given up only at the wait's deadline. While it is unanswered, further
    /// requests are sent, after a second and then less and less often. A redirect is an answer like any other, and is
    /// not followed. The connection is plain TCP, and no proxy is used. `healthz` is the path `/healthz`. A path that
    /// cannot be sent as it is, such as one with a space, is an [`InvalidInput`] of the step or wait that takes the
    /// condition.
    ///
    /// ```
    /// use sidecar_bundle::{BundleSpec, Daemon, Engine, NetworkPlanned, Ready, Slug};
    ///
    /// assert_eq!(Ready::http(8080, "healthz", 200), Ready::http(8080, "/healthz", 200));
    /// let egress = Daemon::new("egress").ready(Ready::http(8080, "/all good", 200));
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let refused = plan.launch(&Engine::docker(), BundleSpec::new().daemon(egress)).unwrap_err();
    /// assert!(refused.to_string().ends_with("is not an HTTP path; percent-encode it"));
    /// # Ok::<(), sidecar_bundle::InvalidInput>(())
    /// ```
    pub fn http(port: u16, path: impl Into<String>, status: u16) -> Self {
        let mut path = path.into();
        if !path.starts_with('/') {
            path.insert(0, '/');
        }
        Self(Condition::Http { port, path, status })
    }

    /// The image's health check reports that the container is healthy.
    pub fn healthy() -> Self {
        Self(Condition::Healthy)
    }

    /// A file or directory exists at this absolute path in the container, such as the certificate of a proxy. Links are
    /// followed. The file may still be incomplete: a daemon that renames it into place is surer. Any image will do, but
    /// for a file in memory with Docker before 23, which needs the command `test`.
    ///
    /// It is looked for ever less often, from every 50 ms to every second. Unsupported as [`log`](Self::log) is.
    pub fn file(path: impl Into<String>) -> Self {
        Self(Condition::File(path.into()))
    }

    /// A command in the container ends with exit code 0. Its first word is a program of the image; no shell reads it.
    ///
    /// It is run ever less often, with pauses from 50 ms to a second, and each run is waited for: a command that does not
    /// end delays the notice of the container's end to the deadline. Unsupported as [`log`](Self::log) is.
    pub fn exec<I>(words: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self(Condition::Exec(words.into_iter().map(Into::into).collect()))
    }

    /// A closure returns true. It is called about twenty times a second, and must not block: it is not
    /// interrupted at the deadline.
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// use sidecar_bundle::Ready;
    ///
    /// // The container writes it into a directory that is mounted.
    /// let ready = Ready::check("the proxy's socket", || Path::new("/srv/proxy/control").exists());
    /// assert_eq!(ready.to_string(), "the proxy's socket");
    /// ```
    pub fn check(
        name: impl Into<String>,
        check: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self(Condition::Check { name: name.into(), check: Arc::new(check) })
    }

    /// All of them have been met, each at some time. Without any condition, it is met at once.
    ///
    /// ```
    /// use sidecar_bundle::Ready;
    ///
    /// let ports = [8080, 8443]; // of a configuration
    /// let every_port = Ready::all(ports.map(Ready::tcp));
    /// assert_eq!(every_port.to_string(), "TCP port 8080 and TCP port 8443");
    /// ```
    pub fn all(conditions: impl IntoIterator<Item = Self>) -> Self {
        Self(Condition::All(conditions.into_iter().collect()))
    }

    /// One of them has been met. Without any condition, it is never met.
    ///
    /// ```
    /// use sidecar_bundle::Ready;
    ///
    /// // Version 8 of the image has no health check any more.
    /// let either = Ready::any([Ready::healthy(), Ready::log("ready to accept connections")]);
    /// assert!(either.to_string().ends_with("or the log line \"ready to accept connections\""));
    /// ```
    pub fn any(conditions: impl IntoIterator<Item = Self>) -> Self {
        Self(Condition::Any(conditions.into_iter().collect()))
    }

    /// Returns true if a condition of it is met by this line of the log.
    pub(crate) fn is_met_by(&self, line: &str) -> bool {
        match &self.0 {
            Condition::Log(text) => line.contains(text),
            Condition::LogMatching(regex) => regex.is_match(line),
            Condition::All(all) | Condition::Any(all) => all.iter().any(|it| it.is_met_by(line)),
            _ => false,
        }
    }

    /// Returns true if it reads the log.
    pub(crate) fn listens(&self) -> bool {
        match &self.0 {
            Condition::Log(_) | Condition::LogMatching(_) => true,
            Condition::All(all) | Condition::Any(all) => all.iter().any(Self::listens),
            _ => false,
        }
    }

    /// Returns true if it takes more than commands of an engine's program.
    pub(crate) fn needs_observer(&self) -> bool {
        match &self.0 {
            Condition::File(_) | Condition::Exec(_) => true,
            Condition::All(all) | Condition::Any(all) => all.iter().any(Self::needs_observer),
            _ => self.listens(),
        }
    }

    /// The ports that it connects to.
    pub(crate) fn ports(&self) -> Vec<u16> {
        match &self.0 {
            Condition::Tcp(port) | Condition::Http { port, .. } => vec![*port],
            Condition::All(all) | Condition::Any(all) => all.iter().flat_map(Self::ports).collect(),
            _ => Vec::new(),
        }
    }

    /// Checks paths and commands.
    pub(crate) fn validate(&self) -> Result<(), InvalidInput> {
        match &self.0 {
            Condition::Log(text) => filled("text of a log line", text),
            Condition::Tcp(0) | Condition::Http { port: 0, .. } => {
                Err(InvalidInput::new("nothing listens at port 0"))
            }
            Condition::Http { status, .. } if !(100..1000).contains(status) => {
                Err(InvalidInput::new(format_args!("{status} is not an HTTP status")))
            }
            Condition::Http { path, .. } => {
                // A fragment would be cut off, so the path would differ from the one in messages.
                match PathAndQuery::try_from(path.as_str()) {
                    Ok(parsed) if parsed.as_str() == path && path.is_ascii() => Ok(()),
                    _ => Err(InvalidInput::new(format_args!(
                        "{path:?} is not an HTTP path; percent-encode it"
                    ))),
                }
            }
            Condition::File(path) => checked_target("file", Path::new(path)).map(drop),
            Condition::Exec(words) if words.first().is_none_or(String::is_empty) => {
                Err(InvalidInput::new("a command without a program cannot be run"))
            }
            Condition::All(all) | Condition::Any(all) => all.iter().try_for_each(Self::validate),
            _ => Ok(()),
        }
    }
}

/// Two closures are equal if they are the same.
impl PartialEq for Ready {
    fn eq(&self, other: &Self) -> bool {
        use Condition::{All, Any, Check, Exec, File, Healthy, Http, Log, LogMatching, Tcp};
        match (&self.0, &other.0) {
            (Log(a), Log(b)) | (File(a), File(b)) => a == b,
            (LogMatching(a), LogMatching(b)) => a.as_str() == b.as_str(),
            (Tcp(a), Tcp(b)) => a == b,
            (
                Http { port, path, status },
                Http { port: their_port, path: their_path, status: their_status },
            ) => (port, path, status) == (their_port, their_path, their_status),
            (Healthy, Healthy) => true,
            (Exec(a), Exec(b)) => a == b,
            (Check { check, .. }, Check { check: theirs, .. }) => Arc::ptr_eq(check, theirs),
            (All(a), All(b)) | (Any(a), Any(b)) => a == b,
            _ => false,
        }
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_within(f, false)
    }
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_within(f, false)
    }
}

impl Condition {
    fn fmt_within(&self, f: &mut fmt::Formatter<'_>, within: bool) -> fmt::Result {
        match self {
            Self::Log(text) => write!(f, "the log line {text:?}"),
            Self::LogMatching(regex) => write!(f, "a log line like {:?}", regex.as_str()),
            Self::Tcp(port) => write!(f, "TCP port {port}"),
            Self::Http { port, path, status } => {
                write!(f, "HTTP status {status} of port {port} at {path}")
            }
            Self::Healthy => f.write_str("its health check"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Exec(words) => write!(f, "command {:?}", words.join(" ")),
            Self::Check { name, .. } => f.write_str(name),
            Self::All(conditions) => fmt_list(f, conditions, "and", "nothing", within),
            Self::Any(conditions) => fmt_list(f, conditions, "or", "a condition of none", within),
        }
    }
}

fn fmt_list(
    f: &mut fmt::Formatter<'_>,
    conditions: &[Ready],
    word: &str,
    none: &str,
    within: bool,
) -> fmt::Result {
    let brackets = within && conditions.len() > 1;
    f.write_str(if brackets { "(" } else { "" })?;
    for (i, condition) in conditions.iter().enumerate() {
        if i > 0 {
            write!(f, " {word} ")?;
        }
        condition.0.fmt_within(f, conditions.len() > 1)?;
    }
    if conditions.is_empty() {
        f.write_str(none)?;
    }
    f.write_str(if brackets { ")" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(pattern: &str) -> Ready {
        Ready::log_matching(pattern).unwrap()
    }

    /// One condition of each kind.
    fn all() -> Vec<Ready> {
        vec![
            Ready::log("up"),
            like("up on [0-9]+"),
            Ready::tcp(80),
            Ready::http(80, "/", 200),
            Ready::healthy(),
            Ready::file("/run/ready"),
            Ready::exec(["pg_isready"]),
            Ready::check("check", || true),
            Ready::all([Ready::tcp(80)]),
            Ready::any([Ready::tcp(80)]),
        ]
    }

    #[test]
    fn conditions_are_equal_if_they_ask_for_the_same() {
        let conditions = all();
        // A closure is equal to its own copies alone.
        for (number, one) in conditions.iter().enumerate() {
            for (other_number, other) in conditions.clone().iter().enumerate() {
                assert_eq!(one == other, number == other_number, "{one} and {other}");
            }
        }
        for (one, other) in [
            (Ready::log("up"), Ready::log("down")),
            (like("up"), like("down")),
            (Ready::tcp(80), Ready::tcp(81)),
            (Ready::http(80, "/", 200), Ready::http(80, "/", 204)),
            (Ready::file("/a"), Ready::file("/b")),
            (Ready::exec(["a"]), Ready::exec(["b"])),
            (Ready::check("check", || true), Ready::check("check", || true)),
            (Ready::all([Ready::tcp(80)]), Ready::all([])),
            (Ready::any([Ready::tcp(80)]), Ready::any([])),
        ] {
            assert_ne!(one, other);
        }
        assert_eq!(like("up"), like("up"));
    }

    #[test]
    fn conditions_of_the_log_are_met_by_its_lines() {
        for (ready, line, is_met) in [
            (Ready::log("up"), "it is up now", true),
            (Ready::log("up"), "down", false),
            (like("^up on [0-9]+$"), "up on 80", true),
            (like("^up on [0-9]+$"), "not up on 80", false),
            (Ready::any([Ready::tcp(80), Ready::all([Ready::log("up")])]), "up", true),
            (Ready::tcp(80), "80", false),
        ] {
            assert_eq!(ready.is_met_by(line), is_met, "{ready}: {line}");
        }
    }

    #[test]
    fn what_commands_of_an_engines_program_cannot_tell_is_known() {
        for ready in all() {
            let needs_observer = matches!(
                ready.0,
                Condition::Log(_)
                    | Condition::LogMatching(_)
                    | Condition::File(_)
                    | Condition::Exec(_)
            );
            for ready in [ready.clone(), Ready::any([Ready::all([ready])])] {
                assert_eq!(ready.needs_observer(), needs_observer, "{ready}");
            }
        }
    }

    #[test]
    fn a_path_of_a_file_is_absolute() {
        assert!(Ready::file("/run/ready").validate().is_ok());
        assert!(Ready::file("run/ready").validate().is_err());
        assert!(Ready::all([Ready::file("run/ready")]).validate().is_err());
    }

    #[test]
    fn a_list_within_a_list_of_several_is_in_brackets() {
        let [a, b, c] = [1, 2, 3].map(Ready::tcp);
        let either = Ready::any([a, b]);
        assert_eq!(Ready::all([either.clone()]).to_string(), "TCP port 1 or TCP port 2");
        let both = Ready::all([either, c]);
        assert_eq!(both.to_string(), "(TCP port 1 or TCP port 2) and TCP port 3");
    }

    #[test]
    fn a_condition_prints_the_same_for_people_and_programmers() {
        for ready in all() {
            assert_eq!(format!("Ready({ready})"), format!("{ready:?}"));
        }
    }
}
