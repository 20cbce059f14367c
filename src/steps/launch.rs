//! Both steps at once.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

use crate::container::BundleSpec;
use crate::engine::Engine;
use crate::error::{Error, StepError};
use crate::ownership::teardown::IN_FLIGHT;
use crate::plan::NetworkPlanned;
use crate::running::{BundleRunning, RunningBundles};

impl NetworkPlanned {
    /// Creates the network and starts the container in it.
    ///
    /// ```no_run
    /// use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
    ///
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let bundle = plan.launch(&Engine::docker(), BundleSpec::new())?;
    /// assert_eq!(bundle.ip().octets()[3], 2);
    /// bundle.close()?;
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    ///
    /// It returns within the deadlines of the [`Engine`], and cannot be stopped before. If the process ends meanwhile,
    /// as by Ctrl-C, the reaper removes what was made.
    ///
    /// # Errors
    ///
    /// Those of both steps, and a wrong specification before either. The plan is handed back, and
    /// nothing of either step was seen afterwards, unless an [`Error::NotRemoved`](crate::Error::NotRemoved)
    /// [comes with the error](crate::Error::Several).
    #[expect(clippy::needless_pass_by_value, reason = "a specification is built for one start")]
    pub fn launch(
        self,
        engine: &Engine,
        spec: BundleSpec,
    ) -> Result<BundleRunning, StepError<Self>> {
        let spec = match spec.check(self.naming()) {
            Ok(spec) => spec,
            Err(error) => return Err(StepError::new(error.into(), self)),
        };
        let (network, early) = self.create_for(engine, Some(&spec))?;
        network.start_checked(spec, early).map_err(|failed| {
            let (error, network) = failed.into_parts();
            let plan = network.plan().clone();
            StepError::new(error.and(network.close()), plan)
        })
    }
}

/// Launches many bundles, four at a time, and returns when each runs or has failed. Those that run are in the order of their
/// plans. Each is an event at level `INFO`.
///
/// ```no_run
/// use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug, launch_all};
///
/// let plan = |name| Ok(NetworkPlanned::new(Slug::new(name)?));
/// let plans = ["first", "second"].map(|name| Ok((plan(name)?, BundleSpec::new())));
/// let plans: Vec<_> = plans.into_iter().collect::<Result<_, sidecar_bundle::Error>>()?;
/// let bundles = launch_all(&Engine::docker(), plans)?;
/// println!("{}", bundles[1].ip());
/// bundles.close()?;
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Bundle`] for each that failed, with the error of its [`launch`](NetworkPlanned::launch); of more than one,
/// [`Error::Several`]. The others run, and are handed back: with `?` in a function that returns [`Error`] they are closed.
pub fn launch_all(
    engine: &Engine,
    plans: impl IntoIterator<Item = (NetworkPlanned, BundleSpec)>,
) -> Result<RunningBundles, StepError<RunningBundles>> {
    let plans: Vec<_> = plans.into_iter().collect();
    let all = plans.len();
    let results = Mutex::new(Vec::new());
    let waiting = Mutex::new(plans.into_iter().enumerate());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let span = tracing::Span::current();
    let take_turns = || {
        let _entered = span.enter();
        while let Some((number, (plan, spec))) = next() {
            let slug = plan.slug().clone();
            let result = plan.launch(engine, spec).map_err(|failed| Error::from(failed).of(&slug));
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results.push((number, result));
            let is_running = results.last().is_some_and(|(_, result)| result.is_ok());
            tracing::info!(%slug, is_running, all, done = results.len(), "a bundle was launched");
        }
    };
    thread::scope(|scope| {
        for _ in 1..IN_FLIGHT.min(all) {
            // Without room for a thread, the others take its turns.
            let _ = thread::Builder::new().spawn_scoped(scope, take_turns);
        }
        take_turns();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    let (mut bundles, mut failures) = (RunningBundles::default(), Vec::new());
    for (_, result) in results {
        match result {
            Ok(bundle) => bundles.extend([bundle]),
            Err(error) => failures.push(error),
        }
    }
    match Error::all(failures) {
        Ok(()) => Ok(bundles),
        Err(error) => Err(StepError::new(error, bundles)),
    }
}
