//! The teardown of a bundle in the background.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::ownership::teardown::Teardown;
use crate::plan::NetworkPlanned;

/// A bundle that is being closed, by [`BundleRunning::close_in_background`](super::BundleRunning::close_in_background).
///
/// Dropping this does not stop the teardown.
///
/// ```no_run
/// # use sidecar_bundle::{BundleRunning, Error};
/// # fn collect_results() {}
/// # fn run(bundle: BundleRunning) -> Result<(), Error> {
/// let closing = bundle.close_in_background();
/// collect_results();
/// if !closing.is_finished() {
///     println!("waiting for the teardown of {}", closing.plan().slug());
/// }
/// closing.wait()
/// # }
/// ```
pub struct Closing(pub(super) Arc<Teardown>);

impl Closing {
    /// The plan of the bundle.
    #[must_use]
    pub fn plan(&self) -> &NetworkPlanned {
        self.0.plan()
    }

    /// Returns true if the teardown has ended, with success or not.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.has_ended()
    }

    /// Waits for the end of the teardown.
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
            .field("slug", &self.plan().slug().as_str())
            .field("is_finished", &self.is_finished())
            .finish()
    }
}
