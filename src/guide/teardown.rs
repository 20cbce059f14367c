//! The guard removes a bundle, or else the reaper, the slug's next launch, or a sweep.
//!
//! # Ownership
//!
//! Network and container carry labels (`sidecar-bundle.*`) that name their owner. A resource without these labels is
//! never taken over or removed, whatever its name. While a bundle lives, its process holds the slug's *lease*: a locked
//! file in [a directory](crate::Engine::with_state_dir) of the user's. There is one lease for each prefix, slug and
//! engine. A second launcher gets [`Error::Taken`] at once, with the process id of the owner. The kernel releases the
//! lock when the owner dies. The resources that were made under the lease are then *orphans*, which the next owner
//! removes.
//!
//! An engine is known by its own identity, not by the way to it. Two contexts that lead to one engine share its slugs. If a
//! context later leads to another engine, the absence of a resource there does not count as its removal.
//!
//! # The drop
//!
//! Teardown is a `Drop`: at the end of a scope, on `?`, while a panic unwinds. A drop logs a failure.
//! [`close`](crate::BundleRunning::close) does the same work and returns the failure. When a removal fails, a look
//! decides whether the resource still exists.
//!
//! A state that is not bound to a name is dropped at once, and its container and network are removed:
//!
//! ```no_run
//! # use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
//! # fn main() -> Result<(), sidecar_bundle::Error> {
//! # let plan = NetworkPlanned::new(Slug::new("demo")?);
//! # let other = NetworkPlanned::new(Slug::new("other")?);
//! # let engine = Engine::docker();
//! let _ = plan.launch(&engine, BundleSpec::new())?; // wrong: removed on this very line
//! let _bundle = other.launch(&engine, BundleSpec::new())?; // right: lives to the end of the scope
//! # Ok(())
//! # }
//! ```
//!
//! rustc warns of a bundle that is bound to nothing at all. For the underscore, it has a lint that is off by default:
//! `#![warn(let_underscore_drop)]`.
//!
//! # The reaper
//!
//! No drop runs when the process ends without unwinding: `std::process::exit`, `abort`, a panic with `panic = "abort"`, a
//! bundle in a `static`, [`std::mem::forget`] and then the process's end, Ctrl-C and every other signal, `kill -9`. Then the
//! reaper removes the resources.
//!
//! It is one idle shell for each engine that the process holds something on, with `sidecar-bundle-reaper` in its
//! arguments. It has its own process group, has only the environment that the engine's program reads, and ignores the
//! signals of a terminal. When the process ends, a socket closes, and the reaper begins. It first waits until the
//! engine commands of the process, which hold a pipe open, have ended, 150 seconds at most. Then it removes the
//! resources that carry the process's labels, and looks for more until three looks in a row have found none. If a
//! resource was being made, it takes eight looks, twenty with podman, and fifteen seconds at least; forty looks if such
//! a command still runs. Usually this takes a second or two. If the engine does not answer, the reaper tries again for
//! ten minutes. It ends when its process holds nothing any more.
//!
//! The reaper is no child of the process. It installs no signal handler, leaves no file and needs no container. It
//! starts while the engine makes the first resource. The process then waits until the reaper listens, 15 seconds at
//! most for `bash` and then as long for `sh`. It waits for nothing else of the reaper. If the process is killed in
//! these milliseconds and the first shell does not work, the resource stays until the next launch.
//!
//! [`Engine::without_reaper`](crate::Engine::without_reaper) switches it off. A reaper runs the engine's program. Where
//! Docker is reached by its socket and the program is missing, it runs `curl`. Without either, there is no reaper: the
//! log warns of it, and [`Engine::has_reaper`](crate::Engine::has_reaper) tells it beforehand.
//!
//! # The next launch
//!
//! The slug's next launch may come before the reaper is done. The launch waits until the last command of the dead owner
//! has ended, ten seconds at most, and removes the orphans.
//!
//! # A sweep
//!
//! Beyond the reaper's reach, orphans stay until the next launch of the slug or a [`sweep`](crate::sweep()) removes
//! them. The reaper may itself have been killed, with its cgroup or its pid namespace, or by a reboot; or the engine
//! was away for longer. If a process forks without `exec`, the reaper begins only when both halves have ended.
//!
//! ```no_run
//! # use sidecar_bundle::{Engine, sweep};
//! # fn main() -> Result<(), sidecar_bundle::Error> {
//! for swept in sweep(&Engine::docker())? { // or sweep_dry_run
//!     println!("{}: {:?}", swept.slug, swept.outcome);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A sweep finds only the orphans that its `Engine` leads to: give it the engine and the state directory of the launchers,
//! and run it on their host as their user. Where [`bundles`](crate::bundles()) shows an owner as elsewhere, the
//! directory or the user is a different one. A machine without Rust has the program instead:
//! `cargo install sidecar-bundle --features cli` on another machine, and `sidecar-bundle sweep` on this one.
//!
//! # From another host
//!
//! If several hosts use one engine and one of them is lost, the others cannot know that its owners are dead. With a
//! [lifetime](crate::NetworkPlanned::with_lifetime), they need not: the labels of everything that is made have the end of the
//! lifetime, and a sweep from any host removes what has expired, kept or not, and whether its owner lives or not. So give a
//! lifetime that is longer than any run. The clocks of the hosts count, and those of other hosts may differ from this one's.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug, sweep};
//! # fn main() -> Result<(), sidecar_bundle::Error> {
//! let engine = Engine::docker();
//! let plan = NetworkPlanned::new(Slug::new("demo")?).with_lifetime(Duration::from_secs(6 * 60 * 60));
//! let bundle = plan.launch(&engine, BundleSpec::new())?;
//! // On whatever host:
//! for swept in sweep(&engine)?.iter().filter(|it| it.expired.is_some()) {
//!     println!("{} of host {:?} had expired: {:?}", swept.slug, swept.host, swept.outcome);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Of several hosts that launch one slug at once, exactly one wins: the engine has the subnet once, and the container's name
//! once. The others get [`Error::UnknownOwner`], which names the host of the winner.
//!
//! # By `docker` alone
//!
//! Every container and network has these labels, among others:
//!
//! | label | value |
//! |---|---|
//! | `sidecar-bundle.prefix`, `sidecar-bundle.slug` | the prefix of the names, and the slug |
//! | `sidecar-bundle.subnet`, `sidecar-bundle.ip` | its addresses |
//! | `sidecar-bundle.owner` | a random id of the owner that made it |
//! | `sidecar-bundle.lease` | the id of the lease under which it was made |
//! | `sidecar-bundle.host` | the name of the owner's host |
//! | `sidecar-bundle.expires` | the end of its lifetime in UTC, or `never` |
//! | `sidecar-bundle.guest` | the name of a guest; a bundle's own container has none |
//!
//! ```text
//! docker ps --all --filter label=sidecar-bundle.slug
//! docker ps --all --quiet --filter label=sidecar-bundle.prefix=PREFIX --filter label=sidecar-bundle.slug=SLUG |
//!     xargs --no-run-if-empty docker rm --force --volumes
//! docker network ls --quiet --filter label=sidecar-bundle.prefix=PREFIX --filter label=sidecar-bundle.slug=SLUG |
//!     xargs --no-run-if-empty docker network rm
//! ```
//!
//! The first command lists all bundles. The others remove one bundle, **kept or not, and whether its owner lives or
//! not**. A living owner has a lock on its lease, the file `PREFIX.SLUG.HASH.lease` in the
//! [state directory](crate::Engine::with_state_dir) of its user, in which `pid=` is its process. A bundle whose lease
//! is nowhere on this host is another host's, or its lease was lost: no command can tell whether its owner lives.
//!
//! # Removed only by hand
//!
//! - A network that a foreign container is attached to. The next launch of the slug fails with [`Error::NotRemoved`], which
//!   names the container; a sweep reports the same error for the slug. Once the container is disconnected, either removes
//!   the network.
//! - Resources whose lease was lost with its directory, or is another user's or another host's: their owner may still
//!   live. The error names the resource, and [`discard`](crate::NetworkPlanned::discard) removes it by the slug's
//!   labels.

#[cfg(doc)]
use crate::Error;
