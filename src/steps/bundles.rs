//! The list of the bundles on an engine.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use crate::engine::Engine;
use crate::engine::backend::{Id, Listed, Resource};
use crate::engine::cause::Cause;
use crate::engine::connection::Connection;
use crate::error::Error;
use crate::ownership::labels;
use crate::ownership::lease::{Lease, Look, directory_of, leases};
use crate::plan::{Addressing, Ipv6Addressing, Naming, Slug};
use crate::status::{LogLine, State};

/// Returns everything on an engine that this library made: one entry for each prefix and slug, in this order.
///
/// Nothing is removed or changed, and no launcher is refused because of it. The engine is asked for two lists, and
/// again where an owner is not found. The owners come from the leases in the engine value's
/// [state directory](Engine::with_state_dir).
///
/// The entries are built from labels. An entry whose addresses cannot be read has none. A resource without a valid
/// prefix and slug was not made by this library: it is left out, and the log warns of it. A bundle that is closed while
/// it is listed may be left out.
///
/// ```no_run
/// use sidecar_bundle::{BundleOwner, Engine, bundles};
///
/// for bundle in bundles(&Engine::docker())? {
///     let owner = match bundle.owner {
///         BundleOwner::Alive { pid, .. } => format!("process {pid}"),
///         BundleOwner::Dead => "nobody; a sweep removes it".into(),
///         BundleOwner::Kept => "nobody; it was kept".into(),
///         _ => "unknown".into(),
///     };
///     println!("{} {}: {:?}, owned by {owner}", bundle.prefix, bundle.slug, bundle.state);
/// }
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Look`] when the engine cannot be asked, or its answer cannot be read, and [`Error::Lease`] when the
/// directory cannot be read. Nothing has been touched.
pub fn bundles(engine: &Engine) -> Result<Vec<BundleInfo>, Error> {
    let _entered = tracing::info_span!("bundles").entered();
    let directory = directory_of(engine)?;
    let connection =
        Connection::open(engine).map_err(|source| Error::Look { what: "its identity", source })?;
    let digest = connection.info().identity.digest();
    let failed = |source| Error::Lease { path: directory.clone(), source };
    let before = leases(&directory, &digest).map_err(failed)?;
    let mut resources = list(&connection)?;
    let after = leases(&directory, &digest).map_err(failed)?;
    let used: BTreeSet<_> =
        resources.iter().filter_map(|(_, it)| labels::lease_in(&it.labels)).collect();
    // A lease that has ended since was that of a bundle which has been closed.
    let ended = before.into_iter().map(|(_, record)| (record.id, Look::Gone));
    let mut seen: BTreeMap<_, _> = ended.collect();
    for (path, record) in after {
        if used.contains(&*record.id) {
            let look = Lease::look(&path, &record);
            let look = look.map_err(|source| Error::Lease { path, source })?;
            seen.insert(record.id, look);
        }
    }
    let is_known =
        |it: &Listed| labels::lease_in(&it.labels).is_some_and(|lease| seen.contains_key(lease));
    if !resources.iter().all(|(_, it)| is_known(it)) {
        // The lease of a bundle that was launched and closed since was found neither before nor after.
        let there: BTreeSet<_> = list(&connection)?.into_iter().map(|(_, it)| it.id).collect();
        resources.retain(|(_, it)| is_known(it) || there.contains(&it.id));
    }
    let mut all: BTreeMap<_, Parts<'_>> = BTreeMap::new();
    for (resource, it) in &resources {
        let Some(bundle) = labels::bundle_in(&it.labels) else {
            tracing::warn!(%resource, id = %it.id, "its labels have no valid prefix and slug");
            continue;
        };
        if let Some(owner) = owner(it, &seen) {
            let parts = all.entry(bundle).or_default();
            let kind = match (resource, labels::guest_in(&it.labels)) {
                (Resource::Network, _) => &mut parts.networks,
                (Resource::Container, None) => &mut parts.containers,
                (Resource::Container, Some(_)) => &mut parts.guests,
            };
            kind.push((owner, it));
        }
    }
    let infos = all.into_iter().filter_map(|((prefix, slug), parts)| parts.info(prefix, slug));
    Ok(infos.collect())
}

/// A bundle on an engine.
///
/// A slug whose network alone exists is an entry, too: it may be about to start, or about to be removed.
///
/// ```no_run
/// # use std::time::Duration;
/// use sidecar_bundle::{Engine, bundles};
///
/// let day = Duration::from_secs(24 * 60 * 60);
/// for bundle in bundles(&Engine::docker())? {
///     if bundle.age().is_some_and(|age| age > day) {
///         println!("{} has run for more than a day, with {:?}", bundle.slug, bundle.guests);
///     }
/// }
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BundleInfo {
    /// The prefix of its names.
    pub prefix: String,
    /// The slug.
    pub slug: Slug,
    /// Its addresses; `None` if its labels do not tell them.
    pub addressing: Option<Addressing>,
    /// Its IPv6 addresses; `None` if it has none, or its labels do not tell its addresses.
    pub ipv6: Option<Ipv6Addressing>,
    /// The id of its network, if that exists.
    pub network_id: Option<String>,
    /// The id of its container, if that exists on this engine. On a node of a swarm that has only
    /// [guests](crate::BundleRunning::guest_on) of a bundle, neither network nor container are listed.
    pub container_id: Option<String>,
    /// The state of its container, if that exists.
    pub state: Option<State>,
    /// The names of its guests on this engine: the further containers of the slug.
    pub guests: Vec<String>,
    /// Its owner.
    pub owner: BundleOwner,
    /// The name of its owner's host, as its labels tell it.
    pub host: Option<String>,
    /// The end of its [lifetime](crate::NetworkPlanned::with_lifetime), if it has one: a [`sweep`](crate::sweep) from any
    /// host then removes it.
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::texts::known_time"))]
    pub expires: Option<SystemTime>,
    /// The time at which the engine created its network, or else its container; `None` if that is not known.
    #[cfg_attr(feature = "serde", serde(serialize_with = "super::texts::known_time"))]
    pub created: Option<SystemTime>,
}

impl BundleInfo {
    /// The time since it was created, if that is known. For an engine elsewhere, it is as exact as the two clocks
    /// agree; `None` if the engine's is ahead by more than the age.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.created?.elapsed().ok()
    }

    /// Returns the log of its container so far, or its last lines, whoever its owner is; see
    /// [`Container::logs`](crate::Container::logs). Nothing is taken over or changed.
    ///
    /// The engine is the one that listed the bundle. Another engine has no container of this id.
    ///
    /// ```no_run
    /// use sidecar_bundle::{Engine, bundles};
    ///
    /// let engine = Engine::docker();
    /// for bundle in bundles(&engine)?.iter().filter(|it| it.container_id.is_some()) {
    ///     for line in bundle.logs(&engine, 10)? {
    ///         println!("{}: {}", bundle.slug, line.text);
    ///     }
    /// }
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] when it has no container on the engine, or none any more, [`Error::Unsupported`] for an engine
    /// that is driven by commands, [`Error::Look`] when the engine cannot be asked, and [`Error::Invalid`] when its
    /// prefix was replaced by one that is not valid.
    pub fn logs(
        &self,
        engine: &Engine,
        last: impl Into<Option<usize>>,
    ) -> Result<Vec<LogLine>, Error> {
        let container = Naming::new(&self.prefix)?.container_name(&self.slug);
        let Some(id) = self.container_id.as_deref().and_then(Id::parse) else {
            return Err(Error::Gone { container });
        };
        let connection = Connection::open(engine)
            .map_err(|source| Error::Look { what: "its identity", source })?;
        let deadline = engine.look_deadline();
        let lines = connection.observer("a log")?.logs(&id, last.into(), deadline);
        lines.map_err(|source| match source.cause() {
            Cause::ContainerMissing => Error::Gone { container },
            _ => Error::Look { what: "the container's log", source },
        })
    }
}

/// The owner of a bundle, as the lease tells it.
///
/// If the resources of a slug have several owners, the first of these is the bundle's.
///
/// ```
/// use sidecar_bundle::BundleOwner;
///
/// fn remedy(owner: BundleOwner, slug: &str) -> String {
///     match owner {
///         BundleOwner::Dead => "sidecar-bundle sweep".into(),
///         BundleOwner::Kept => format!("sidecar-bundle remove {slug}"),
///         _ => "leave it alone: its owner may live".into(),
///     }
/// }
/// assert_eq!(remedy(BundleOwner::Dead, "demo"), "sidecar-bundle sweep");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum BundleOwner {
    /// It lives.
    #[non_exhaustive]
    Alive {
        /// Its process id.
        pid: u32,
    },
    /// It is dead. Its resources are orphans, and a [`sweep`](crate::sweep) removes them.
    Dead,
    /// Nobody: it was [kept](crate::BundleRunning::keep).
    Kept,
    /// Not known: its lease is not in the engine value's state directory. It is another user's, another host's or in
    /// another directory, or it was lost.
    Elsewhere,
}

/// The resources of one prefix and slug, each with its owner.
#[derive(Default)]
struct Parts<'a> {
    networks: Vec<(BundleOwner, &'a Listed)>,
    containers: Vec<(BundleOwner, &'a Listed)>,
    guests: Vec<(BundleOwner, &'a Listed)>,
}

impl Parts<'_> {
    fn info(mut self, prefix: String, slug: Slug) -> Option<BundleInfo> {
        // Of several with one name, the latest of the first owner.
        for parts in [&mut self.networks, &mut self.containers, &mut self.guests] {
            parts.sort_by_key(|(owner, it)| (*owner, Reverse(it.created)));
        }
        let all = || [&self.networks, &self.containers, &self.guests].into_iter().flatten();
        let owner = all().map(|(owner, _)| *owner).min()?;
        let lease = all().find(|(it, _)| *it == owner);
        let lease = lease.and_then(|(_, it)| labels::lease_in(&it.labels));
        let of_owner =
            || all().map(|(_, it)| &it.labels).filter(|it| labels::lease_in(it) == lease);
        let addresses = all().find_map(|(_, it)| labels::addresses_in(&it.labels));
        let [network, container] =
            [&self.networks, &self.containers].map(|it| it.first().map(|(_, it)| it));
        let id = |it: Option<&&Listed>| it.map(|it| it.id.to_string());
        let guests = self.guests.iter().filter_map(|(_, it)| labels::guest_in(&it.labels));
        let guests: BTreeSet<_> = guests.map(str::to_owned).collect();
        let created = [network, container].into_iter().flatten().find_map(|it| it.created);
        Some(BundleInfo {
            prefix,
            slug,
            addressing: addresses.map(|(addressing, _)| addressing),
            ipv6: addresses.and_then(|(_, ipv6)| ipv6),
            network_id: id(network),
            container_id: id(container),
            state: container.and_then(|it| it.state),
            guests: guests.into_iter().collect(),
            owner,
            host: of_owner().find_map(labels::host_in),
            expires: labels::expiry(of_owner()),
            created,
        })
    }
}

/// All labelled resources of one engine, without the networks that others of its swarm have made. A launch between the two
/// requests shows as a network without a container.
pub(super) fn list(connection: &Connection) -> Result<Vec<(Resource, Listed)>, Error> {
    let deadline = connection.engine().look_deadline();
    let digest = connection.info().identity.digest();
    let is_its_own =
        |it: &Listed| !it.id.is_of_swarm() || labels::are_of_engine(&digest, &it.labels);
    let list = |resource| {
        let listed = connection.backend().list(resource, labels::SLUG, deadline)?;
        Ok(listed.into_iter().filter(is_its_own).map(move |it| (resource, it)))
    };
    let both = || {
        let containers = list(Resource::Container)?;
        let all = containers.chain(list(Resource::Network)?).collect();
        // Another engine's lists are not this one's.
        connection.check(deadline)?;
        Ok(all)
    };
    both().map_err(|source| Error::Look { what: "its bundles", source })
}

/// The owner of a resource; `None` if the resource has gone since it was listed.
fn owner(it: &Listed, seen: &BTreeMap<String, Look>) -> Option<BundleOwner> {
    let look = labels::lease_in(&it.labels).and_then(|lease| seen.get(lease));
    match look {
        None => Some(BundleOwner::Elsewhere),
        Some(Look::Gone) => None,
        Some(Look::Held(pid)) => Some(BundleOwner::Alive { pid: *pid }),
        Some(Look::Free(record)) if record.is_kept(&it.id) => Some(BundleOwner::Kept),
        Some(Look::Free(_)) => Some(BundleOwner::Dead),
    }
}
