//! One program, one plan, the engines of many hosts: places, failures, costs, and Kubernetes.
//!
//! # Places
//!
//! [`Engines`] takes an engine for each name. [`place`](Engines::place) picks the engine of a slug by rendezvous hashing
//! of the names, without a request. Every launcher that knows the same names finds the same engine. [`each`](Engines::each)
//! asks all engines at once:
//!
//! ```no_run
//! use std::collections::BTreeMap;
//! use std::sync::{Mutex, PoisonError};
//! use sidecar_bundle::{BundleSpec, Engines, Error, NetworkPlanned, Slug, close_all, launch_all};
//!
//! fn run(engines: &Engines, slugs: &[Slug]) -> Result<(), Error> {
//!     let mut plans = BTreeMap::<_, Vec<_>>::new();
//!     for slug in slugs {
//!         let spec = BundleSpec::new().image("nginx:1");
//!         let plan = (NetworkPlanned::new(slug.clone()), spec);
//!         plans.entry(engines.place(slug).0).or_default().push(plan);
//!     }
//!     let plans = Mutex::new(plans);
//!     let launched = engines.each(|name, engine| {
//!         let plans = plans.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
//!         launch_all(engine, plans.unwrap_or_default())
//!     });
//!     let mut running = Vec::new();
//!     for (name, launched) in launched {
//!         running.extend(launched.unwrap_or_else(|failed| {
//!             eprintln!("{name}: {}", failed.error());
//!             failed.into_state() // those that run
//!         }));
//!     }
//!     close_all(running)
//! }
//! ```
//!
//! # A host that is away
//!
//! Its answer in `each` is its error, within the deadline of a look; the other engines do not wait for it. The
//! [cause](crate::Error::cause) is [`Cause::EngineUnreachable`] where nothing answers, and [`Cause::TimedOut`] where an
//! answer does not come. A launch on it fails. Going on with the second of the [ranking](Engines::ranked) is up to the
//! caller: the host may be cut off while its bundles run on, so that the slug then runs on two hosts. When the host is
//! back, its bundles are listed, and the place of each slug is what it was.
//!
//! When a host is added, the places of some slugs move to it, and their bundles do not. A bundle that runs belongs to its
//! guard, wherever it is. One that was kept is on the first engine of the ranking that has it; `ranked` shows how to
//! attach to it.
//!
//! # What travels
//!
//! Files, secrets and variables travel with the request, over every way to an engine. The files of
//! [`Engine::docker_cli`] are [`Error::Unsupported`](crate::Error::Unsupported), as elsewhere. So is a
//! [mount](crate::BundleSpec::mount) of a path of this host where the engine's address is another host's.
//!
//! # Costs
//!
//! For 1,000 hosts with 100 bundles each. `cargo bench --bench many_hosts` prints the figures of places and subnets, and
//! needs no engine.
//!
//! | what | cost |
//! |---|---|
//! | a place | 1,000 hashes: 0.12 ms |
//! | balance | 69 to 134 bundles on a host; the standard deviation is 10 |
//! | one host less, one host more | 105 bundles move, to 102 hosts; 100 bundles move, from all |
//! | a launch, a close | 5 requests, and one for the identity on each new connection; 3 requests |
//! | a list of all | 4 requests for each host, 4,000 in all; 2.5 kB for each bundle, 250 MB in all |
//! | a sweep of all | 4 requests for each host, and 4 more for each lease without a living owner, 7 for that of a kept bundle, before any removal |
//! | labels | 12 on a network and 13 on a container, of 500 bytes; 2.5 million in all |
//! | subnets of the default pool, 4096 of /24 | 1,229 bundles find their first one taken, on 700 hosts; the fourth is free at the latest |
//! | the pools `10.48.0.0/12:/28` and `10.0.0.0/8:/24`, 65,536 subnets | 81 bundles find their first one taken, on 80 hosts |
//! | [IPv6](crate::NetworkPlanned::with_ipv6) subnets | no two of the 100,000 are the same |
//! | a process that owns bundles | a descriptor for each bundle, and a reaper for each engine |
//!
//! An IPv4 address is one bundle's on one host. The default pool has 4096 of them, and each is that of some 24 bundles on
//! as many hosts: outside of its host, a bundle is known by the names of slug and host. Give
//! [`in_free_subnet`](crate::NetworkPlanned::in_free_subnet) the engine of the place, or take a larger pool.
//!
//! A connection that is not a socket of this host is a program, and over ssh two. It is kept as long as the engine value
//! lives; if it is not used for 15 seconds, the next request replaces it. Make the `Engines` for one pass over many
//! hosts, and drop them after it. On one busy
//! machine with two processors, which had both ends of each connection, the first list of 64 engines over ssh took 9 s,
//! and one on the connections that were kept 0.6 s.
//!
//! A list or a sweep reads every lease file of its [state directory](Engine::with_state_dir). With one directory for
//! 1,000 engines, a list of all reads 100,000 files 2,000 times: give each engine a directory of its own, by its name.
//!
//! Better still, run a launcher on each host. Then there is no ssh, [addresses are reached](super::engines), the reaper is
//! where the bundles are, and `Engines` of names alone say which launcher a slug belongs to.
//!
//! # Kubernetes
//!
//! Kubernetes is the better choice where bundles
//! - have to move to another host when theirs fails: nothing here watches a host, or starts a bundle again elsewhere,
//! - are placed by free memory and processors, or by constraints: a place here follows from names alone,
//! - have to be reached from other hosts at one address: a bundle's address is that of a bridge on its host,
//! - outlive their launchers as a rule, and many writers need one consistent view of them: here, a file on the launcher's
//!   host tells who owns a bundle,
//! - need quotas, roles or an audit log.
//!
//! This library is the better choice where one launcher owns a sandbox from start to end, where the address has to be known
//! before there is a cluster to ask, and where a network and a container within half a second are enough. At 100,000
//! bundles, a Service each is ten times the
//! [threshold](https://github.com/kubernetes/community/blob/master/sig-scalability/configs-and-limits/thresholds.md) of
//! 10,000 Services that Kubernetes names for a cluster, and 100 Pods on a node are near its threshold of 110.
//!
//! A plan maps to a Service with a [chosen cluster IP](https://kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation):
//!
//! | plan | Kubernetes |
//! |---|---|
//! | [`ip`](crate::NetworkPlanned::ip) | `spec.clusterIP` of the Service; its range has to include the pool |
//! | IPv6 address | none: the prefixes of slugs are spread over all of `fd00::/8`, and no range of Services is that large |
//! | [`allowlist`](crate::NetworkPlanned::allowlist) | the same, for a sandbox that enforces it itself |
//! | subnet, gateway, attempt | none: only the address counts |
//! | network and its isolation | a NetworkPolicy that selects the Pods by label; a cluster IP may be rewritten before it applies |
//! | [`container_name`](crate::NetworkPlanned::container_name) | the name of Service and Pod |
//! | prefix and slug | labels |
//! | [`Error::SubnetTaken`](crate::Error::SubnetTaken) | the API refuses an address that is allocated; take the [next attempt](crate::NetworkPlanned::next_attempt) |
//! | guard, lease, reaper | an owner reference, a Lease object, garbage collection |
//!
//! The name of a Service has no `_` and no `.`, and a name or label does not end with `-`: choose slugs of letters, digits
//! and inner hyphens. A cluster IP is unique in the whole cluster. Of 100,000 slugs in one pool `10.48.0.0/12:/29`, with
//! 131,072 addresses, 38,230 find their first one taken, and one needs its 34th. The cluster also allocates addresses of
//! its own from its range, preferably not among the first 256.
//!
//! ```
//! use sidecar_bundle::{AddressPool, NetworkPlanned, Slug};
//!
//! let pool: AddressPool = "10.48.0.0/12:/29".parse()?;
//! let plan = NetworkPlanned::new(Slug::new("demo")?).with_pool(pool);
//! let service = format!(
//!     "apiVersion: v1\nkind: Service\nmetadata: {{name: {}}}\nspec:\n  clusterIP: {}\n  \
//!      selector: {{slug: {}}}\n  ports: [{{port: 8080}}]\n",
//!     plan.container_name(),
//!     plan.ip(),
//!     plan.slug(),
//! );
//! assert!(service.contains("clusterIP: 10."));
//! # Ok::<(), sidecar_bundle::InvalidInput>(())
//! ```

#[cfg(doc)]
use crate::{Cause, Engine, Engines};
