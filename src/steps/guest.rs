//! The step from a running bundle to a guest in its network.

use std::ops::Deref;
use std::sync::Arc;

use super::create::swarm_of;
use super::start::{Start, check_fit};
use super::survey;
use crate::container::{BundleSpec, CheckedSpec};
use crate::created::Network;
use crate::engine::Engine;
use crate::engine::backend::{Attachment, Id, NetworkInfo};
use crate::engine::cause::Cause;
use crate::engine::connection::Connection;
use crate::engine::error::EngineError;
use crate::engine::identity::Swarm;
use crate::error::Error;
use crate::invalid::InvalidInput;
use crate::ownership::lease::Kept;
use crate::ownership::session::Session;
use crate::ownership::{calls, labels, teardown};
use crate::plan::NetworkPlanned;
use crate::running::{BundleRunning, Guest, GuestPlace, Hosted};

impl BundleRunning {
    /// Starts another container in the bundle's network, such as the sandbox itself, and looks at it once.
    ///
    /// It gets an address of the network's dynamic range, which neither the bundle nor another guest has. Others on the
    /// network find it by its name, which is 1 to 16 lower-case letters and digits. A guest has a guard of its own, and
    /// borrows the bundle: it is removed first. It needs an image, and has no daemons.
    ///
    /// ```no_run
    /// use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
    ///
    /// # let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let bundle = plan.launch(&Engine::docker(), BundleSpec::new())?;
    /// let agent = bundle.guest("agent", BundleSpec::new().image("acme/agent:7").hardened())?;
    /// println!("{} may talk to {}", agent.ip(), bundle.ip());
    /// agent.close()?;
    /// bundle.close()?;
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    ///
    /// The bundle cannot be closed or kept under a living guest:
    ///
    /// ```compile_fail,E0505
    /// # use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
    /// # let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let bundle = plan.launch(&Engine::docker(), BundleSpec::new())?;
    /// let agent = bundle.guest("agent", BundleSpec::new().image("acme/agent:7"))?;
    /// bundle.close()?;
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for an invalid name, or that of a living guest. The others are those of
    /// [`NetworkCreated::start`](crate::NetworkCreated::start). The bundle runs on, and no container of this step was
    /// seen afterwards, unless an [`Error::NotRemoved`] [comes with the error](Error::Several).
    pub fn guest(&self, name: &str, spec: BundleSpec) -> Result<Guest<'_>, Error> {
        start_guest(self, name, spec).map(Guest)
    }

    /// Starts a guest on another engine of the bundle's swarm, and looks at it once.
    ///
    /// The bundle's network must be an [overlay](crate::NetworkOptions::overlay). The engine is any node of the swarm;
    /// with the bundle's own, this is a [`guest`](Self::guest). Its containers and files are its own: it needs the image,
    /// and mounts are of its host.
    ///
    /// From the first call for an engine to the end of the bundle, this process holds the slug there too, by a lease and
    /// a reaper of that engine. So when the process is killed, the guests on each engine are removed by the reaper that
    /// knows it, and the network when the last of them is gone. A [`sweep`](crate::sweep) has to be run for each engine,
    /// with the same state directory, and for the bundle's own engine last. The guests expire with the bundle.
    ///
    /// ```no_run
    /// use sidecar_bundle::{BundleSpec, Engine, NetworkOptions, NetworkPlanned, Slug};
    ///
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let plan = plan.with_options(NetworkOptions::new().overlay(true));
    /// let bundle = plan.launch(&Engine::docker(), BundleSpec::new())?;
    /// for host in ["ssh://me@builder-1", "ssh://me@builder-2"] {
    ///     let name = host.trim_start_matches("ssh://me@builder-");
    ///     let spec = BundleSpec::new().image("acme/agent:7").hardened();
    ///     let agent = bundle.guest_on(&Engine::docker().with_host(host), name, spec)?;
    ///     println!("{} on {host}", agent.ip());
    /// }
    /// # bundle.close()?;
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`guest`](Self::guest), and nothing of this step was seen on either engine afterwards:
    ///
    /// - [`Error::Invalid`] also for a network that is not an overlay,
    /// - [`Error::Look`] when the other engine cannot be asked, and [`Error::Unsupported`] when it is podman,
    /// - [`Error::Taken`] when a bundle or guest of this slug on that engine is another owner's, and [`Error::Kept`] when
    ///   a kept one is,
    /// - [`Error::SubnetTaken`] when a network of that engine has the bundle's range,
    /// - [`Error::Start`] with [`Cause::SwarmMissing`] when it is in no swarm, [`Cause::NetworkMissing`] when it is in
    ///   another one, [`Cause::SwarmUnreachable`] when it does not reach a manager, and [`Cause::NotAttached`] when the
    ///   swarm did not attach the container.
    pub fn guest_on(
        &self,
        engine: &Engine,
        name: &str,
        spec: BundleSpec,
    ) -> Result<Guest<'_>, Error> {
        start_guest_on(self, engine, name, spec).map(Guest)
    }

    /// Starts another container in the network namespace of the bundle's container, and looks at it once.
    ///
    /// It has the bundle's addresses. The guest and the bundle's daemons reach each other at `127.0.0.1`. The rest is
    /// as for a [`guest`](Self::guest).
    ///
    /// # Errors
    ///
    /// As for [`guest`](Self::guest), and [`Error::Invalid`] for options of a network: published ports, extra hosts,
    /// networks, DNS servers and aliases belong in the bundle's own specification. [`Error::Died`] names the bundle's
    /// container if that has ended, and leaves it as it is.
    pub fn guest_in_namespace(&self, name: &str, spec: BundleSpec) -> Result<Guest<'_>, Error> {
        start_guest_in_namespace(self, name, spec).map(Guest)
    }
}

/// Starts a guest of a bundle, by whatever holds that.
pub(crate) fn start_guest<B: Deref<Target = BundleRunning>>(
    bundle: B,
    name: &str,
    spec: BundleSpec,
) -> Result<Hosted<B>, Error> {
    let spec = checked_for_network(bundle.plan(), name, spec)?;
    start(bundle, None, name, false, &spec)
}

/// The same, on an engine of the bundle's swarm.
pub(crate) fn start_guest_on<B: Deref<Target = BundleRunning>>(
    bundle: B,
    engine: &Engine,
    name: &str,
    spec: BundleSpec,
) -> Result<Hosted<B>, Error> {
    let spec = checked_for_network(bundle.plan(), name, spec)?;
    if !bundle.plan().options().is_overlay() {
        return Err(InvalidInput::new(
            "the bundle's network is a bridge of one host; plan with NetworkOptions::overlay",
        )
        .into());
    }
    start(bundle, Some(engine), name, false, &spec)
}

/// The same, in the network namespace of the bundle's container.
pub(crate) fn start_guest_in_namespace<B: Deref<Target = BundleRunning>>(
    bundle: B,
    name: &str,
    spec: BundleSpec,
) -> Result<Hosted<B>, Error> {
    let spec = checked(name, spec)?;
    let options = &spec.options;
    let refused = [
        ("a published port", !options.publish.is_empty()),
        ("a second network", options.also_on.is_some()),
        ("an alias", !options.aliases.is_empty()),
        ("an extra host", !options.hosts.is_empty()),
        ("a DNS server", !options.dns.is_empty()),
    ];
    if let Some((what, _)) = refused.iter().find(|(_, is_set)| *is_set) {
        return Err(InvalidInput::new(format_args!(
            "{what} belongs to the bundle, whose network namespace the guest shares"
        ))
        .into());
    }
    // Podman would start it again.
    let deadline = bundle.session().connection().engine().look_deadline();
    if let Some(exit) = bundle.exit(deadline)? {
        return Err(bundle.died(exit, deadline));
    }
    start(bundle, None, name, true, &spec)
}

fn start<B: Deref<Target = BundleRunning>>(
    bundle: B,
    on: Option<&Engine>,
    guest: &str,
    in_namespace: bool,
    spec: &CheckedSpec,
) -> Result<Hosted<B>, Error> {
    let span = tracing::info_span!("guest", slug = %bundle.plan().slug(), guest);
    let _entered = span.enter();
    let place = take_place(bundle, guest)?;
    let bundle = place.bundle();
    let (plan, ip) = (bundle.plan(), bundle.ip());
    let network = match on {
        Some(engine) => network_on(bundle, engine, guest, spec)?,
        None => Arc::clone(bundle.created().network()),
    };
    let attachment = if in_namespace {
        Attachment::Namespace { container: bundle.id() }
    } else {
        Attachment::Dynamic { network: network.id().as_str() }
    };
    let name = plan.guest_name(guest);
    let labels = labels::with_guest(network.session().labels(plan), guest);
    let start = Start { network: &network, name: &name, attachment, labels, spec };
    let (id, guard, mut status) = start.run(None)?;
    if in_namespace {
        return Ok(Hosted::new(place, id, name, ip, guard, network));
    }
    let engine = network.session().connection().engine();
    let patience = engine.patience();
    let ip = loop {
        if let Some(ip) = status.address {
            break ip;
        }
        // One that restarts again and again has an address only now and then.
        if !engine.is_patient(patience) {
            let source = EngineError::withheld("it has none".into(), Cause::Other);
            return Err(Error::Look { what: "the guest's address", source }.and(guard.close()));
        }
        match start.look(&id) {
            Ok(looked) => status = looked,
            Err(error) => return Err(error.and(guard.close())),
        }
    };
    Ok(Hosted::new(place, id, name, ip, guard, network))
}

/// The bundle's network as an engine of its swarm has it.
fn network_on(
    bundle: &BundleRunning,
    engine: &Engine,
    guest: &str,
    spec: &CheckedSpec,
) -> Result<Arc<Network>, Error> {
    let asked = |source| Error::Look { what: "its identity", source };
    let connection = Connection::open_for(engine, Some(spec)).map_err(asked)?;
    let digest = connection.info().identity.digest();
    if digest == bundle.session().engine() {
        return Ok(Arc::clone(bundle.created().network()));
    }
    let session = || {
        Ok(open(connection, bundle.plan(), bundle.network().id(), guest, spec)?
            .expiring(bundle.session().expires()))
    };
    bundle.network().on(digest, session)
}

/// The session of the guests of a bundle on another engine of its swarm.
fn open(
    connection: Connection,
    plan: &NetworkPlanned,
    network: &Id,
    guest: &str,
    spec: &CheckedSpec,
) -> Result<Session, Error> {
    connection.info().supports(plan.options(), false)?;
    connection.supports(spec)?;
    let role = swarm_of(&connection)?;
    if let (Swarm::None, Err(source)) = (role, EngineError::of_swarm(role)) {
        let (container, image) = (plan.guest_name(guest), spec.image.clone());
        return Err(Error::Start { container, image, source });
    }
    let session = Session::on(connection, plan)?;
    if session.lease().kept() != Kept::Nothing {
        return Err(Error::Kept { slug: plan.slug().clone() });
    }
    let session = session.with_reaper();
    session.remove_orphans(plan.slug())?;
    let is_own = |it: &NetworkInfo| it.id == *network;
    match survey::network_in_the_way(session.connection(), plan, is_own)? {
        Some((subnet, holder)) => {
            Err(Error::SubnetTaken { subnet, holder: Some(holder), source: None })
        }
        None => Ok(session),
    }
}

/// Takes the name among the guests, after the end of one that is being removed in the background.
fn take_place<B: Deref<Target = BundleRunning>>(
    bundle: B,
    guest: &str,
) -> Result<GuestPlace<B>, Error> {
    let session = bundle.session();
    calls::claim(session.connection(), bundle.plan())?;
    let taken = match GuestPlace::take(bundle, guest) {
        Ok(place) => return Ok(place),
        Err(bundle) => bundle,
    };
    for engine in taken.network().engines() {
        teardown::join(&engine, |plan| plan == taken.plan());
    }
    GuestPlace::take(taken, guest)
        .map_err(|_| InvalidInput::new(format_args!("a guest {guest} of this bundle lives")).into())
}

fn checked_for_network(
    plan: &NetworkPlanned,
    name: &str,
    spec: BundleSpec,
) -> Result<CheckedSpec, Error> {
    let mut spec = checked(name, spec)?;
    check_fit(plan, &spec)?;
    spec.options.aliases.push(name.to_owned());
    Ok(spec)
}

#[expect(clippy::needless_pass_by_value, reason = "a specification is built for one start")]
fn checked(name: &str, spec: BundleSpec) -> Result<CheckedSpec, InvalidInput> {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !(1..=16).contains(&name.len()) || !name.chars().all(is_letter) {
        return Err(InvalidInput::new(format_args!(
            "{name:?} is not the name of a guest, which has 1 to 16 of a-z and 0-9"
        )));
    }
    spec.check_for_guest()
}
