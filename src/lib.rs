//! Runs a *sidecar bundle*: a container on a network of its own, at an address that is known before anything runs.
//! Names and addresses are derived from one string, a sandbox's *slug*.
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
//! An example that names no image uses the default, `claude-bottle-sidecars:latest`, which is on no registry: build it,
//! or name [another](BundleSpec::image).
//!
//! # The states
//!
//! Each state is a type, and each step takes the state before it: a wrong order does not compile, and the compiler's message
//! names the missing step. Over the engine's API, the steps do the work of these commands:
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
//! Docker can do some of this at the same time. Over the API, [`launch`](NetworkPlanned::launch) creates the container
//! and the network at the same time, and starts the container when both exist. [`close`](BundleRunning::close)
//! disconnects the container from its network first, and removes both at the same time.
//!
//! A step that fails hands the state before it back, in a [`StepError`]. In a function that returns
//! `Result<_, Error>`, `?` closes that state; a `match` can try again. [`NetworkPlanned::launch`] takes both steps at
//! once.
//!
//! A *look* is a request to the engine that only reads, such as `docker container inspect`.
//!
//! # The types
//!
//! - [`Slug`], [`AddressPool`], [`Addressing`], [`Ipv6Addressing`]: names and addresses, pure values.
//! - [`NetworkPlanned`], [`NetworkCreated`], [`BundleRunning`]: the states.
//! - [`launch_all`], [`RunningBundles`], [`close_all`], [`Closing`]: many bundles, and teardown in the background.
//! - [`Container`], [`Guest`]: the observation of a running container, and further containers of a bundle.
//! - [`BundleSpec`], [`Daemon`], [`ContainerFile`], [`Ready`], [`NetworkOptions`], [`Naming`]: the configuration of a bundle.
//! - [`Engine`]: Docker or podman, here or elsewhere. [`Engines`]: those of many hosts, and the place of a slug.
//! - [`Error`], [`StepError`], [`Cause`], [`InvalidInput`]: failures.
//! - [`bundles`]: the list of the bundles on an engine, each with its owner.
//! - [`sweep`] and [`NetworkPlanned::discard`]: the removal of resources without a living owner.
//!
//! # Guides
//!
//! The module [`guide`] has a page for each task: [launch code](guide::launch_code), [tests](guide::testing),
//! [guests](guide::guests), [many bundles](guide::many_bundles), [many hosts](guide::many_hosts),
//! [kept services](guide::kept_services), [engines](guide::engines), [async code](guide::async_code),
//! [logging](guide::logging) and [the calls of other tools](guide::coming_from). It also tells
//! [who removes a bundle](guide::teardown), and has the [guarantees and limits](guide::guarantees).
//!
//! # Addresses
//!
//! The addresses are derived from the slug alone, and are the same on every machine; [`AddressPool`] has the
//! algorithm, also in ten lines of Python. Two slugs may get the same one of the default pool's 4096 subnets:
//! among 76 slugs, two collide with probability 1/2. Two bundles of one slug, under two prefixes, always collide.
//! [`create_network`](NetworkPlanned::create_network) of the second bundle then fails with [`Error::SubnetTaken`]; a
//! plan never moves silently.
//!
//! Moving to another subnet is up to the caller. A slug has a sequence of subnets in its pool, its *attempts*.
//! [`in_free_subnet`](NetworkPlanned::in_free_subnet) plans the first that nothing overlaps, before anything
//! exists; [`create_network_in_free_subnet`](NetworkPlanned::create_network_in_free_subnet) also tries the next
//! if another process takes that one first. Containers that ask for no address get one from the network's dynamic
//! range, which excludes the bundle's address.
//!
//! The error of a taken subnet names its holder: a network of the engine, or, where the engine is on this
//! host, an interface with an address in the subnet, or a route to all or part of it, such as a VPN's. Docker does not
//! check interfaces and routes. [`AddressPools`] keeps the bundles of several roles apart.
//! [`loopback`](NetworkPlanned::loopback) is the slug's own loopback address, for published ports.
//! [`with_ipv6`](NetworkPlanned::with_ipv6) adds a unique-local /64, derived from the slug, and [`NetworkOptions`] has
//! the other options of a network.
//!
//! # Features
//!
//! `serde`, off by default, implements `serde::Serialize` for the types that are plain data: names and addresses, plans,
//! the status of a container, events, causes, and the results of [`bundles`], [`sweep`] and
//! [`discard`](NetworkPlanned::discard). Addresses, ranges and pools are written as they print, times are RFC 3339 in
//! UTC, variants are in `snake_case`, and an error is its message with its causes. An unknown value is `null`. A plan
//! has its names and addresses, without its options. Specifications and their parts may hold secrets, and are not
//! serialized. Logs and the output of commands are as the container printed them. No type implements `Deserialize`.
//!
//! ```
//! # #[cfg(feature = "serde")] {
//! let pool = sidecar_bundle::AddressPool::default();
//! assert_eq!(serde_json::to_string(&pool)?, r#""10.48.0.0/12:/24""#);
//! # }
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! `tokio`, off by default, adds the module `tokio`: launches, waits, logs and teardowns as futures, which may be dropped at
//! any time.
//!
//! `cli`, off by default, is for `cargo install sidecar-bundle --features cli`: it builds a program for operators, which
//! plans, lists, sweeps and removes bundles, and prints their logs. It adds nothing to the library but `serde`.

#[cfg(test)]
mod catalogue;
mod container;
mod created;
mod digest;
mod engine;
mod error;
#[cfg(doc)]
pub mod guide;
mod host;
mod in_turns;
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
#[cfg(feature = "tokio")]
pub mod tokio;

pub use container::{
    BundleSpec, ContainerFile, Daemon, PortMapping, PullPolicy, Ready, Relabel, RestartPolicy,
};
pub use created::NetworkCreated;
pub use engine::backend::Resource;
pub use engine::cause::Cause;
pub use engine::error::EngineError;
pub use engine::{Engine, Engines, NoEngine, Reachability, Unsupported};
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
