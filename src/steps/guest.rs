//! The step from a running bundle to a guest in its network.

use super::start::{Start, check_fit};
use crate::container::{BundleSpec, CheckedSpec};
use crate::engine::backend::Attachment;
use crate::engine::cause::Cause;
use crate::engine::error::EngineError;
use crate::error::Error;
use crate::invalid::InvalidInput;
use crate::ownership::labels;
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
        let attachment = Attachment::Dynamic { network: self.network().id().as_str() };
        let mut spec = checked(name, spec)?;
        check_fit(self.plan(), &spec)?;
        spec.options.aliases.push(name.to_owned());
        self.start_guest(name, attachment, &spec)
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
        self.start_guest(name, Attachment::Namespace { container: self.id() }, &spec)
    }

    fn start_guest(
        &self,
        guest: &str,
        attachment: Attachment<'_>,
        spec: &CheckedSpec,
    ) -> Result<Guest<'_>, Error> {
        let (network, plan) = (self.network(), self.plan());
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
            return Ok(Guest::new(place, id, name, self.ip(), guard));
        }
        let engine = network.session().connection().engine();
        let patience = engine.patience();
        loop {
            if let Some(ip) = status.address {
                return Ok(Guest::new(place, id, name, ip, guard));
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
