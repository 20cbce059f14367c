//! Health checks of podman. Timers of systemd run them, so nothing runs them on a host without systemd.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::Request;
use super::{Api, Failure, requests};
use crate::engine::backend::{Id, Resource};
use crate::engine::error::EngineError;

/// The time after which nothing is known of a check: podman does not end one, whatever its timeout.
const LONGEST: Duration = Duration::from_secs(600);

/// The time by which a timer may be late, beside the check's own.
const LATE: Duration = Duration::from_secs(5);

/// The last run of each container's check that was seen.
#[derive(Debug, Default)]
pub(super) struct Checks(Mutex<BTreeMap<Id, Run>>);

#[derive(Debug)]
struct Run {
    /// Its end, as the engine prints it; empty before the first.
    end: String,
    /// The time when it was seen first, or when the next one was begun here.
    since: Instant,
    /// It was run here.
    is_ours: bool,
    /// Another was begun here since.
    begun: bool,
    /// True until the check that was begun here has ended.
    under_way: Arc<AtomicBool>,
}

impl Api {
    /// Begins the container's check if nobody else has run it in time, and returns the time after which that is to be
    /// asked again. `None` if there is no check, or the container does not run.
    pub(super) fn check_podmans_health(
        &self,
        id: &Id,
        deadline: Instant,
    ) -> Result<Option<Duration>, EngineError> {
        let inspect = requests::inspect(self.dialect, Resource::Container, id.as_str());
        let container = self.look(&inspect, deadline)?;
        let Some(Check { interval, timeout, end }) = container.as_ref().and_then(Check::of) else {
            return Ok(None);
        };
        let mut runs = self.checks.0.lock().unwrap_or_else(PoisonError::into_inner);
        let run = runs.entry(id.clone()).or_insert_with(|| Run::new(&end, false));
        if run.end != end {
            // One that was not begun here is somebody else's.
            let is_ours = std::mem::take(&mut run.begun);
            *run = Run { under_way: Arc::clone(&run.under_way), ..Run::new(&end, is_ours) };
        }
        let is_ours = run.is_ours || self.client.has_no_timers();
        let due = if is_ours { interval } else { interval + timeout + LATE };
        let left = due.saturating_sub(run.since.elapsed());
        if !left.is_zero() {
            return Ok(Some(left));
        }
        run.since = Instant::now();
        let under_way = Arc::clone(&run.under_way);
        if !under_way.swap(true, Ordering::SeqCst) {
            run.begun = true;
            let (api, id, ended) = (self.clone(), id.clone(), Arc::clone(&under_way));
            // It takes as long as the command in the container.
            let spawned = thread::Builder::new().spawn(move || {
                let check = Request::get(format!("/libpod/containers/{id}/healthcheck")).once();
                if let Err(Failure { error, .. }) = api.ask(&check, Instant::now() + LONGEST) {
                    tracing::debug!(%error, "a health check was not run");
                }
                ended.store(false, Ordering::SeqCst);
            });
            if spawned.is_err() {
                under_way.store(false, Ordering::SeqCst);
            }
        }
        Ok(Some(interval))
    }
}

impl Run {
    fn new(end: &str, is_ours: bool) -> Self {
        let under_way = Arc::default();
        Self { end: end.to_owned(), since: Instant::now(), is_ours, begun: false, under_way }
    }
}

/// The check of a running container.
struct Check {
    interval: Duration,
    timeout: Duration,
    /// The end of its last run.
    end: String,
}

impl Check {
    fn of(container: &Value) -> Option<Self> {
        let check = &container["Config"]["Healthcheck"];
        let nanos = |name: &str| check[name].as_u64().unwrap_or(0);
        if container["State"]["Running"] != true
            || check["Test"][0] == "NONE"
            || nanos("Interval") == 0
        {
            return None;
        }
        let end = container["State"]["Health"]["Log"].as_array().and_then(|log| log.last());
        Some(Self {
            interval: Duration::from_nanos(nanos("Interval")),
            timeout: Duration::from_nanos(nanos("Timeout")),
            end: end.and_then(|it| it["End"].as_str()).unwrap_or_default().to_owned(),
        })
    }
}
