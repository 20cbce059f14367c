//! A running container: a bundle's own, or a guest's.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::Stopper;
use crate::container::{CheckedSpec, Ready};
use crate::created::Network;
use crate::engine::backend::Id;
use crate::error::Error;
use crate::ownership::calls;
use crate::ownership::guard::Guard;
use crate::ownership::session::Session;
use crate::plan::NetworkPlanned;

/// A running container under guard: that of a [`BundleRunning`](crate::BundleRunning) or of a
/// [`Guest`](crate::Guest), which dereference to this.
///
/// ```no_run
/// # use std::time::Duration;
/// # use sidecar_bundle::{BundleRunning, Container, Error, Guest, Ready};
/// fn wait(container: &Container) -> Result<(), Error> {
///     container.wait_for(&Ready::tcp(8080), Duration::from_secs(10))?;
///     println!("{} answers at {}", container.container_name(), container.ip());
///     Ok(())
/// }
/// # fn run(bundle: &BundleRunning, guest: &Guest<'_>) -> Result<(), Error> {
/// wait(bundle)?;
/// wait(guest)?;
/// # Ok(())
/// # }
/// ```
pub struct Container {
    id: Id,
    name: String,
    ip: Ipv4Addr,
    stopper: Stopper,
    ready: Vec<Ready>,
    guard: Guard,
    // After the guard: it may be the last that holds the session.
    network: Arc<Network>,
}

impl Container {
    pub(crate) fn new(
        id: Id,
        name: String,
        ip: Ipv4Addr,
        ready: Vec<Ready>,
        guard: Guard,
        network: Arc<Network>,
    ) -> Self {
        Self { id, name, ip, stopper: Stopper::default(), ready, guard, network }
    }

    /// The address of the container in the bundle's network: the pinned one of a bundle, and that of a guest when it
    /// was started.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// The container's id: 64 hexadecimal digits.
    #[must_use]
    pub fn container_id(&self) -> &str {
        self.id.as_str()
    }

    /// The container's name.
    #[must_use]
    pub fn container_name(&self) -> &str {
        &self.name
    }

    /// Returns a handle that stops the waits for this container from any thread. A guest has one of its own.
    ///
    /// The main loop of a launcher, until Ctrl-C or death:
    ///
    /// ```no_run
    /// # use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
    /// # fn on_ctrl_c(_: impl Fn() + Send + 'static) {}
    /// use std::time::Duration;
    /// use sidecar_bundle::Error;
    ///
    /// # let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let bundle = plan.launch(&Engine::docker(), BundleSpec::new())?;
    /// let stopper = bundle.stopper();
    /// on_ctrl_c(move || stopper.stop()); // for one, of the crate `ctrlc`
    /// let ended = bundle
    ///     .wait_ready(Duration::from_secs(30))
    ///     .and_then(|()| bundle.wait_exit(Duration::MAX));
    /// match ended {
    ///     Ok(exit) => println!("it ended: {exit:?}"),
    ///     Err(Error::Stopped) => println!("Ctrl-C"),
    ///     Err(error) => eprintln!("{error}"),
    /// }
    /// bundle.close()?;
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopper.is_stopped() || calls::is_abandoned()
    }

    pub(crate) fn id(&self) -> &Id {
        &self.id
    }

    pub(crate) fn session(&self) -> &Session {
        self.network.session()
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// The plan of its bundle.
    pub(crate) fn plan_of_bundle(&self) -> &NetworkPlanned {
        self.network.plan()
    }

    /// The readiness conditions of the specification.
    pub(crate) fn ready(&self) -> &[Ready] {
        &self.ready
    }

    pub(super) fn set_ready(&mut self, ready: Vec<Ready>) {
        self.ready = ready;
    }

    pub(super) fn set_end(&mut self, spec: &CheckedSpec) {
        self.guard.set_end(spec.options.grace, spec.options.save_log.clone());
    }

    /// Removes it now.
    pub(crate) fn remove(self) -> Result<(), Error> {
        self.guard.close()
    }

    pub(super) fn guard(&mut self) -> &mut Guard {
        &mut self.guard
    }
}

/// Prints name, address and id.
impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Container")
            .field("name", &self.name)
            .field("ip", &self.ip)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
