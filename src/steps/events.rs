//! The events of a running bundle, as they come.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use super::observe::{await_beginning, last_lines};
use super::wait::{SILENCE, TICK};
use crate::engine::backend::{ContainerInfo, EVENTS, Event, Follow};
use crate::engine::clock::deadline;
use crate::error::Error;
use crate::running::Container;
use crate::status::{Exit, Health, State};

/// An event of a bundle's container.
///
/// ```
/// use sidecar_bundle::{BundleEvent, Health};
///
/// fn has_to_page(event: &BundleEvent) -> bool {
///     match event {
///         BundleEvent::Died { exit, .. } => exit.code != 0,
///         BundleEvent::Health(health) => *health == Health::Unhealthy,
///         other => *other == BundleEvent::Gone,
///     }
/// }
/// assert!(has_to_page(&BundleEvent::Gone) && !has_to_page(&BundleEvent::Restarted));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum BundleEvent {
    /// It runs. This is the first event, unless it has ended already.
    Started,
    /// Its health check has another result.
    Health(Health),
    /// It has ended.
    #[non_exhaustive]
    Died {
        /// Its exit. If it was restarted or removed before a look at it, only the exit code is known, or -1
        /// where the engine did not tell that.
        exit: Exit,
        /// The last lines of its log, without secret values; empty if they cannot be had any more.
        log: String,
    },
    /// It was started again, by its restart policy or by somebody.
    Restarted,
    /// It does not exist any more. This is the last event.
    Gone,
}

/// The events of a bundle as they come; see [`Container::events`].
///
/// ```no_run
/// # use sidecar_bundle::{BundleRunning, Error};
/// # fn run(bundle: &BundleRunning) -> Result<(), Error> {
/// // On a thread of its own, until the container is gone or the bundle's stopper is used.
/// for event in bundle.events()? {
///     println!("{:?}", event?);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "the events are read from it"]
pub struct Events<'a> {
    bundle: &'a Container,
    incoming: Receiver<Event>,
    follow: Follow,
    seen: Seen,
    /// The look that is due.
    due: Option<Look>,
    /// The time of the last look.
    looked: Instant,
    /// The time to ask again for a health check that the engine does not run.
    check: Option<Instant>,
    /// The events that have been seen and not been given out yet.
    ready: VecDeque<BundleEvent>,
    ended: bool,
}

/// A look at the container, after something has happened.
#[derive(Clone, Copy)]
struct Look {
    /// The exit code that the engine told.
    code: Option<i32>,
}

/// The container at the last look.
#[derive(Debug, Default)]
struct Seen {
    started: Option<String>,
    ended: bool,
    health: Option<Health>,
    /// The exit code that the engine told, of an end that no look has seen yet.
    code: Option<i32>,
}

impl Container {
    /// Returns the events of the container as they come, from its present state on.
    ///
    /// The engine tells them on one connection. If that connection ends, it is made again, and a
    /// look tells what has changed meanwhile. Several restarts between two looks are one. Events that are not read wait.
    /// The container is also looked at once a minute, in case the connection is dead without a sign.
    ///
    /// The health checks of podman are run by systemd. On a host without systemd, `next_timeout` runs them while it
    /// waits.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use sidecar_bundle::{BundleEvent, BundleSpec, Engine, NetworkPlanned, Slug};
    ///
    /// # let (_interrupt, interrupted) = std::sync::mpsc::channel::<()>();
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let bundle = plan.launch(&Engine::docker(), BundleSpec::new())?;
    /// let mut events = bundle.events()?;
    /// // Until Ctrl-C, which a handler sends on a channel, or the container's end.
    /// while interrupted.try_recv().is_err() {
    ///     match events.next_timeout(Duration::from_millis(200))? {
    ///         Some(BundleEvent::Died { exit, log, .. }) => {
    ///             eprintln!("the bundle ended with {exit}: {log}");
    ///             break;
    ///         }
    ///         Some(BundleEvent::Gone) => break,
    ///         Some(event) => println!("{event:?}"),
    ///         None => {}
    ///     }
    /// }
    /// drop(events);
    /// bundle.close()?;
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for an engine that is driven by commands, [`Error::Look`] when the engine cannot
    /// be asked, and [`Error::Gone`] when somebody else removed the container.
    pub fn events(&self) -> Result<Events<'_>, Error> {
        let end = self.session().connection().engine().look_deadline();
        let (follow, incoming) = self.follow_events(end)?;
        let (seen, ready) = (Seen::default(), VecDeque::new());
        let (check, looked) = (Some(Instant::now()), Instant::now());
        Ok(Events {
            bundle: self,
            incoming,
            follow,
            seen,
            due: None,
            looked,
            check,
            ready,
            ended: false,
        })
    }

    fn follow_events(&self, end: Instant) -> Result<(Follow, Receiver<Event>), Error> {
        let (events, incoming) = mpsc::sync_channel(EVENTS);
        let connection = self.session().connection();
        let follow = connection.observer("a stream of events")?.follow_events(self.id(), events);
        let begun = await_beginning(&incoming, self.look_by(end));
        begun.map_err(|source| self.not_read("the container's events", source))?;
        Ok((follow, incoming))
    }
}

impl Events<'_> {
    /// Returns the next event, or `None` if there is none within this time, or none will come:
    /// [`Gone`](BundleEvent::Gone) is the last. A look at the container that has begun by then may take two seconds
    /// more.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use sidecar_bundle::{BundleEvent, BundleRunning, Error};
    /// # fn run(bundle: &BundleRunning) -> Result<(), Error> {
    /// # fn show(_: &BundleEvent) {}
    /// # fn draw() {}
    /// let mut events = bundle.events()?;
    /// loop {
    ///     // A frame of a terminal: what has happened since the last one.
    ///     while let Some(event) = events.next_timeout(Duration::ZERO)? {
    ///         show(&event);
    ///     }
    ///     draw();
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] as soon as the bundle's [`stopper`](Container::stopper) is used, and [`Error::Look`] when
    /// the engine cannot be asked what has happened. No event is lost by that: the next call
    /// asks again.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<BundleEvent>, Error> {
        let end = deadline(Instant::now(), timeout);
        loop {
            if self.bundle.is_stopped() {
                return Err(Error::Stopped);
            }
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.ended {
                return Ok(None);
            }
            if let Some(due) = self.due {
                self.look(due, end)?;
                self.due = None;
                continue;
            }
            let next = match self.incoming.try_recv() {
                Err(TryRecvError::Empty) => {
                    let left = end.saturating_duration_since(Instant::now());
                    let slice = self.check_health(left).unwrap_or(left).min(left).min(TICK);
                    let next = self.incoming.recv_timeout(slice);
                    if slice < left && matches!(next, Err(RecvTimeoutError::Timeout)) {
                        if self.looked.elapsed() >= SILENCE {
                            self.due = Some(Look { code: None });
                        }
                        continue;
                    }
                    next
                }
                next => next.map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Ok(Event::Died(code)) => self.due = Some(Look { code: Some(code) }),
                Ok(Event::End | Event::Failed(_)) | Err(RecvTimeoutError::Disconnected) => {
                    // The engine was away for long, and the container may be there still.
                    (self.follow, self.incoming) = self.bundle.follow_events(end)?;
                    self.due = Some(Look { code: None });
                }
                Ok(Event::Begun | Event::Happened | Event::Line(_)) => {
                    self.due = Some(Look { code: None });
                }
            }
        }
    }

    /// Begins a health check that the engine does not run, and returns the time until the next may be due. Its outcome
    /// is an event. It may take two seconds longer than this.
    fn check_health(&mut self, left: Duration) -> Option<Duration> {
        const PAUSE: Duration = Duration::from_secs(1);
        let now = Instant::now();
        let wait = self.check?.saturating_duration_since(now);
        if !wait.is_zero() || left.is_zero() {
            return Some(wait.max(Duration::from_millis(1)));
        }
        let connection = self.bundle.session().connection();
        let by = self.bundle.look_by(deadline(now, left));
        let next = match connection.backend().check_health(self.bundle.id(), by) {
            Ok(next) => next,
            Err(error) => {
                tracing::debug!(%error, "no health check was begun");
                Some(PAUSE)
            }
        };
        self.check = next.map(|it| deadline(Instant::now(), it));
        next
    }

    /// Adds what has changed since the last look. The code is that of the last end, which a container that was
    /// restarted or removed does not tell any more.
    fn look(&mut self, Look { code }: Look, end: Instant) -> Result<(), Error> {
        let connection = self.bundle.session().connection();
        let deadline = self.bundle.look_by(end);
        self.looked = Instant::now();
        let info = connection.container(self.bundle.container_id(), deadline);
        let info = info.map_err(|source| Error::Look { what: "the container's state", source })?;
        if let Some(info) = info {
            let log = || last_lines(self.bundle.session(), self.bundle.id(), deadline);
            self.ready.extend(self.seen.changes(&info, code, log));
            // It may have been started again.
            self.check = self.check.or(Some(Instant::now()));
        } else {
            self.ready.extend(self.seen.gone(code));
            self.ended = true;
        }
        Ok(())
    }
}

impl Seen {
    /// The events that lead from the last look to this one.
    fn changes(
        &mut self,
        info: &ContainerInfo,
        code: Option<i32>,
        log: impl Fn() -> String,
    ) -> Vec<BundleEvent> {
        let mut changes = Vec::new();
        let died = |exit| BundleEvent::Died { exit, log: log() };
        let code = code.or(self.code);
        let is_first = self.started.is_none();
        let is_another_run = !is_first && self.started.as_ref() != Some(&info.started);
        if is_another_run {
            if !self.ended {
                changes.push(died(told(code.unwrap_or(-1))));
            }
            (self.ended, self.health) = (false, None);
            changes.push(BundleEvent::Restarted);
        }
        let has_ended = matches!(info.state, State::Exited | State::Restarting);
        if is_first && !has_ended {
            changes.push(BundleEvent::Started);
        }
        if info.health != self.health
            && let Some(health) = info.health.filter(|_| !has_ended)
        {
            changes.push(BundleEvent::Health(health));
        }
        if has_ended
            && !self.ended
            && let Some(exit) = info.exit.clone()
        {
            changes.push(died(exit));
        }
        let started = Some(info.started.clone());
        // One that is about to be removed has neither ended nor does it run.
        let code = code.filter(|_| !has_ended && !is_another_run);
        *self = Self { started, ended: has_ended, health: info.health, code };
        changes
    }

    /// The events of a container that does not exist any more.
    fn gone(&self, code: Option<i32>) -> Vec<BundleEvent> {
        let died = |code| BundleEvent::Died { exit: told(code), log: String::new() };
        let died = (!self.ended).then(|| died(code.or(self.code).unwrap_or(-1)));
        died.into_iter().chain([BundleEvent::Gone]).collect()
    }
}

/// The exit of a container that cannot be asked any more.
fn told(code: i32) -> Exit {
    Exit { code, out_of_memory: false, error: String::new() }
}

/// Waits for each event; the iterator ends when none will come, and after an error.
impl Iterator for Events<'_> {
    type Item = Result<BundleEvent, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended && self.ready.is_empty() {
            return None;
        }
        let next = self.next_timeout(Duration::MAX).transpose();
        self.ended |= matches!(next, Some(Err(_)));
        next
    }
}

impl fmt::Debug for Events<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("bundle", self.bundle).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::backend::Id;

    fn info(
        started: &str,
        state: State,
        code: Option<i32>,
        health: Option<Health>,
    ) -> ContainerInfo {
        ContainerInfo {
            image: String::new(),
            id: Id::parse(&"0".repeat(64)).unwrap(),
            name: "c".into(),
            labels: BTreeMap::new(),
            state,
            started: started.into(),
            exit: code.map(|code| Exit { code, out_of_memory: false, error: String::new() }),
            health,
            endpoints: Vec::new(),
            published: Vec::new(),
        }
    }

    fn texts(looks: &[(ContainerInfo, Option<i32>)]) -> Vec<String> {
        let mut seen = Seen::default();
        let changes =
            looks.iter().flat_map(|(info, code)| seen.changes(info, *code, || "bye".into()));
        let text = |event| match event {
            BundleEvent::Died { exit, log } => format!("{} {log}", exit.code),
            event => format!("{event:?}"),
        };
        changes.map(text).collect()
    }

    #[test]
    fn each_change_is_told_once() {
        use Health::{Healthy, Starting, Unhealthy};
        use State::{Exited, Running};
        assert_eq!(
            texts(&[
                (info("1", Running, None, Some(Starting)), None),
                (info("1", Running, None, Some(Starting)), None),
                (info("1", Running, None, Some(Healthy)), None),
                (info("1", Running, None, Some(Unhealthy)), None),
                (info("1", Exited, Some(3), Some(Unhealthy)), Some(3)),
                (info("1", Exited, Some(3), Some(Unhealthy)), None),
                (info("2", Running, Some(3), None), None),
                (info("2", Exited, Some(4), None), Some(4)),
            ]),
            [
                "Started",
                "Health(Starting)",
                "Health(Healthy)",
                "Health(Unhealthy)",
                "3 bye",
                "Restarted",
                "4 bye"
            ]
        );
    }

    #[test]
    fn a_container_that_has_ended_already_only_dies() {
        assert_eq!(texts(&[(info("1", State::Exited, Some(0), None), None)]), ["0 bye"]);
    }

    #[test]
    fn an_end_between_two_looks_is_told_with_its_code_where_the_engine_told_it() {
        let run = |started| info(started, State::Running, None, None);
        let again = (info("3", State::Restarting, Some(7), None), None);
        assert_eq!(
            texts(&[(run("1"), None), (run("2"), Some(5)), again]),
            ["Started", "5 bye", "Restarted", "-1 bye", "Restarted", "7 bye"]
        );
    }

    #[test]
    fn a_death_whose_removal_was_seen_first_is_told_before_the_end() {
        let going = info("1", State::Other, None, None);
        let mut seen = Seen::default();
        seen.changes(&info("1", State::Running, None, None), None, String::new);
        assert_eq!(seen.changes(&going, Some(137), String::new), []);
        let died = |code| BundleEvent::Died { exit: told(code), log: String::new() };
        assert_eq!(seen.gone(None), [died(137), BundleEvent::Gone]);
        seen = Seen::default();
        seen.changes(&info("1", State::Running, None, None), None, String::new);
        assert_eq!(seen.gone(None), [died(-1), BundleEvent::Gone]);
        seen.changes(&info("1", State::Exited, Some(3), None), None, String::new);
        assert_eq!(seen.gone(None), [BundleEvent::Gone]);
    }
}
