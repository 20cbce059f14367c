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
pub struct Guest<'a>(pub(crate) Hosted<&'a BundleRunning>);

/// The parts of a guest, with its hold on the bundle.
pub(crate) struct Hosted<B: Deref<Target = BundleRunning>> {
    // In the order of teardown: the name is free when the container is gone.
    container: Container,
    place: GuestPlace<B>,
}

/// A name among the guests of a bundle, until this is dropped. Its drop also keeps the bundle borrowed for as long.
pub(crate) struct GuestPlace<B: Deref<Target = BundleRunning>> {
    bundle: B,
    name: String,
}

impl<B: Deref<Target = BundleRunning>> GuestPlace<B> {
    /// The bundle is handed back if the name is taken.
    pub(crate) fn take(bundle: B, name: &str) -> Result<Self, B> {
        let is_free = bundle.network().guests().insert(name.to_owned());
        if is_free { Ok(Self { bundle, name: name.to_owned() }) } else { Err(bundle) }
    }

    pub(crate) fn bundle(&self) -> &BundleRunning {
        &self.bundle
    }
}

impl<B: Deref<Target = BundleRunning>> Drop for GuestPlace<B> {
    fn drop(&mut self) {
        self.bundle.network().guests().remove(&self.name);
    }
}

impl<B: Deref<Target = BundleRunning>> Hosted<B> {
    pub(crate) fn new(
        place: GuestPlace<B>,
        id: Id,
        name: String,
        ip: Ipv4Addr,
        guard: Guard,
        network: Arc<Network>,
    ) -> Self {
        let container = Container::new(id, name, ip, Vec::new(), guard, network);
        Self { container, place }
    }

    pub(crate) fn close(self) -> Result<(), Error> {
        self.container.remove()
    }
}

impl<B: Deref<Target = BundleRunning>> Deref for Hosted<B> {
    type Target = Container;

    fn deref(&self) -> &Container {
        &self.container
    }
}

impl<'a> Guest<'a> {
    /// The bundle that this is a guest of.
    pub fn bundle(&self) -> &'a BundleRunning {
        self.0.place.bundle
    }

    /// Removes the container now. The bundle runs on.
    ///
    /// # Errors
    ///
    /// [`Error::NotRemoved`] when it may be left, with the command that removes it.
    pub fn close(self) -> Result<(), Error> {
        self.0.close()
    }
}

/// The container, with its observation.
impl Deref for Guest<'_> {
    type Target = Container;

    fn deref(&self) -> &Container {
        &self.0
    }
}

/// Prints name, address and id.
impl fmt::Debug for Guest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guest").field(&**self).finish()
    }
}
