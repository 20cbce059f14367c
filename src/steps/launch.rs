//! Both steps at once.

use crate::container::BundleSpec;
use crate::engine::Engine;
use crate::error::StepError;
use crate::plan::NetworkPlanned;
use crate::running::BundleRunning;

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
