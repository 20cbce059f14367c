//! Requests of the Engine API and their answers.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use ureq::http::{Method, Response};
use ureq::{Agent, Body, Error};

use super::wire::{NotOpened, Way};
use crate::engine::cause::Cause;
use crate::engine::clock::has_passed;
use crate::engine::dialect::Dialect;
use crate::engine::error::End;
use crate::engine::identity::{EngineInfo, EngineKind, Identity};

/// The bytes that are read of an answer: docker describes a thousand networks in two million.
const ANSWER: u64 = 64 << 20;

/// The bytes that are read of a refusal.
const REFUSAL: u64 = 1 << 20;

/// The versions of the API that this library speaks: of Docker 20.10 and of Docker 28.5.
const OLDEST: (u32, u32) = (1, 41);
const NEWEST: (u32, u32) = (1, 51);

/// The version of podman's own API: of podman 4.0.
const LIBPOD: &str = "/v4.0.0";

/// A request that costs nothing.
const PING: &str = "/_ping";

/// The description of the engine, of whatever version.
pub(super) const INFO: &str = "/info";

/// The connections that are kept while nothing is asked: those of four bundles, each with two requests at a time.
const IDLE: usize = 8;

/// The time for which a connection is kept: relays cut those that are idle, and podman does after 20 s.
const IDLE_TIME: Duration = Duration::from_secs(15);

/// The connections to an engine.
#[derive(Debug)]
pub(super) struct Client {
    way: Way,
    dialect: Dialect,
    idle: Mutex<Vec<(Line, Instant)>>,
}

/// A connection whose engine identified itself before it was asked for anything else.
#[derive(Debug)]
pub(super) struct Line {
    agent: Agent,
    pub(super) info: EngineInfo,
    /// The engine's time when the connection was made.
    pub(super) time: Option<String>,
    /// The prefix of every path, such as `/v1.41`.
    version: String,
    /// The time at which the engine identified itself.
    told: Instant,
    /// Nothing else was asked on it yet.
    is_new: bool,
}

/// One request.
#[derive(Clone)]
pub(super) struct Request {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Contents>,
    /// Asked twice, it does the same.
    is_repeatable: bool,
}

/// The body of a request. It is never shown.
#[derive(Clone)]
enum Contents {
    Json(Value),
    Archive(Arc<[u8]>),
}

/// A whole answer. It may have secrets of the container.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) text: String,
}

/// A request that got no whole answer: how it ended, and what was said of it.
pub(super) struct Unanswered {
    pub(super) end: End,
    /// Its cause, where the end does not tell.
    pub(super) cause: Cause,
    pub(super) words: String,
}

impl Request {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path.into())
    }

    pub(super) fn head(path: impl Into<String>) -> Self {
        Self::new(Method::HEAD, path.into())
    }

    pub(super) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path.into())
    }

    pub(super) fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path.into())
    }

    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path.into())
    }

    fn new(method: Method, path: String) -> Self {
        let is_repeatable = method != Method::POST;
        Self { method, path, query: Vec::new(), body: None, is_repeatable }
    }

    pub(super) fn query(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// Asked twice, it does the same.
    pub(super) fn repeatable(mut self) -> Self {
        self.is_repeatable = true;
        self
    }

    /// Asked twice, it does it twice.
    pub(super) fn once(mut self) -> Self {
        self.is_repeatable = false;
        self
    }

    pub(super) fn json(mut self, body: Value) -> Self {
        self.body = Some(Contents::Json(body));
        self
    }

    pub(super) fn archive(mut self, body: Arc<[u8]>) -> Self {
        self.body = Some(Contents::Archive(body));
        self
    }
}

/// Prints `POST /containers/create`.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl Answer {
    /// A refusal, as far as it can be read.
    pub(super) fn of_refusal(response: Response<Body>) -> Self {
        let status = response.status().as_u16();
        let body = response.into_body().into_with_config().limit(REFUSAL).lossy_utf8(true);
        Self { status, text: body.read_to_string().unwrap_or_default() }
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The engine's message, or the whole text if it is not the engine's.
    pub(super) fn message(&self) -> String {
        match self.json()["message"].as_str() {
            Some(message) => message.to_owned(),
            None => without_tags(&self.text),
        }
    }
}

/// The text of a page that something on the way has sent, on one line. What is no page stays as it is.
fn without_tags(text: &str) -> String {
    if !text.trim_start().starts_with('<') {
        return text.to_owned();
    }
    let after_tag =
        |part: &'_ str| part.split_once('>').map_or(String::new(), |it| it.1.to_owned());
    let words = text.split('<').map(after_tag).collect::<Vec<_>>().join(" ");
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Client {
    pub(super) fn new(way: Way, dialect: Dialect) -> Self {
        Self { way, dialect, idle: Mutex::default() }
    }

    /// Sends a request to the engine that is expected. The answer is read as it comes, until the deadline.
    pub(super) fn send(
        &self,
        request: &Request,
        expected: Option<&Identity>,
        deadline: Instant,
    ) -> Result<(Response<Body>, Line), Unanswered> {
        self.on_a_line(request, expected, deadline, |line| line.send(request, Some(deadline)))
    }

    /// Sends a request and reads the whole answer.
    pub(super) fn ask(
        &self,
        request: &Request,
        expected: Option<&Identity>,
        deadline: Instant,
    ) -> Result<Answer, Unanswered> {
        let (answer, line) =
            self.on_a_line(request, expected, deadline, |line| line.ask(request, deadline))?;
        self.keep(line);
        Ok(answer)
    }

    /// Returns true if it is known that nothing runs podman's timers: its service is on this host, without systemd.
    pub(super) fn has_no_timers(&self) -> bool {
        matches!(self.way, Way::Service(_)) && !Path::new("/run/systemd/system").exists()
    }

    /// Asks for the identity of the engine that answers now. On a kept connection, that of a moment ago counts.
    pub(super) fn info(&self, deadline: Instant) -> Result<EngineInfo, Unanswered> {
        let request = Request::get(INFO);
        let ((info, told), line) = self.on_a_line(&request, None, deadline, |line| {
            if line.is_new {
                return Ok((line.info.clone(), line.told));
            }
            if is_old(line.told) && self.way.known().is_none() {
                return Ok((self.described(&line.ask(&request, deadline)?)?, Instant::now()));
            }
            match line.ask(&Request::get(PING), deadline)? {
                answer if answer.is_success() => Ok((line.info.clone(), line.told)),
                answer => Err(Unanswered::refused(&answer)),
            }
        })?;
        self.keep(Line { info: info.clone(), told, ..line });
        Ok(info)
    }

    /// Asks on a connection that was kept, or else on a new one. One that was kept may have ended unseen: what was
    /// not sent, or is repeatable, is asked again.
    fn on_a_line<T>(
        &self,
        request: &Request,
        expected: Option<&Identity>,
        deadline: Instant,
        ask: impl Fn(&Line) -> Result<T, Unanswered>,
    ) -> Result<(T, Line), Unanswered> {
        while let Some(line) = self.kept() {
            line.check(expected)?;
            match ask(&line) {
                Err(Unanswered { end: End::NotReached(_), .. }) => {}
                Err(Unanswered { end: End::Cut(_), .. }) if request.is_repeatable => {}
                answered => return Ok((answered?, line)),
            }
        }
        self.renewed(|| {
            let line = self.open(self.agent(), deadline)?;
            line.check(expected)?;
            Ok((ask(&line)?, line))
        })
    }

    /// Asks on a new connection, and once more if that led to a service that was about to end by itself: another follows.
    pub(super) fn renewed<T>(
        &self,
        ask: impl Fn() -> Result<T, Unanswered>,
    ) -> Result<T, Unanswered> {
        match ask() {
            Err(Unanswered { end: End::NotReached(error), .. }) if self.way.is_renewed(&error) => {
                ask()
            }
            answered => answered,
        }
    }

    /// The engine's description of itself.
    fn described(&self, answer: &Answer) -> Result<EngineInfo, Unanswered> {
        if !answer.is_success() {
            return Err(Unanswered::refused(answer));
        }
        let mut info = EngineInfo::read(&answer.json()).ok_or_else(Unanswered::no_engine)?;
        if self.dialect == Dialect::Podman {
            if info.kind != EngineKind::Podman {
                return Err(Unanswered::withheld("what answers is not podman"));
            }
            info.remote = !matches!(self.way, Way::Service(_));
        }
        self.way.learn(&info);
        Ok(info)
    }

    fn kept(&self) -> Option<Line> {
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let (line, since) = kept?;
            if !is_old(since) {
                return Some(Line { is_new: false, ..line });
            }
        }
    }

    /// Keeps a connection on which everything was answered.
    fn keep(&self, line: Line) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push((line, Instant::now()));
        let old = idle.iter().take_while(|(_, since)| is_old(*since)).count();
        let old = old.max(idle.len().saturating_sub(IDLE));
        let old: Vec<_> = idle.drain(..old).collect();
        // The end of a program takes a moment.
        drop(idle);
        drop(old);
    }

    /// A client for one connection, which it opens with the first request. `Agent::shutdown` ends it at any time.
    pub(super) fn agent(&self) -> Agent {
        self.way.agent()
    }

    /// Opens a connection, and asks what engine is at its end.
    pub(super) fn open(&self, agent: Agent, deadline: Instant) -> Result<Line, Unanswered> {
        let start = Instant::now();
        let now = SystemTime::now();
        let known = self.way.known();
        let request = Request::get(if known.is_some() { PING } else { INFO });
        let unreached = |error: Error| {
            let end = match unanswered(error, start) {
                End::Cut(error) => End::NotReached(error),
                // The request itself has not been sent yet.
                End::Late(after) => {
                    End::Withheld(format!("{} did not say what it is within {after:?}", self.way))
                }
                end => end,
            };
            let cause = match &end {
                End::NotReached(error) => self.way.cause(error),
                End::Withheld(_) => Cause::TimedOut,
                _ => Cause::Other,
            };
            Unanswered { words: self.way.said(&end), end, cause }
        };
        let response = send(&agent, "", &request, Some(deadline)).map_err(unreached)?;
        let version = response.headers().get("api-version");
        let version = version.and_then(|it| number(it.to_str().ok()?));
        let mut answer = read(response).map_err(unreached)?;
        let info = match known {
            // It is the same service still.
            Some(known) if self.way.known().as_ref() == Some(&known) => known.1,
            None => self.described(&answer)?,
            Some(_) => {
                let asked = send(&agent, "", &Request::get(INFO), Some(deadline)).and_then(read);
                answer = asked.map_err(unreached)?;
                self.described(&answer)?
            }
        };
        // A proxy may keep the header to itself.
        let version = if version.is_some() {
            version
        } else {
            let request = Request::get("/version");
            let asked = send(&agent, "", &request, Some(deadline)).and_then(read);
            asked.map_err(unreached)?.json()["ApiVersion"].as_str().and_then(number)
        };
        let Some(version) = version else { return Err(Unanswered::no_engine()) };
        // Podman says 1.40 of itself before 4.2.
        let oldest = if self.dialect == Dialect::Podman { (1, 40) } else { OLDEST };
        if version < oldest {
            let ((major, minor), (least, most)) = (version, (oldest.1, NEWEST.1));
            return Err(Unanswered::withheld(format!(
                "the engine speaks version {major}.{minor} of its API, and this library 1.{least} to 1.{most}"
            )));
        }
        let (major, minor) = version.min(NEWEST);
        let time = match answer.json()["SystemTime"].as_str() {
            Some(time) => Some(time.to_owned()),
            // A service on this host has this host's time.
            None => self.way.known().map(|_| humantime::format_rfc3339_nanos(now).to_string()),
        };
        Ok(Line {
            agent,
            info,
            time,
            version: format!("/v{major}.{minor}"),
            told: Instant::now(),
            is_new: true,
        })
    }
}

impl Line {
    /// Ends the connection, whoever reads from it.
    pub(super) fn shut(self) {
        self.agent.shutdown();
    }

    pub(super) fn check(&self, expected: Option<&Identity>) -> Result<(), Unanswered> {
        match expected {
            Some(expected) if self.info.identity != *expected => Err(Unanswered::another_engine()),
            _ => Ok(()),
        }
    }

    /// Sends a request and reads the whole answer.
    fn ask(&self, request: &Request, deadline: Instant) -> Result<Answer, Unanswered> {
        let start = Instant::now();
        let answer = read(self.send(request, Some(deadline))?);
        answer.map_err(|error| Unanswered::new(unanswered(error, start)))
    }

    /// Sends a request, whose answer is read as it comes, until the deadline if there is one.
    fn send(
        &self,
        request: &Request,
        deadline: Option<Instant>,
    ) -> Result<Response<Body>, Unanswered> {
        let start = Instant::now();
        let sent = send(&self.agent, &self.version, request, deadline);
        tracing::debug!(
            %request,
            duration_ms = start.elapsed().as_millis(),
            status = sent.as_ref().ok().map(|response| response.status().as_u16()),
            "engine request"
        );
        sent.map_err(|error| Unanswered::new(unanswered(error, start)))
    }

    /// Sends a request whose answer is read as it comes, without end.
    pub(super) fn follow(&self, request: &Request) -> Result<Response<Body>, Unanswered> {
        self.send(request, None)
    }
}

impl Unanswered {
    pub(super) fn new(end: End) -> Self {
        Self::with_words(end, String::new())
    }

    fn with_words(end: End, words: String) -> Self {
        Self { end, cause: Cause::Other, words }
    }

    fn refused(answer: &Answer) -> Self {
        Self::with_words(End::Refused(answer.status), answer.message())
    }

    fn withheld(why: impl Into<String>) -> Self {
        Self::new(End::Withheld(why.into()))
    }

    fn another_engine() -> Self {
        let cause = Cause::AnotherEngine;
        Self { cause, ..Self::withheld("another engine answers than before") }
    }

    fn no_engine() -> Self {
        Self::withheld("what answers is no engine")
    }
}

/// Returns true if a connection is not kept that was used last at this time.
fn is_old(used: Instant) -> bool {
    has_passed(used + IDLE_TIME)
}

/// Reads an answer to its end.
fn read(response: Response<Body>) -> Result<Answer, Error> {
    let status = response.status().as_u16();
    let body = response.into_body().into_with_config().limit(ANSWER).lossy_utf8(true);
    Ok(Answer { status, text: body.read_to_string()? })
}

/// The end of a request that got no whole answer.
pub(super) fn unanswered(error: Error, start: Instant) -> End {
    match error {
        Error::Timeout(_) => End::Late(start.elapsed()),
        Error::Other(other) => match other.downcast::<NotOpened>() {
            Ok(opened) => End::NotReached(Arc::new(opened.0)),
            Err(other) => End::Cut(Arc::new(io::Error::other(other))),
        },
        error => End::Cut(Arc::new(error.into_io())),
    }
}

fn send(
    agent: &Agent,
    version: &str,
    request: &Request,
    deadline: Option<Instant>,
) -> Result<Response<Body>, Error> {
    // Podman's own API has versions of its own.
    let version = if request.path.starts_with("/libpod/") { LIBPOD } else { version };
    let uri = format!("http://engine{version}{}", request.path);
    let left = deadline.map(|it| it.saturating_duration_since(Instant::now()));
    // A timeout of no time at all is one that has passed.
    let left = left.map(|it| it.max(Duration::from_millis(1)));
    let query = request.query.iter().map(|(name, value)| (*name, value.as_str()));
    let builder = match (&request.method, &request.body) {
        (&Method::GET, _) => {
            let it = agent.get(uri).query_pairs(query).config().timeout_global(left).build();
            return it.call();
        }
        (&Method::HEAD, _) => {
            let it = agent.head(uri).query_pairs(query).config().timeout_global(left).build();
            return it.call();
        }
        (&Method::DELETE, _) => {
            let it = agent.delete(uri).query_pairs(query).config().timeout_global(left).build();
            return it.call();
        }
        (&Method::PUT, _) => {
            agent.put(uri).query_pairs(query).config().timeout_global(left).build()
        }
        _ => agent.post(uri).query_pairs(query).config().timeout_global(left).build(),
    };
    match &request.body {
        Some(Contents::Json(body)) => {
            builder.content_type("application/json").send(body.to_string())
        }
        Some(Contents::Archive(body)) => builder.content_type("application/x-tar").send(&**body),
        None => builder.send_empty(),
    }
}

/// A version such as `1.41`.
fn number(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;
    use crate::engine::api::service::Service;
    use crate::engine::cli::Cli;

    #[test]
    fn a_service_that_ended_meanwhile_is_asked_once_more_and_no_other_way() {
        let cli = Cli::new(Dialect::Podman).with_program("/no/such/podman".into());
        let service = || Way::Service(Service::of(&cli));
        for (way, kind, times) in [
            (service(), io::ErrorKind::BrokenPipe, 2),
            (service(), io::ErrorKind::NotFound, 1),
            (service(), io::ErrorKind::TimedOut, 1),
            (Way::Socket("/s".into()), io::ErrorKind::BrokenPipe, 1),
            (Way::Socket("/s".into()), io::ErrorKind::NotFound, 1),
        ] {
            let client = Client::new(way, Dialect::Podman);
            let asked = Cell::new(0);
            let answered: Result<(), _> = client.renewed(|| {
                asked.set(asked.get() + 1);
                Err(Unanswered::new(End::NotReached(Arc::new(kind.into()))))
            });
            assert!(answered.is_err());
            assert_eq!(asked.get(), times, "{:?} {kind}", client.way);
        }
    }

    #[test]
    fn an_engine_that_said_long_ago_what_it_is_is_asked_again() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let engine = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let info = r#"{"ServerVersion": "20.10.24", "ID": "ID"}"#;
            let length = info.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: {length}\r\n\r\n{info}"
            );
            let mut asked = Vec::new();
            for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
                if let Some(path) = line.strip_prefix("GET ") {
                    asked.push(path.split(' ').next().unwrap().to_owned());
                } else if line.is_empty() {
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
            asked
        });
        let client = Client::new(Way::Socket(path), Dialect::Docker);
        let ask = || assert!(client.info(Instant::now() + Duration::from_secs(20)).is_ok());
        ask();
        ask();
        let long_ago = Instant::now().checked_sub(IDLE_TIME + Duration::from_secs(1)).unwrap();
        client.idle.lock().unwrap()[0].0.told = long_ago;
        ask();
        ask();
        drop(client);
        let asked = engine.join().unwrap();
        assert_eq!(asked, ["/info", "/v1.41/_ping", "/v1.41/info", "/v1.41/_ping"]);
    }
}
