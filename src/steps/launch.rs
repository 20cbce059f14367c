//! Both steps at once.

use crate::container::BundleSpec;
use crate::engine::Engine;
use crate::error::{Error, StepError};
use crate::in_turns::in_turns;
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
    /// It first waits for the end of a teardown in the [background](BundleRunning::close_in_background) that it would
    /// meet. It then returns within the deadlines of the [`Engine`], and cannot be stopped before. If the process ends
    /// meanwhile, such as by Ctrl-C, the reaper removes what was made.
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
/// plans. Each failure is an event at level `INFO` when it comes.
///
/// ```no_run
/// use sidecar_bundle::{BundleSpec, Engine, Error, NetworkPlanned, Slug, launch_all};
///
/// let mut plans = Vec::new();
/// for name in ["first", "second"] {
///     plans.push((NetworkPlanned::new(Slug::new(name)?), BundleSpec::new()));
/// }
/// let bundles = launch_all(&Engine::docker(), plans).unwrap_or_else(|failed| {
///     // Go on with those that run; a `?` would close them.
///     let (error, bundles) = failed.into_parts();
///     for error in error.each() {
///         if let Error::Bundle(failed) = error {
///             eprintln!("{} does not run: {}", failed.plan().slug(), failed.error());
///         }
///     }
///     bundles
/// });
/// bundles.close()?;
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
///
/// Of plans with one slug, or whose subnets overlap, all but one fail: no other subnet is searched for.
///
/// # Errors
///
/// [`Error::Bundle`] for each that failed, with its plan and the error of its [`launch`](NetworkPlanned::launch); for
/// more than one, [`Error::Several`]. The others run, and are handed back: with `?` in a function that returns
/// [`Error`] they are closed.
pub fn launch_all(
    engine: &Engine,
    plans: impl IntoIterator<Item = (NetworkPlanned, BundleSpec)>,
) -> Result<RunningBundles, StepError<RunningBundles>> {
    let launch = |(plan, spec): (NetworkPlanned, BundleSpec)| {
        plan.launch(engine, spec).map_err(|failed| {
            let (error, plan) = failed.into_parts();
            tracing::info!(slug = %plan.slug(), error = %error.chain(), "a bundle does not run");
            error.of(plan)
        })
    };
    let (mut bundles, mut failures) = (RunningBundles::default(), Vec::new());
    for result in in_turns(plans.into_iter().collect(), IN_FLIGHT, launch) {
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
