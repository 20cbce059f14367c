//! The step from a network to a running bundle.

use std::net::IpAddr;
use std::sync::Arc;

use super::observe::last_lines;
use crate::container::{BundleSpec, CheckedSpec, PullPolicy, RestartPolicy};
use crate::created::NetworkCreated;
use crate::engine::backend::{ContainerRequest, Id, Resource};
use crate::engine::cause::Cause;
use crate::error::{Error, StepError};
use crate::ownership::guard::Guard;
use crate::ownership::session::Session;
use crate::ownership::{labels, orphans};
use crate::plan::NetworkPlanned;
use crate::running::BundleRunning;
use crate::status::{State, Status};

impl NetworkCreated {
    /// Starts the container at the planned address, `docker run --detach`, and looks at it once.
    ///
    /// It runs then, and need not be ready: see [`wait_ready`](crate::Container::wait_ready). An image that turns out to be
    /// missing is pulled, and the container is created again, unless the specification has another
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
    ///   left alone,
    /// - [`Error::Start`] when the engine did not start it, with [`Cause::ImageMissing`] when the image is
    ///   missing and is [never](PullPolicy::Never) pulled,
    /// - [`Error::Died`] when it had ended already at the look that follows, with its exit code and last
    ///   lines,
    /// - [`Error::WrongAddress`], [`Error::Gone`] or [`Error::Look`] when that look found another
    ///   address, no container, or no answer.
    #[expect(clippy::needless_pass_by_value, reason = "a specification is built for one start")]
    pub fn start(self, spec: BundleSpec) -> Result<BundleRunning, StepError<Self>> {
        match spec.check(self.plan().naming()) {
            Ok(spec) => self.start_checked(spec),
            Err(error) => Err(StepError::new(error.into(), self)),
        }
    }

    pub(super) fn start_checked(self, spec: CheckedSpec) -> Result<BundleRunning, StepError<Self>> {
        let span = tracing::info_span!("start", slug = %self.plan().slug(), ip = %self.plan().ip());
        let _entered = span.enter();
        match run(&self, &spec) {
            Ok((id, guard)) => Ok(BundleRunning::new(id, spec.ready, guard, self)),
            Err(error) => Err(StepError::new(error, self)),
        }
    }
}

fn run(network: &NetworkCreated, spec: &CheckedSpec) -> Result<(Id, Guard), Error> {
    let (plan, session) = (network.plan(), network.network().session());
    let connection = session.connection();
    let (engine, backend) = (connection.engine(), connection.backend());
    backend.redact(spec);
    backend.supports(spec, connection.info())?;
    let name = plan.container_name();
    let mut guard = Guard::new(Arc::clone(session), Resource::Container, name.clone());
    guard.set_grace(spec.options.grace);
    // A request of a dead owner may have an effect while this one is under way.
    let patience = engine.patience();
    let mut pulled = spec.options.pull == PullPolicy::Always;
    if pulled {
        pull(session, spec)?;
    }
    let labels = session.labels(plan);
    let request = ContainerRequest {
        name: &name,
        network_id: network.id(),
        ip: plan.ip(),
        ipv6: plan.ipv6().map(|ipv6| ipv6.bundle_ip()),
        labels: &labels,
        spec,
    };
    loop {
        let deadline = engine.start_deadline();
        let created = guard.create(|notice| backend.run_container(&request, notice, deadline))?;
        let error = match created {
            Ok(id) => {
                return match look(network, &id, spec) {
                    Ok(()) => Ok((id, guard)),
                    Err(error) => Err(error.and(guard.close())),
                };
            }
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
        let orphan_was_in_the_way = error.cause() == Cause::ContainerNameTaken
            && remove_orphan_of_name(plan, session, &name)?
            && engine.is_patient(patience);
        if orphan_was_in_the_way {
            continue;
        }
        let failed =
            Error::Start { container: name.clone(), image: spec.image.clone(), source: error };
        return Err(failed.and(guard.close()));
    }
}

/// Looks once after the start: `docker run` reports success for a container that is dead at once.
fn look(network: &NetworkCreated, id: &Id, spec: &CheckedSpec) -> Result<(), Error> {
    let (plan, session) = (network.plan(), network.network().session());
    let container = plan.container_name();
    let connection = session.connection();
    let info = connection.container(id.as_str(), connection.engine().look_deadline());
    let info = info.map_err(|source| Error::Look { what: "the container's state", source })?;
    let Some(info) = info else { return Err(Error::Gone { container }) };
    match info.status(network.id(), &plan.network_name()) {
        Status { state: State::Exited, exit: Some(exit), .. } => {
            // Before it is removed, and its log with it.
            let log = last_lines(session, id, connection.engine().look_deadline());
            Err(Error::Died { container, exit: Box::new(exit), log })
        }
        // A container that restarts again and again has its address only now and then.
        Status { address: None, .. } if spec.options.restart != RestartPolicy::No => Ok(()),
        Status { address, .. } if address != Some(plan.ip()) => Err(Error::WrongAddress {
            container,
            planned: plan.ip().into(),
            found: address.map(IpAddr::V4),
        }),
        Status { ipv6: found, .. } => match plan.ipv6().map(|ipv6| ipv6.bundle_ip()) {
            Some(planned) if found != Some(planned) => Err(Error::WrongAddress {
                container,
                planned: planned.into(),
                found: found.map(IpAddr::V6),
            }),
            _ => Ok(()),
        },
    }
}

fn pull(session: &Session, spec: &CheckedSpec) -> Result<(), Error> {
    let connection = session.connection();
    let pulled = connection.backend().pull(&spec.image, connection.engine().pull_deadline());
    pulled.map_err(|source| Error::Pull { image: spec.image.clone(), source })
}

/// Removes the container that has the name already, if it is an orphan; false if it is another's.
fn remove_orphan_of_name(
    plan: &NetworkPlanned,
    session: &Session,
    name: &str,
) -> Result<bool, Error> {
    let connection = session.connection();
    let found = connection.backend().container(name, connection.engine().look_deadline());
    let found = found.map_err(|source| Error::Look { what: "a container of this name", source })?;
    let Some(found) = found else { return Ok(session.may_have_orphans()) };
    if session.is_under_lease(&found.labels) {
        let deadline = connection.engine().look_deadline();
        let container = Resource::Container;
        orphans::remove_by_id(connection, container, name, &found.id, deadline)?;
        return Ok(true);
    }
    if labels::are_of(plan.naming(), plan.slug(), &found.labels) {
        return Err(Error::UnknownOwner {
            slug: plan.slug().clone(),
            resource: Resource::Container,
            name: name.to_owned(),
            id: found.id.to_string(),
        });
    }
    Ok(false)
}
