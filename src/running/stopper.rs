//! The handle that stops waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Stops the waits of one container, a bundle's own or a guest's, both those under way and later ones:
/// [`wait_ready`](super::Container::wait_ready), [`wait_for`](super::Container::wait_for),
/// [`wait_exit`](super::Container::wait_exit) and those for its [`events`](super::Container::events). It stops neither
/// a launch nor a followed log.
///
/// [`Container::stopper`](super::Container::stopper) makes it, and its clones are the same handle. It keeps nothing alive, and does
/// nothing to the bundle itself.
///
/// ```
/// use std::thread;
///
/// use sidecar_bundle::Stopper;
///
/// let stopper = Stopper::default(); // `bundle.stopper()` returns that of a bundle
/// let handler = stopper.clone();
/// thread::spawn(move || handler.stop()).join().expect("it does not panic");
/// assert!(stopper.is_stopped());
/// stopper.resume(); // for the wait after a signal to the container
/// assert!(!stopper.is_stopped());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Stopper(Arc<AtomicBool>);

impl Stopper {
    /// Stops the waits. Each returns [`Error::Stopped`](crate::Error::Stopped), usually within 50 ms: a request to the engine that is under
    /// way is waited for, and so is a closure of [`Ready::check`](crate::Ready::check).
    ///
    /// The stop lasts until [`resume`](Self::resume), so a stop between two waits is not lost. This only sets a flag,
    /// so a signal handler may call it.
    pub fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Lets later waits wait again, such as one for the container's end after a signal to it. A wait that is under
    /// way still may not have seen the stop.
    pub fn resume(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// Returns true if the waits are stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
