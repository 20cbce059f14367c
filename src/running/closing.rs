//! The teardown of a bundle in the background.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::ownership::teardown::Teardown;

/// A bundle that is being closed, by [`BundleRunning::close_in_background`](super::BundleRunning::close_in_background).
///
/// Dropping this does not stop the teardown.
pub struct Closing(pub(super) Arc<Teardown>);

impl Closing {
    /// Returns true if nothing of the bundle is left to do.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.has_ended()
    }

    /// Waits until the bundle is closed.
    ///
    /// # Errors
    ///
    /// Those of [`BundleRunning::close`](super::BundleRunning::close).
    pub fn wait(self) -> Result<(), Error> {
        self.0.wait()
    }
}

/// Prints the slug, and if it is finished.
impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closing")
            .field("slug", &self.0.plan().slug().as_str())
            .field("is_finished", &self.is_finished())
            .finish()
    }
}
