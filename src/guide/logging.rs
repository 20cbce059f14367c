//! Steps are `tracing` spans, and each request to an engine is an event. All targets begin with `sidecar_bundle`.
//!
//! | level | span or event |
//! |---|---|
//! | `INFO` | the spans `create_network`, `start`, `close`, `attach`, `attach_or_launch`, `discard`, `guest` and `wait`, with the slug |
//! | `INFO` | the spans `sweep`, `bundles` and `pull`, and `engine` with the name, of [`Engines::each`](crate::Engines::each) |
//! | `INFO` | a bundle that runs, and one that is closed |
//! | `INFO` | each failure of a [`launch_all`](crate::launch_all), when it comes |
//! | `WARN` | a failure that no error reports, such as a removal by a drop, a missing reaper or a log that was not saved |
//! | `DEBUG` | each request to an engine, with its path, time and status, without secret values |
//!
//! A program that uses the crate `tracing-subscriber` shows each bundle that goes up and down by:
//!
//! ```no_run
//! tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).init();
//! ```
//!
//! With the feature `env-filter` of that crate and its `EnvFilter`, `RUST_LOG=sidecar_bundle=debug` shows each request, too.
//!
//! [`launch_all`](crate::launch_all), [`close_all`](crate::close_all), [`Engines::each`](crate::Engines::each) and a
//! teardown in the background log from threads of their own: a subscriber must not need a lock that the caller holds.
//! When two requests run at the same time, the caller's thread logs one of them at its end.
//!
//! The HTTP client logs through the crate `log`. At level `TRACE`, `ureq_proto` prints the bodies of answers. An
//! inspected container's answer has its environment, secrets included: leave that level off.
