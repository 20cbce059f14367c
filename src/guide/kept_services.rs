//! A bundle that outlives its process on purpose is kept, and taken back later.
//!
//! ```no_run
//! use sidecar_bundle::{BundleSpec, Engine, Error, NetworkPlanned, Slug};
//!
//! fn registry() -> Result<(), Error> {
//!     let plan = NetworkPlanned::new(Slug::new("registry")?);
//!     let spec = BundleSpec::new().image("registry:2").volume("registry", "/var/lib/registry");
//!     let bundle = plan.attach_or_launch(&Engine::docker(), spec)?;
//!     println!("the registry runs at {}", bundle.ip());
//!     bundle.keep()?;
//!     Ok(())
//! }
//! ```
//!
//! [`keep`](crate::BundleRunning::keep) leaves the bundle running. [`attach`](crate::NetworkPlanned::attach) takes it back,
//! in any later process, also after a reboot. [`attach_or_launch`](crate::NetworkPlanned::attach_or_launch) does so if
//! the bundle was made from the same specification, and launches a new one otherwise. After an upgrade of this crate, a
//! bundle may count as different once. An image with a digest, which
//! [`require_digest`](crate::BundleSpec::require_digest) demands, keeps its contents.
//!
//! Until it is kept again, an attached bundle belongs to this process: a `?`, a drop or a death removes it. A bundle
//! that differs is removed before the new image is pulled.
//!
//! [`discard`](crate::NetworkPlanned::discard) removes a kept bundle that is no longer wanted, and resources whose lease was
//! lost. [`bundles`](crate::bundles()) lists everything on an engine that this library made, each with its owner: alive,
//! dead, kept, or not seen from here.
