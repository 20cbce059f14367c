//! One slug to a running *sidecar bundle* - a container on a network of its own, at an address that is
//! known before anything runs - and back.
//!
//! ```no_run
//! use sidecar_bundle::{BundleSpec, CliEngine, NetworkPlanned, Slug};
//! # fn write_allowlist(_: impl std::fmt::Display) {}
//! # fn run_guest(_: std::net::Ipv4Addr) {}
//! # fn main() -> Result<(), sidecar_bundle::Error> {
//! # let token = String::new();
//!
//! let plan = NetworkPlanned::new(Slug::new("demo")?);
//! write_allowlist(plan.allowlist()); // 10.56.132.2/32, before anything runs
//! let bundle = plan
//!     .create_network(&CliEngine::docker())?
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
//! # Addresses
//!
//! Everything is derived from the slug, the same on every machine; [`AddressPool`] has the algorithm
//! and ten lines of Python that redo it. Two slugs may get the same subnet (of 4096, 76 slugs do so with
//! probability one half): [`create_network`](NetworkPlanned::create_network) then fails, names the
//! network that holds it, and never moves silently. To move is your word:
//! [`in_free_subnet`](NetworkPlanned::in_free_subnet) plans the first attempt that nothing overlaps,
//! before anything exists;
//! [`create_network_in_free_subnet`](NetworkPlanned::create_network_in_free_subnet) also goes on when
//! somebody else is faster. The network's dynamic range keeps containers that ask for no address off the
//! bundle's.
//!
//! What stands in the way is said: a network of the engine, or, where the engine is on this host, an
//! interface or a route of the host's, such as a VPN's, of which Docker knows nothing. [`AddressPools`]
//! keeps the bundles of several roles apart. [`with_ipv6`](NetworkPlanned::with_ipv6) adds a unique-local
//! /64 of the slug's own, and [`NetworkOptions`] has the rest of what a network can be.
//!
//! # Engines
//!
//! [`CliEngine`] drives [`docker`](CliEngine::docker) or [`podman`](CliEngine::podman), whichever
//! [answers](CliEngine::detect), also rootless, over ssh, and several at once, each value an engine of its
//! own. Bundles are the same on all of them; whether their addresses can be reached from this host is not,
//! and [`CliEngine::reachability`] says it beforehand:
//!
//! | engine | addresses of bundles | instead |
//! |---|---|---|
//! | Docker or podman as root, on this host | reachable, in the engine's network namespace | |
//! | rootless | in a network namespace of the user's own | [publish](BundleSpec::publish) ports |
//! | Docker Desktop, a virtual machine | in the virtual machine | publish ports |
//! | on another host: ssh, tcp | on that host | run the launcher there |
//!
//! Docker from version 28 on drops what comes to a container's address by any interface but the bridge.
//! Programs of the host are not concerned, nor guests whose connections are made by a process of the host;
//! a guest behind a TAP is. [`GatewayMode::NatUnprotected`] or
//! [`trusted_host_interface`](NetworkOptions::trusted_host_interface) let it in.
//!
//! # Whose things
//!
//! Network and container carry labels (`sidecar-bundle.*`) that say whose they are, and nothing without
//! them is ever taken over or removed, whatever its name. While a bundle lives, its process holds the
//! slug's *lease*, a locked file in [a directory](CliEngine::with_state_dir) of the user's: a second
//! launcher of the slug is told at once which process has it. The kernel lets go of the lock when its
//! owner dies, and the file remembers whose things may be left then.
//!
//! [`BundleRunning::keep`] leaves a bundle where it is, and [`BundleRunning::attach`] takes it back, in
//! any later process.
//!
//! # What runs in it, and the truth about it
//!
//! A [`BundleSpec`] is put together from independent [`Daemon`]s, in any order, and takes what users of
//! such a container expect to set; [`hardened`](BundleSpec::hardened) lets it do less harm.
//!
//! [`start`](NetworkCreated::start) takes one look at the container: one that is dead at once is an error
//! with its exit code and last words, and so is one at another address. That a container runs does not
//! mean that it is ready: [`wait_ready`](BundleRunning::wait_ready) waits for the conditions that the
//! daemons brought along, and tells of a death as soon as it comes.
//! [`status`](BundleRunning::status), [`logs`](BundleRunning::logs),
//! [`follow_logs`](BundleRunning::follow_logs), [`wait_exit`](BundleRunning::wait_exit) and
//! [`exec`](BundleRunning::exec) look inside later.
//!
//! ```no_run
//! # use sidecar_bundle::{BundleSpec, CliEngine, Daemon, NetworkPlanned, Ready, Slug};
//! # fn main() -> Result<(), sidecar_bundle::Error> {
//! use std::time::Duration;
//!
//! let egress = Daemon::new("egress").secret("EGRESS_TOKEN", "hunter2").ready(Ready::tcp(8080));
//! let git_gate = Daemon::new("git-gate").ready(Ready::log("git-gate: listening"));
//! let spec = BundleSpec::new().daemon(egress).daemon(git_gate).hardened();
//! let bundle = NetworkPlanned::new(Slug::new("demo")?).launch(&CliEngine::docker(), spec)?;
//! bundle.wait_ready(Duration::from_secs(10))?; // or what died, and its last words
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
//! # use sidecar_bundle::{BundleRunning, BundleSpec, CliEngine, Error, NetworkPlanned, Slug};
//! async fn launch(slug: Slug) -> Result<BundleRunning, Error> {
//!     let launched = tokio::task::spawn_blocking(move || {
//!         Ok(NetworkPlanned::new(slug).launch(&CliEngine::docker(), BundleSpec::new())?)
//!     });
//!     launched.await.expect("it does not panic")
//! }
//! ```
//!
//! A bundle lives where it is held. When the task that holds it is dropped, so is the bundle, on the
//! thread that drops the task, which waits for the teardown. A blocking launch cannot be cancelled: it
//! goes on when nobody waits for it any more, and its bundle is removed as soon as it is there.
//!
//! # Better on purpose
//!
//! People who come from a launcher around `docker` command lines may notice that
//!
//! - a network that exists already is taken over only if its subnet, gateway and labels are as planned;
//! - a removal that fails is settled by asking whether the thing still exists, not by a phrase;
//! - mounts use `--mount`: a host path that does not exist is an error, not a new empty directory;
//! - an inherited variable that is not set is an error, not silence;
//! - removal takes anonymous volumes along;
//! - an image that is not there is pulled as a step of its own, with a deadline of its own;
//! - there is no `--rm`, with which a container that dies at once takes its last words along.
//!
//! # Dropped too early
//!
//! A state that is not held is gone, and its container and network with it:
//!
//! ```no_run
//! # use sidecar_bundle::{BundleSpec, CliEngine, NetworkPlanned, Slug};
//! # fn main() -> Result<(), sidecar_bundle::Error> {
//! # let plan = NetworkPlanned::new(Slug::new("demo")?);
//! # let other = NetworkPlanned::new(Slug::new("other")?);
//! # let engine = CliEngine::docker();
//! let _ = plan.launch(&engine, BundleSpec::new())?; // wrong: removed on this very line
//! let _bundle = other.launch(&engine, BundleSpec::new())?; // right: lives to the end of the scope
//! # Ok(())
//! # }
//! ```
//!
//! # When nothing is torn down
//!
//! Teardown is a `Drop`: at the end of a scope, on `?`, while a panic unwinds. It does not run when the
//! process ends without unwinding: `std::process::exit`, `abort`, a panic with `panic = "abort"`, a
//! bundle in a `static`, [`std::mem::forget`] and then the process's end, Ctrl-C and every other signal,
//! `kill -9`.
//!
//! **Then the reaper does it.** It is one idle `sh` for each engine program and environment, started
//! before the first thing is made, in a process group of its own, deaf to the signals of a terminal. A
//! pipe tells it that its owner, and the last of its owner's engine commands, has ended; it then
//! removes what carries its owner's label, within a second or two, until it has seen nothing three
//! times over. An engine that is away is waited for, ten minutes at most. If nothing is left it asks the
//! engine for nothing. It is no child of the process, installs no signal handler and needs no container
//! of its own. [`CliEngine::without_reaper`] does without it; so does a host without `sh`, with a
//! warning in the log.
//!
//! The slug's next launch may come before that. It waits until the last command of the dead owner has
//! ended, ten seconds at most, and removes what that has left.
//!
//! **What even the reaper cannot do** stays until the next launch of the slug, which removes it and
//! makes it anew, or until a [`sweep`]: the reaper itself was killed, with its cgroup or its pid
//! namespace, or by a reboot; the engine was away for longer; a foreign container is attached to the
//! network. A process that forks without `exec` and dies in one half lives on in the other.
//!
//! **Nothing does it** when the directory of leases was deleted, or is on another host: what cannot be
//! known to be ours is never removed. The labels say what it is: `docker network ls --filter
//! label=sidecar-bundle.slug`.
//!
//! # What this crate does not do
//!
//! A container that [restarts](BundleSpec::restart) by itself keeps its address; what it does in between
//! is not watched. The library builds no images, and drives one container for each slug, not a
//! composition of several. It runs on Unix hosts. It writes no firewall rules, and connects to a bundle only
//! while the bundle's own bridge is an interface of this host.

mod addressing;
mod attach;
mod created;
mod engine;
mod error;
mod guard;
mod host;
mod inside;
mod ipv6;
mod labels;
mod lease;
#[cfg(test)]
mod model;
mod network_options;
mod planned;
mod pools;
mod product;
mod ready;
mod reaper;
mod removal;
mod running;
mod slug;
mod spec;
mod status;
mod survey;
mod sweep;
mod waiting;

pub use addressing::{AddressPool, Addressing, AddressingError};
pub use created::NetworkCreated;
pub use engine::about::Reachability;
pub use engine::cli::CliEngine;
pub use engine::command::CommandError;
pub use engine::diagnosis::Cause;
pub use engine::{Engine, Resource};
pub use error::{Error, StepError};
pub use host::Holder;
pub use inside::LogFollower;
pub use ipnet;
pub use ipv6::Ipv6Addressing;
pub use network_options::{GatewayMode, NetworkOptions, NetworkOptionsError};
pub use planned::NetworkPlanned;
pub use pools::AddressPools;
pub use product::Product;
pub use ready::Ready;
pub use running::BundleRunning;
pub use slug::{NameError, Slug};
pub use spec::{BundleSpec, Daemon, Publish, Pull, Restart, SpecError};
pub use status::{ExecOutput, Exit, Health, LogLine, LogStream, State, Status};
pub use sweep::{Swept, SweptOutcome, sweep, sweep_dry_run};

#[cfg(fuzzing)]
pub mod fuzzing;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
