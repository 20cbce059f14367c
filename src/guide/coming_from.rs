//! The calls for `docker run`, compose, testcontainers, and a launcher in Python.
//!
//! # `docker run`
//!
//! | `docker` | here |
//! |---|---|
//! | `network create --subnet S --gateway G N`, `run --detach --network N --ip IP IMAGE` | [`launch`](NetworkPlanned::launch) |
//! | `--env K=V`, `--env K` | [`variable`](BundleSpec::variable) or [`secret`](BundleSpec::secret), [`inherit`](BundleSpec::inherit) |
//! | `--mount type=bind`, `--mount type=volume`, `--tmpfs` | [`mount`](BundleSpec::mount), [`volume`](BundleSpec::volume), [`tmpfs`](BundleSpec::tmpfs) |
//! | `cp` before the start | [`file`](BundleSpec::file) |
//! | `--publish 127.0.0.1:8080:80` | [`publish`](BundleSpec::publish)`(PortMapping::tcp(80).host_port(8080))` |
//! | `--memory`, `--cpus`, `--pids-limit`, `--user` | [`memory`](BundleSpec::memory), [`cpus`](BundleSpec::cpus), [`pids`](BundleSpec::pids), [`user`](BundleSpec::user) |
//! | `--cap-drop`, `--read-only` | [`drop_capability`](BundleSpec::drop_capability), [`read_only_root`](BundleSpec::read_only_root); [`hardened`](BundleSpec::hardened) sets these and more |
//! | any other field | [`engine_option`](BundleSpec::engine_option), or [`engine_flag`](BundleSpec::engine_flag) |
//! | `--pull always` | [`pull`](BundleSpec::pull)`(PullPolicy::Always)` |
//! | `--rm` | the drop; [`save_log`](BundleSpec::save_log) saves the log before |
//! | `network connect` before the start | [`also_on`](BundleSpec::also_on) |
//! | `logs`, `logs --follow` | [`logs`](crate::Container::logs), [`follow_logs`](crate::Container::follow_logs) |
//! | `exec`, `wait`, `kill --signal`, `cp` out | [`exec`](crate::Container::exec), [`wait_exit`](crate::Container::wait_exit), [`signal`](crate::Container::signal), [`read_file`](crate::Container::read_file) |
//! | `rm --force --volumes`, `network rm` | [`close`](crate::BundleRunning::close), or the drop |
//!
//! # docker compose
//!
//! | compose | here |
//! |---|---|
//! | a service with `ipv4_address` | the bundle; its address is derived from the slug |
//! | other services that end before it | [guests](super::guests) |
//! | `depends_on: condition: service_healthy` | [`wait_for`](crate::Container::wait_for)`(&Ready::healthy(), timeout)` before the next start |
//! | the project's name | the slug |
//! | `up`, `down` | [`launch`](NetworkPlanned::launch), [`close`](crate::BundleRunning::close) |
//! | `up --detach`, and the shell ends | [`keep`](crate::BundleRunning::keep) |
//! | `ps` | [`bundles`](crate::bundles()) |
//!
//! There is no composition of services: a bundle is one container, and guests that do not outlive it.
//!
//! # testcontainers
//!
//! | testcontainers | here |
//! |---|---|
//! | `GenericImage::new("redis", "7").start()` | [`launch`](NetworkPlanned::launch) with [`image`](BundleSpec::image)`("redis:7")` |
//! | `with_wait_for(WaitFor::message_on_stdout(..))` | [`wait_for`](crate::Container::wait_for)`(&Ready::log(..), timeout)` |
//! | `with_exposed_port`, `get_host_port_ipv4` | [`publish`](BundleSpec::publish), [`published`](crate::Container::published) |
//! | `get_bridge_ip_address` after the start | [`ip`](NetworkPlanned::ip) before it |
//! | `with_network` | the bundle's own network |
//! | `with_env_var`, `with_mount`, `with_copy_to` | [`variable`](BundleSpec::variable), [`mount`](BundleSpec::mount), [`file`](BundleSpec::file) |
//! | `with_reuse`, and a container that stays | [`attach_or_launch`](NetworkPlanned::attach_or_launch) and [`keep`](crate::BundleRunning::keep) |
//! | `ContainerAsync` | [async code](super::async_code) |
//! | a feature that watches for signals | the [reaper](super::teardown), also for `kill -9` |
//!
//! # A launcher in Python around `docker` command lines
//!
//! Names, labels of dashboards and variables stay: network `claude-bottle-bundle-SLUG`, container
//! `claude-bottle-sidecars-SLUG`, the daemons in `CLAUDE_BOTTLE_SIDECAR_DAEMONS`. A [`Naming`](crate::Naming) replaces them.
//! [`AddressPool`](crate::AddressPool) has the derivation of addresses in ten lines of Python.
//!
//! These are different on purpose:
//!
//! - An existing network is taken over only if it was kept and its subnet, gateway and labels are as planned.
//! - When a removal fails, a look decides whether the resource still exists, not the engine's message.
//! - A missing host path of a mount is an error, not a new empty directory.
//! - An inherited variable that is not set is an error; `docker run` leaves it out.
//! - Removal includes anonymous volumes.
//! - A missing image is pulled as a step of its own, with a deadline of its own.
//! - There is no `--rm`, which would destroy the exit code and the log of a container that dies at once.

#[cfg(doc)]
use crate::{BundleSpec, NetworkPlanned};
