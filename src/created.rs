//! The second state: the network exists, and its address is final.

use std::net::IpAddr;
use std::time::Duration;

use crate::engine::diagnosis::Cause;
use crate::engine::{ContainerRequest, Failed, Made, Named, Resource};
use crate::error::{Error, GiveUp, StepError};
use crate::guard::Guard;
use crate::host;
use crate::labels::ownership;
use crate::lease::Kept;
use crate::planned::NetworkPlanned;
use crate::ready::Ready;
use crate::removal;
use crate::running::BundleRunning;
use crate::spec::{BundleSpec, CheckedSpec, Pull};
use crate::status::{State, Status};
use crate::waiting::last_words;

/// A bundle whose network exists: [`NetworkPlanned::create_network`] leads here,
/// [`start`](Self::start) leads on.
///
/// Dropping it removes the network.
///
/// ```no_run
/// # use sidecar_bundle::{BundleSpec, CliEngine, NetworkPlanned, Slug};
/// # let plan = NetworkPlanned::new(Slug::new("demo")?);
/// let bundle = plan.create_network(&CliEngine::docker())?.start(BundleSpec::new())?;
/// # bundle.close()
/// # ; Ok::<(), sidecar_bundle::Error>(())
/// ```
///
/// There is no starting without a network:
///
/// ```compile_fail,E0599
/// # use sidecar_bundle::{BundleSpec, CliEngine, NetworkPlanned, Slug};
/// # let plan = NetworkPlanned::new(Slug::new("demo")?);
/// let bundle = plan.start(BundleSpec::new())?;
/// # bundle.close()
/// # ; Ok::<(), sidecar_bundle::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the network is removed when this is dropped"]
pub struct NetworkCreated {
    plan: NetworkPlanned,
    network: Guard,
}

impl NetworkCreated {
    pub(crate) fn new(plan: NetworkPlanned, network: Guard) -> Self {
        Self { plan, network }
    }

    /// Starts the container at the planned address, `docker run --detach`, and takes one look at it.
    ///
    /// It runs then, and need not be ready: see [`BundleRunning::wait_ready`]. An image that is not there
    /// is pulled first, unless the specification says otherwise.
    ///
    /// # Errors
    ///
    /// This state is handed back, and no container of this step is left, unless an
    /// [`Error::NotRemoved`] comes with the error:
    ///
    /// - [`Error::Spec`] before the engine is asked for anything,
    /// - [`Error::Pull`] when the image is not there and cannot be pulled,
    /// - [`Error::Start`] when the engine did not start it,
    /// - [`Error::Died`] when it had ended already at the one look that follows, with its exit code and
    ///   last words,
    /// - [`Error::WrongAddress`], [`Error::Gone`] or [`Error::Look`] when that look found another
    ///   address, no container, or no answer.
    #[expect(clippy::needless_pass_by_value, reason = "a specification is built for one start")]
    pub fn start(self, spec: BundleSpec) -> Result<BundleRunning, StepError<Self>> {
        let span = tracing::info_span!("start", slug = %self.plan.slug(), ip = %self.plan.ip());
        let _entered = span.enter();
        match self.run(&spec) {
            Ok((container, ready)) => Ok(BundleRunning::new(container, ready, self)),
            Err(error) => Err(StepError::new(error, self)),
        }
    }

    /// Removes the network now: `docker network rm`.
    ///
    /// # Errors
    ///
    /// [`Error::NotRemoved`] when the network may be left, with the command that removes it.
    pub fn close(self) -> Result<(), Error> {
        let _entered = tracing::info_span!("close", slug = %self.plan.slug()).entered();
        self.remove()
    }

    /// Leaves the network where it is and lets go of the slug.
    ///
    /// The plan that comes back finds the network again, in this process or in a later one:
    /// [`NetworkPlanned::create_network`] takes over what was kept.
    ///
    /// # Errors
    ///
    /// [`Error::Lease`] when the mark that the network stays cannot be written. This state is handed
    /// back, and nothing has changed.
    pub fn keep(self) -> Result<NetworkPlanned, StepError<Self>> {
        self.keep_as(Kept::Network)
    }

    pub(crate) fn remove(self) -> Result<(), Error> {
        self.network.close()
    }

    pub(crate) fn keep_as(self, kept: Kept) -> Result<NetworkPlanned, StepError<Self>> {
        if let Err(error) = self.network.hold().keep(kept) {
            return Err(StepError::new(error, self));
        }
        self.network.disarm();
        Ok(self.plan)
    }

    /// The plan that has come true.
    #[must_use]
    pub fn plan(&self) -> &NetworkPlanned {
        &self.plan
    }

    /// The network's id, as the engine returned it.
    #[must_use]
    pub fn network_id(&self) -> &str {
        self.network.id()
    }

    /// Whether the bundle's address can be reached from here.
    ///
    /// True if the bridge of this very network is an interface of this host, in this network namespace,
    /// and what is sent to the bundle leaves by it. It is asked without sending a packet. With an engine
    /// elsewhere it is false, and whatever answers at the address is not the bundle;
    /// [`CliEngine::reachability`](crate::CliEngine::reachability) says why. Podman makes the bridge
    /// with the network's first container, and removes it with the last.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        let (ip, gateway) = (self.plan.ip(), self.plan.gateway());
        if !host::speaks_as(gateway, ip) {
            return false;
        }
        // Another engine's network may have the same addresses: this one's bridge is known by its name.
        let engine = self.network.engine();
        let networks =
            engine.networks(&[self.network.id()], engine.now() + engine.remove_deadline());
        let bridge = networks.ok().and_then(|mut found| found.pop()?.bridge);
        bridge.is_some_and(|bridge| host::has(&bridge, gateway.into()))
    }

    /// The network by both of its names.
    pub(crate) fn with_named<T>(&self, work: impl FnOnce(&Named<'_>) -> T) -> T {
        work(&Named { id: self.network.id(), name: &self.plan.network_name() })
    }

    fn run(&self, spec: &BundleSpec) -> Result<(Guard, Vec<Ready>), Error> {
        let spec = spec.check(self.plan.product())?;
        self.network.engine().hide(&spec);
        let name = self.plan.container_name();
        let mut container = self.network.beside(Resource::Container, name);
        // What a dead owner's last command makes may appear while this one is at it.
        let patience = container.engine().now() + Duration::from_secs(5);
        let mut pulled = spec.options.pull == Pull::Always;
        if pulled {
            pull(&container, &spec)?;
        }
        container.set_grace(spec.options.grace);
        loop {
            container.arm();
            let request = ContainerRequest {
                tether: container.hold().tether(),
                name: container.name(),
                network_id: self.network.id(),
                ip: self.plan.ip(),
                ipv6: self.plan.ipv6().map(|ipv6| ipv6.bundle_ip()),
                labels: container.labels(),
                spec: &spec,
            };
            match container.engine().run_container(&request) {
                Ok(id) => {
                    container.set_made(Made::Id(id));
                    return match self.look(&container, &spec) {
                        Ok(()) => Ok((container, spec.ready)),
                        Err(error) => Err(error.and(container.close())),
                    };
                }
                Err(Failed { error, made }) => {
                    container.set_made(made);
                    if error.cause() == Cause::ImageMissing
                        && spec.options.pull == Pull::IfMissing
                        && !pulled
                    {
                        pull(&container, &spec)?;
                        pulled = true;
                        continue;
                    }
                    if error.cause() == Cause::ContainerNameTaken
                        && container.engine().now() < patience
                        && bury_namesake(&self.plan, &container)?
                    {
                        continue;
                    }
                    let failed = Error::Start {
                        container: container.name().to_owned(),
                        image: spec.image,
                        source: error,
                    };
                    return Err(failed.and(container.close()));
                }
            }
        }
    }

    /// One look after the start: `docker run` reports success for a container that is dead at once.
    fn look(&self, container: &Guard, spec: &CheckedSpec) -> Result<(), Error> {
        let engine = container.engine();
        let name = || container.name().to_owned();
        let facts = engine.container(container.id(), engine.now() + engine.remove_deadline());
        let facts =
            facts.map_err(|source| Error::Look { what: "the container's state", source })?;
        let status = match facts {
            Some(facts) => self.with_named(|network| facts.status(network)),
            None => return Err(Error::Gone { container: name() }),
        };
        match status {
            Status { state: State::Exited, exit: Some(exit), .. } => {
                // Before it is removed, and its log with it.
                let log = last_words(engine, container.id());
                Err(Error::Died { container: name(), exit: Box::new(exit), log })
            }
            // One that is started again and again has its address only now and then.
            Status { address: None, .. } if spec.options.restarts => Ok(()),
            Status { address, .. } if address != Some(self.plan.ip()) => Err(Error::WrongAddress {
                container: name(),
                planned: self.plan.ip().into(),
                found: address.map(IpAddr::V4),
            }),
            Status { ipv6: found, .. } => match self.plan.ipv6().map(|ipv6| ipv6.bundle_ip()) {
                Some(planned) if found != Some(planned) => Err(Error::WrongAddress {
                    container: name(),
                    planned: planned.into(),
                    found: found.map(IpAddr::V6),
                }),
                _ => Ok(()),
            },
        }
    }
}

fn pull(container: &Guard, spec: &CheckedSpec) -> Result<(), Error> {
    let pulled = container.engine().pull(&spec.image);
    pulled.map_err(|source| Error::Pull { image: spec.image.clone(), source })
}

/// Removes the container that has the name already, if its owner is dead.
fn bury_namesake(plan: &NetworkPlanned, guard: &Guard) -> Result<bool, Error> {
    let predecessors = guard.hold().predecessors();
    if predecessors.is_empty() {
        return Ok(false);
    }
    let engine = guard.engine();
    let until = engine.now() + engine.remove_deadline();
    let found = engine.container(guard.name(), until);
    let found = found.map_err(|source| Error::Look { what: "a container of this name", source })?;
    let Some(found) = found else { return Ok(true) };
    // Another product's prefix and slug may come to the same name.
    let dead = predecessors.iter().any(|owner| {
        let labels = ownership(plan.product().prefix(), plan.slug().as_str(), owner);
        labels.iter().all(|(key, value)| found.labels.get(key) == Some(value))
    });
    if dead {
        removal::by_id(engine, Resource::Container, guard.name(), &found.id, until)?;
    }
    Ok(dead)
}

impl GiveUp for NetworkCreated {
    fn give_up(self) -> Result<(), Error> {
        self.close()
    }
}
