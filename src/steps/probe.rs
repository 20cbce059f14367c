//! Attempts to reach a port of a bundle.

use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout, TcpConnector};
use ureq::{Agent, Error};

use crate::engine::http;
use crate::host;

/// The bound of one attempt to connect; a death is noticed no later.
const ATTEMPT: Duration = Duration::from_millis(150);
/// The time that a look gives to a request that has just been sent.
const SOON: Duration = Duration::from_millis(20);
/// The age of an unanswered request at which another one is sent beside it; it doubles with each.
const PATIENCE: Duration = Duration::from_secs(1);
/// The bytes of a status line and its headers.
const HEADERS: usize = 32 << 10;

/// A port of a container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// The container's port.
    pub(super) port: u16,
    pub(super) at: SocketAddr,
    /// The subnet and gateway by which packets leave; `None` for a port that is published on this host.
    pub(super) by: Option<(Ipv4Net, Ipv4Addr)>,
}

impl Target {
    /// Podman takes the bridge away with its last container, and nothing is sent where it is not. A connection
    /// that was made before sends no more either: its own address went with the bridge.
    fn check(self) -> io::Result<()> {
        match (self.by, self.at) {
            (Some((subnet, gateway)), SocketAddr::V4(at))
                if !host::leaves_by_gateway(*at.ip(), gateway, subnet) =>
            {
                Err(ErrorKind::NetworkUnreachable.into())
            }
            _ => Ok(()),
        }
    }

    /// Connects to the port; the error is for people.
    pub(super) fn connect(self) -> Result<(), String> {
        let connected = self.check().and_then(|()| TcpStream::connect_timeout(&self.at, ATTEMPT));
        let connected = match self.by {
            Some(_) => connected.map(drop),
            None => connected.and_then(stays_open),
        };
        connected.map_err(|error| format!("TCP port {}: {error}", self.port))
    }
}

/// The forwarder of a published port accepts first, and closes if nothing listens behind it.
fn stays_open(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(ATTEMPT))?;
    match stream.read(&mut [0]) {
        Ok(0) => Err(ErrorKind::ConnectionReset.into()),
        Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Err(error)
        }
        _ => Ok(()),
    }
}

/// GETs of one path, until one is answered as wanted or this is dropped.
///
/// A request that is slow is not given up. One that the server has lost is no obstacle: others follow it.
#[derive(Debug)]
pub(super) struct HttpProbe {
    target: Target,
    path: String,
    /// Those that are under way.
    requests: Vec<Request>,
    patience: Duration,
    answer: Sender<Answer>,
    answers: Receiver<Answer>,
    /// The last that was seen.
    seen: String,
}

/// The status, or the reason why there is none.
type Answer = Result<u16, String>;

impl HttpProbe {
    pub(super) fn new(target: Target, path: &str) -> Self {
        let (answer, answers) = mpsc::channel();
        let (requests, patience) = (Vec::new(), PATIENCE);
        let mut probe = Self {
            target,
            path: path.into(),
            requests,
            patience,
            answer,
            answers,
            seen: String::new(),
        };
        probe.see("no answer yet");
        probe
    }

    /// Returns `Ok` if a request has been answered with this status since the last look, or else what was seen
    /// last.
    pub(super) fn look(&mut self, status: u16) -> Result<(), String> {
        self.requests
            .retain(|request| !request.thread.as_ref().is_none_or(JoinHandle::is_finished));
        let is_due = match self.requests.last() {
            None => {
                self.patience = PATIENCE;
                true
            }
            Some(newest) if newest.since.elapsed() >= self.patience => {
                self.patience *= 2;
                self.see("no answer yet");
                true
            }
            Some(_) => false,
        };
        if is_due {
            match Request::send(self.target, &self.path, self.answer.clone()) {
                Ok(request) => self.requests.push(request),
                Err(error) => self.see(&error.to_string()),
            }
        }
        let first = self.answers.recv_timeout(if is_due { SOON } else { Duration::ZERO }).ok();
        for answer in first.into_iter().chain(self.answers.try_iter().collect::<Vec<_>>()) {
            match answer {
                Ok(answered) if answered == status => return Ok(()),
                Ok(other) => {
                    self.seen = format!("HTTP status {other} of port {}", self.target.port);
                }
                Err(error) => self.see(&error),
            }
        }
        Err(self.seen.clone())
    }

    fn see(&mut self, what: &str) {
        self.seen = format!("HTTP port {}: {what}", self.target.port);
    }
}

/// A request on a connection and a thread of its own. Both end when this is dropped.
#[derive(Debug)]
struct Request {
    agent: Agent,
    thread: Option<JoinHandle<()>>,
    since: Instant,
}

impl Request {
    fn send(target: Target, path: &str, answer: Sender<Answer>) -> io::Result<Self> {
        let agent = target.agent();
        let theirs = agent.clone();
        let url = format!("http://{}{path}", target.at);
        let thread =
            thread::Builder::new().name("sidecar-bundle-http".into()).spawn(move || {
                let response = theirs.get(url).header("Connection", "close").call();
                let status = response.map(|response| response.status().as_u16());
                // Nobody may want to know any more.
                let _ = answer.send(status.map_err(|error| words(&error)));
            })?;
        Ok(Self { agent, thread: Some(thread), since: Instant::now() })
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.agent.clone().shutdown();
        // It ends at once, or with its attempt to connect. A panic has been reported.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Target {
    /// A client that reaches nothing else.
    fn agent(self) -> Agent {
        let config = http::config()
            .max_response_header_size(HEADERS)
            .max_idle_connections(0)
            .timeout_connect(Some(ATTEMPT))
            .build();
        Agent::with_parts(config, Checked(self), Only(self.at))
    }
}

/// TCP to a port, if it is where it should be.
#[derive(Debug)]
struct Checked(Target);

impl Connector for Checked {
    type Out = <TcpConnector as Connector>::Out;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        self.0.check()?;
        TcpConnector::default().connect(details, chained)
    }
}

/// The one address.
#[derive(Debug)]
struct Only(SocketAddr);

impl Resolver for Only {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(self.0);
        Ok(addresses)
    }
}

/// The reason why there is no status. Its text may be the container's.
fn words(error: &Error) -> String {
    match error {
        Error::Io(error) => error.to_string(),
        Error::Timeout(_) => "connection timed out".into(),
        other => format!("no HTTP answer ({other})"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    /// A server that does this with each connection, and counts them.
    fn serve(answer: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Target {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answer, count) = (std::sync::Arc::new(answer), AtomicUsize::new(0));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, number) = (answer.clone(), count.fetch_add(1, Ordering::SeqCst));
                thread::spawn(move || answer(stream.unwrap(), number));
            }
        });
        let ip = Ipv4Addr::LOCALHOST;
        Target { port, at: (ip, port).into(), by: Some((ip.into(), ip)) }
    }

    fn request(stream: &mut TcpStream) -> String {
        let mut all = Vec::new();
        while !all.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            all.extend(byte);
        }
        String::from_utf8(all).unwrap()
    }

    /// Looks until there is an answer.
    fn ask(probe: &mut HttpProbe) -> Result<(), String> {
        let start = Instant::now();
        loop {
            match probe.look(200) {
                Err(seen) if seen.ends_with("no answer yet") => {
                    assert!(start.elapsed() < Duration::from_secs(30), "{seen}");
                    thread::sleep(Duration::from_millis(2));
                }
                looked => return looked,
            }
        }
    }

    /// The answer to one request, without the number of the port.
    fn seen_of(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
        let target = serve(move |mut stream, _| {
            request(&mut stream);
            answer(stream);
        });
        let seen = ask(&mut HttpProbe::new(target, "/")).err().unwrap_or_else(|| "met".into());
        seen.replace(&target.port.to_string(), "PORT")
    }

    #[test]
    fn one_request_is_answered_in_its_own_time() {
        let (sent, requests) = mpsc::channel();
        let target = serve(move |mut stream, _| {
            sent.send(request(&mut stream)).unwrap();
            thread::sleep(Duration::from_millis(500));
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
        });
        assert_eq!(ask(&mut HttpProbe::new(target, "/slow?a=b")), Ok(()));
        let request = requests.recv().unwrap();
        assert!(request.starts_with("GET /slow?a=b HTTP/1.1\r\n"), "{request}");
        let host = format!("host: 127.0.0.1:{}\r\n", target.port);
        let request = request.to_lowercase();
        assert!(request.contains(&host), "{request}");
        assert_eq!(request.matches("connection: close\r\n").count(), 1, "{request}");
        assert!(requests.try_recv().is_err());
    }

    #[test]
    fn a_request_that_the_server_lost_is_followed_by_another() {
        let target = serve(|mut stream, number| {
            request(&mut stream);
            match number {
                0 => drop(stream.read(&mut [0])),
                _ => stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap(),
            }
        });
        assert_eq!(ask(&mut HttpProbe::new(target, "/")), Ok(()));
    }

    #[test]
    fn what_is_not_the_answer_is_named() {
        let is =
            |answer: &'static [u8]| seen_of(move |mut stream| stream.write_all(answer).unwrap());
        assert_eq!(is(b"HTTP/1.1 503 \r\n\r\n"), "HTTP status 503 of port PORT");
        for answer in [&b""[..], b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nA: b\r\n"] {
            let seen = is(answer);
            assert!(seen.starts_with("HTTP port PORT: "), "{seen}");
        }
        for answer in [&b"SSH-2.0-OpenSSH\r\n"[..], b"\xff\0\r\n\r\n", b"HTTP/2 200 OK\r\n\r\n"] {
            let seen = is(answer);
            assert!(seen.starts_with("HTTP port PORT: no HTTP answer ("), "{seen}");
        }
        let endless = seen_of(|mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            while stream.write_all(b"a: b\r\n").is_ok() {}
        });
        assert!(endless.starts_with("HTTP port PORT: no HTTP answer ("), "{endless}");
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let target = Target { at: nobody, ..serve(|_, _| {}) };
        let seen = ask(&mut HttpProbe::new(target, "/")).unwrap_err();
        assert!(seen.contains(": Connection refused"), "{seen}");
    }

    #[test]
    fn a_redirect_is_not_followed() {
        let target = serve(|mut stream, _| {
            let is_first = request(&mut stream).starts_with("GET /old ");
            let (status, place) = if is_first { (302, "Location: /new\r\n") } else { (200, "") };
            write!(stream, "HTTP/1.1 {status} \r\n{place}\r\n").unwrap();
        });
        let seen = ask(&mut HttpProbe::new(target, "/old"));
        assert_eq!(seen, Err(format!("HTTP status 302 of port {}", target.port)));
    }

    #[test]
    fn a_request_ends_with_its_probe() {
        let silent = |_: &mut TcpStream| {};
        let drips = |stream: &mut TcpStream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\na: ");
            while stream.write_all(b"b").is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        };
        let continues = |stream: &mut TcpStream| {
            while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_ok() {}
        };
        let answers: [fn(&mut TcpStream); 3] = [silent, drips, continues];
        for answer in answers {
            let (ended, end) = mpsc::channel();
            let target = serve(move |mut stream, _| {
                request(&mut stream);
                answer(&mut stream);
                // The end of the connection, or its reset.
                let _ = stream.read(&mut [0]);
                ended.send(()).unwrap();
            });
            let mut probe = HttpProbe::new(target, "/");
            assert!(probe.look(200).is_err());
            thread::sleep(Duration::from_millis(100));
            let start = Instant::now();
            drop(probe);
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
            end.recv_timeout(Duration::from_secs(20)).unwrap();
        }
    }

    #[test]
    fn nothing_is_sent_where_the_bridge_is_not() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let gateway = Ipv4Addr::new(127, 0, 0, 9);
        let at = (Ipv4Addr::LOCALHOST, port).into();
        let target = Target { port, at, by: Some((gateway.into(), gateway)) };
        assert_eq!(target.connect(), Err(format!("TCP port {port}: network unreachable")));
        let seen = ask(&mut HttpProbe::new(target, "/"));
        assert_eq!(seen, Err(format!("HTTP port {port}: network unreachable")));
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// After a panic there would be no answer.
        #[test]
        fn no_answer_is_a_panic(
            start in prop_oneof![Just(""), Just("HTTP/1."), Just("HTTP/1.1 200 OK\r\n")],
            rest in proptest::collection::vec(any::<u8>(), 0..60),
            end in prop_oneof![Just(""), Just("\r\n\r\n")],
        ) {
            let answer = [start.as_bytes(), &rest, end.as_bytes()].concat();
            let seen = seen_of(move |mut stream| stream.write_all(&answer).unwrap());
            prop_assert!(seen == "met" || seen.starts_with("HTTP "), "{seen}");
        }
    }
}
