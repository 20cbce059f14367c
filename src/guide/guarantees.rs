//! The guarantees, the tests that show each of them, and the limits.
//!
//! The commands run in a clone of the repository. `tests/with-docker` starts a private engine where there is none.
//!
//! | guarantee | shown by |
//! |---|---|
//! | Subnet, gateway and address follow from the slug alone, and are the same on every machine. | `cargo test --test vectors --test properties` |
//! | The place of a slug among engines follows from their names alone, and is the same on every machine. | `cargo test --test vectors --test properties` |
//! | A bundle that runs has the planned address, or the step is an error. | `tests/with-docker cargo test --test engine` |
//! | A wrong order of steps does not compile, and the message of the usual ones names the missing step. | `cargo test --test misuse`: 56 programs |
//! | An owner that is killed at a random moment leaves nothing. | `tests/with-docker cargo test --test chaos`: 160 kills |
//! | Failures in any order lose nothing, leave nothing behind, and take nothing from others. | `cargo test --lib model`: 10,000 random sequences against a modelled engine |
//! | Each of these tests notices if its guarantee is broken. | `tests/break-guarantees`: one patch for each |
//! | A secret is in no argument, log, error or file of this library's, and over the API in no environment but the container's. | `tests/with-docker cargo test --test engine redactor` |
//!
//! # Limits
//!
//! - The library runs on Unix hosts, and needs Linux for [looks](crate::Error::SubnetTaken) at interfaces and routes.
//! - A container that the engine [restarts](crate::BundleSpec::restart) keeps its address; the library does not watch it in
//!   between.
//! - It builds no images.
//! - It composes no services: a slug has one bundle, which is one container and its guests.
//! - It writes no firewall rules. It connects to a bundle only while the bundle's bridge is an interface of this host,
//!   or to ports that are published on loopback.
//! - The network of an [overlay](crate::NetworkOptions::overlay) is removed by the engine that created it, which has to be
//!   a manager then. A node that was demoted meanwhile sees no network that it has not joined, and its sweep finds none.
//!   If the engine has gone for good, or has another name or data directory now, `docker network rm` on a manager removes
//!   the network. While a swarm has no
//!   leader, its managers list only the overlay networks that they have joined; a sweep says then that it failed.
//! - Two slugs may be derived to the same one of the default pool's 4096 subnets: among 76 slugs, two collide with
//!   probability 1/2. The second launch is [`Error::SubnetTaken`](crate::Error::SubnetTaken).
//! - A user of the engine's socket can read every secret and forge every label, and is root on its host unless the
//!   engine is rootless.
//! - Leases are files. Owners on hosts that share no state directory do not see each other; see
//!   [`Error::UnknownOwner`](crate::Error::UnknownOwner).
