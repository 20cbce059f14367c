//! The step from a running bundle to a guest in its network.

use std::ops::Deref;

use super::start::{Start, check_fit};
use crate::container::{BundleSpec, CheckedSpec};
use crate::engine::backend::Attachment;
use crate::engine::cause::Cause;
use crate::engine::error::EngineError;
use crate::error::Error;
use crate::invalid::InvalidInput;
use crate::ownership::{calls, labels, teardown};
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
    let mut spec = checked(name, spec)?;
    check_fit(bundle.plan(), &spec)?;
    spec.options.aliases.push(name.to_owned());
    start(bundle, name, false, &spec)
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
    start(bundle, name, true, &spec)
}

fn start<B: Deref<Target = BundleRunning>>(
    bundle: B,
    guest: &str,
    in_namespace: bool,
    spec: &CheckedSpec,
) -> Result<Hosted<B>, Error> {
    let span = tracing::info_span!("guest", slug = %bundle.plan().slug(), guest);
    let _entered = span.enter();
    let place = take_place(bundle, guest)?;
    let bundle = place.bundle();
    let (network, plan, ip) = (bundle.network(), bundle.plan(), bundle.ip());
    let attachment = if in_namespace {
        Attachment::Namespace { container: bundle.id() }
    } else {
        Attachment::Dynamic { network: network.id().as_str() }
    };
    let name = plan.guest_name(guest);
    let labels = labels::with_guest(network.session().labels(plan), guest);
    let start = Start { network, name: &name, attachment, labels, spec };
    let (id, guard, mut status) = start.run(None)?;
    if in_namespace {
        return Ok(Hosted::new(place, id, name, ip, guard));
    }
    let engine = network.session().connection().engine();
    let patience = engine.patience();
    loop {
        if let Some(ip) = status.address {
            return Ok(Hosted::new(place, id, name, ip, guard));
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
    teardown::join(&taken.session().engine(), |plan| plan == taken.plan());
    GuestPlace::take(taken, guest)
        .map_err(|_| InvalidInput::new(format_args!("a guest {guest} of this bundle lives")).into())
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
