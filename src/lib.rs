//! Runs a *sidecar bundle*, derived from one string, a sandbox's *slug*: a container on a network of its own,
//! at an address that is known before anything runs.
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
//!     .start(BundleSpec::new().image("nginx:1").secret("API_TOKEN", token))?;
//! run_guest(bundle.ip());
//! bundle.close()?; // or let it drop
//! # Ok(())
//! # }
//! ```
//!
//! Where an example names no image, it uses the default, `claude-bottle-sidecars:latest`. It is on no
//! registry: build it, or name [another](BundleSpec::image).
//!
//! # The states
//!
//! Each state is a type, and each step takes the state before it: a wrong order does not compile, and the compiler's message
//! names the missing step. The steps ask the engine's API for what these commands do:
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
//! Docker can do some of this at the same time. Over its API, [`launch`](NetworkPlanned::launch) has it create the container
//! beside the network, and start it when both are there. [`close`](BundleRunning::close) takes the container off its network
//! first, and has both removed at once.
//!
//! A step that fails hands the state before it back, in a [`StepError`]. In a function that returns
//! `Result<_, Error>`, `?` gives up and cleans up; a `match` can try again. [`NetworkPlanned::launch`] takes
//! both steps at once.
//!
//! A *look* is a request to the engine that only reads, such as `docker container inspect`.
//!
//! # The types
//!
//! - [`Slug`], [`AddressPool`], [`Addressing`], [`Ipv6Addressing`]: names and addresses, pure values.
//! - [`NetworkPlanned`], [`NetworkCreated`], [`BundleRunning`]: the states.
//! - [`launch_all`], [`RunningBundles`], [`close_all`], [`Closing`]: many bundles, and teardown in the background.
//! - [`Container`], [`Guest`]: the observation of a running container, and other containers beside the bundle's.
//! - [`BundleSpec`], [`Daemon`], [`ContainerFile`], [`Ready`], [`NetworkOptions`], [`Naming`]: the configuration of a bundle.
//! - [`Engine`]: Docker or podman, here or elsewhere.
//! - [`Error`], [`StepError`], [`Cause`], [`InvalidInput`]: failures.
//! - [`bundles`]: the list of what there is on an engine, each with its owner.
//! - [`sweep`] and [`NetworkPlanned::discard`]: the removal of resources without a living owner.
//!
//! # Addresses
//!
//! The addresses are derived from the slug alone, and are the same on every machine; [`AddressPool`] has the
//! algorithm, also in ten lines of Python. Two slugs may get the same one of the default pool's 4096 subnets:
//! among 76 slugs, two collide with probability 1/2. Two bundles of one slug, under two prefixes, always collide.
//! [`create_network`](NetworkPlanned::create_network) of the second bundle then fails with
//! [`Error::SubnetTaken`]; it never moves silently.
//!
//! Moving to another subnet is up to the caller. A slug has a sequence of subnets in its pool, its *attempts*.
//! [`in_free_subnet`](NetworkPlanned::in_free_subnet) plans the first that nothing overlaps, before anything
//! exists; [`create_network_in_free_subnet`](NetworkPlanned::create_network_in_free_subnet) also tries the next
//! if another process takes that one first. Containers that ask for no address get one of the network's dynamic
//! range, which does not contain the bundle's.
//!
//! The error of a taken subnet names its holder: a network of the engine, or, where the engine is on this
//! host, an interface with an address in the subnet or a route to it or to a part of it, such as a VPN's. Docker
//! does not check these. [`AddressPools`] keeps the bundles of several roles apart.
//! [`loopback`](NetworkPlanned::loopback) is an address of the slug's for published ports.
//! [`with_ipv6`](NetworkPlanned::with_ipv6) adds a unique-local /64, derived from the slug, and
//! [`NetworkOptions`] has the other options of a network.
//!
//! # Engines
//!
//! [`Engine`] drives [`docker`](Engine::docker) or [`podman`](Engine::podman), or the first that
//! [answers](Engine::detect), also rootless, over ssh, and several at once. Bundles are the same on all of
//! them. Their addresses are not reachable from this host on all of them; [`Engine::reachability`] tells
//! beforehand:
//!
//! | engine | addresses of bundles | instead |
//! |---|---|---|
//! | Docker or podman as root, on this host | reachable, in the engine's network namespace | |
//! | rootless | in a network namespace of the user's own | [publish](BundleSpec::publish) ports |
//! | Docker Desktop, a virtual machine | in the virtual machine | publish ports |
//! | on another host: ssh, tcp | on that host | run the launcher there |
//!
//! A published port is on 127.0.0.1 unless its [`PortMapping`] says otherwise. The slug's own
//! [`loopback`](NetworkPlanned::loopback) address is known before launch, too: ports are published on it, and the
//! sandbox's allowlist names it in place of the bundle's address. [`Error::PortTaken`] names the holder of a port that
//! is taken: a container of the engine, or, where the engine is on this host, a process.
//! [`proxy_variables`](NetworkPlanned::proxy_variables) returns the environment of a guest whose HTTP proxy is in
//! the bundle.
//!
//! From version 28 on, Docker drops packets to a container's address that arrive by any interface but the
//! bridge. This affects a guest behind a TAP. It affects neither programs of the host nor guests whose
//! connections a process of the host makes. [`GatewayMode::NatUnprotected`] or
//! [`trusted_host_interface`](NetworkOptions::trusted_host_interface) let the packets of a TAP in.
//!
//! # Micro-VMs
//!
//! A launcher passes the allowlist on to its VM monitor before anything runs: [`allowlist`](NetworkPlanned::allowlist),
//! or `<loopback>/32` where the bundle's address cannot be reached; `examples/microvm.rs` decides by
//! [`reachability`](Engine::reachability).
//!
//! A VM monitor, or the guest's own kernel, may deny private ranges before it looks at its allowlist, and the default
//! pool is in one. An example is [smolvm](https://github.com/smol-machines/smolvm):
//!
//! - `smolvm serve` sets a strict floor, under which neither the bundle's address nor a loopback address is reached,
//!   whatever the allowlist says.
//! - Started with `SMOLVM_EGRESS_FLOOR=metadata`, it lets both through. Every guest then needs an allowlist: one without
//!   reaches this host and its network.
//! - Its command line lets the bundle's address through, and a loopback address that is in the allowlist
//!   ([#536](https://github.com/smol-machines/smolvm/pull/536), [#1060](https://github.com/smol-machines/smolvm/pull/1060)).
//!
//! # Ownership
//!
//! Network and container carry labels (`sidecar-bundle.*`) that name their owner. Nothing without
//! them is ever taken over or removed, whatever its name. While a bundle lives, its process holds the
//! slug's *lease*: a locked file in [a directory](Engine::with_state_dir) of the user's. There is one lease for
//! each prefix, slug and engine. A second launcher gets [`Error::Taken`] at once, with the process id of the
//! owner. The kernel releases the lock when the owner dies. The resources that were made under the lease are
//! then *orphans*, which the next owner removes.
//!
//! An engine is known by its own identity, not by the way to it. Two contexts that lead to one engine share
//! its slugs. If a context later leads to another engine, the absence of a resource there does not count as its
//! removal.
//!
//! [`BundleRunning::keep`] leaves a bundle running, and [`NetworkPlanned::attach`] takes it back, in
//! any later process. [`attach_or_launch`](NetworkPlanned::attach_or_launch) does so if it was made from the same
//! specification, and launches a new one otherwise. If a lease was lost, or a kept bundle has changed, [`NetworkPlanned::discard`] removes
//! the resources.
//!
//! # The container
//!
//! A [`BundleSpec`] is put together from independent [`Daemon`]s, in any order, and has the usual options of
//! a container; [`hardened`](BundleSpec::hardened) limits the harm that it can do.
//!
//! After [`start`](NetworkCreated::start), one look checks the container. If it has ended already, the error has
//! its exit code and last lines; another address than the planned one is an error, too. A container that runs
//! need not be ready: [`wait_ready`](Container::wait_ready) waits for the conditions of its daemons, and fails
//! as soon as the container ends. A [`Stopper`] stops every wait from another thread, as for Ctrl-C.
//! [`events`](Container::events), [`status`](Container::status), [`logs`](Container::logs),
//! [`follow_logs`](Container::follow_logs), [`wait_exit`](Container::wait_exit) and
//! [`exec`](Container::exec) are for later.
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
//! bundle.wait_ready(Duration::from_secs(10))?; // fails at once if the container ends
//! # bundle.close()
//! # }
//! ```
//!
//! # Guests
//!
//! A [`guest`](BundleRunning::guest) is another container in the bundle's network, such as the sandbox itself, at an
//! address of its own; [`guest_in_namespace`](BundleRunning::guest_in_namespace) shares the bundle's. It borrows its
//! bundle and goes before it. Both dereference to a [`Container`], which has the methods of observation.
//!
//! A sandbox that is to reach its bundle and nothing outside is a guest of an [internal](NetworkOptions::internal) network.
//! It still reaches what listens on the engine's host at the network's gateway, unless that is
//! [isolated](GatewayMode::Isolated). The bundle is [also on](BundleSpec::also_on) a network with a way out.
//! [`file`](BundleSpec::file) gives the bundle its configuration, [`read_file`](Container::read_file) takes out the
//! certificate that it makes, and [`proxy_variables`](NetworkPlanned::proxy_variables) lead the guest's programs to it.
//!
//! # Many bundles
//!
//! [`launch_all`] launches bundles four at a time: an engine makes and removes networks one by one, and more at once take
//! longer. It returns [`RunningBundles`]. A drop, [`close`](RunningBundles::close) or [`close_all`] closes four at a time, too.
//! Each failure is an [`Error::Bundle`] with the plan.
//!
//! [`close_in_background`](BundleRunning::close_in_background) returns at once, and so does each drop of a bundle with
//! [`Engine::with_background_drop`]. At most four threads for each engine do the work, and end when nothing is left to do. A
//! step of the same process that would meet the teardown waits for its end. If the process ends first, the reaper removes the
//! rest, without a grace period and without a saved log; [`wait_for_teardowns`] waits for both.
//!
//! # In async code
//!
//! Every call blocks its thread for as long as the engine takes, and needs no runtime. In async code, call it
//! on a thread for blocking work:
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
//! When the task that holds a bundle is dropped, so is the bundle; the thread that drops the task waits for the
//! teardown, unless the engine value is [`with_background_drop`](Engine::with_background_drop). A blocking launch cannot be cancelled. If its future is dropped, the launch runs to its end, and its
//! bundle is then removed.
//!
//! # Differences from a launcher around `docker` command lines
//!
//! - An existing network is taken over only if it was kept and its subnet, gateway and labels are as planned.
//! - When a removal fails, a look decides if the resource still exists; the engine's message does not.
//! - Mounts use `--mount`: a missing host path is an error, not a new empty directory.
//! - An inherited variable that is not set is an error; `docker run` leaves it out.
//! - Removal includes anonymous volumes.
//! - A missing image is pulled as a step of its own, with a deadline of its own.
//! - There is no `--rm`, which would destroy the exit code and the log of a container that dies at once.
//!
//! # Dropped too early
//!
//! A state that is not bound to a name is dropped at once, and its container and network are removed:
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
//! A bundle that is bound to nothing at all is a warning. For the underscore, rustc has a lint that is off by default:
//! `#![warn(let_underscore_drop)]`.
//!
//! # When no drop runs
//!
//! Teardown is a `Drop`: at the end of a scope, on `?`, while a panic unwinds. It does not run when the
//! process ends without unwinding: `std::process::exit`, `abort`, a panic with `panic = "abort"`, a
//! bundle in a `static`, [`std::mem::forget`] and then the process's end, Ctrl-C and every other signal,
//! `kill -9`.
//!
//! **Then the reaper removes the resources.** It is one idle shell for each engine that the process holds
//! something on. It starts beside the first request. It has its own process group, only the
//! environment that the engine's program reads, and ignores the signals of a terminal. When the process ends, a
//! socket closes, and the reaper begins. It first waits until the engine commands of the process have ended, 150
//! seconds at most; they hold a pipe open. Then it removes the resources that carry the process's labels, and
//! looks for more until three looks in a row have found none. If a resource was being made, it takes eight looks, twenty
//! with podman, and fifteen seconds at least; forty looks if such a command still runs. Usually this takes a second or two. If the engine does not answer, the reaper tries again
//! for ten minutes. It ends when its process holds nothing any more.
//!
//! The reaper is no child of the process. It installs no signal handler, leaves no file and needs no container.
//! It starts while the engine makes the first resource. Its process then waits until it listens, 15 seconds at most for
//! `bash` and then as long for `sh`, and for nothing else. If the process is killed before, in those milliseconds, and the
//! first shell does not work, the resource stays for the next launch.
//! [`Engine::without_reaper`] switches it off. It removes by the engine's program. Where there is a Docker by its socket
//! and no program, it uses `curl`. Without either, or without a shell, there is none, which the log warns of and
//! [`Engine::has_reaper`] tells beforehand.
//!
//! The slug's next launch may come before the reaper is done. It waits until the last command of the dead owner
//! has ended, ten seconds at most, and removes the orphans.
//!
//! **Beyond the reaper's reach**, orphans stay until the next launch of the slug or a [`sweep`] removes them: the
//! reaper itself was killed, with its cgroup or its pid namespace, or by a reboot; or the engine was away for
//! longer. If a process forks without `exec`, the reaper begins only when both halves have ended.
//!
//! **Nothing removes a network that a foreign container is attached to.** The next launch of the slug fails with
//! [`Error::NotRemoved`], which names the container; a sweep reports the same error for the slug. Once the
//! container is disconnected, either removes the network.
//!
//! **Nothing is removed automatically** if the lease was lost with its directory, or is another user's or another
//! host's: its owner may live, unseen. The error names the resource, and
//! [`discard`](NetworkPlanned::discard) removes it by the slug's labels.
//!
//! # Features
//!
//! `serde`, off by default, implements `serde::Serialize` for the types that are plain data: names and addresses, plans,
//! what a container tells of itself, events, causes, and the results of [`bundles`], [`sweep`] and
//! [`discard`](NetworkPlanned::discard). Addresses, ranges and pools are their usual texts, times are RFC 3339 in UTC,
//! variants are in `snake_case`, and an error is its message with its causes. What is unknown is `null`. A plan has its
//! names and addresses, without its options. Specifications and their parts may hold secrets, and are not serialized.
//! Logs and the output of commands are as the container printed them. Nothing is deserialized.
//!
//! ```
//! # #[cfg(feature = "serde")] {
//! let pool = sidecar_bundle::AddressPool::default();
//! assert_eq!(serde_json::to_string(&pool)?, r#""10.48.0.0/12:/24""#);
//! # }
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! `cli`, off by default, is for `cargo install sidecar-bundle --features cli`: it builds a program for operators, which
//! plans, lists, sweeps and removes bundles, and prints their logs. It adds nothing to the library but `serde`.
//!
//! # Logging
//!
//! Steps are `tracing` spans at level `INFO`: `create_network`, `start`, `close`, `attach`, `discard`, `guest` and `wait`,
//! with the slug, and `sweep`, `bundles` and `pull`. A bundle that runs and one that is closed are events at level `INFO`, and
//! so is each failure of a [`launch_all`] when it comes. Each request to an engine is an event at level `DEBUG`, without
//! secret values. What a drop, or a close in the background, could not remove is a `WARN`. All targets begin with
//! `sidecar_bundle`.
//!
//! [`launch_all`], [`close_all`] and a teardown in the background log from threads of their own: a subscriber must not need a
//! lock that the caller holds meanwhile. Of two requests at the same time, one is logged at its end, by the caller's thread.
//!
//! The HTTP client logs by the crate `log`. At level `TRACE`, its part `ureq_proto` prints the bodies of answers,
//! and the description of a container has its environment, secrets included: leave that level off.
//!
//! # Limits
//!
//! A container that the engine [restarts](BundleSpec::restart) keeps its address; the library does not
//! watch it in between. The library builds no images. A slug has one bundle, a container, and guests that live no
//! longer: no composition of services. It runs on Unix hosts. It writes no firewall rules, and connects to a bundle only while the
//! bundle's own bridge is an interface of this host, or to its ports that are published on loopback.

#[cfg(test)]
mod catalogue;
mod container;
mod created;
mod digest;
mod engine;
mod error;
mod host;
mod invalid;
#[cfg(test)]
#[cfg(feature = "serde")]
mod json;
#[cfg(test)]
mod model;
mod ownership;
mod plan;
mod running;
mod status;
mod steps;

pub use container::{
    BundleSpec, ContainerFile, Daemon, PortMapping, PullPolicy, Ready, Relabel, RestartPolicy,
};
pub use created::NetworkCreated;
pub use engine::backend::Resource;
pub use engine::cause::Cause;
pub use engine::error::EngineError;
pub use engine::{Engine, NoEngine, Reachability, Unsupported};
pub use error::{BundleError, Error, Errors, StepError};
pub use host::Holder;
pub use host::ports::PortHolder;
pub use invalid::InvalidInput;
pub use ipnet;
pub use ownership::teardown::wait_for_teardowns;
pub use plan::{
    AddressPool, AddressPools, Addressing, GatewayMode, Ipv6Addressing, Naming, NetworkOptions,
    NetworkPlanned, Slug,
};
pub use running::{BundleRunning, Closing, Container, Guest, RunningBundles, Stopper, close_all};
pub use status::{ExecOutput, Exit, FileProblem, Health, LogLine, LogStream, State, Status};
pub use steps::bundles::{BundleInfo, BundleOwner, bundles};
pub use steps::launch::launch_all;
pub use steps::sweep::{Swept, SweptOutcome, sweep, sweep_dry_run};
pub use steps::{BundleEvent, Discarded, Events, LogFollower};

#[cfg(fuzzing)]
pub mod fuzzing;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
