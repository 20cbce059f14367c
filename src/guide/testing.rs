//! A test gets a bundle, and needs no order of teardown: the drop removes it, also when the test panics.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use sidecar_bundle::{BundleSpec, Engine, Error, NetworkPlanned, Ready, Slug};
//!
//! #[test]
//! fn it_answers() -> Result<(), Error> {
//!     let plan = NetworkPlanned::new(Slug::new("it-answers")?);
//!     let bundle = plan.launch(&Engine::docker(), BundleSpec::new().image("nginx:1"))?;
//!     bundle.wait_for(&Ready::tcp(80), Duration::from_secs(10))?;
//!     // Now test http://{bundle.ip()}/.
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! Bind the guard to a name. `let _ = plan.launch(..)?` removes the bundle on this very line. rustc has a lint for it, which
//! is off by default: `#![warn(let_underscore_drop)]`.
//!
//! # Slugs and subnets that do not meet
//!
//! Tests that run at the same time need slugs of their own: a slug has one bundle at a time on an engine, and a second one
//! is [`Error::Taken`]. The name of the test is a good slug. Two slugs may be derived to one subnet, though; the second is
//! [`Error::SubnetTaken`]. There are two ways out:
//!
//! - [`create_network_in_free_subnet`](crate::NetworkPlanned::create_network_in_free_subnet) takes the next subnet of the
//!   slug that is free. The address is then known after this step.
//! - All subnets of one slug in a pool differ. A suite that numbers its tests gives each a subnet of its own, and every
//!   address is known beforehand.
//!
//! nextest runs each test in a process of its own, and numbers those that run at the same time in
//! `NEXTEST_TEST_GLOBAL_SLOT`. A number is used again only when its process has ended. `cargo test` has no such number:
//! there, use one of the two ways above. Two runs of nextest at once on one engine need a prefix or a slug of their
//! own, and pools that do not overlap.
//!
//! ```
//! use sidecar_bundle::{AddressPool, Error, NetworkPlanned, Slug};
//!
//! /// The plan of a test. The plans of two slots never collide.
//! fn plan(slot: u64) -> Result<NetworkPlanned, Error> {
//!     let pool: AddressPool = "10.48.0.0/13:/24".parse()?;
//!     let subnet = pool.addressing(&Slug::new("suite")?, slot)?;
//!     Ok(NetworkPlanned::new(Slug::new(format!("suite-{slot}"))?).with_addressing(subnet))
//! }
//!
//! /// The number of this test among those that run, under nextest.
//! fn slot() -> u64 {
//!     let slot = std::env::var("NEXTEST_TEST_GLOBAL_SLOT").expect("nextest runs this test");
//!     slot.parse().expect("it is a number")
//! }
//!
//! assert_ne!(plan(0)?.subnet(), plan(1)?.subnet());
//! # Ok::<(), Error>(())
//! ```
//!
//! # One bundle for all tests
//!
//! In one process, a `static` holds the bundle. A static is never dropped; the [reaper](super::teardown) removes the
//! bundle when the process ends:
//!
//! ```no_run
//! use std::sync::OnceLock;
//!
//! use sidecar_bundle::{BundleRunning, BundleSpec, Engine, NetworkPlanned, Slug};
//!
//! fn shared() -> &'static BundleRunning {
//!     static SHARED: OnceLock<BundleRunning> = OnceLock::new();
//!     SHARED.get_or_init(|| {
//!         let plan = NetworkPlanned::new(Slug::new("shared").expect("it is a slug"));
//!         let spec = BundleSpec::new().image("nginx:1");
//!         plan.launch(&Engine::docker(), spec).expect("Docker runs")
//!     })
//! }
//! ```
//!
//! With a process for each test, no test owns the bundle. A program that runs before them launches it and keeps it. The
//! tests need no engine then: the address follows from the slug alone.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use sidecar_bundle::{BundleSpec, Engine, Error, NetworkPlanned, Ready, Slug};
//!
//! fn plan() -> Result<NetworkPlanned, Error> {
//!     // Not the pool of the slots.
//!     Ok(NetworkPlanned::new(Slug::new("shared")?).with_pool("10.56.0.0/13:/24".parse()?))
//! }
//!
//! /// Before the tests. A bundle of an earlier run is taken back, or replaced if it differs.
//! fn set_up() -> Result<(), Error> {
//!     let bundle = plan()?.attach_or_launch(&Engine::docker(), BundleSpec::new().image("nginx:1"))?;
//!     bundle.wait_for(&Ready::tcp(80), Duration::from_secs(10))?;
//!     bundle.keep()?;
//!     Ok(())
//! }
//!
//! /// In each test.
//! fn url() -> Result<String, Error> {
//!     Ok(format!("http://{}/", plan()?.ip()))
//! }
//!
//! /// After the tests, or never.
//! fn tear_down() -> Result<(), Error> {
//!     plan()?.discard(&Engine::docker())?;
//!     Ok(())
//! }
//! ```
//!
//! In `.config/nextest.toml`, a setup script calls the first function; `set-up` is a program of the package. This library is
//! then one of its dependencies, and not of its tests alone, and `plan()` stands in its own library. Plain `cargo test` runs
//! no setup script. nextest has no script for the end: call the last function after it, or leave the bundle to the next
//! run.
//!
//! ```toml
//! experimental = ["setup-scripts"]
//!
//! [scripts.setup.bundle]
//! command = ["cargo", "run", "--bin", "set-up"]
//!
//! [[profile.default.scripts]]
//! filter = "all()"
//! setup = "bundle"
//! ```
//!
//! # Faster suites
//!
//! With [`Engine::with_background_drop`](crate::Engine::with_background_drop), a test does not wait for the teardown of the
//! test before it. A launch that would meet the teardown waits for its end. See [`many_bundles`](super::many_bundles).
//!
//! # Properties
//!
//! Addresses are pure values, so that laws about them need no engine:
//!
//! ```
//! use proptest::prelude::*;
//! use sidecar_bundle::{NetworkPlanned, Slug};
//!
//! proptest! {
//!     # /*
//!     #[test]
//!     # */
//!     fn the_allowlist_is_one_address_of_the_subnet(slug in "[a-z][a-z0-9-]{0,20}[a-z0-9]") {
//!         let plan = NetworkPlanned::new(Slug::new(&slug).unwrap());
//!         prop_assert_eq!(plan.allowlist().prefix_len(), 32);
//!         prop_assert!(plan.subnet().contains(&plan.ip()));
//!         prop_assert_ne!(plan.ip(), plan.gateway());
//!     }
//! }
//! # the_allowlist_is_one_address_of_the_subnet();
//! ```

#[cfg(doc)]
use crate::Error;
