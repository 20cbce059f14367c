//! The second state, in async code.

use super::bundle::BundleRunning;
use super::call;
use super::held::{Held, State};
use crate::container::BundleSpec;
use crate::created::NetworkCreated as Blocking;
use crate::error::{Error, StepError};
use crate::plan::NetworkPlanned;

/// A bundle whose network exists, in async code; see [`create_network`](super::create_network).
///
/// Dropping it removes the network in the background.
///
/// ```no_run
/// use sidecar_bundle::tokio::create_network;
/// use sidecar_bundle::{BundleSpec, Engine, Error, NetworkPlanned};
///
/// async fn run(plan: NetworkPlanned, engine: &Engine) -> Result<(), Error> {
///     let network = create_network(plan, engine).await?;
///     assert_eq!(network.network_id().len(), 64);
///     network.close().await
/// }
/// ```
#[must_use = "the network is removed when this is dropped; bind it to a name, and not to `_`"]
#[derive(Debug)]
pub struct NetworkCreated(Held<Blocking>);

impl State for Blocking {
    fn place(&self) -> (&NetworkPlanned, Vec<String>) {
        (self.plan(), self.network().engines())
    }

    fn close(self) -> Result<(), Error> {
        Self::close(self)
    }
}

impl NetworkCreated {
    /// Takes a network from the blocking library.
    pub fn from_std(network: crate::NetworkCreated) -> Self {
        Self(Held::new(network))
    }

    /// Hands the network to the blocking library.
    pub fn into_std(self) -> crate::NetworkCreated {
        // Nothing borrows it.
        self.0.into_inner()
    }

    /// The plan that this was created from.
    #[must_use]
    pub fn plan(&self) -> &NetworkPlanned {
        self.0.plan()
    }

    /// The network's id; see [`network_id`](crate::NetworkCreated::network_id).
    #[must_use]
    pub fn network_id(&self) -> &str {
        self.0.network_id()
    }

    /// Starts the container at the planned address, as [`NetworkCreated::start`](crate::NetworkCreated::start) does.
    ///
    /// ```no_run
    /// use sidecar_bundle::tokio::NetworkCreated;
    /// use sidecar_bundle::{BundleSpec, Error};
    ///
    /// async fn start(network: NetworkCreated) -> Result<(), Error> {
    ///     let spec = || BundleSpec::new().image("acme/sidecars:7");
    ///     let bundle = match network.start(spec()).await {
    ///         // The same network once more.
    ///         Err(failed) => failed.into_state().start(spec()).await?,
    ///         Ok(bundle) => bundle,
    ///     };
    ///     bundle.close().await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`NetworkCreated::start`](crate::NetworkCreated::start). This state is handed back with its network; with
    /// `?`, in a function that returns [`Error`], it is dropped.
    pub async fn start(self, spec: BundleSpec) -> Result<BundleRunning, StepError<Self>> {
        let start = |network: Self| match network.into_std().start(spec) {
            Ok(bundle) => Ok(Held::new(bundle)),
            Err(failed) => {
                let (error, network) = failed.into_parts();
                Err(StepError::new(error, Self::from_std(network)))
            }
        };
        call::step(Some(self.0.used()), self, start).await.map(BundleRunning::of)
    }

    /// Removes the network now.
    ///
    /// # Errors
    ///
    /// [`Error::NotRemoved`] when the network may be left, with the command that removes it.
    pub async fn close(self) -> Result<(), Error> {
        self.0.close().await
    }
}

/// Removes the network in the background.
impl From<StepError<NetworkCreated>> for Error {
    fn from(failed: StepError<NetworkCreated>) -> Self {
        failed.into_parts().0
    }
}
