//! Futures for tokio, with the feature `tokio`.
//!
//! [`launch`] or [`create_network`] leads to a [`BundleRunning`]. Its methods have the names of the
//! [blocking ones](crate::BundleRunning), and each returns a future.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use sidecar_bundle::tokio::launch;
//! use sidecar_bundle::{BundleSpec, Engine, Error, NetworkPlanned, Ready, Slug};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     let plan = NetworkPlanned::new(Slug::new("demo")?);
//!     let bundle = launch(plan, &Engine::docker(), BundleSpec::new().image("nginx:1")).await?;
//!     bundle.wait_for(&Ready::tcp(80), Duration::from_secs(10)).await?;
//!     tokio::select! {
//!         ended = bundle.wait_exit(Duration::MAX) => println!("it ended: {:?}", ended?),
//!         () = tokio::time::sleep(Duration::from_secs(60)) => println!("that was long enough"),
//!     }
//!     bundle.close().await
//! }
//! ```
//!
//! The work is that of the blocking library, on the runtime's threads for blocking work. A future does nothing until it is
//! polled, and needs a runtime of either kind then; without one, it panics. If a runtime is shut down and does not begin the
//! work any more, the error is [`Error::Stopped`](crate::Error::Stopped).
//!
//! A call has such a thread until it ends: a wait, too. Tokio has 512 of them unless its builder says otherwise
//! (`max_blocking_threads`), and with as many waits under way, launches and closes wait for one of these to end.
//!
//! # Cancellation
//!
//! Dropping a future cancels it, whether by `select!`, a timeout, or the abort of its task. A wait ends within 50 ms, also one
//! for a command, which may go on in the container. A launch does not begin its next step; a request to the engine that is
//! under way is waited for, such as a create or a pull.
//! Everything that was made is then removed. All of this happens on threads for blocking work. A later launch of the same slug, or
//! in the same subnet, by this process waits for the end of that.
//!
//! A state that is dropped is removed in the background, as by
//! [`close_in_background`](crate::BundleRunning::close_in_background), so that no thread of the runtime waits. This is also
//! so without a reaper. Failures are logged; [`BundleRunning::close`] returns them.
//!
//! # The end of the program
//!
//! The drop of a runtime, which is also the end of a `#[tokio::main]`, waits for the request of a cancelled call that
//! is under way; `shutdown_timeout` bounds that. It does not wait for the removal of a bundle that was dropped. The
//! reaper removes what is left; without one, the next launch of the slug does. To have it removed before, await
//! [`BundleRunning::close`], or wait after the runtime:
//!
//! ```no_run
//! # async fn run() -> Result<(), sidecar_bundle::Error> { Ok(()) }
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let ended = tokio::runtime::Runtime::new()?.block_on(run());
//!     sidecar_bundle::wait_for_teardowns();
//!     Ok(ended?)
//! }
//! ```

mod bundle;
mod call;
mod container;
mod guest;
mod held;
mod log;
mod network;

pub use bundle::BundleRunning;
pub use container::Container;
pub use guest::Guest;
pub use log::LogFollower;
pub use network::NetworkCreated;

use crate::container::BundleSpec;
use crate::engine::Engine;
use crate::error::StepError;
use crate::plan::NetworkPlanned;

/// Creates the network and starts the container in it, as [`NetworkPlanned::launch`] does.
///
/// ```no_run
/// use std::time::Duration;
///
/// use sidecar_bundle::tokio::{BundleRunning, launch};
/// use sidecar_bundle::{BundleSpec, Engine, Error, NetworkPlanned};
///
/// /// Up to three times, each for at most 20 seconds.
/// async fn patiently(plan: NetworkPlanned) -> Result<Option<BundleRunning>, Error> {
///     let engine = Engine::docker();
///     for _ in 0..3 {
///         let launched = launch(plan.clone(), &engine, BundleSpec::new());
///         if let Ok(launched) = tokio::time::timeout(Duration::from_secs(20), launched).await {
///             return Ok(Some(launched?));
///         }
///         // What it made is being removed, and the next one waits for that.
///     }
///     Ok(None)
/// }
/// ```
///
/// # Errors
///
/// Those of [`NetworkPlanned::launch`], and as much is left: nothing.
///
/// # Panics
///
/// Outside a runtime of tokio, as all futures here.
pub async fn launch(
    plan: NetworkPlanned,
    engine: &Engine,
    spec: BundleSpec,
) -> Result<BundleRunning, StepError<NetworkPlanned>> {
    let engine = engine.clone();
    let launch = move |plan: NetworkPlanned| plan.launch(&engine, spec).map(held::Held::new);
    call::step(None, plan, launch).await.map(BundleRunning::of)
}

/// Creates the network, as [`NetworkPlanned::create_network`] does.
///
/// ```no_run
/// use sidecar_bundle::tokio::create_network;
/// use sidecar_bundle::{BundleSpec, Engine, Error, NetworkPlanned};
///
/// async fn run(plan: NetworkPlanned, engine: &Engine) -> Result<(), Error> {
///     let network = create_network(plan, engine).await?;
///     let bundle = network.start(BundleSpec::new()).await?;
///     println!("a bundle runs at {}", bundle.ip());
///     bundle.close().await
/// }
/// ```
///
/// # Errors
///
/// Those of [`NetworkPlanned::create_network`], and as much is left.
pub async fn create_network(
    plan: NetworkPlanned,
    engine: &Engine,
) -> Result<NetworkCreated, StepError<NetworkPlanned>> {
    let engine = engine.clone();
    let create =
        move |plan: NetworkPlanned| plan.create_network(&engine).map(NetworkCreated::from_std);
    call::step(None, plan, create).await
}
