//! The step from a network to a running bundle.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::observe::last_lines;
use super::ports;
use super::survey;
use crate::container::{BundleSpec, CheckedSpec, PortMapping, PullPolicy, RestartPolicy};
use crate::created::{Network, NetworkCreated};
use crate::engine::backend::{
    Attachment, ContainerRequest, CreateError, Id, Notice, Resource, Stepwise,
};
use crate::engine::cause::Cause;
use crate::engine::error::EngineError;
use crate::error::{Error, StepError};
use crate::invalid::InvalidInput;
use crate::ownership::calls;
use crate::ownership::guard::Guard;
use crate::ownership::labels::{self, LabelMap};
use crate::ownership::orphans;
use crate::ownership::session::Session;
use crate::ownership::teardown;
use crate::plan::NetworkPlanned;
use crate::running::BundleRunning;
use crate::status::{State, Status};

impl NetworkCreated {
    /// Starts the container at the planned address, `docker run --detach`, and looks at it once.
    ///
    /// The container then runs, but may not be ready: see [`wait_ready`](crate::Container::wait_ready). An image that
    /// turns out to be missing is pulled, and the container is created again, unless the specification has another
    /// [`PullPolicy`].
    ///
    /// # Errors
    ///
    /// This state is handed back with its network, and no container of this step was seen afterwards, unless an
    /// [`Error::NotRemoved`] [comes with the error](Error::Several):
    ///
    /// - [`Error::Invalid`] before the engine is asked for anything,
    /// - [`Error::Unsupported`] when the way to the engine does not have an option,
    /// - [`Error::Lease`] when the lease cannot be written; the engine was not asked for anything then,
    /// - [`Error::Pull`] when the image is missing and cannot be pulled,
    /// - [`Error::UnknownOwner`] when a container of this slug is under a lease that is not here; it has been
    ///   left alone. One that was never started, and has no network of its own, is waited for, 15 seconds at most,
    /// - [`Error::PortTaken`] when a port of the host that it is to be published on is taken, with the holder where
    ///   it can be seen; [`Error::Start`] of the same [cause](Error::cause) when it is not known which port,
    /// - [`Error::Start`] when the engine did not start it for another reason, with [`Cause::ImageMissing`] when the
    ///   image is missing and is [never](PullPolicy::Never) pulled,
    /// - [`Error::Died`] when it had ended already at the look that follows, with its exit code and last
    ///   lines,
    /// - [`Error::WrongAddress`], [`Error::Gone`] or [`Error::Look`] when that look found another
    ///   address, no container, or no answer.
    #[expect(clippy::needless_pass_by_value, reason = "a specification is built for one start")]
    pub fn start(self, spec: BundleSpec) -> Result<BundleRunning, StepError<Self>> {
        match spec.check(self.plan().naming()) {
            Ok(spec) => self.start_checked(spec, None),
            Err(error) => Err(StepError::new(error.into(), self)),
        }
    }

    /// The same, with a container that was created beside the network if there is one.
    pub(super) fn start_checked(
        self,
        spec: CheckedSpec,
        early: Option<Early>,
    ) -> Result<BundleRunning, StepError<Self>> {
        let span = tracing::info_span!("start", slug = %self.plan().slug(), ip = %self.plan().ip());
        let _entered = span.enter();
        if let Err(error) = check_fit(self.plan(), &spec) {
            return Err(StepError::new(error.into(), self));
        }
        let (network, plan) = (self.network(), self.plan());
        let attachment = pinned(plan, network.id().as_str());
        let (name, labels) = (&plan.container_name(), network.session().labels(plan));
        let start = Start { network, name, attachment, labels, spec: &spec };
        match start.run(early) {
            Ok((id, guard, _)) => {
                tracing::info!("the bundle runs");
                Ok(BundleRunning::new(id, spec.ready, guard, self))
            }
            Err(error) => Err(StepError::new(error, self)),
        }
    }
}

fn pinned<'a>(plan: &NetworkPlanned, network: &'a str) -> Attachment<'a> {
    Attachment::Pinned { network, ip: plan.ip(), ipv6: plan.ipv6().map(|ipv6| ipv6.bundle_ip()) }
}

/// A container that is created while its network is, and not started.
pub(super) struct Early {
    guard: Guard,
    id: Id,
}

impl Early {
    /// Creates a network, and this container at the same time; `None` if the engine did not create the container. A
    /// start of its own then tells the reason.
    pub(super) fn create(
        plan: &NetworkPlanned,
        spec: &CheckedSpec,
        stepwise: &dyn Stepwise,
        network: &mut Guard,
        request: impl FnOnce(&Notice<'_>) -> Result<Id, CreateError>,
    ) -> Result<(Result<Id, EngineError>, Option<Self>), Error> {
        let session = Arc::clone(network.session());
        let (name, network_name) = (plan.container_name(), plan.network_name());
        let labels = labels::with_spec(session.labels(plan), &spec.digest());
        let mut guard = guarded(&session, &name, &labels, spec);
        let deadline = session.connection().engine().start_deadline();
        let container = || {
            let attachment = pinned(plan, &network_name);
            let (labels, gateway) = (&labels, plan.gateway());
            let request = ContainerRequest { name: &name, attachment, gateway, labels, spec };
            stepwise.create_container(&request, deadline)
        };
        let [created, early] = network.create_beside(&mut guard, request, container)?;
        match early {
            Ok(id) => Ok((created, Some(Self { guard, id }))),
            Err(source) => {
                tracing::debug!(error = %source, "the container was not created beside its network");
                let closed = guard.close();
                if closed.is_err() {
                    let error = ports::start_error(session.connection(), &name, spec, source);
                    return Err(error.and(closed));
                }
                Ok((created, None))
            }
        }
    }

    /// Removes it now.
    pub(super) fn close(self) -> Result<(), Error> {
        self.guard.close()
    }
}

/// The guard of a container that does not exist yet.
fn guarded(session: &Arc<Session>, name: &str, labels: &LabelMap, spec: &CheckedSpec) -> Guard {
    let guard = Guard::new(Arc::clone(session), Resource::Container, name.to_owned());
    let mut guard = guard.with_labels(labels);
    guard.set_end(spec.options.grace, spec.options.save_log.clone());
    guard
}

/// Checks all that can be checked without an engine.
pub(super) fn check_plan(plan: &NetworkPlanned, spec: Option<&CheckedSpec>) -> Result<(), Error> {
    plan.options().check(plan.ipv6().is_some())?;
    if plan.lifetime().is_some_and(|it| it.is_zero()) {
        return Err(InvalidInput::new("a lifetime of 0 ends before the bundle runs").into());
    }
    if plan.options().is_overlay() && plan.addressing().dynamic_range().is_none() {
        return Err(InvalidInput::new(format_args!(
            "{} has no address for the nodes of a swarm; an overlay network needs a larger subnet",
            plan.subnet()
        ))
        .into());
    }
    if let Some(spec) = spec {
        check_fit(plan, spec)?;
    }
    Ok(())
}

/// Checks that a specification fits the plan of its network.
pub(super) fn check_fit(plan: &NetworkPlanned, spec: &CheckedSpec) -> Result<(), InvalidInput> {
    let options = &spec.options;
    if options.also_on.as_ref() == Some(&plan.network_name()) {
        return Err(InvalidInput::new(
            "the container is on its own network, and also_on is for another",
        ));
    }
    match (&options.also_on, options.publish.first()) {
        (Some(network), _) if !plan.options().internal => Err(InvalidInput::new(format_args!(
            "the container is also on network {network}, and its own is not internal: engines would differ in the default route; plan with NetworkOptions::internal"
        ))),
        (None, Some(port)) if plan.options().internal => Err(InvalidInput::new(format_args!(
            "port {} cannot be published from an internal network; also_on adds one with a way out",
            port.name()
        ))),
        _ => Ok(()),
    }
}

/// A container to be made in a network.
pub(super) struct Start<'a> {
    pub(super) network: &'a Network,
    pub(super) name: &'a str,
    pub(super) attachment: Attachment<'a>,
    pub(super) labels: LabelMap,
    pub(super) spec: &'a CheckedSpec,
}

impl Start<'_> {
    /// Makes it unless that was done early, starts it and looks at it once.
    pub(super) fn run(&self, early: Option<Early>) -> Result<(Id, Guard, Status), Error> {
        let Self { network, name, spec, .. } = *self;
        let (plan, session) = (network.plan(), network.session());
        let connection = session.connection();
        let (engine, backend) = (connection.engine(), connection.backend());
        backend.redact(spec);
        connection.supports(spec)?;
        if spec.options.publish.iter().any(PortMapping::is_chosen) {
            // Any of them may have the port.
            teardown::join(&session.engine(), |_| true);
        }
        if let (Some(Early { guard, id }), Some(stepwise)) = (early, backend.stepwise()) {
            if let Err(error) = calls::go_on() {
                return Err(error.and(guard.close()));
            }
            session.renew_reaper();
            match stepwise.start_created(&id, spec, engine.start_deadline()) {
                Ok(()) => return self.looked_at(id, guard),
                // The container knows its network by name, and another network may have that name.
                Err(error) if leads_elsewhere(&error) => {
                    let closed = guard.close();
                    if closed.is_err() {
                        return Err(ports::start_error(connection, name, spec, error).and(closed));
                    }
                }
                Err(error) => return Err(self.failed(error, guard)),
            }
        }
        let labels = &labels::with_spec(self.labels.clone(), &spec.digest());
        let mut guard = guarded(session, name, labels, spec);
        // A request of a dead owner may have an effect while this one is under way.
        let patience = engine.patience();
        let mut absences = 0;
        let mut pulled = spec.options.pull == PullPolicy::Always;
        if pulled {
            pull(session, spec)?;
        }
        let (attachment, gateway) = (self.attachment, plan.gateway());
        let request = ContainerRequest { name, attachment, gateway, labels, spec };
        loop {
            let deadline = engine.start_deadline();
            let created =
                guard.create(|notice| backend.run_container(&request, notice, deadline))?;
            let error = match created {
                Ok(id) => return self.looked_at(id, guard),
                Err(error) => error,
            };
            if error.cause() == Cause::ImageMissing
                && spec.options.pull == PullPolicy::IfMissing
                && !pulled
            {
                pull(session, spec)?;
                pulled = true;
                continue;
            }
            let removed = match error.cause() {
                Cause::ContainerNameTaken => self.remove_orphan_of_name(patience, &mut absences),
                _ => Ok(false),
            };
            let removed = match removed {
                Ok(removed) => removed,
                Err(error) => return Err(error.and(guard.close())),
            };
            let orphan_was_in_the_way = removed && engine.is_patient(patience);
            // Of two hosts at once, each may have got a network, and one gives up, or just has.
            let is_contended = error.cause() == Cause::NetworkAmbiguous
                && (self.is_elsewhere().unwrap_or(false) || is_absent_again(&mut absences))
                && engine.is_patient(patience);
            if orphan_was_in_the_way || is_contended {
                continue;
            }
            return Err(self.failed(error, guard));
        }
    }

    fn looked_at(&self, id: Id, guard: Guard) -> Result<(Id, Guard, Status), Error> {
        match self.look(&id) {
            Ok(status) => Ok((id, guard, status)),
            Err(error) => Err(error.and(guard.close())),
        }
    }

    /// Returns true if the slug has another network, under a lease that is not here.
    fn is_elsewhere(&self) -> Result<bool, Error> {
        let (plan, session) = (self.network.plan(), self.network.session());
        let found = survey::elsewhere(plan, session, Some(self.network.id()));
        let found = found.map_err(|source| Error::Look { what: "networks of the slug", source })?;
        Ok(found.is_some())
    }

    /// Removes the container that has the name already if it is an orphan. False if it stays: it is another's.
    fn remove_orphan_of_name(
        &self,
        patience: Instant,
        absences: &mut usize,
    ) -> Result<bool, Error> {
        let Self { network, name, .. } = *self;
        let (plan, session) = (network.plan(), network.session());
        let connection = session.connection();
        let deadline = connection.engine().look_deadline();
        let found = connection.backend().container(name, deadline);
        let found =
            found.map_err(|source| Error::Look { what: "a container of this name", source })?;
        // It went while it was looked for, unless the engine is at fault.
        let Some(found) = found else {
            return Ok(is_absent_again(absences) || session.may_have_orphans());
        };
        if session.is_under_lease(&found.labels) {
            let container = Resource::Container;
            orphans::remove_by_id(connection, container, name, &found.id, deadline)?;
            return Ok(true);
        }
        if !labels::are_of(plan.naming(), plan.slug(), &found.labels) {
            return Ok(false);
        }
        // Of two hosts at once, the other one created it beside its network. Without that, its owner gives up.
        let may_go = found.state == State::Created && connection.engine().now() < patience;
        if may_go && !self.is_elsewhere()? {
            return Ok(true);
        }
        Err(Error::UnknownOwner {
            slug: plan.slug().clone(),
            resource: Resource::Container,
            name: name.to_owned(),
            id: found.id.to_string(),
            host: labels::host_in(&found.labels),
        })
    }

    fn failed(&self, error: EngineError, guard: Guard) -> Error {
        // Before the look for the holder of a port: the engine may have begun to publish others.
        let closed = guard.close();
        let connection = self.network.session().connection();
        ports::start_error(connection, self.name, self.spec, error).and(closed)
    }

    /// Looks once after the start: an engine reports success for a container that is dead at once.
    pub(super) fn look(&self, id: &Id) -> Result<Status, Error> {
        let (plan, session) = (self.network.plan(), self.network.session());
        let container = self.name.to_owned();
        let connection = session.connection();
        let info = connection.container(id.as_str(), connection.engine().look_deadline());
        let info = info.map_err(|source| Error::Look { what: "the container's state", source })?;
        let Some(info) = info else { return Err(Error::Gone { container }) };
        let status = info.status(self.network.id(), &plan.network_name());
        if let Status { state: State::Exited, exit: Some(exit), .. } = status {
            // Before it is removed, and its log with it.
            let log = last_lines(session, id, connection.engine().look_deadline());
            return Err(Error::Died { container, exit: Box::new(exit), log });
        }
        // A container that restarts again and again has its address only now and then.
        if status.address.is_none() && self.spec.options.restart != RestartPolicy::No {
            return Ok(status);
        }
        let Attachment::Pinned { ip, ipv6, .. } = self.attachment else { return Ok(status) };
        let wrong = |planned, found| Error::WrongAddress { container, planned, found };
        match ipv6 {
            _ if status.address != Some(ip) => {
                Err(wrong(ip.into(), status.address.map(IpAddr::V4)))
            }
            Some(planned) if status.ipv6 != Some(planned) => {
                Err(wrong(planned.into(), status.ipv6.map(IpAddr::V6)))
            }
            _ => Ok(status),
        }
    }
}

/// Returns true if a network that is known by its name was not found, or was more than one.
fn leads_elsewhere(error: &EngineError) -> bool {
    matches!(error.cause(), Cause::NetworkMissing | Cause::NetworkAmbiguous)
}

/// Counts what was in the way and is not there; true for the first few times.
fn is_absent_again(absences: &mut usize) -> bool {
    *absences += 1;
    *absences <= 3
}

fn pull(session: &Session, spec: &CheckedSpec) -> Result<(), Error> {
    calls::go_on()?;
    let connection = session.connection();
    let image = &spec.image;
    let _entered = tracing::info_span!("pull", image).entered();
    tracing::info!("an image is pulled");
    let pulled = connection.backend().pull(image, connection.engine().pull_deadline());
    pulled.map_err(|source| Error::Pull { image: image.clone(), source })?;
    tracing::info!("the image was pulled");
    Ok(())
}
