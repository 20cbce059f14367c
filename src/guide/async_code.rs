//! With the feature `tokio`, launches, waits, followed logs and teardowns are futures, which may be dropped at any time.
//! Its module is `sidecar_bundle::tokio`:
//!
//! ```toml
//! sidecar-bundle = { version = "0.2", features = ["tokio"] }
//! ```
//!
//! ```no_run
//! # #[cfg(feature = "tokio")] {
//! use std::time::Duration;
//!
//! use sidecar_bundle::tokio::launch;
//! use sidecar_bundle::{BundleSpec, Engine, Error, NetworkPlanned, Slug};
//!
//! async fn run(slug: Slug) -> Result<(), Error> {
//!     let bundle = launch(NetworkPlanned::new(slug), &Engine::docker(), BundleSpec::new()).await?;
//!     bundle.wait_ready(Duration::from_secs(10)).await?;
//!     println!("a bundle runs at {}", bundle.ip());
//!     bundle.close().await
//! }
//! # }
//! ```
//!
//! The feature adds no other client of the engine: each future is a call of the blocking library on one of the runtime's
//! threads for blocking work. A bundle that is dropped is removed in the background. A launch that follows one whose future
//! was dropped waits for its end.
//!
//! Futures are [`launch`](crate::NetworkPlanned::launch), `create_network` and `start`, the waits, both kinds of guests,
//! `follow_logs`, and `close`. What else a container does, such as `exec` or `logs`, its `spawn_blocking` calls.
//! Everything else blocks: [`attach`](crate::NetworkPlanned::attach),
//! [`attach_or_launch`](crate::NetworkPlanned::attach_or_launch), [`keep`](crate::BundleRunning::keep),
//! [`discard`](crate::NetworkPlanned::discard),
//! [`in_free_subnet`](crate::NetworkPlanned::in_free_subnet), [`bundles`](crate::bundles), [`sweep`](crate::sweep),
//! [`launch_all`](crate::launch_all) and [`Engines::each`](crate::Engines::each). Call these by tokio's own
//! `spawn_blocking`, and change a bundle between both kinds with `from_std` and `into_std`. Launches that are
//! awaited together all begin at once; [`launch_all`](crate::launch_all) has four at a time.
//!
//! # Other runtimes
//!
//! Every call of the blocking library blocks its thread for as long as the engine takes, and needs no runtime. In async code,
//! call it on a thread for blocking work:
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
//! When the task that holds a bundle is dropped, so is the bundle. The thread that drops the task waits for the teardown,
//! unless the engine value is [`with_background_drop`](crate::Engine::with_background_drop). A blocking launch cannot be
//! cancelled: if its future is dropped, the launch runs to its end, and its bundle is then removed. Until then, another launch
//! of the slug is [`Error::Taken`](crate::Error::Taken) by this process.
