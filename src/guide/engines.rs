//! Docker or podman, as root or rootless, on this host or elsewhere, and several at once.
//!
//! Bundles are the same on all of them. [`Engine::docker`] and [`Engine::podman`] use the engine's API.
//! [`Engine::detect`] takes the first engine that answers. [`with_host`](Engine::with_host) and
//! [`with_context`](Engine::with_context) name another engine. A `unix://` address is connected to directly; other
//! engines are reached through the engine's own program, with its certificates and keys:
//!
//! ```no_run
//! use sidecar_bundle::{Engine, Error};
//!
//! # fn main() -> Result<(), Error> {
//! let engine = Engine::docker().with_host("ssh://me@builder");
//! println!("{}: {}", engine.version()?, engine.reachability()?);
//! # Ok(())
//! # }
//! ```
//!
//! # Where addresses are reached
//!
//! [`Engine::reachability`] tells beforehand whether this host reaches the addresses of bundles:
//!
//! | engine | addresses of bundles | instead |
//! |---|---|---|
//! | Docker or podman as root, on this host | reachable, in the engine's network namespace | |
//! | rootless | in a network namespace of the user's own | [publish](crate::BundleSpec::publish) ports |
//! | Docker Desktop, a virtual machine | in the virtual machine | publish ports |
//! | on another host: ssh, tcp | on that host | run the launcher there |
//! | a swarm's node, with an [overlay](crate::NetworkOptions::overlay) | on no host | [guests](crate::guide::guests) on any node, published ports |
//!
//! A published port is on 127.0.0.1 unless its [`PortMapping`](crate::PortMapping) says otherwise. The slug's own
//! [`loopback`](crate::NetworkPlanned::loopback) address is also known before launch: publish ports on it, and name it
//! in the sandbox's allowlist in place of the bundle's address. On rootless Docker up to 29.5, bundles also need
//! different host ports. [`Error::PortTaken`](crate::Error::PortTaken) names the holder of a port that is taken: a
//! container of the engine, or, where the engine is on this host, a process.
//!
//! # Crowded hosts
//!
//! [`in_free_subnet`](crate::NetworkPlanned::in_free_subnet) plans the first subnet of the slug that no network, interface
//! or route overlaps, before anything exists. [`with_ipv6`](crate::NetworkPlanned::with_ipv6) adds a unique-local /64.
//!
//! ```no_run
//! use sidecar_bundle::{BundleSpec, Engine, Error, NetworkOptions, NetworkPlanned, Slug};
//!
//! # fn main() -> Result<(), Error> {
//! let engine = Engine::detect()?;
//! let plan = NetworkPlanned::new(Slug::new("demo")?).with_ipv6().in_free_subnet(&engine)?;
//! println!("allow {} and {:?}", plan.allowlist(), plan.ipv6().map(|it| it.allowlist()));
//! let plan = plan.with_options(NetworkOptions::new().mtu(1400));
//! plan.launch(&engine, BundleSpec::new().image("nginx:1"))?.close()
//! # }
//! ```
//!
//! # Wrappers
//!
//! A wrapper, such as one around `sudo docker`, may allow only the commands of a program. [`Engine::docker_cli`] runs these
//! commands. It has no logs, events, `exec`, files or second networks: a call for one is
//! [`Error::Unsupported`](crate::Error::Unsupported). [`Engine::has_reaper`] tells whether the bundles of a killed
//! process would be removed.

#[cfg(doc)]
use crate::Engine;
