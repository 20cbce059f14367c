//! Every call blocks its thread for as long as the engine takes, and needs no runtime.
//!
//! In async code, call it on a thread for blocking work:
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
//! cancelled: if its future is dropped, the launch runs to its end, and its bundle is then removed.
