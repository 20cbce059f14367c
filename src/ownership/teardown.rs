//! Teardowns in the background: by a few threads for each engine, which end when they have nothing to do.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use std::{process, thread};

use super::calls;
use crate::error::Error;
use crate::plan::NetworkPlanned;

/// The bundles that are launched or torn down on an engine at the same time. Docker makes and removes networks one by
/// one, and more at once take it longer.
pub(crate) const IN_FLIGHT: usize = 4;

/// By process, since a fork has none of the threads that are counted, and by engine.
static POOLS: Mutex<BTreeMap<(u32, String), Pool>> = Mutex::new(BTreeMap::new());

#[derive(Default)]
struct Pool {
    waiting: VecDeque<(Arc<Teardown>, Work)>,
    under_way: Vec<Arc<Teardown>>,
    threads: usize,
}

/// Removes a bundle and releases its slug.
type Work = Box<dyn FnOnce() -> Result<(), Error> + Send>;

/// The result of the work, or its panic.
type End = thread::Result<Result<(), Error>>;

/// The teardown of one bundle.
#[derive(Debug)]
pub(crate) struct Teardown {
    plan: NetworkPlanned,
    /// The engines on which the slug is held until then.
    engines: Vec<String>,
    /// Set at its end; empty when it was taken.
    end: OnceLock<Mutex<Option<End>>>,
}

impl Teardown {
    /// One that is over.
    pub(crate) fn over(plan: NetworkPlanned, result: Result<(), Error>) -> Arc<Self> {
        Arc::new(Self { plan, engines: Vec::new(), end: Mutex::new(Some(Ok(result))).into() })
    }

    /// Begins one, after those that came before it on the first of its engines.
    pub(crate) fn begin(
        engines: Vec<String>,
        plan: NetworkPlanned,
        work: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Arc<Self> {
        let key = (process::id(), engines.first().cloned().unwrap_or_default());
        let teardown = Arc::new(Self { plan, engines, end: OnceLock::new() });
        let mut pools = pools();
        let pool = pools.entry(key.clone()).or_default();
        pool.waiting.push_back((Arc::clone(&teardown), Box::new(work)));
        if pool.threads < IN_FLIGHT {
            pool.threads += 1;
            drop(pools);
            let its = key.clone();
            let spawned = thread::Builder::new().spawn(move || take_turns(&its));
            if spawned.is_err() {
                do_without_a_thread(&key);
            }
        }
        teardown
    }

    pub(crate) fn plan(&self) -> &NetworkPlanned {
        &self.plan
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.end.get().is_some()
    }

    pub(crate) fn wait_for_its_end(&self) {
        self.end.wait();
    }

    /// Waits for its end, but not in a call that is abandoned, for which the teardown may wait in turn.
    fn join(&self) {
        while calls::is_one() && !self.has_ended() {
            if calls::is_abandoned() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.wait_for_its_end();
    }

    /// Waits for its end and takes its result. It panics if the work did.
    pub(crate) fn wait(&self) -> Result<(), Error> {
        match lock(self.end.wait()).take() {
            Some(Ok(result)) => result,
            Some(Err(panic)) => resume_unwind(panic),
            None => Ok(()),
        }
    }
}

/// Does the work of a thread that did not start, unless others will do it.
fn do_without_a_thread(key: &(u32, String)) {
    if !is_left_to_others(key) {
        take_turns(key);
    }
}

/// Takes back a thread that did not start, if there are others that will do its work.
fn is_left_to_others(key: &(u32, String)) -> bool {
    match pools().get_mut(key) {
        Some(pool) if pool.threads > 1 => {
            pool.threads -= 1;
            true
        }
        _ => false,
    }
}

/// Does what waits on an engine, until nothing does.
fn take_turns(key: &(u32, String)) {
    while let Some((teardown, work)) = next(key) {
        let result = catch_unwind(AssertUnwindSafe(work));
        if result.is_err() {
            // A subscriber may be what panicked.
            let slug = teardown.plan.slug();
            let warn = || tracing::warn!(%slug, "a teardown panicked: a bundle may be left");
            let _ = catch_unwind(AssertUnwindSafe(warn));
        }
        if let Some(pool) = pools().get_mut(key) {
            pool.under_way.retain(|it| !Arc::ptr_eq(it, &teardown));
        }
        // It is set here alone.
        let _ = teardown.end.set(Mutex::new(Some(result)));
    }
}

fn next(key: &(u32, String)) -> Option<(Arc<Teardown>, Work)> {
    let mut pools = pools();
    let pool = pools.get_mut(key)?;
    let next = pool.waiting.pop_front();
    match &next {
        Some((teardown, _)) => pool.under_way.push(Arc::clone(teardown)),
        None if pool.threads == 1 => drop(pools.remove(key)),
        None => pool.threads -= 1,
    }
    next
}

/// Waits for the end of all teardowns in the background that this process has begun before, on any engine.
///
/// It also waits for calls of the feature `tokio` whose futures were dropped, and a pull in one may take minutes.
///
/// It is for the end of a program whose bundles have a [grace period](crate::BundleSpec::stop_grace) or a
/// [saved log](crate::BundleSpec::save_log), which the reaper does not know. Failures are in the log.
///
/// ```no_run
/// use std::time::Duration;
///
/// use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug, wait_for_teardowns};
///
/// let spec = BundleSpec::new().image("postgres:17").stop_grace(Duration::from_secs(10));
/// let plan = NetworkPlanned::new(Slug::new("demo")?);
/// plan.launch(&Engine::docker(), spec)?.close_in_background();
/// wait_for_teardowns(); // the reaper would not wait for its last checkpoint
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
pub fn wait_for_teardowns() {
    wait(|(process, _), _| *process == process::id());
}

/// Waits for the teardowns of this process on an engine that a step would collide with, and for abandoned calls.
pub(crate) fn join(engine: &str, collides: impl Fn(&NetworkPlanned) -> bool) {
    wait(|(process, on), plan| {
        (*process, on.as_str()) == (process::id(), engine) && collides(plan)
    });
}

fn wait(is_meant: impl Fn(&(u32, String), &NetworkPlanned) -> bool) {
    // They have torn their resources down by then, or have handed them to the teardowns below.
    calls::join(&is_meant);
    let of_pool = |(key, pool): (&(u32, String), &Pool)| {
        let waiting = pool.waiting.iter().map(|(teardown, _)| teardown);
        let all = waiting.chain(&pool.under_way).map(Arc::clone);
        let is_meant = |it: &Arc<Teardown>| {
            let mut engines = it.engines.iter().map(|engine| (key.0, engine.clone()));
            engines.any(|key| is_meant(&key, &it.plan))
        };
        all.filter(is_meant).collect::<Vec<_>>()
    };
    let found: Vec<_> = pools().iter().flat_map(of_pool).collect();
    for teardown in found {
        tracing::debug!(slug = %teardown.plan.slug(), "a teardown in the background is waited for");
        teardown.join();
    }
}

fn pools() -> MutexGuard<'static, BTreeMap<(u32, String), Pool>> {
    lock(&POOLS)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Slug;

    fn plan() -> NetworkPlanned {
        NetworkPlanned::new(Slug::new("demo").unwrap())
    }

    #[test]
    fn a_thread_that_did_not_start_is_taken_back_if_others_do_its_work() {
        let key = (process::id(), "a thread that did not start".to_owned());
        assert!(!is_left_to_others(&key), "there are none");
        pools().insert(key.clone(), Pool { threads: 3, ..Pool::default() });
        assert!(is_left_to_others(&key));
        assert!(is_left_to_others(&key));
        // It is the last one.
        assert!(!is_left_to_others(&key));
        assert_eq!(pools().remove(&key).unwrap().threads, 1);
    }

    #[test]
    fn the_work_of_the_only_thread_is_done_even_if_that_did_not_start() {
        let key = (process::id(), "the only thread".to_owned());
        let begun = |threads| {
            let engines = vec![key.1.clone()];
            let teardown = Teardown { plan: plan(), engines, end: OnceLock::new() };
            let teardown = Arc::new(teardown);
            let mut pool = Pool { threads, ..Pool::default() };
            pool.waiting.push_back((Arc::clone(&teardown), Box::new(|| Ok(()))));
            pools().insert(key.clone(), pool);
            do_without_a_thread(&key);
            teardown.has_ended()
        };
        assert!(begun(1));
        assert!(!pools().contains_key(&key));
        assert!(!begun(2), "the other thread does it");
        pools().remove(&key);
    }

    #[test]
    fn the_end_of_one_teardown_leaves_the_others_under_way() {
        let engine = "two teardowns";
        let engines = || vec![engine.to_owned()];
        let (go_on, wait) = std::sync::mpsc::channel();
        let first = Teardown::begin(engines(), plan(), move || {
            let _ = wait.recv();
            Ok(())
        });
        let second = Teardown::begin(engines(), plan(), || Ok(()));
        second.wait().unwrap();
        let key = (process::id(), engine.to_owned());
        let is_first = |it: &Arc<Teardown>| Arc::ptr_eq(it, &first);
        let found = pools()
            .get(&key)
            .is_some_and(|it| it.under_way.len() == 1 && it.under_way.iter().all(is_first));
        go_on.send(()).unwrap();
        first.wait().unwrap();
        assert!(found);
    }

    #[test]
    fn a_pool_goes_with_its_last_thread() {
        let key = (process::id(), "the last thread".to_owned());
        let teardown = Teardown::over(plan(), Ok(()));
        let mut pool = Pool { threads: 2, ..Pool::default() };
        pool.waiting.push_back((Arc::clone(&teardown), Box::new(|| Ok(()))));
        pools().insert(key.clone(), pool);
        assert!(next(&key).is_some());
        let under_way = || pools().get(&key).map(|pool| (pool.threads, pool.under_way.len()));
        assert_eq!(under_way(), Some((2, 1)));
        // The first thread ends, while the other one works.
        assert!(next(&key).is_none());
        assert_eq!(under_way(), Some((1, 1)));
        pools().get_mut(&key).unwrap().under_way.clear();
        assert!(next(&key).is_none());
        assert_eq!(under_way(), None);
    }
}
