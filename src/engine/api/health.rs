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
        let Some(check) = container.as_ref().and_then(Check::of) else { return Ok(None) };
        let mut runs = self.checks.0.lock().unwrap_or_else(PoisonError::into_inner);
        let run = runs.entry(id.clone()).or_insert_with(|| Run::new(&check.end, false));
        run.see(&check.end);
        let left = run.left(&check, self.client.has_no_timers());
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
                let request = Request::get(format!("/libpod/containers/{id}/healthcheck")).once();
                if let Err(Failure { error, .. }) = api.ask(&request, Instant::now() + LONGEST) {
                    tracing::debug!(%error, "a health check was not run");
                }
                ended.store(false, Ordering::SeqCst);
            });
            if spawned.is_err() {
                under_way.store(false, Ordering::SeqCst);
            }
        }
        Ok(Some(check.interval))
    }
}

impl Run {
    fn new(end: &str, is_ours: bool) -> Self {
        let under_way = Arc::default();
        Self { end: end.to_owned(), since: Instant::now(), is_ours, begun: false, under_way }
    }

    /// Takes note of the end of the last run.
    fn see(&mut self, end: &str) {
        if self.end != end {
            // One that was not begun here is somebody else's.
            let is_ours = std::mem::take(&mut self.begun);
            *self = Self { under_way: Arc::clone(&self.under_way), ..Self::new(end, is_ours) };
        }
    }

    /// The time until the next is to be begun here.
    fn left(&self, check: &Check, has_no_timers: bool) -> Duration {
        let is_ours = self.is_ours || has_no_timers;
        let due = if is_ours { check.interval } else { check.interval + check.timeout + LATE };
        due.saturating_sub(self.since.elapsed())
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn only_a_container_that_runs_is_checked_and_by_its_own_check() {
        let container = |running: bool, test: &str, interval: u64| {
            let log = json!([{"End": "1"}, {"End": "2"}]);
            let check =
                json!({"Test": [test, "true"], "Interval": interval, "Timeout": 7 * SECOND});
            let state = json!({"Running": running, "Health": {"Log": log}});
            json!({"State": state, "Config": {"Healthcheck": check}})
        };
        let check = Check::of(&container(true, "CMD", 3 * SECOND)).unwrap();
        let seconds = (check.interval.as_secs(), check.timeout.as_secs());
        assert_eq!((seconds, &*check.end), ((3, 7), "2"));
        for (running, test, interval) in
            [(false, "CMD", SECOND), (true, "NONE", SECOND), (true, "CMD", 0)]
        {
            assert!(
                Check::of(&container(running, test, interval)).is_none(),
                "{running} {test} {interval}"
            );
        }
        assert!(Check::of(&json!({"State": {"Running": true}})).is_none());
    }

    #[test]
    fn a_check_is_begun_at_its_interval_or_later_where_somebody_else_may_run_it() {
        let [interval, timeout] = [3, 7].map(Duration::from_secs);
        let check = Check { interval, timeout, end: "1".into() };
        // It was seen first a while ago.
        let left = |run: &Run, has_no_timers| run.left(&check, has_no_timers).as_secs_f64().round();
        let ago =
            |run: &mut Run| run.since = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
        let mut run = Run::new("1", false);
        ago(&mut run);
        run.see("1");
        assert_eq!((left(&run, true), left(&run, false)), (1.0, 13.0));
        // Nobody did so in time, and the next run that ends is ours.
        run.begun = true;
        run.see("2");
        ago(&mut run);
        assert_eq!((left(&run, true), left(&run, false)), (1.0, 1.0));
        // The one after that is somebody else's.
        run.see("3");
        assert_eq!((left(&run, true), left(&run, false)), (3.0, 15.0));
    }
}
