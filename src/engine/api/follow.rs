//! Answers that are read as they come: a container's log, and its end.
//!
//! The end of a connection is not the end of the container: it is made again until the container has ended.

use std::cell::Cell;
use std::io::BufReader;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Body;
use ureq::http::Response;

use super::client::{Client, Line, Request, Unanswered};
use super::frames;
use super::log::TimedLines;
use crate::engine::backend::{Event, Follow, Id};
use crate::engine::identity::Identity;
use crate::status::LogLine;

/// The pause before a connection is made again.
const PAUSE: Duration = Duration::from_millis(100);

/// The time in which an engine answers, but for what is followed.
const ASKED: Duration = Duration::from_secs(30);

/// The time that an engine may be away.
const AWAY: Duration = Duration::from_secs(60);

/// The connection of a follower, which ends when this is dropped.
#[derive(Default)]
struct Wire(Mutex<State>);

#[derive(Default)]
struct State {
    ended: bool,
    line: Option<Line>,
}

impl Wire {
    fn set(&self, line: Line) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            line.end();
        } else {
            state.line = Some(line);
        }
    }

    fn is_ended(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ended
    }

    fn end(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.ended = true;
        if let Some(line) = state.line.take() {
            line.end();
        }
    }
}

struct Handle(Arc<Wire>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Something of a container that is followed on a connection of its own.
pub(super) struct Follower {
    pub(super) client: Arc<Client>,
    pub(super) expected: Option<Identity>,
    pub(super) id: Id,
    pub(super) events: SyncSender<Event>,
}

impl Follower {
    /// Sends a request on a connection of its own.
    pub(super) fn begin(&self, request: &Request) -> Result<(Response<Body>, Line), Unanswered> {
        let line = self.client.open(Instant::now() + ASKED)?;
        line.check(self.expected.as_ref())?;
        Ok((line.follow(request)?, line))
    }

    /// Follows the log from the answer of the first request on; from the place where that was cut, the log is
    /// asked for by the second.
    pub(super) fn follow_log(
        self,
        first: Request,
        further: Request,
        (response, line): (Response<Body>, Line),
    ) -> Follow {
        self.spawn(line, move |it, wire| {
            let mut lines = TimedLines::default();
            let mut response = Some(response);
            let mut was_ended = false;
            loop {
                if let Some(response) = response.take()
                    && !it.read_log(&mut lines, response)
                {
                    return;
                }
                let since = lines.cut();
                // What was printed before the end is read once more, from where the connection ended.
                if was_ended {
                    break;
                }
                match it.is_ended(wire) {
                    Some(ended) => was_ended = ended,
                    None => return,
                }
                let request = match since {
                    Some(since) => further.clone().query("since", since),
                    None => first.clone(),
                };
                response = it.again(wire, &request);
            }
            lines.finish(|line| _ = it.events.send(Event::Line(line)));
            let _ = it.events.send(Event::End);
        })
    }

    /// Follows the container to its end, from an answer on.
    pub(super) fn follow_end(
        self,
        request: Request,
        (response, line): (Response<Body>, Line),
    ) -> Follow {
        self.spawn(line, move |it, wire| {
            let mut response = Some(response);
            loop {
                // Its end, or that of the connection: the container is asked.
                drop(response.take().map(|it| it.into_body().read_to_vec()));
                match it.is_ended(wire) {
                    Some(true) => break,
                    Some(false) => response = it.again(wire, &request),
                    None => return,
                }
            }
            let _ = it.events.send(Event::End);
        })
    }

    /// Follows what happens to the container, from an answer on. What happened while there was no connection is
    /// not told, only that something may have.
    pub(super) fn follow_events(
        self,
        request: Request,
        (response, line): (Response<Body>, Line),
    ) -> Follow {
        self.spawn(line, move |it, wire| {
            let mut response = Some(response);
            while let Some(answer) = response.take() {
                if it.events.send(Event::Happened).is_err() || !it.read_events(answer) {
                    return;
                }
                let end = Instant::now() + AWAY;
                while response.is_none() && !wire.is_ended() && Instant::now() < end {
                    response = it.again(wire, &request);
                }
            }
            let _ = it.events.send(Event::End);
        })
    }

    /// Reads events until the connection ends; false if nobody listens any more.
    fn read_events(&self, response: Response<Body>) -> bool {
        let reader = BufReader::new(response.into_body().into_reader());
        let events = serde_json::Deserializer::from_reader(reader).into_iter::<Value>();
        for event in events.map_while(Result::ok) {
            let code = &event["Actor"]["Attributes"]["exitCode"];
            let event = match code.as_str().and_then(|code| code.parse().ok()) {
                Some(code) if event["Action"] == "die" => Event::Died(code),
                _ => Event::Happened,
            };
            if self.events.send(event).is_err() {
                return false;
            }
        }
        true
    }

    fn spawn(self, line: Line, work: impl FnOnce(&Self, &Wire) + Send + 'static) -> Follow {
        let wire = Arc::new(Wire::default());
        wire.set(line);
        let handle = Handle(Arc::clone(&wire));
        // Without a thread, the sender is dropped, and the receiver knows that nothing comes.
        let spawned = thread::Builder::new()
            .name("sidecar-bundle-follow".into())
            .spawn(move || work(&self, &wire));
        if let Err(error) = spawned {
            tracing::warn!(%error, "a container cannot be followed");
        }
        Follow::new(handle)
    }

    /// Reads until the connection ends; false if nobody listens any more.
    fn read_log(&self, lines: &mut TimedLines, response: Response<Body>) -> bool {
        let reader = BufReader::with_capacity(32 << 10, response.into_body().into_reader());
        let is_heard = Cell::new(true);
        let send = |line: LogLine| {
            is_heard.set(is_heard.get() && self.events.send(Event::Line(line)).is_ok());
        };
        let read = frames::read(reader, |piece| {
            lines.push(&piece, send);
            is_heard.get()
        });
        if let Err(error) = read {
            tracing::debug!(%error, "the connection of a log ended");
        }
        is_heard.get()
    }

    /// Returns true if the container has ended or does not exist, and `None` if that cannot be known any more.
    fn is_ended(&self, wire: &Wire) -> Option<bool> {
        let request = Request::get(format!("/containers/{}/json", self.id));
        let end = Instant::now() + AWAY;
        while !wire.is_ended() && Instant::now() < end {
            match self.client.ask(&request, self.expected.as_ref(), Instant::now() + ASKED) {
                Ok(answer) if answer.status == 404 => return Some(true),
                Ok(answer) if answer.is_success() => {
                    let state = &answer.json()["State"];
                    return Some(!(state["Running"] == true || state["Restarting"] == true));
                }
                Ok(_) | Err(_) => thread::sleep(PAUSE),
            }
        }
        None
    }

    /// Makes the connection again, if the engine grants it.
    fn again(&self, wire: &Wire, request: &Request) -> Option<Response<Body>> {
        thread::sleep(PAUSE);
        let (response, line) = self.begin(request).ok()?;
        wire.set(line);
        response.status().is_success().then_some(response)
    }
}
