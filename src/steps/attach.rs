//! The step from a plan to a bundle that was kept.

use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;

use super::start::check_plan;
use crate::container::{BundleSpec, CheckedFile, CheckedSpec, CheckedVariable};
use crate::created::NetworkCreated;
use crate::engine::Engine;
use crate::engine::backend::{ContainerInfo, Id, NetworkInfo, Resource};
use crate::engine::cause::Cause;
use crate::engine::connection::Connection;
use crate::engine::error::EngineError;
use crate::error::{Error, StepError};
use crate::ownership::guard::Guard;
use crate::ownership::labels;
use crate::ownership::lease::Kept;
use crate::ownership::session::Session;
use crate::ownership::teardown;
use crate::plan::NetworkPlanned;
use crate::running::BundleRunning;
use crate::status::{FileProblem, State};

impl NetworkPlanned {
    /// Takes back the slug's bundle that was [kept](BundleRunning::keep) by this process or an earlier one.
    ///
    /// The addresses are those of the bundle, whatever this plan's are; slug and names are this plan's. A
    /// container that has stopped, as by a reboot, is started again. Orphans of the slug are removed.
    ///
    /// The engine and its [state directory](Engine::with_state_dir) must be those of the process that kept it: the
    /// mark is in its lease there.
    ///
    /// From then on, the bundle belongs to this process again: a drop, a `?` or a death before the next
    /// [`keep`](BundleRunning::keep) removes it.
    ///
    /// Neither readiness conditions nor the grace period of a stop are kept: [`wait_ready`](crate::Container::wait_ready)
    /// returns at once, and [`wait_for`](crate::Container::wait_for) waits for a given condition. Secret values are not kept, either:
    /// the log in an error is as the container printed it.
    ///
    /// ```no_run
    /// use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
    ///
    /// let engine = Engine::docker();
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let bundle = plan.clone().launch(&engine, BundleSpec::new())?;
    /// let ip = bundle.ip();
    /// bundle.keep()?;
    /// // ... in any later process:
    /// let bundle = plan.attach(&engine)?;
    /// assert_eq!(bundle.ip(), ip);
    /// bundle.close()?;
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The plan is handed back, and what was kept is still marked as kept. It has been left alone, but for a
    /// container that had stopped: it may run when the error came after it was started again.
    ///
    /// - [`Error::Look`] when the engine cannot be asked,
    /// - [`Error::Taken`] before the engine is asked for anything else, or [`Error::Lease`],
    /// - [`Error::NotKept`] when no bundle of the slug was kept, or nothing of it exists any more, and
    ///   [`Error::UnknownOwner`] when one exists under a lease that is not here,
    /// - [`Error::Changed`] when labels, subnet or address are not as they were, or its
    ///   [lifetime](Self::with_lifetime) has ended, with [`discard`](Self::discard) as the way out,
    /// - [`Error::Restart`] when the container had stopped and cannot be started again,
    /// - [`Error::NotRemoved`] when an orphan cannot be removed.
    pub fn attach(self, engine: &Engine) -> Result<BundleRunning, StepError<Self>> {
        let _entered = tracing::info_span!("attach", slug = %self.slug()).entered();
        attach(&self, engine).map_err(|error| StepError::new(error, self))
    }

    /// Attaches to the kept bundle if it was made from this plan and this specification, and launches a new one otherwise.
    ///
    /// A kept bundle that [differs](BundleRunning::is_made_from), or has lost its network, its container or its address,
    /// is removed first, with its anonymous volumes: data that is to stay belongs in a [`volume`](BundleSpec::volume). A
    /// network that was kept alone is taken back. An attached bundle has the readiness conditions, the grace period and
    /// the saved log of this specification, as after a launch, and its secret values are not shown. As after an
    /// [`attach`](Self::attach), it is removed unless it is [kept](BundleRunning::keep) again.
    ///
    /// If this process dies meanwhile, the kept bundle is either still kept or removed by the reaper.
    ///
    /// A bundle that has a [lifetime](Self::with_lifetime) differs from a plan without one, and the reverse; the length does
    /// not matter. One that has expired differs from every plan.
    ///
    /// A bundle at another attempt differs. [`in_free_subnet`](Self::in_free_subnet) finds the subnet of the slug's own
    /// kept bundle again.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
    ///
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let bundle = plan.attach_or_launch(&Engine::docker(), BundleSpec::new().image("nginx:1"))?;
    /// bundle.wait_ready(Duration::from_secs(10))?;
    /// bundle.keep()?; // for the next process
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The plan is handed back. They are those of [`attach`](Self::attach), but for [`Error::NotKept`], and those of
    /// [`launch`](Self::launch). A wrong plan or specification, and one that the engine does not support, are errors before
    /// anything is touched.
    ///
    /// - [`Error::Changed`] when the bundle is the requested one, and is paused or about to be restarted, or has ended
    ///   again or has no address after it was started. It is still kept,
    /// - [`Error::File`] when a secret file cannot be compared, since it is longer than 1 MiB. The bundle is still kept,
    /// - [`Error::NotRemoved`] also when a bundle that differs cannot be removed. It is no longer marked as kept: the
    ///   reaper tries again at the end of this process, and so does a launch or a sweep.
    ///
    /// After an error of the launch, such as a failed pull, a kept bundle that differed no longer exists.
    pub fn attach_or_launch(
        self,
        engine: &Engine,
        spec: BundleSpec,
    ) -> Result<BundleRunning, StepError<Self>> {
        let span = tracing::info_span!("attach_or_launch", slug = %self.slug());
        let _entered = span.enter();
        match attached_as(&self, engine, &spec) {
            Ok(Some(bundle)) => Ok(bundle),
            Ok(None) => self.launch(engine, spec),
            Err(error) => Err(StepError::new(error, self)),
        }
    }
}

/// The kept bundle if it is the requested one. Any other is removed, and `None` leaves the rest to a launch.
fn attached_as(
    plan: &NetworkPlanned,
    engine: &Engine,
    spec: &BundleSpec,
) -> Result<Option<BundleRunning>, Error> {
    let spec = spec.check(plan.naming())?;
    check_plan(plan, Some(&spec))?;
    let asked = |source| Error::Look { what: "its identity", source };
    let connection = Connection::open_for(engine, Some(&spec)).map_err(asked)?;
    connection.info().supports(plan.options(), plan.ipv6().is_some())?;
    connection.supports(&spec)?;
    let session = Session::on(connection, plan)?;
    let Kept::Bundle { network, container } = session.lease().kept() else { return Ok(None) };
    let (network, container) = look(&session, &network, &container)?;
    if let (Some(network), Some(container)) = (&network, &container)
        && let Some(found) = found_as(plan, &session, network, container, &spec)?
    {
        let mut bundle = adopted(session, found, network, container.clone())?;
        bundle.set_spec(spec);
        return Ok(Some(bundle));
    }
    tracing::info!("the kept bundle differs from the requested one, and is removed");
    let session = session.with_kept()?;
    // A container of somebody else may have the id as its name.
    let runs =
        |it: &ContainerInfo| it.state == State::Running && session.is_under_lease(&it.labels);
    if let Some(container) = container.filter(runs) {
        session.connection().end(&container.id, spec.options.grace);
    }
    session.remove_labelled(plan.slug(), &labels::of_lease(&session.lease().id()))?;
    Ok(None)
}

/// The plan of the kept bundle if it is the requested one; `None` if it is not, or has changed since.
fn found_as(
    plan: &NetworkPlanned,
    session: &Session,
    network: &NetworkInfo,
    container: &ContainerInfo,
    spec: &CheckedSpec,
) -> Result<Option<NetworkPlanned>, Error> {
    if labels::lifetime_difference(plan, &network.labels).is_some() {
        return Ok(None);
    }
    let found = match verify_labels(plan, session, network, container) {
        Ok(found) => found,
        Err(Error::Changed { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let is_planned = (found.addressing(), found.ipv6()) == (plan.addressing(), plan.ipv6())
        && found.options().to_label() == plan.options().to_label();
    let is_there =
        container.state != State::Running || verify_address(&found, network, container).is_ok();
    let is_it = is_planned && is_there && is_made_from(session, container, spec)?;
    Ok(is_it.then_some(found))
}

impl BundleRunning {
    /// Returns true if the container was made from this specification, as far as the engine can tell. After an
    /// [`attach`](NetworkPlanned::attach), this shows whether the bundle is the wanted one.
    ///
    /// A digest of the specification is a label of the container. The values of secret and inherited variables and the
    /// contents of secret files are not in it: those of the container are compared. A container that has removed or
    /// rewritten its secret file counts as different. An image is compared by its name, which may have been given to
    /// another image since, unless it has a [digest](BundleSpec::require_digest). Readiness conditions, the time of a
    /// pull, the grace period and a saved log are no part of the container. With another version of this library or of
    /// its compiler, the same specification may count as different.
    ///
    /// ```no_run
    /// # use sidecar_bundle::{BundleSpec, Engine, Error, NetworkPlanned};
    /// # fn run(plan: NetworkPlanned, engine: &Engine, spec: &BundleSpec) -> Result<(), Error> {
    /// let bundle = plan.attach(engine)?;
    /// if !bundle.is_made_from(spec)? {
    ///     eprintln!("{} runs with an older configuration", bundle.plan().slug());
    /// }
    /// bundle.keep()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the specification is wrong, [`Error::Look`] when the engine cannot be asked,
    /// [`Error::Unsupported`] when a secret file is to be compared on an engine that is driven by commands,
    /// [`Error::File`] when one is longer than 1 MiB, and [`Error::Gone`] when somebody else removed the container.
    pub fn is_made_from(&self, spec: &BundleSpec) -> Result<bool, Error> {
        let spec = spec.check(self.plan().naming())?;
        let connection = self.session().connection();
        connection.backend().redact(&spec);
        let container = self.look(connection.engine().look_deadline())?;
        is_made_from(self.session(), &container, &spec)
    }
}

fn is_made_from(
    session: &Session,
    container: &ContainerInfo,
    spec: &CheckedSpec,
) -> Result<bool, Error> {
    if labels::spec_in(&container.labels) != Some(&spec.digest()) {
        return Ok(false);
    }
    let connection = session.connection();
    let deadline = connection.engine().look_deadline();
    let gone = || Error::Gone { container: container.name.clone() };
    let failed = |what| {
        move |source: EngineError| match source.cause() {
            Cause::ContainerMissing => gone(),
            _ => Error::Look { what, source },
        }
    };
    let hidden: Vec<_> = spec.variables.iter().filter_map(CheckedVariable::hidden).collect();
    if !hidden.is_empty() {
        let found = connection.backend().variables(&container.id, deadline);
        let found = found.map_err(failed("the container's variables"))?.ok_or_else(gone)?;
        if !hidden.iter().all(|it| found.contains(it)) {
            return Ok(false);
        }
    }
    for CheckedFile { path, file } in spec.files.iter().filter(|it| it.file.is_secret) {
        let found = connection.observer("a file")?.read_file(&container.id, path, deadline);
        match found.map_err(failed("a file of the container"))? {
            Ok(found) if *found == *file.contents => {}
            Err(problem @ FileProblem::TooLong) if file.contents.len() > FileProblem::LONGEST => {
                let (container, path) = (container.name.clone(), path.clone());
                return Err(Error::File { container, path, problem });
            }
            Ok(_) | Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

fn attach(plan: &NetworkPlanned, engine: &Engine) -> Result<BundleRunning, Error> {
    let session = Session::open(engine, plan)?;
    let (network, container) = match session.lease().kept() {
        Kept::Bundle { network, container } => (network, container),
        Kept::Network(_) => {
            return Err(changed(plan, &Problem::OnlyNetwork));
        }
        Kept::Nothing => return Err(not_kept(plan, &session)),
    };
    let looked = look(&session, &network, &container)?;
    let (network, container) = match looked {
        (None, None) => {
            session.lease().forget()?;
            return Err(not_kept(plan, &session));
        }
        (Some(network), Some(container)) => (network, container),
        (None, Some(_)) => return Err(changed(plan, &Problem::Missing(Resource::Network))),
        (Some(_), None) => return Err(changed(plan, &Problem::Missing(Resource::Container))),
    };
    let found = verify_labels(plan, &session, &network, &container)?;
    adopted(session, found, &network, container)
}

/// The bundle of these resources, which runs and is this session's.
fn adopted(
    session: Session,
    found: NetworkPlanned,
    network: &NetworkInfo,
    container: ContainerInfo,
) -> Result<BundleRunning, Error> {
    session.remove_orphans(found.slug())?;
    let container = restarted(&found, &session, network, container)?;
    verify_address(&found, network, &container)?;

    let expires = labels::expiry([&network.labels, &container.labels]);
    let session = Arc::new(session.with_kept()?.expiring(expires));
    let guard = |resource, name| Guard::new(Arc::clone(&session), resource, name);
    let mut network_guard = guard(Resource::Network, found.network_name());
    let mut container_guard = guard(Resource::Container, found.container_name());
    network_guard.adopt(network.id.clone());
    container_guard.adopt(container.id.clone());
    let network = NetworkCreated::new(found, network.id.clone(), network_guard);
    Ok(BundleRunning::new(container.id, Vec::new(), container_guard, network))
}

/// The change of a kept bundle.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("only its network was kept, which create_network takes back")]
    OnlyNetwork,
    #[error("its {0} does not exist")]
    Missing(Resource),
    #[error("its labels have no readable {0}")]
    Unreadable(&'static str),
    #[error("its label {key} is {}, not {planned}", found.as_deref().unwrap_or("not set"))]
    Label { key: String, planned: String, found: Option<String> },
    #[error("its lifetime has ended")]
    Expired,
    #[error("its network is not {0} any more")]
    Subnet(Ipv4Net),
    #[error("its container is {}", word(*.0))]
    Is(State),
    #[error("its container was started again, and is {}", word(*.0))]
    IsAfterStart(State),
    #[error("its address is {found}, not {planned}")]
    Address { planned: Ipv4Addr, found: Ipv4Addr },
    #[error("its container is not on its network")]
    Disconnected,
}

fn word(state: State) -> String {
    format!("{state:?}").to_lowercase()
}

fn changed(plan: &NetworkPlanned, problem: &Problem) -> Error {
    Error::Changed { slug: plan.slug().clone(), problem: problem.to_string() }
}

/// The error where nothing is marked as kept: a resource of the slug may be under a lost lease.
fn not_kept(plan: &NetworkPlanned, session: &Session) -> Error {
    let (slug, connection) = (plan.slug().clone(), session.connection());
    let name = plan.network_name();
    let foreign = |it: &NetworkInfo| {
        labels::are_of(plan.naming(), &slug, &it.labels) && !session.is_under_lease(&it.labels)
    };
    match connection.network(&name, connection.engine().look_deadline()) {
        Err(source) => Error::Look { what: "a network of this name", source },
        Ok(Some(found)) if foreign(&found) => {
            let (resource, id) = (Resource::Network, found.id.to_string());
            let host = labels::host_in(&found.labels);
            Error::UnknownOwner { slug, resource, name, id, host }
        }
        Ok(_) => Error::NotKept { slug },
    }
}

/// Returns true if nothing of a kept bundle exists any more, or its lifetime has ended.
pub(super) fn is_over(session: &Session, network: &Id, container: &Id) -> Result<bool, Error> {
    let (network, container) = look(session, network, container)?;
    let all = network.map(|it| it.labels).into_iter().chain(container.map(|it| it.labels));
    let all: Vec<_> = all.collect();
    Ok(all.is_empty() || labels::have_expired(&all))
}

type Looked = (Option<NetworkInfo>, Option<ContainerInfo>);

fn look(session: &Session, network: &Id, container: &Id) -> Result<Looked, Error> {
    let connection = session.connection();
    let deadline = connection.engine().look_deadline();
    let asked = |what| move |source| Error::Look { what, source };
    let network =
        connection.network(network.as_str(), deadline).map_err(asked("the kept network"))?;
    let container =
        connection.container(container.as_str(), deadline).map_err(asked("the kept container"))?;
    Ok((network, container))
}

/// The plan of the bundle, if both resources still have its labels and the network its subnet.
fn verify_labels(
    plan: &NetworkPlanned,
    session: &Session,
    network: &NetworkInfo,
    container: &ContainerInfo,
) -> Result<NetworkPlanned, Error> {
    if labels::have_expired([&network.labels, &container.labels]) {
        return Err(changed(plan, &Problem::Expired));
    }
    let unreadable = |what| changed(plan, &Problem::Unreadable(what));
    let addressing =
        labels::addressing_in(&network.labels).ok_or_else(|| unreadable("addresses"))?;
    let ipv6 = labels::ipv6_in(&network.labels).map_err(|()| unreadable("IPv6 addresses"))?;
    let options = labels::options_in(&network.labels).ok_or_else(|| unreadable("options"))?;
    let (naming, slug) = (plan.naming().clone(), plan.slug().clone());
    let found = NetworkPlanned::attached(naming, slug, addressing, ipv6, options);
    let planned = session.labels(&found);
    for labels in [&network.labels, &container.labels] {
        if let Some((key, planned, found)) = labels::difference(&planned, labels) {
            return Err(changed(plan, &Problem::Label { key, planned, found }));
        }
    }
    let subnet = (found.subnet().into(), Some(found.gateway().into()));
    if !network.subnets.contains(&subnet) {
        return Err(changed(plan, &Problem::Subnet(found.subnet())));
    }
    Ok(found)
}

/// The container, started again if it has stopped.
fn restarted(
    plan: &NetworkPlanned,
    session: &Session,
    network: &NetworkInfo,
    container: ContainerInfo,
) -> Result<ContainerInfo, Error> {
    match container.state {
        State::Running => return Ok(container),
        State::Exited | State::Created => {}
        state => return Err(changed(plan, &Problem::Is(state))),
    }
    let connection = session.connection();
    let (engine, backend) = (connection.engine(), connection.backend());
    // Any of them may have a port of this one.
    teardown::join(&session.engine(), |_| true);
    if let Err(source) = backend.start_container(&container.id, engine.start_deadline()) {
        return Err(Error::Restart { container: plan.container_name(), source });
    }
    let (_, container) = look(session, &network.id, &container.id)?;
    match container {
        None => Err(changed(plan, &Problem::Missing(Resource::Container))),
        Some(container) if container.state == State::Running => Ok(container),
        Some(container) => Err(changed(plan, &Problem::IsAfterStart(container.state))),
    }
}

fn verify_address(
    plan: &NetworkPlanned,
    network: &NetworkInfo,
    container: &ContainerInfo,
) -> Result<(), Error> {
    match container.status(&network.id, &network.name).address {
        Some(ip) if ip == plan.ip() => Ok(()),
        Some(found) => Err(changed(plan, &Problem::Address { planned: plan.ip(), found })),
        None => Err(changed(plan, &Problem::Disconnected)),
    }
}
