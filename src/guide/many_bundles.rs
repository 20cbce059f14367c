//! Many bundles at once, and teardown in the background.
//!
//! For the engines of many hosts, see [`many_hosts`](super::many_hosts).
//!
//! # At once
//!
//! [`launch_all`] launches bundles four at a time: an engine makes and removes networks one by one, and more at once
//! take it longer. It returns [`RunningBundles`]. A drop, [`close`](RunningBundles::close) or [`close_all`] closes four
//! at a time, too. Each failure is an [`Error::Bundle`](crate::Error::Bundle) with its plan, and the bundles that run
//! are handed back.
//!
//! ```no_run
//! use sidecar_bundle::{BundleSpec, Engine, Error, NetworkPlanned, Slug, launch_all};
//!
//! fn run(slugs: &[&str]) -> Result<(), Error> {
//!     let mut plans = Vec::new();
//!     for slug in slugs {
//!         plans.push((NetworkPlanned::new(Slug::new(*slug)?), BundleSpec::new().image("nginx:1")));
//!     }
//!     let bundles = match launch_all(&Engine::docker(), plans) {
//!         Ok(bundles) => bundles,
//!         Err(failed) => {
//!             failed.error().each().iter().for_each(|error| eprintln!("{error}"));
//!             failed.into_state() // those that run
//!         }
//!     };
//!     for bundle in bundles.iter() {
//!         println!("{} {}", bundle.plan().slug(), bundle.ip());
//!     }
//!     bundles.close()
//! }
//! ```
//!
//! # In the background
//!
//! [`close_in_background`](crate::BundleRunning::close_in_background) returns at once, and so does each drop of a bundle
//! whose [`Engine`] is [`with_background_drop`](Engine::with_background_drop). At most four threads for each engine do the
//! work, and end when nothing is left to do. A step of the same process that would collide with the teardown waits for
//! its end: a step for the same slug, subnet or bridge, or one that publishes a chosen port of the host.
//!
//! If the process ends first, the reaper removes the rest, without a grace period and without a saved log.
//! [`wait_for_teardowns`] waits until all teardowns have ended.
//!
//! ```no_run
//! use sidecar_bundle::{BundleSpec, Engine, Error, NetworkPlanned, Slug, wait_for_teardowns};
//!
//! fn run(slugs: &[&str]) -> Result<(), Error> {
//!     let engine = Engine::docker().with_background_drop();
//!     for slug in slugs {
//!         let plan = NetworkPlanned::new(Slug::new(*slug)?);
//!         let _bundle = plan.launch(&engine, BundleSpec::new().image("nginx:1"))?;
//!         // The drop returns at once.
//!     }
//!     wait_for_teardowns(); // or leave the rest to the reaper
//!     Ok(())
//! }
//! ```

#[cfg(doc)]
use crate::{Engine, RunningBundles, close_all, launch_all, wait_for_teardowns};
