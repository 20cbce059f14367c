//! The removal of a slug's resources by name.

use crate::engine::Engine;
use crate::error::Error;
use crate::ownership::session::Session;
use crate::ownership::{labels, orphans};
use crate::plan::NetworkPlanned;

/// The resources that were discarded, by id.
///
/// ```no_run
/// # use sidecar_bundle::{Engine, Error, NetworkPlanned};
/// # fn run(plan: NetworkPlanned, engine: &Engine) -> Result<(), Error> {
/// let discarded = plan.discard(engine)?;
/// for id in discarded.containers.iter().chain(&discarded.networks) {
///     println!("removed {id}"); // for an audit log
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Discarded {
    /// Ids of containers.
    pub containers: Vec<String>,
    /// Ids of networks.
    pub networks: Vec<String>,
}

impl NetworkPlanned {
    /// Removes everything on the engine that carries the labels of this slug and prefix, kept or not,
    /// whoever made it.
    ///
    /// It is the way out where nobody owns the slug any more and no launch, sweep or attach helps: a kept
    /// bundle that has changed or is not wanted, and resources under a lost lease. A slug whose owner lives
    /// is refused if its lease is in this state directory. An owner of another user, host or state directory cannot be
    /// seen, and would lose its bundle.
    ///
    /// The network of a swarm is only removed by the engine that made it. Nothing without the labels is removed, whatever
    /// its name. If this process dies meanwhile, what was kept is either still kept or removed by the reaper.
    ///
    /// ```no_run
    /// use sidecar_bundle::{Engine, NetworkPlanned, Slug};
    ///
    /// let discarded = NetworkPlanned::new(Slug::new("demo")?).discard(&Engine::docker())?;
    /// println!("{} and {}", discarded.containers.len(), discarded.networks.len());
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Taken`] when the owner lives, and [`Error::Lease`]; nothing has been touched,
    /// - [`Error::Look`] when the engine cannot be asked before the first removal, or another one answers;
    ///   nothing has been removed, and what was kept is still marked as kept,
    /// - [`Error::NotRemoved`] for what may be left. It is no longer marked as kept: the reaper tries again at the end of this
    ///   process, and so does a launch or a sweep.
    pub fn discard(&self, engine: &Engine) -> Result<Discarded, Error> {
        let _entered = tracing::info_span!("discard", slug = %self.slug()).entered();
        let session = Session::open(engine, self)?;
        let filter = labels::of_slug(self.naming(), self.slug());
        orphans::find_labelled(session.connection(), &filter)?;
        let session = session.with_kept()?;
        let removed = session.remove_labelled(self.slug(), &filter)?;
        let texts = |ids: Vec<_>| ids.iter().map(ToString::to_string).collect();
        Ok(Discarded { containers: texts(removed.containers), networks: texts(removed.networks) })
    }
}
