//! A running *sidecar bundle* from one string, a sandbox's *slug*: a container on a network of its own, at
//! an address that is known before anything runs.
//!
//! ```no_run
//! use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
//! # fn write_allowlist(_: impl std::fmt::Display) {}
//! # fn run_guest(_: std::net::Ipv4Addr) {}
//! # fn main() -> Result<(), sidecar_bundle::Error> {
//! # let token = String::new();
//!
//! let plan = NetworkPlanned::new(Slug::new("demo")?);
//! write_allowlist(plan.allowlist()); // 10.56.132.2/32, before anything runs
//! let bundle = plan
//!     .create_network(&Engine::docker())?
//!     .start(BundleSpec::new().secret("API_TOKEN", token).mount_read_only("/etc/rules", "/rules"))?;
//! run_guest(bundle.ip());
//! bundle.close()?; // or let it drop
//! # Ok(())
//! # }
//! ```
//!
//! # The states
//!
//! Each state is a type, and each step takes the one before: a wrong order does not compile.
//!
//! ```text
//! &str ──> Slug ──> NetworkPlanned        data: clone it, compare it, print it
//!                     │ create_network    docker network create --subnet S --gateway G --ip-range R NAME
//!                     v
//!                   NetworkCreated        owns the network
//!                     │ start             docker run --detach --name C --network ID --ip IP IMAGE
//!                     │                   docker container inspect ID, one look
//!                     v
//!                   BundleRunning         owns container and network
//!                     │ close, or a drop  docker rm --force --volumes ID
//!                     v                   docker network rm ID
//!                   nothing
//! ```
//!
//! A step that fails hands the state before it back, in a [`StepError`]: `?` in a function that returns
//! [`Error`] gives up and cleans up, a `match` tries again. [`NetworkPlanned::launch`] takes both steps
//! at once.
//!
//! # The types
//!
//! - [`Slug`], [`AddressPool`], [`Addressing`], [`Ipv6Addressing`]: names and addresses, pure values.
//! - [`NetworkPlanned`], [`NetworkCreated`], [`BundleRunning`]: the states.
//! - [`BundleSpec`], [`Daemon`], [`Ready`], [`NetworkOptions`], [`Naming`]: what is to be made.
//! - [`Engine`]: Docker or podman, here or elsewhere.
//! - [`Error`], [`StepError`], [`Cause`], [`InvalidInput`]: failures.
//! - [`sweep`] and [`NetworkPlanned::discard`]: the removal of what no owner removes.
//!
//! # Addresses
//!
//! Everything is derived from the slug, the same on every machine; [`AddressPool`] has the algorithm
//! and ten lines of Python that redo it. Two slugs may get the same subnet (of 4096, 76 slugs do so with
//! probability one half): [`create_network`](NetworkPlanned::create_network) then fails, names the
//! network that holds it, and never moves silently. Moving to another subnet is up to the caller:
//! [`in_free_subnet`](NetworkPlanned::in_free_subnet) plans the first attempt that nothing overlaps,
//! before anything exists;
//! [`create_network_in_free_subnet`](NetworkPlanned::create_network_in_free_subnet) also goes on when
//! somebody else is faster. The network's dynamic range keeps containers that ask for no address off the
//! bundle's.
//!
//! The error of a taken subnet names its holder: a network of the engine, or, where the engine is on this
//! host, an interface or a route of the host, such as a VPN's, which Docker does not see. [`AddressPools`]
//! keeps the bundles of several roles apart. [`with_ipv6`](NetworkPlanned::with_ipv6) adds a unique-local
//! /64 of the slug's own, and [`NetworkOptions`] has the other options of a network.
//!
//! # Engines
//!
//! [`Engine`] drives [`docker`](Engine::docker) or [`podman`](Engine::podman), or the first that
//! [answers](Engine::detect), also rootless, over ssh, and several at once. Bundles are the same on all of
//! them. The reachability of their addresses from this host is not; [`Engine::reachability`] tells it
//! beforehand:
//!
//! | engine | addresses of bundles | instead |
//! |---|---|---|
//! | Docker or podman as root, on this host | reachable, in the engine's network namespace | |
//! | rootless | in a network namespace of the user's own | [publish](BundleSpec::publish) ports |
//! | Docker Desktop, a virtual machine | in the virtual machine | publish ports |
//! | on another host: ssh, tcp | on that host | run the launcher there |
//!
//! Docker from version 28 on drops packets to a container's address that arrive by any interface but the
//! bridge. Programs of the host are not affected, nor guests whose connections are made by a process of
//! the host; a guest behind a TAP is. [`GatewayMode::NatUnprotected`] or
//! [`trusted_host_interface`](NetworkOptions::trusted_host_interface) let its packets in.
//!
//! # Ownership
//!
//! Network and container carry labels (`sidecar-bundle.*`) that tell their owner, and nothing without
//! them is ever taken over or removed, whatever its name. While a bundle lives, its process holds the
//! slug's *lease* on the engine: a locked file in [a directory](Engine::with_state_dir) of the user's. A
//! second launcher of the slug is told at once which process has it. The kernel releases the lock when its
//! owner dies. What was made under the lease is then an orphan, which the slug's next owner removes.
//!
//! An engine is known by its own identity, not by the way to it: two contexts that lead to one engine share
//! its slugs, and a context that leads to another engine than before does not make resources disappear.
//!
//! [`BundleRunning::keep`] leaves a bundle where it is, and [`NetworkPlanned::attach`] takes it back, in
//! any later process. Where a lease was lost or a kept bundle has changed,
//! [`NetworkPlanned::discard`] is the way out.
//!
//! # The container
//!
//! A [`BundleSpec`] is put together from independent [`Daemon`]s, in any order, and has the usual options of
//! a container; [`hardened`](BundleSpec::hardened) limits the harm that it can do.
//!
//! [`start`](NetworkCreated::start) looks at the container once: a container that is dead at once is an
//! error with its exit code and last lines, and so is one at another address. A container that runs need not
//! be ready: [`wait_ready`](BundleRunning::wait_ready) waits for the conditions of its daemons, and reports
//! a death as soon as it comes.
//! [`status`](BundleRunning::status), [`logs`](BundleRunning::logs),
//! [`follow_logs`](BundleRunning::follow_logs), [`wait_exit`](BundleRunning::wait_exit) and
//! [`exec`](BundleRunning::exec) observe it later.
//!
//! ```no_run
//! # use sidecar_bundle::{BundleSpec, Daemon, Engine, NetworkPlanned, Ready, Slug};
//! # fn main() -> Result<(), sidecar_bundle::Error> {
//! use std::time::Duration;
//!
//! let egress = Daemon::new("egress").secret("EGRESS_TOKEN", "hunter2").ready(Ready::tcp(8080));
//! let git_gate = Daemon::new("git-gate").ready(Ready::log("git-gate: listening"));
//! let spec = BundleSpec::new().daemon(egress).daemon(git_gate).hardened();
//! let bundle = NetworkPlanned::new(Slug::new("demo")?).launch(&Engine::docker(), spec)?;
//! bundle.wait_ready(Duration::from_secs(10))?; // or the death of the container, with its last lines
//! # bundle.close()
//! # }
//! ```
//!
//! # In async code
//!
//! Every call blocks its thread for as long as the engine takes, and needs no runtime; it works on a
//! runtime's threads, and better on those that are for blocking:
//!
//! ```no_run
//! # use sidecar_bundle::{BundleRunning, BundleSpec, Engine, Error, NetworkPlanned, Slug};
//! async fn launch(slug: Slug) -> Result<BundleRunning, Error> {
//!     let launched = tokio::task::spawn_blocking(move || {
//!         Ok(NetworkPlanned::new(slug).launch(&Engine::docker(), BundleSpec::new())?)
//!     });
//!     launched.await.expect("it does not panic")
//! }
//! ```
//!
//! A bundle lives where it is held. When the task that holds it is dropped, so is the bundle, on the
//! thread that drops the task, which waits for the teardown. A blocking launch cannot be cancelled: it
//! goes on when nobody waits for it any more, and its bundle is removed as soon as it is there.
//!
//! # Differences from a launcher around `docker` command lines
//!
//! - An existing network is taken over only if it was kept and its subnet, gateway and labels are as planned.
//! - A removal that fails is settled by looking if the resource still exists, not by a phrase.
//! - Mounts use `--mount`: a missing host path is an error, not a new empty directory.
//! - An inherited variable that is not set is an error, not silence.
//! - Removal includes anonymous volumes.
//! - A missing image is pulled as a step of its own, with a deadline of its own.
//! - There is no `--rm`, which would destroy the exit code and the log of a container that dies at once.
//!
//! # Dropped too early
//!
//! A state that is not held is gone, and its container and network with it:
//!
//! ```no_run
//! # use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
//! # fn main() -> Result<(), sidecar_bundle::Error> {
//! # let plan = NetworkPlanned::new(Slug::new("demo")?);
//! # let other = NetworkPlanned::new(Slug::new("other")?);
//! # let engine = Engine::docker();
//! let _ = plan.launch(&engine, BundleSpec::new())?; // wrong: removed on this very line
//! let _bundle = other.launch(&engine, BundleSpec::new())?; // right: lives to the end of the scope
//! # Ok(())
//! # }
//! ```
//!
//! # When no drop runs
//!
//! Teardown is a `Drop`: at the end of a scope, on `?`, while a panic unwinds. It does not run when the
//! process ends without unwinding: `std::process::exit`, `abort`, a panic with `panic = "abort"`, a
//! bundle in a `static`, [`std::mem::forget`] and then the process's end, Ctrl-C and every other signal,
//! `kill -9`.
//!
//! **Then the reaper does it.** It is one idle shell for each engine that something is held on, started
//! before the first resource is made, in a process group of its own, with no environment but what the
//! engine's program reads, deaf to the signals of a terminal. A socket, which is
//! closed with its owner, tells it to begin; a pipe, which is closed with the last of its owner's engine
//! commands, tells it when. It then removes what carries its owner's label, within a second or two, until
//! three looks in a row find nothing, or eight where a resource was being made. It waits for an engine that is away, ten
//! minutes at most. If nothing is held, it ends. It is no child of the process, installs no signal handler,
//! leaves no file and needs no container of its own, and its owner never waits for it.
//! [`Engine::without_reaper`] does without it; so does a host without a shell, with a warning in the log.
//!
//! The slug's next launch may come before that. It waits until the last command of the dead owner has
//! ended, ten seconds at most, and removes the orphans.
//!
//! **Beyond the reaper's reach**, orphans stay until the next launch of the slug, which removes them, or
//! until a [`sweep`]: the reaper itself was killed, with its cgroup or its pid namespace, or by a reboot;
//! the engine was away for longer; a foreign container is attached to the network. A process that forks
//! without `exec` and dies in one half lives on in the other.
//!
//! **Nothing does it** when the lease was lost with its directory, or is another user's or another host's:
//! an owner that cannot be seen may live. The error names the resource, and
//! [`discard`](NetworkPlanned::discard) removes it by the slug's labels.
//!
//! # Logging
//!
//! Steps are `tracing` spans at level `INFO` (`create_network`, `start`, `close`, `attach`, `discard`,
//! `sweep`, `wait`), with the slug. Each engine command is an event at level `DEBUG`, without secret values.
//! A resource that a drop could not remove is a `WARN`. The target is `sidecar_bundle`.
//!
//! # Limits
//!
//! A container that [restarts](BundleSpec::restart) by itself keeps its address; the time in between is not
//! watched. The library builds no images, and drives one container for each slug, not a composition of
//! several. It runs on Unix hosts. It writes no firewall rules, and connects to a bundle only while the
//! bundle's own bridge is an interface of this host.

#[cfg(test)]
mod catalogue;
mod container;
mod created;
mod engine;
mod error;
mod host;
mod invalid;
#[cfg(test)]
mod model;
mod ownership;
mod plan;
mod running;
mod status;
mod steps;

pub use container::{BundleSpec, Daemon, PortMapping, PullPolicy, Ready, RestartPolicy};
pub use created::NetworkCreated;
pub use engine::backend::Resource;
pub use engine::cause::Cause;
pub use engine::error::EngineError;
pub use engine::{Engine, NoEngine, Reachability, Unsupported};
pub use error::{Error, Errors, StepError};
pub use host::Holder;
pub use invalid::InvalidInput;
pub use ipnet;
pub use plan::{
    AddressPool, AddressPools, Addressing, GatewayMode, Ipv6Addressing, Naming, NetworkOptions,
    NetworkPlanned, Slug,
};
pub use running::BundleRunning;
pub use status::{ExecOutput, Exit, Health, LogLine, LogStream, State, Status};
pub use steps::sweep::{Swept, SweptOutcome, sweep, sweep_dry_run};
pub use steps::{Discarded, LogFollower};

#[cfg(fuzzing)]
pub mod fuzzing;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
