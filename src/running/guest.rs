//! A guest: another container in a bundle's network.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::Deref;
use std::sync::Arc;

use super::{BundleRunning, Container};
use crate::created::Network;
use crate::engine::backend::Id;
use crate::error::Error;
use crate::ownership::guard::Guard;

/// A container in a bundle's network, or in its network namespace; see [`BundleRunning::guest`].
///
/// It borrows the bundle, and dropping it removes the container, and logs a failure. When the process is killed, it is
/// removed with its bundle.
///
/// ```no_run
/// # use std::time::Duration;
/// # use sidecar_bundle::{BundleRunning, BundleSpec, Error};
/// # fn test(bundle: &BundleRunning) -> Result<(), Error> {
/// // The client of a test, where the image of the bundle has none.
/// let spec = BundleSpec::new().image("busybox:1").command(["sleep", "3600"]);
/// let client = bundle.guest("client", spec)?;
/// let url = format!("http://{}:8080/healthz", bundle.ip());
/// let output = client.exec(["wget", "-q", "-O", "-", &url], Duration::from_secs(5))?;
/// assert_eq!(output.stdout, "ok");
/// client.close()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "the container is removed when this is dropped; bind it to a name, and not to `_`"]
pub struct Guest<'a> {
    // In the order of teardown: the name is free when the container is gone.
    container: Container,
    place: GuestPlace<'a>,
}

/// A name among the guests of a bundle, until this is dropped. Its drop also keeps the bundle borrowed for as long.
pub(crate) struct GuestPlace<'a> {
    bundle: &'a BundleRunning,
    name: String,
}

impl<'a> GuestPlace<'a> {
    /// `None` if the name is taken.
    pub(crate) fn take(bundle: &'a BundleRunning, name: &str) -> Option<Self> {
        let is_free = bundle.network().guests().insert(name.to_owned());
        is_free.then(|| Self { bundle, name: name.to_owned() })
    }
}

impl Drop for GuestPlace<'_> {
    fn drop(&mut self) {
        self.bundle.network().guests().remove(&self.name);
    }
}

impl<'a> Guest<'a> {
    pub(crate) fn new(
        place: GuestPlace<'a>,
        id: Id,
        name: String,
        ip: Ipv4Addr,
        guard: Guard,
        network: Arc<Network>,
    ) -> Self {
        let container = Container::new(id, name, ip, Vec::new(), guard, network);
        Self { container, place }
    }

    /// The bundle that this is a guest of.
    pub fn bundle(&self) -> &'a BundleRunning {
        self.place.bundle
    }

    /// Removes the container now. The bundle runs on.
    ///
    /// # Errors
    ///
    /// [`Error::NotRemoved`] when it may be left, with the command that removes it.
    pub fn close(self) -> Result<(), Error> {
        self.container.remove()
    }
}

/// The container, with its observation.
impl Deref for Guest<'_> {
    type Target = Container;

    fn deref(&self) -> &Container {
        &self.container
    }
}

/// Prints name, address and id.
impl fmt::Debug for Guest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guest").field(&self.container).finish()
    }
}
