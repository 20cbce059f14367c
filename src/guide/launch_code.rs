//! A launcher writes the allowlist, launches the bundle, and then starts the sandbox.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use sidecar_bundle::{BundleRunning, BundleSpec, Daemon, Engine, Error, NetworkPlanned, Ready, Slug};
//!
//! # fn allow(_: impl std::fmt::Display) {}
//! fn launch(slug: &str, token: &str) -> Result<BundleRunning, Error> {
//!     let plan = NetworkPlanned::new(Slug::new(slug)?);
//!     allow(plan.allowlist()); // nothing runs yet
//!     let egress = Daemon::new("egress").secret("EGRESS_TOKEN", token).ready(Ready::tcp(8080));
//!     let spec = BundleSpec::new().image("acme/sidecars:7").daemon(egress).hardened();
//!     let bundle = plan.launch(&Engine::docker(), spec)?;
//!     bundle.wait_ready(Duration::from_secs(10))?; // on an error, the drop removes it
//!     Ok(bundle)
//! }
//! ```
//!
//! # Errors
//!
//! A step that fails hands the state before it back, in a [`StepError`]. `?` in a function that returns
//! `Result<_, Error>` returns the error and closes the state. A `match` can try again:
//!
//! ```no_run
//! use sidecar_bundle::{BundleRunning, BundleSpec, Engine, Error, NetworkPlanned};
//!
//! # fn allow(_: impl std::fmt::Display) {}
//! fn launch(plan: NetworkPlanned, engine: &Engine, spec: BundleSpec) -> Result<BundleRunning, Error> {
//!     allow(plan.allowlist());
//!     match plan.launch(engine, spec.clone()) {
//!         Ok(bundle) => Ok(bundle),
//!         Err(failed) => match failed.into_parts() {
//!             (Error::SubnetTaken { .. }, plan) => {
//!                 // The first subnet that nothing holds. The engine keeps it from here on.
//!                 let network = plan.create_network_in_free_subnet(engine)?;
//!                 allow(network.plan().allowlist());
//!                 Ok(network.start(spec)?)
//!             }
//!             (error, _) => Err(error),
//!         },
//!     }
//! }
//! ```
//!
//! An [`Error`] names the step and its resources, and its [source](std::error::Error::source) has the engine's words.
//! [`Error::cause`] is the engine's reason as a [`Cause`], whatever its release and wording. The documentation of each error
//! says which resources it leaves. One error may hold several; this prints all of them with their causes:
//!
//! ```
//! use sidecar_bundle::Error;
//!
//! fn report(error: &Error) {
//!     for error in error.each() {
//!         eprintln!("error: {error}");
//!         let mut cause = std::error::Error::source(error);
//!         while let Some(error) = cause {
//!             eprintln!("  because: {error}");
//!             cause = error.source();
//!         }
//!     }
//! }
//! ```
//!
//! # Secrets
//!
//! [`BundleSpec::secret`] and [`Daemon::secret`] pass a value that is in no argument of a process, log, error or trace.
//! [`BundleSpec::inherit`] passes a variable of the launcher's own environment. Every user of the engine can read both:
//! `docker inspect` prints the environment of a container.
//!
//! A [`ContainerFile`] is copied into the container before it starts. It needs no file on the host, and works where the
//! engine is elsewhere. Where the root is read-only, as with [`hardened`](BundleSpec::hardened), the file's directory is a
//! writable volume: give the file a directory of its own. Give a secret file the [owner](ContainerFile::owner) that reads it:
//! without one, root alone does.
//!
//! # Readiness
//!
//! After [`start`](crate::NetworkCreated::start), the container runs, but may not be ready.
//! [`wait_ready`](crate::Container::wait_ready) waits for the conditions of every [`Daemon`]. It fails as soon as the
//! container ends, with its exit code and last lines.
//!
//! | condition | is met when |
//! |---|---|
//! | [`Ready::tcp`] | the port accepts a connection |
//! | [`Ready::http`] | the path is answered with this status |
//! | [`Ready::log`], [`Ready::log_matching`] | the log has this text |
//! | [`Ready::healthy`] | the health check of the image succeeds |
//! | [`Ready::file`] | the file exists in the container |
//! | [`Ready::exec`] | the command ends with 0 in the container |
//! | [`Ready::check`] | a closure of the caller's returns true |
//! | [`Ready::all`], [`Ready::any`] | all, or one, of several are met |
//!
//! # The main loop
//!
//! [`events`](crate::Container::events) is an iterator over starts, changes of health and ends.
//! [`wait_exit`](crate::Container::wait_exit) waits for the end alone. A [`Stopper`] ends every wait from another thread,
//! such as a handler for Ctrl-C and SIGTERM; the crate `ctrlc` with its feature `termination` has one:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use sidecar_bundle::{BundleRunning, Error, Stopper};
//!
//! # fn on_ctrl_c(_: impl FnMut()) {}
//! fn run(bundle: BundleRunning) -> Result<(), Error> {
//!     let stopper: Stopper = bundle.stopper();
//!     on_ctrl_c(move || stopper.stop()); // before the first wait
//!     let ended = bundle
//!         .wait_ready(Duration::from_secs(10))
//!         .and_then(|()| bundle.wait_exit(Duration::MAX));
//!     match ended {
//!         Ok(exit) => println!("the container has ended: {exit:?}"),
//!         Err(Error::Stopped) => println!("Ctrl-C"),
//!         Err(error) => return Err(error),
//!     }
//!     bundle.close()
//! }
//! ```
//!
//! There is no stopper before the launch has ended. A signal that ends the process meanwhile leaves no container or network,
//! and does leave the launcher's own files, such as the allowlist: write them anew at the next start, or set a handler first
//! that removes them.
//!
//! `examples/launch.rs` is a whole program.
//!
//! # The sandbox
//!
//! A micro-VM monitor gets the allowlist before anything runs: [`allowlist`](crate::NetworkPlanned::allowlist), or
//! `<loopback>/32` where the bundle's address cannot be reached from this host; `examples/microvm.rs` decides by
//! [`reachability`](crate::Engine::reachability). A container is a [guest](super::guests) instead.
//!
//! A monitor, or the kernel of the VM, may deny private ranges before it looks at its allowlist, and the default pool is in
//! one. An example is [smolvm](https://github.com/smol-machines/smolvm):
//!
//! - `smolvm serve` sets a strict floor. Under it, neither the bundle's address nor a loopback address is reached.
//! - Started with `SMOLVM_EGRESS_FLOOR=metadata`, it lets both through. Every VM then needs an allowlist: a VM without
//!   one reaches this host and its network.
//! - Its command line lets the bundle's address through, and a loopback address that is in the allowlist
//!   ([#536](https://github.com/smol-machines/smolvm/pull/536), [#1060](https://github.com/smol-machines/smolvm/pull/1060)).
//!
//! From version 28 on, Docker drops packets to a container's address that arrive by any interface but the bridge. This
//! affects a VM behind a TAP. It affects neither programs of the host nor VMs whose connections a process of the host makes.
//! [`GatewayMode::NatUnprotected`] or [`trusted_host_interface`](crate::NetworkOptions::trusted_host_interface) let the
//! packets of a TAP in.

#[cfg(doc)]
use crate::{
    BundleSpec, Cause, ContainerFile, Daemon, Error, GatewayMode, Ready, StepError, Stopper,
};
