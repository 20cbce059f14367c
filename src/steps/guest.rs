//! The step from a running bundle to a guest in its network.

use std::sync::Arc;

use super::start::{Start, check_fit};
use super::survey;
use crate::container::{BundleSpec, CheckedSpec};
use crate::created::Network;
use crate::engine::Engine;
use crate::engine::backend::Attachment;
use crate::engine::cause::Cause;
use crate::engine::connection::Connection;
use crate::engine::error::EngineError;
use crate::engine::identity::Swarm;
use crate::error::Error;
use crate::invalid::InvalidInput;
use crate::ownership::labels;
use crate::ownership::lease::Kept;
use crate::ownership::session::Session;
use crate::plan::NetworkPlanned;
use crate::running::{BundleRunning, Guest, GuestPlace};

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
        let spec = self.checked_for_network(name, spec)?;
        let attachment = Attachment::Dynamic { network: self.network().id().as_str() };
        self.start_guest(self.created().network(), name, attachment, &spec)
    }

    /// Starts a guest on another engine of the bundle's swarm, and looks at it once.
    ///
    /// The bundle's network must be an [overlay](crate::NetworkOptions::overlay). The engine is any node of the swarm;
    /// with the bundle's own, this is a [`guest`](Self::guest). Its containers and files are its own: it needs the image,
    /// and mounts are of its host.
    ///
    /// From the first guest on an engine to the end of the bundle, this process holds the slug there too, by a lease and
    /// a reaper of that engine. So when the process is killed, the guests on each engine are removed by the reaper that
    /// knows it, and the network when the last of them is gone. A [`sweep`](crate::sweep) has to be run for each engine,
    /// with the same state directory.
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
        let spec = self.checked_for_network(name, spec)?;
        if !self.plan().options().is_overlay() {
            return Err(InvalidInput::new(
                "the bundle's network is a bridge of one host; plan with NetworkOptions::overlay",
            )
            .into());
        }
        let asked = |source| Error::Look { what: "its identity", source };
        let connection = Connection::open_for(engine, Some(&spec)).map_err(asked)?;
        let digest = connection.info().identity.digest();
        let network = if digest == self.session().engine() {
            Arc::clone(self.created().network())
        } else {
            self.network().on(digest, || open(connection, self.plan(), name, &spec))?
        };
        let attachment = Attachment::Dynamic { network: network.id().as_str() };
        self.start_guest(&network, name, attachment, &spec)
    }

    fn checked_for_network(&self, name: &str, spec: BundleSpec) -> Result<CheckedSpec, Error> {
        let mut spec = checked(name, spec)?;
        check_fit(self.plan(), &spec)?;
        spec.options.aliases.push(name.to_owned());
        Ok(spec)
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
        let deadline = self.session().connection().engine().look_deadline();
        if let Some(exit) = self.exit(deadline)? {
            return Err(self.died(exit, deadline));
        }
        let attachment = Attachment::Namespace { container: self.id() };
        self.start_guest(self.created().network(), name, attachment, &spec)
    }

    fn start_guest(
        &self,
        network: &Arc<Network>,
        guest: &str,
        attachment: Attachment<'_>,
        spec: &CheckedSpec,
    ) -> Result<Guest<'_>, Error> {
        let plan = self.plan();
        let span = tracing::info_span!("guest", slug = %plan.slug(), guest);
        let _entered = span.enter();
        let Some(place) = GuestPlace::take(self, guest) else {
            return Err(
                InvalidInput::new(format_args!("a guest {guest} of this bundle lives")).into()
            );
        };
        let name = plan.guest_name(guest);
        let labels = labels::with_guest(network.session().labels(plan), guest);
        let start = Start { network, name: &name, attachment, labels, spec };
        let (id, guard, mut status) = start.run(None)?;
        if let Attachment::Namespace { .. } = attachment {
            return Ok(Guest::new(place, id, name, self.ip(), guard, Arc::clone(network)));
        }
        let engine = network.session().connection().engine();
        let patience = engine.patience();
        loop {
            if let Some(ip) = status.address {
                return Ok(Guest::new(place, id, name, ip, guard, Arc::clone(network)));
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
        }
    }
}

/// The session of the guests of a bundle on another engine of its swarm.
fn open(
    connection: Connection,
    plan: &NetworkPlanned,
    guest: &str,
    spec: &CheckedSpec,
) -> Result<Session, Error> {
    connection.info().supports(plan.options(), false)?;
    connection.backend().supports(spec, connection.info())?;
    let part = connection.backend().swarm(connection.engine().look_deadline());
    let part = part.map_err(|source| Error::Look { what: "its part in a swarm", source })?;
    if let (Swarm::None, Err(source)) = (part, EngineError::of_swarm(part)) {
        let (container, image) = (plan.guest_name(guest), spec.image.clone());
        return Err(Error::Start { container, image, source });
    }
    if let Some((subnet, holder)) = survey::network_in_the_way(&connection, plan)? {
        return Err(Error::SubnetTaken { subnet, holder: Some(holder), source: None });
    }
    let session = Session::on(connection, plan)?;
    if session.lease().kept() != Kept::Nothing {
        return Err(Error::Kept { slug: plan.slug().clone() });
    }
    let session = session.with_reaper();
    session.remove_orphans(plan.slug())?;
    Ok(session)
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
