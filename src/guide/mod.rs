//! Guides: one page for each task.
//!
//! | page | task |
//! |---|---|
//! | [`launch_code`] | start a sandbox that may talk to its bundle and to nothing else |
//! | [`testing`] | give each test a bundle, with `cargo test`, nextest and proptest |
//! | [`guests`] | run the sandbox, or a client, in the bundle's network |
//! | [`many_bundles`] | launch and close many, and close in the background |
//! | [`many_hosts`] | place slugs on the engines of many hosts, and ask all of them at once |
//! | [`kept_services`] | leave a bundle running, and take it back |
//! | [`engines`] | podman, rootless engines, engines on other hosts, wrappers |
//! | [`async_code`] | call it from tokio |
//! | [`logging`] | see each step and each request |
//! | [`teardown`] | who removes a bundle, and when |
//! | [`guarantees`] | the guarantees, the limits, and the tests that show them |
//! | [`coming_from`] | the calls for `docker run`, compose, testcontainers and a launcher in Python |

pub mod async_code;
pub mod coming_from;
pub mod engines;
pub mod guarantees;
pub mod guests;
pub mod kept_services;
pub mod launch_code;
pub mod logging;
pub mod many_bundles;
pub mod many_hosts;
pub mod teardown;
pub mod testing;
