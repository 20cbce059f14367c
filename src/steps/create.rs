//! The step from a plan to a network.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::attach::is_over;
use super::start::{Early, check_plan};
use super::survey;
use crate::container::{CheckedSpec, PullPolicy};
use crate::created::NetworkCreated;
use crate::engine::Engine;
use crate::engine::backend::{Id, NetworkInfo, NetworkRequest, Notice, Resource};
use crate::engine::cause::Cause;
use crate::engine::connection::Connection;
use crate::engine::error::EngineError;
use crate::engine::identity::Swarm;
use crate::error::{Error, StepError};
use crate::host::Holder;
use crate::ownership::guard::Guard;
use crate::ownership::labels;
use crate::ownership::lease::Kept;
use crate::ownership::session::Session;
use crate::plan::NetworkPlanned;

impl NetworkPlanned {
    /// Creates the network: `docker network create`.
    ///
    /// The slug's lease is taken first, and held until the bundle is gone. Orphans of the slug are removed.
    /// An existing network of this name is taken over only if it was [kept](NetworkCreated::keep), and its
    /// subnet, gateway and labels are those of the plan.
    ///
    /// # Errors
    ///
    /// The plan is handed back, and nothing of this step was seen afterwards, unless an [`Error::NotRemoved`]
    /// [comes with the error](Error::Several):
    ///
    /// - [`Error::Invalid`] for the network's options, before anything else,
    /// - [`Error::Look`] when the engine cannot be asked, and [`Error::Unsupported`] when it does not have
    ///   an option,
    /// - [`Error::Taken`] before the engine is asked for anything else, or [`Error::Lease`],
    /// - [`Error::Kept`] when a whole bundle of the slug was kept, exists and has not expired; it has been left alone,
    /// - [`Error::SubnetTaken`] when another network has the range, or, on the engine's host, an interface,
    ///   a closer route or one that a rule of policy routing puts first; [`Error::BridgeExists`] when the host has an interface of the bridge's name,
    /// - [`Error::UnknownOwner`] when a network of this slug is under a lease that is not here, and
    ///   [`Error::NetworkDiffers`] when another network has the name; it has been left alone,
    /// - [`Error::CreateNetwork`] when the engine did not create it for another reason. For an
    ///   [overlay](crate::NetworkOptions::overlay), its cause is [`Cause::SwarmMissing`], [`Cause::NotSwarmManager`] or
    ///   [`Cause::SwarmUnreachable`], and nothing has been touched,
    /// - [`Error::NotRemoved`] alone when an orphan cannot be removed.
    pub fn create_network(self, engine: &Engine) -> Result<NetworkCreated, StepError<Self>> {
        self.create_for(engine, None).map(|(network, _)| network)
    }

    /// Creates the network for a container whose specification is known already, and the container too where the engine
    /// can do both at the same time.
    pub(super) fn create_for(
        self,
        engine: &Engine,
        spec: Option<&CheckedSpec>,
    ) -> Result<(NetworkCreated, Option<Early>), StepError<Self>> {
        let span =
            tracing::info_span!("create_network", slug = %self.slug(), subnet = %self.subnet());
        let _entered = span.enter();
        match create(&self, engine, spec) {
            Ok((id, guard, early)) => Ok((NetworkCreated::new(self, id, guard), early)),
            Err(error) => Err(StepError::new(error, self)),
        }
    }
}

fn create(
    plan: &NetworkPlanned,
    engine: &Engine,
    spec: Option<&CheckedSpec>,
) -> Result<(Id, Guard, Option<Early>), Error> {
    let asked = |what| move |source| Error::Look { what, source };
    let ipv6 = plan.ipv6().is_some();
    check_plan(plan, spec)?;
    let connection = Connection::open_for(engine, spec).map_err(asked("its identity"))?;
    connection.info().supports(plan.options(), ipv6)?;
    if let Some(spec) = spec {
        connection.supports(spec)?;
    }
    check_swarm(plan, &connection)?;
    let session = Session::on(connection, plan)?;
    let kept = session.lease().kept();
    if let Kept::Bundle { network, container } = &kept
        && !is_over(&session, network, container)?
    {
        return Err(Error::Kept { slug: plan.slug().clone() });
    }
    let session = Arc::new(session.with_reaper());
    let connection = session.connection();
    let name = plan.network_name();
    let mut guard = Guard::new(Arc::clone(&session), Resource::Network, name.clone());
    if kept != Kept::Nothing {
        if let Kept::Network(id) = kept
            && let Some(network) = kept_network(plan, &session, id.as_str())?
        {
            session.remove_orphans(plan.slug())?;
            session.adopt_kept()?;
            guard.adopt(network.id.clone());
            return Ok((network.id, guard, None));
        }
        session.lease().forget()?;
    }
    session.remove_orphans(plan.slug())?;

    // A request of a dead owner may have an effect while this one is under way.
    let patience = connection.engine().patience();
    let labels = session.labels(plan);
    // With orphans, its name may be taken, and an image that is pulled first is not there yet.
    let mut early =
        spec.filter(|spec| !session.may_have_orphans() && spec.options.pull != PullPolicy::Always);
    loop {
        if let Some(error) = taken_on_host(plan, session.connection()) {
            if !session.may_have_orphans() || !connection.engine().is_patient(patience) {
                return Err(settled(plan, &session, error));
            }
            session.remove_orphans(plan.slug())?;
            continue;
        }
        let request = NetworkRequest {
            name: &name,
            addressing: plan.addressing(),
            ipv6: plan.ipv6(),
            labels: &labels,
            options: plan.options(),
        };
        let deadline = connection.engine().start_deadline();
        let create =
            |notice: &Notice<'_>| connection.backend().create_network(&request, notice, deadline);
        let (created, mut early) = match (early.take(), connection.backend().stepwise()) {
            (Some(spec), Some(stepwise)) => {
                match Early::create(plan, spec, stepwise, &mut guard, create) {
                    Ok(made) => made,
                    Err(error) => return Err(error.and(guard.close())),
                }
            }
            _ => (guard.create(create)?, None),
        };
        let created = match created {
            Ok(id) if plan.options().is_overlay() => {
                match check_subnet(session.connection(), &id) {
                    Ok(()) => Ok(id),
                    Err(error) => {
                        let closed = early.take().map_or(Ok(()), Early::close);
                        if let Err(left) = closed.and_then(|()| guard.undo()) {
                            return Err(not_created(plan, &session, error).and(Err(left)));
                        }
                        Err(error)
                    }
                }
            }
            created => created,
        };
        match created {
            Ok(id) => return Ok((id, guard, early)),
            Err(error) => {
                let closed = early.map_or(Ok(()), Early::close);
                let failed = match check_in_the_way(plan, &session, error, patience) {
                    Err(error) => Err(error.and(closed)),
                    Ok(()) => closed,
                };
                if let Err(error) = failed {
                    return Err(error.and(guard.close()));
                }
                session.remove_orphans(plan.slug())?;
            }
        }
    }
}

/// Checks that the engine can create the network that is planned, as far as a swarm decides that.
fn check_swarm(plan: &NetworkPlanned, connection: &Connection) -> Result<(), Error> {
    if !plan.options().is_overlay() {
        return Ok(());
    }
    let failed = |source| Error::CreateNetwork { network: plan.network_name(), source };
    EngineError::of_swarm(swarm_of(connection)?).map_err(failed)
}

/// Asks the engine for its role in a swarm.
pub(super) fn swarm_of(connection: &Connection) -> Result<Swarm, Error> {
    let swarm = connection.backend().swarm(connection.engine().look_deadline());
    swarm.map_err(|source| Error::Look { what: "its role in a swarm", source })
}

/// Checks that a swarm has given an overlay network its subnet. It creates the network and answers before that, and a
/// network whose subnet overlaps another one's is left without.
fn check_subnet(connection: &Connection, id: &Id) -> Result<(), EngineError> {
    let engine = connection.engine();
    let deadline = engine.look_deadline();
    let patience = engine.now() + ALLOCATION;
    loop {
        let (why, cause) = match connection.network(id.as_str(), deadline)? {
            Some(network) if !network.subnets.is_empty() => return Ok(()),
            Some(_) => ("the swarm has given the network no subnet", Cause::SubnetOverlap),
            None => ("the network has gone since it was created", Cause::NetworkMissing),
        };
        if engine.now() >= patience {
            return Err(EngineError::withheld(why.to_owned(), cause));
        }
        engine.pause(PAUSE);
    }
}

/// The time that a swarm has for a subnet. It takes it a few milliseconds.
const ALLOCATION: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);

/// The part of the engine's host that is in the way, which the engine does not see.
fn taken_on_host(plan: &NetworkPlanned, connection: &Connection) -> Option<Error> {
    if let Some((subnet, holder)) = survey::in_the_way(connection, plan) {
        return Some(Error::SubnetTaken { subnet, holder: Some(holder), source: None });
    }
    if plan.options().is_overlay() {
        return match survey::network_in_the_way(connection, plan, |it| {
            it.name == plan.network_name()
        }) {
            Ok(None) => None,
            Ok(Some((subnet, holder))) => {
                Some(Error::SubnetTaken { subnet, holder: Some(holder), source: None })
            }
            Err(error) => Some(error),
        };
    }
    let name = plan.options().bridge_name.clone()?;
    match survey::is_foreign_bridge(connection, &name) {
        Ok(false) => None,
        Ok(true) => Some(Error::BridgeExists { name }),
        Err(error) => Some(error),
    }
}

/// The network that was kept, if it still exists and is as planned.
fn kept_network(
    plan: &NetworkPlanned,
    session: &Session,
    id: &str,
) -> Result<Option<NetworkInfo>, Error> {
    let Some(found) = network(session, id)? else { return Ok(None) };
    if labels::have_expired([&found.labels]) {
        return Ok(None);
    }
    match difference(plan, session, &found) {
        Some(differs) => Err(differs),
        None => Ok(Some(found)),
    }
}

/// Returns the error of a create, unless an orphan is in the way, or may be.
fn check_in_the_way(
    plan: &NetworkPlanned,
    session: &Session,
    error: EngineError,
    patience: Instant,
) -> Result<(), Error> {
    let failed = |error| not_created(plan, session, error);
    let is_patient = || session.connection().engine().is_patient(patience);
    let waited = |error| if is_patient() { Ok(()) } else { Err(failed(error)) };
    match error.cause() {
        Cause::NetworkExists if let Ok(Some(theirs)) = survey::elsewhere(plan, session, None) => {
            Err(unknown_owner(plan, theirs))
        }
        Cause::NetworkExists => match network(session, &plan.network_name())? {
            Some(found) if session.is_under_lease(&found.labels) => waited(error),
            Some(found) => Err(difference(plan, session, &found).unwrap_or_else(|| failed(error))),
            // It went while it was looked for.
            None => waited(error),
        },
        Cause::SubnetOverlap if session.may_have_orphans() && is_patient() => Ok(()),
        Cause::SubnetOverlap => Err(settled(plan, session, failed(error))),
        _ => Err(failed(error)),
    }
}

/// The error of a network that the engine did not create.
fn not_created(plan: &NetworkPlanned, session: &Session, error: EngineError) -> Error {
    if error.cause() != Cause::SubnetOverlap {
        return Error::CreateNetwork { network: plan.network_name(), source: error };
    }
    let holder = survey::holder(session.connection(), &plan.ranges());
    let held = |range: &IpNet| holder.as_ref().is_some_and(|it| it.overlaps(*range));
    let subnet = plan.ranges().into_iter().find(held);
    let subnet = subnet.unwrap_or(plan.subnet().into());
    Error::SubnetTaken { subnet, holder, source: Some(error) }
}

/// The error of a subnet that is taken, with its holder once the engine tells that: the network of the slug under a lease
/// that is not here, or any other. Docker lists a network a moment after it has subnet and bridge.
fn settled(plan: &NetworkPlanned, session: &Session, mut error: Error) -> Error {
    const PATIENCE: Duration = Duration::from_millis(500);
    let engine = session.connection().engine();
    let patience = engine.now() + PATIENCE;
    loop {
        let Error::SubnetTaken { holder, subnet, .. } = &mut error else { return error };
        let (may_be_ours, may_be_listed_soon) = match holder {
            None => (true, true),
            Some(Holder::Interface { name, .. }) => (true, name.starts_with("br-")),
            Some(Holder::Network { name, .. }) => (*name == plan.network_name(), false),
            Some(Holder::Route { .. }) => (false, false),
        };
        if may_be_ours && let Ok(Some(theirs)) = survey::elsewhere(plan, session, None) {
            return unknown_owner(plan, theirs);
        }
        if !may_be_listed_soon || !engine.is_patient(patience) {
            return error;
        }
        if let Some(now) = survey::holder(session.connection(), &plan.ranges()) {
            *subnet = plan.ranges().into_iter().find(|it| now.overlaps(*it)).unwrap_or(*subnet);
            *holder = Some(now);
        }
    }
}

/// The error of a network of the slug whose lease is not here.
fn unknown_owner(plan: &NetworkPlanned, found: NetworkInfo) -> Error {
    Error::UnknownOwner {
        slug: plan.slug().clone(),
        resource: Resource::Network,
        id: found.id.to_string(),
        host: labels::host_in(&found.labels),
        name: found.name,
    }
}

/// The difference between a network and the planned one, but for its owner.
fn difference(plan: &NetworkPlanned, session: &Session, found: &NetworkInfo) -> Option<Error> {
    let (subnet, gateway) = (plan.subnet(), plan.gateway());
    let ipv6 = plan.ipv6().map(|it| (IpNet::from(it.subnet()), Some(IpAddr::from(it.gateway()))));
    let (field, planned, has) = match found.subnets.first() {
        Some((theirs, _)) if *theirs != IpNet::V4(subnet) => {
            ("subnet".into(), subnet.to_string(), Some(theirs.to_string()))
        }
        None => ("subnet".into(), subnet.to_string(), None),
        Some((_, theirs)) if *theirs != Some(IpAddr::V4(gateway)) => {
            ("gateway".into(), gateway.to_string(), theirs.map(|it| it.to_string()))
        }
        Some(_) => match ipv6 {
            Some(ipv6) if !found.subnets.contains(&ipv6) => {
                ("IPv6 subnet".into(), ipv6.0.to_string(), None)
            }
            _ => labels::difference(&session.labels(plan), &found.labels)
                .or_else(|| labels::lifetime_difference(plan, &found.labels))?,
        },
    };
    let (network, id) = (found.name.clone(), found.id.to_string());
    Some(Error::NetworkDiffers { network, id, field, planned, found: has })
}

/// The network of this name or id.
fn network(session: &Session, name: &str) -> Result<Option<NetworkInfo>, Error> {
    let connection = session.connection();
    let found = connection.network(name, connection.engine().look_deadline());
    found.map_err(|source| Error::Look { what: "a network of this name", source })
}
