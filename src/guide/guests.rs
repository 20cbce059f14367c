//! A guest is another container of a bundle: the sandbox itself, a client of a test, a probe.
//!
//! [`guest`](crate::BundleRunning::guest) starts it in the bundle's network, at an address of its own.
//! [`guest_in_namespace`](crate::BundleRunning::guest_in_namespace) starts it in the bundle's network namespace, where it
//! shares the bundle's address. A [`Guest`] borrows its bundle: closing or keeping the bundle under it does not compile.
//! Reaper, sweep and [`discard`](crate::NetworkPlanned::discard) remove guests with their bundle.
//!
//! # A sandbox without a way out
//!
//! The network is [internal](crate::NetworkOptions::internal), and the bundle is [also on](crate::BundleSpec::also_on) a
//! network with a way out. The guest reaches the bundle and, at the gateway's address, whatever listens on the engine's
//! host there, unless the gateway is [isolated](GatewayMode::Isolated).
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use sidecar_bundle::{
//!     BundleSpec, ContainerFile, Engine, Error, NetworkOptions, NetworkPlanned, Ready, Slug,
//! };
//!
//! fn run() -> Result<(), Error> {
//!     let plan = NetworkPlanned::new(Slug::new("demo")?);
//!     let plan = plan.with_options(NetworkOptions::new().internal(true));
//!     let proxy = BundleSpec::new()
//!         .image("acme/proxy:7")
//!         .file(ContainerFile::new("/etc/proxy.yaml", "listen: 8080\n"))
//!         .also_on("egress"); // a network that exists
//!     let bundle = plan.launch(&Engine::docker(), proxy)?;
//!     // The proxy renames the file into place when it is whole.
//!     bundle.wait_for(&Ready::file("/var/lib/proxy/ca.pem"), Duration::from_secs(10))?;
//!     let certificate = bundle.read_file("/var/lib/proxy/ca.pem")?;
//!     let mut agent = BundleSpec::new().image("acme/agent:7").hardened();
//!     agent = agent.file(ContainerFile::new("/etc/ssl/proxy.pem", certificate));
//!     for (name, value) in bundle.plan().proxy_variables(8080) {
//!         agent = agent.variable(name, value);
//!     }
//!     let guest = bundle.guest("agent", agent)?;
//!     guest.wait_exit(Duration::MAX)?;
//!     guest.close()?;
//!     bundle.close()
//! }
//! ```
//!
//! `examples/agent.rs` runs this with the tests' image.
//!
//! # Guests on other hosts
//!
//! On Docker Swarm, a bundle's network is an [overlay](crate::NetworkOptions::overlay) if the plan says so, and
//! [`guest_on`](crate::BundleRunning::guest_on) starts guests on any node of the swarm. Slug, addresses and steps are the
//! same:
//!
//! ```no_run
//! use sidecar_bundle::{BundleSpec, Engine, Error, NetworkOptions, NetworkPlanned, Slug};
//!
//! fn run() -> Result<(), Error> {
//!     let (manager, worker) = (Engine::docker(), Engine::docker().with_host("ssh://me@worker"));
//!     let plan = NetworkPlanned::new(Slug::new("demo")?);
//!     let plan = plan.with_options(NetworkOptions::new().overlay(true));
//!     let bundle = plan.launch(&manager, BundleSpec::new().image("acme/proxy:7"))?;
//!     let agent = bundle.guest_on(&worker, "agent", BundleSpec::new().image("acme/agent:7"))?;
//!     println!("{} talks to {}", agent.ip(), bundle.ip());
//!     agent.close()?;
//!     bundle.close()
//! }
//! ```
//!
//! - The bundle's own engine must be a manager, since only managers create and remove networks. Guests are on any node.
//! - No host is on an overlay, not that of the bundle either: readiness by a port is
//!   [`Error::Unreachable`](crate::Error::Unreachable) with [`Reachability::Overlay`]. Wait for the log, a file or a
//!   command.
//! - A swarm does not tell which address it could not give. A start that it does not attach fails after 20 seconds, with
//!   [`Cause::NotAttached`]: mostly because another container has the address.
//! - When the launcher is killed, a reaper for each engine removes what is there. A node that is cut off from the managers
//!   loses its guests all the same, and the network goes when the managers hear of that. A reaper tries for ten minutes;
//!   after that, a [`sweep`](crate::sweep) of the manager removes the network. Sweep the engines of the guests first: a
//!   network that has containers is waited for, and left.
//! - A swarm takes an address of the network for each node that has a container on it. A subnet of less than `/28` has few
//!   left for guests, and a `/30` is [`Error::Invalid`](crate::Error::Invalid).

#[cfg(doc)]
use crate::{Cause, GatewayMode, Guest, Reachability};
