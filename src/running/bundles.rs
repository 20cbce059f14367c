//! Bundles that are closed together.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::vec;

use super::{BundleRunning, Running};
use crate::error::{Error, StepError};
use crate::ownership::guard::without_a_second_panic;

/// Running bundles that are closed together, four at a time. [`launch_all`](crate::launch_all) returns it, and bundles are
/// collected into it. It dereferences to a [`Vec`].
///
/// Dropping it closes all bundles in it, and logs each failure. A bundle that is taken out is closed by its own drop:
///
/// ```no_run
/// # use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, RunningBundles, Slug};
/// # let engine = Engine::docker();
/// let mut bundles = RunningBundles::default();
/// for name in ["first", "second"] {
///     let plan = NetworkPlanned::new(Slug::new(name)?);
///     bundles.push(plan.launch(&engine, BundleSpec::new())?);
/// }
/// let first = bundles.iter().position(|it| it.plan().slug().as_str() == "first");
/// if let Some(first) = first {
///     bundles.swap_remove(first).close()?;
/// }
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
#[must_use = "the bundles are closed when this is dropped; bind it to a name, and not to `_`"]
#[derive(Default)]
pub struct RunningBundles(Vec<BundleRunning>);

/// Closes many bundles, four at a time on each engine, and returns when the teardown of each has ended.
///
/// ```no_run
/// use sidecar_bundle::{BundleRunning, Engine, Error, NetworkPlanned, Slug, close_all};
///
/// /// Ends the kept bundles of a suite.
/// fn tear_down(plans: Vec<NetworkPlanned>, engine: &Engine) -> Result<(), Error> {
///     let kept = plans.into_iter().map(|plan| Ok(plan.attach(engine)?));
///     close_all(kept.collect::<Result<Vec<BundleRunning>, Error>>()?)
/// }
/// ```
///
/// # Errors
///
/// [`Error::Bundle`] for each bundle of which something may be left; for more than one, [`Error::Several`]. All others
/// are closed.
pub fn close_all(bundles: impl IntoIterator<Item = BundleRunning>) -> Result<(), Error> {
    close_each(bundles, Running::close)
}

fn close_each(
    bundles: impl IntoIterator<Item = BundleRunning>,
    close: fn(Running) -> Result<(), Error>,
) -> Result<(), Error> {
    let begun: Vec<_> = bundles.into_iter().filter_map(|it| it.begin(close)).collect();
    for teardown in &begun {
        teardown.wait_for_its_end();
    }
    let closed = begun.iter().map(|it| it.wait().map_err(|error| error.of(it.plan().clone())));
    Error::all(closed.filter_map(Result::err).collect())
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
        let in_background = |it: &BundleRunning| it.running().drops_in_background();
        let (later, now): (Vec<_>, Vec<_>) = self.0.drain(..).partition(in_background);
        drop(later);
        without_a_second_panic(|| {
            // Each failure is logged.
            let _ = close_each(now, Running::close_and_log);
        });
    }
}

impl FromIterator<BundleRunning> for RunningBundles {
    fn from_iter<I: IntoIterator<Item = BundleRunning>>(bundles: I) -> Self {
        Self(bundles.into_iter().collect())
    }
}

/// Takes the bundles out: each is then closed by its own drop.
impl IntoIterator for RunningBundles {
    type Item = BundleRunning;
    type IntoIter = vec::IntoIter<BundleRunning>;

    fn into_iter(mut self) -> Self::IntoIter {
        std::mem::take(&mut self.0).into_iter()
    }
}

impl Deref for RunningBundles {
    type Target = Vec<BundleRunning>;

    fn deref(&self) -> &Vec<BundleRunning> {
        &self.0
    }
}

impl DerefMut for RunningBundles {
    fn deref_mut(&mut self) -> &mut Vec<BundleRunning> {
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
