//! Bundles that are closed together.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::vec;

use super::BundleRunning;
use crate::error::{Error, StepError};

/// Running bundles that are closed together, four at a time. [`launch_all`](crate::launch_all) returns it, and bundles
/// are collected into it. It dereferences to a slice.
///
/// Dropping it closes the bundles, and logs each failure:
///
/// ```no_run
/// # use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, RunningBundles, Slug};
/// # let engine = Engine::docker();
/// let mut bundles = RunningBundles::default();
/// for name in ["first", "second"] {
///     let plan = NetworkPlanned::new(Slug::new(name)?);
///     bundles.extend([plan.launch(&engine, BundleSpec::new())?]);
/// }
/// println!("{}", bundles[1].ip());
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
#[must_use = "the bundles are closed when this is dropped; hold it by a name"]
#[derive(Default)]
pub struct RunningBundles(Vec<BundleRunning>);

/// Closes many bundles, four at a time on each engine, and returns when all are closed. Each is an event at level `INFO`.
///
/// # Errors
///
/// [`Error::OfBundle`] for each bundle of which something may be left; of more than one, [`Error::Several`]. All others are
/// closed.
pub fn close_all(bundles: impl IntoIterator<Item = BundleRunning>) -> Result<(), Error> {
    let teardowns: Vec<_> = bundles.into_iter().filter_map(BundleRunning::begin_to_close).collect();
    let (all, mut failures) = (teardowns.len(), Vec::new());
    for (closed, teardown) in teardowns.into_iter().enumerate() {
        let slug = teardown.plan().slug();
        match teardown.wait() {
            Ok(()) => tracing::info!(%slug, all, closed = closed + 1, "a bundle is closed"),
            Err(error) => failures.push(error.of(slug)),
        }
    }
    Error::all(failures)
}

impl RunningBundles {
    /// Closes them as [`close_all`] does.
    ///
    /// # Errors
    ///
    /// Those of [`close_all`].
    pub fn close(mut self) -> Result<(), Error> {
        close_all(self.0.drain(..))
    }
}

impl Drop for RunningBundles {
    fn drop(&mut self) {
        // One whose drop is to go on in the background does.
        let (drop_now, drop_later): (Vec<_>, Vec<_>) =
            self.0.drain(..).partition(|it| !it.running().drops_in_background());
        drop(drop_later);
        if let Err(error) = close_all(drop_now) {
            tracing::warn!(cause = ?error.cause(), error = %error.chain(), "bundles may be left");
        }
    }
}

impl FromIterator<BundleRunning> for RunningBundles {
    fn from_iter<I: IntoIterator<Item = BundleRunning>>(bundles: I) -> Self {
        let mut all = Self::default();
        all.extend(bundles);
        all
    }
}

impl Extend<BundleRunning> for RunningBundles {
    fn extend<I: IntoIterator<Item = BundleRunning>>(&mut self, bundles: I) {
        self.0.extend(bundles);
    }
}

/// Each bundle is then dropped by itself.
impl IntoIterator for RunningBundles {
    type Item = BundleRunning;
    type IntoIter = vec::IntoIter<BundleRunning>;

    fn into_iter(mut self) -> Self::IntoIter {
        std::mem::take(&mut self.0).into_iter()
    }
}

impl Deref for RunningBundles {
    type Target = [BundleRunning];

    fn deref(&self) -> &[BundleRunning] {
        &self.0
    }
}

impl DerefMut for RunningBundles {
    fn deref_mut(&mut self) -> &mut [BundleRunning] {
        &mut self.0
    }
}

impl fmt::Debug for RunningBundles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

/// Closes those that run, which takes as long as their removal: see [`StepError`].
impl From<StepError<RunningBundles>> for Error {
    fn from(failed: StepError<RunningBundles>) -> Self {
        let (error, bundles) = failed.into_parts();
        error.and(bundles.close())
    }
}
