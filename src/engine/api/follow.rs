//! Answers that are read as they come: a container's log, its end, and its events.
//!
//! The end of a connection is not the end of the container: it is made again until the container has ended.

use std::cell::{Cell, OnceCell};
use std::io::{self, BufReader};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

use super::client::{Line, Request};
use super::log::{Tail, TimedLines, since};
use super::{Answer, Api, Failure, frames, requests};
use crate::engine::backend::{Event, Follow, Id, Resource};
use crate::engine::cause::{Cause, diagnose};
use crate::engine::dialect::Dialect;
use crate::engine::error::{End, EngineError};
use crate::status::LogLine;

/// The pause before a connection is made again, and the longest after several that told nothing.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The time in which an engine answers a request that follows nothing.
const ASKED: Duration = Duration::from_secs(30);

/// The time that an engine may be away.
const AWAY: Duration = Duration::from_secs(60);

/// The connection of a follower, which ends when the follower is dropped, whatever it waits for.
#[derive(Debug, Default)]
struct Wire {
    state: Mutex<State>,
    end: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ended: bool,
    agent: Option<Agent>,
}

impl Wire {
    fn set(&self, agent: Agent) {
        let mut state = self.state();
        if state.ended {
            agent.shutdown();
        } else {
            state.agent = Some(agent);
        }
    }

    /// Pauses; `None` once the follower is dropped.
    fn rest(&self, pause: Duration) -> Option<()> {
        let rested = self.end.wait_timeout_while(self.state(), pause, |state| !state.ended);
        let (state, _) = rested.unwrap_or_else(PoisonError::into_inner);
        (!state.ended).then_some(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Handle(Arc<Wire>);

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.ended = true;
        if let Some(agent) = state.agent.take() {
            agent.shutdown();
        }
        self.0.end.notify_all();
    }
}

/// A container that is followed by a thread, on connections of its own.
struct Follower {
    api: Api,
    id: Id,
    events: SyncSender<Event>,
    wire: Arc<Wire>,
    /// The engine's time at the first connection, as the API takes it, if the engine told it.
    begun: OnceCell<Option<String>>,
    /// The engine has answered.
    answered: Cell<bool>,
    /// The last connection, or attempt.
    since: Cell<Instant>,
    pause: Cell<Duration>,
}

/// The container of a follower, after its connection has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Now {
    Running,
    Ended,
    Gone,
}

/// Follows the log. The last event is its end.
pub(super) fn follow_log(
    api: Api,
    id: &Id,
    last: Option<usize>,
    events: SyncSender<Event>,
) -> Follow {
    start(api, id, events, move |it| {
        let further = log_request(&it.id).query("follow", 1).query("timestamps", 1);
        let (mut lines, mut now) = (TimedLines::default(), Now::Running);
        let first = if let (Dialect::Podman, Some(last)) = (it.api.dialect, last) {
            it.read_on_from(last, &mut lines)?;
            further.clone()
        } else {
            it.is_readable()?;
            further.clone().query("tail", tail(last))
        };
        // The last time at which it was not known to have ended.
        let mut seen = Instant::now();
        let mut said_at = None;
        loop {
            let place = lines.cut();
            // From where the connection ended, or from the start if nothing came.
            let begun = it.begun.get().cloned().flatten().filter(|_| last == Some(0));
            let request = place.or(begun).map(|it| further.clone().query("since", it));
            let whole = match it.begin(|_| request.clone().unwrap_or_else(|| first.clone())) {
                Ok(response) => match it.read_log(&mut lines, response)? {
                    Ok(()) => true,
                    Err(error) => {
                        if let Some(words) = frames::said(&error) {
                            // Twice at one place: it cannot be read further.
                            if said_at == Some(lines.cut()) {
                                let (cause, _) = diagnose(words);
                                let end = End::Unexpected("all of it");
                                let error = it.api.error(&further, end, cause, words);
                                it.send(Event::Failed(error))?;
                                return None;
                            }
                            said_at = Some(lines.cut());
                        }
                        false
                    }
                },
                Err(error) => {
                    it.is_begun(error)?;
                    false
                }
            };
            // The lines before the end are read once more, to the end of an answer that is whole.
            let is_last = match now {
                Now::Running => false,
                Now::Ended => whole || is_lost(seen, Instant::now()),
                Now::Gone => true,
            };
            if is_last {
                break;
            }
            seen = match now {
                Now::Running => Instant::now(),
                Now::Ended | Now::Gone => seen,
            };
            now = it.now()?;
            it.rest()?;
        }
        lines.finish(|line| _ = it.events.send(Event::Line(line)));
        Some(())
    })
}

/// Follows the container to its end.
pub(super) fn follow_end(api: Api, id: &Id, events: SyncSender<Event>) -> Follow {
    start(api, id, events, |it| {
        let request = requests::wait(it.api.dialect, &it.id);
        loop {
            match it.begin(|_| request.clone()) {
                // Its end, or that of the connection: the container is asked.
                Ok(response) => drop(response.into_body().read_to_vec()),
                Err(error) => it.is_begun(error)?,
            }
            if it.now()? != Now::Running {
                return Some(());
            }
            it.rest()?;
        }
    })
}

/// Follows the events. Before each new connection, events may have been missed.
pub(super) fn follow_events(
    api: Api,
    id: &Id,
    filters: Value,
    events: SyncSender<Event>,
) -> Follow {
    start(api, id, events, move |it| {
        let request = Request::get("/events").query("filters", filters);
        let mut last = None;
        let mut seen = Instant::now();
        while !is_lost(seen, Instant::now()) {
            // The engine listens for events only after it has begun to answer.
            let since = |line: &Line| {
                last.clone().or_else(|| it.begun.get().cloned().unwrap_or_else(|| line.since()))
            };
            let begun = it.begin(|line| match since(line) {
                Some(since) => request.clone().query("since", since),
                None => request.clone(),
            });
            match begun {
                Ok(response) => {
                    it.send(Event::Happened)?;
                    it.read_events(response, &mut last)?;
                    seen = Instant::now();
                }
                Err(error) => it.is_begun(error)?,
            }
            it.rest()?;
        }
        Some(())
    })
}

/// Starts a thread that follows, and then sends the end. The work returns `None` if nobody listens any more, or if
/// nothing can be known.
fn start(
    api: Api,
    id: &Id,
    events: SyncSender<Event>,
    work: impl FnOnce(&Follower) -> Option<()> + Send + 'static,
) -> Follow {
    let wire = Arc::new(Wire::default());
    let handle = Handle(Arc::clone(&wire));
    let (begun, since, pause) = (OnceCell::new(), Cell::new(Instant::now()), Cell::new(PAUSE));
    let answered = Cell::new(false);
    let follower = Follower { api, id: id.clone(), events, wire, begun, answered, since, pause };
    // Without a thread, the sender is dropped, and the receiver knows that nothing comes.
    let spawned = thread::Builder::new().name("sidecar-bundle-follow".into()).spawn(move || {
        if work(&follower).is_some() {
            let _ = follower.send(Event::End);
        }
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "a container cannot be followed");
    }
    Follow::new(handle)
}

impl Follower {
    /// Sends a request on a new connection, and returns its answer if the engine grants it.
    fn begin(&self, request: impl Fn(&Line) -> Request) -> Result<Response<Body>, EngineError> {
        self.since.set(Instant::now());
        let client = &self.api.client;
        let opened = client.renewed(|| {
            let agent = client.agent();
            self.wire.set(agent.clone());
            let line = client.open(agent, Instant::now() + ASKED)?;
            line.check(self.api.expected.get())?;
            Ok(line)
        });
        let unopened = Request::get(super::client::INFO);
        let line = opened.map_err(|it| self.api.unanswered(&unopened, it).error)?;
        let request = request(&line);
        // Podman sends nothing of an answer before there is something to tell.
        if self.api.dialect == Dialect::Podman {
            self.has_begun(&line);
        }
        let response = line.follow(&request);
        let response = response.map_err(|it| self.api.unanswered(&request, it).error)?;
        if !response.status().is_success() {
            return Err(self.api.refused(&request, &Answer::of_refusal(response)).error);
        }
        self.answered.set(true);
        self.has_begun(&line);
        Ok(response)
    }

    fn has_begun(&self, line: &Line) {
        if self.begun.set(line.since()).is_ok() {
            // If nobody listens any more, the next event shows it.
            let _ = self.send(Event::Begun);
        }
    }

    /// Tells at once that podman cannot read the log, which it would tell with the first line.
    fn is_readable(&self) -> Option<()> {
        if self.api.dialect == Dialect::Docker {
            return Some(());
        }
        let request = log_request(&self.id).query("tail", 0);
        match self.api.ask(&request, Instant::now() + ASKED) {
            Err(Failure { status: Some(_), error, .. }) => {
                self.send(Event::Failed(error))?;
                None
            }
            _ => Some(()),
        }
    }

    /// Reads podman's log so far, and tells its last lines. Podman 4 tells whole seconds, so that a place is known only
    /// from the beginning of the log.
    fn read_on_from(&self, last: usize, lines: &mut TimedLines) -> Option<()> {
        let request = log_request(&self.id).query("timestamps", 1);
        let mut kept = Tail::default();
        let read = self.api.stream(&request, Instant::now() + ASKED, |piece| {
            lines.push(piece, |line| kept.push(line));
        });
        if let Err(error) = read {
            self.send(Event::Failed(error))?;
            return None;
        }
        let kept = kept.into_lines();
        let _ = self.begun.set(None);
        self.send(Event::Begun)?;
        let further = kept.len().saturating_sub(last);
        kept.into_iter().skip(further).try_for_each(|line| self.send(Event::Line(line)))
    }

    /// A request that failed is an end without a beginning, or else no more than a connection.
    fn is_begun(&self, error: EngineError) -> Option<()> {
        if self.answered.get() || self.begun.get().is_some() && !error.is_refusal() {
            return Some(());
        }
        self.send(Event::Failed(error))?;
        None
    }

    fn send(&self, event: Event) -> Option<()> {
        self.pause.set(PAUSE);
        self.events.send(event).ok()
    }

    /// Pauses before the next connection, longer after each that told nothing; `None` once the follower is dropped.
    fn rest(&self) -> Option<()> {
        let pause = pause_after(self.since.get().elapsed(), self.pause.get());
        self.pause.set((pause * 2).min(LONGEST_PAUSE));
        self.wire.rest(pause)
    }

    /// Reads a log until the connection ends: an error if the answer was not whole.
    fn read_log(&self, lines: &mut TimedLines, response: Response<Body>) -> Option<io::Result<()>> {
        let reader = BufReader::with_capacity(32 << 10, response.into_body().into_reader());
        let is_heard = Cell::new(true);
        let send = |line: LogLine| {
            is_heard.set(is_heard.get() && self.send(Event::Line(line)).is_some());
        };
        let read = frames::read(reader, |piece| {
            lines.push(&piece, send);
            is_heard.get()
        });
        is_heard.get().then_some(read)
    }

    /// Reads events until the connection ends, and notes the time of the last.
    fn read_events(&self, response: Response<Body>, last: &mut Option<String>) -> Option<()> {
        let reader = BufReader::new(response.into_body().into_reader());
        let events = serde_json::Deserializer::from_reader(reader).into_iter::<Value>();
        for event in events.map_while(Result::ok) {
            if let Some(nanos) = event["timeNano"].as_u64() {
                *last = Some(format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000));
            }
            let code = &event["Actor"]["Attributes"]["exitCode"];
            self.send(match code.as_str().and_then(|code| code.parse().ok()) {
                Some(code) if event["Action"] == "die" => Event::Died(code),
                _ => Event::Happened,
            })?;
        }
        Some(())
    }

    /// Asks for the container; `None` if that cannot be known any more.
    fn now(&self) -> Option<Now> {
        let request = requests::inspect(self.api.dialect, Resource::Container, self.id.as_str());
        let start = Instant::now();
        while !is_lost(start, Instant::now()) {
            // Nobody needs the answer where nobody follows.
            self.wire.rest(Duration::ZERO)?;
            let asked =
                self.api.client.ask(&request, self.api.expected.get(), Instant::now() + ASKED);
            if let Ok(answer) = asked {
                let is_missing = || diagnose(&answer.message()).0 == Cause::ContainerMissing;
                if answer.status == 404 && is_missing() {
                    return Some(Now::Gone);
                }
                let state = &answer.json()["State"];
                // An answer of anybody else has no such field.
                if let (true, Some(running)) = (answer.is_success(), state["Running"].as_bool()) {
                    let goes_on = running || state["Restarting"] == true;
                    return Some(if goes_on { Now::Running } else { Now::Ended });
                }
            }
            self.wire.rest(PAUSE)?;
        }
        None
    }
}

impl Line {
    /// The engine's time when the connection was made, as the API takes it.
    fn since(&self) -> Option<String> {
        since(self.time.as_deref()?)
    }
}

/// Returns true if an engine is not awaited any more that was seen last at this time.
fn is_lost(seen: Instant, now: Instant) -> bool {
    now.saturating_duration_since(seen) > AWAY
}

/// The pause after a connection: one that has lasted is no reason for a longer one.
fn pause_after(lasted: Duration, longer: Duration) -> Duration {
    if lasted > LONGEST_PAUSE { PAUSE } else { longer }
}

pub(super) fn log_request(id: &Id) -> Request {
    Request::get(format!("/containers/{id}/logs")).query("stdout", 1).query("stderr", 1)
}

pub(super) fn tail(last: Option<usize>) -> String {
    last.map_or_else(|| "all".to_owned(), |last| last.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NANO: Duration = Duration::from_nanos(1);

    #[test]
    fn an_engine_is_awaited_for_a_minute() {
        let seen = Instant::now();
        for (after, is) in [(Duration::ZERO, false), (AWAY, false), (AWAY + NANO, true)] {
            assert_eq!(is_lost(seen, seen + after), is, "{after:?}");
        }
    }

    #[test]
    fn a_connection_that_has_lasted_is_soon_made_again() {
        assert_eq!(pause_after(LONGEST_PAUSE, LONGEST_PAUSE), LONGEST_PAUSE);
        assert_eq!(pause_after(LONGEST_PAUSE + NANO, LONGEST_PAUSE), PAUSE);
        assert_eq!(pause_after(AWAY, LONGEST_PAUSE), PAUSE);
    }
}
