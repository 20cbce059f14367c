//! The usual calls in a wrong order. They do not compile, and the compiler's message names the step that is missing.
//!
//! Without these methods, it says that a state has no such method, and nothing of the step. A method here takes its name
//! from the extension traits of users, which have to be called by their path then.

use std::time::Duration;

use crate::container::{BundleSpec, Ready};
use crate::created::NetworkCreated;
use crate::engine::Engine;
use crate::error::{Error, StepError};
use crate::plan::NetworkPlanned;
use crate::running::{BundleRunning, Guest};
use crate::status::{Exit, LogLine, Status};

use super::Events;

/// Declares what a state is not, and the methods that it has in another state alone.
///
/// No type implements the trait. The bound has a lifetime, without which it would be an error right here.
macro_rules! wrong_order {
    ($(
        $state:ident is not $other:ident: $message:literal, $next:literal {
            $(fn $name:ident($($argument:ty),*) -> $result:ty;)+
        }
    )+) => {$(
        #[diagnostic::on_unimplemented(message = $message, label = $next)]
        #[expect(unnameable_types, reason = "it stands in the bounds of hidden methods alone")]
        pub trait $other {
            fn never(self) -> !;
        }

        impl $state {$(
            #[doc(hidden)]
            pub fn $name<'a>(&'a self, $(_: $argument),*) -> $result
            where
                &'a Self: $other,
            {
                self.never()
            }
        )+}
    )+};
}

wrong_order! {
    NetworkPlanned is not NetworkOfAPlan: "the network of a `NetworkPlanned` is not created yet",
    "first call `create_network(&engine)`, or `launch(&engine, spec)` for all steps" {
        fn start(BundleSpec) -> Result<BundleRunning, StepError<NetworkCreated>>;
        fn close() -> Result<(), Error>;
        fn keep() -> Result<NetworkPlanned, Error>;
    }

    NetworkPlanned is not ContainerOfAPlan: "the container of a `NetworkPlanned` is not started yet",
    "first call `create_network(&engine)` and `start(spec)`, or `launch(&engine, spec)` for both" {
        fn wait_ready(Duration) -> Result<(), Error>;
        fn wait_for(&Ready, Duration) -> Result<(), Error>;
        fn wait_exit(Duration) -> Result<Option<Exit>, Error>;
        fn guest(&str, BundleSpec) -> Result<Guest<'a>, Error>;
        fn status() -> Result<Status, Error>;
        fn logs(impl Into<Option<usize>>) -> Result<Vec<LogLine>, Error>;
        fn events() -> Result<Events<'a>, Error>;
    }

    NetworkCreated is not ContainerOfANetwork: "the container of a `NetworkCreated` is not started yet",
    "first call `start(spec)`" {
        fn wait_ready(Duration) -> Result<(), Error>;
        fn wait_for(&Ready, Duration) -> Result<(), Error>;
        fn wait_exit(Duration) -> Result<Option<Exit>, Error>;
        fn guest(&str, BundleSpec) -> Result<Guest<'a>, Error>;
        fn status() -> Result<Status, Error>;
        fn logs(impl Into<Option<usize>>) -> Result<Vec<LogLine>, Error>;
        fn events() -> Result<Events<'a>, Error>;
    }

    NetworkCreated is not PlanOfANetwork: "the network of a `NetworkCreated` is created already",
    "the next step is `start(spec)`" {
        fn create_network(&Engine) -> Result<NetworkCreated, Error>;
        fn launch(&Engine, BundleSpec) -> Result<BundleRunning, Error>;
        fn attach(&Engine) -> Result<BundleRunning, Error>;
    }

    BundleRunning is not PlanOfABundle: "the container of a `BundleRunning` is started already",
    "the next step is `close()` or `keep()`; `guest(name, spec)` starts another container in its network" {
        fn create_network(&Engine) -> Result<NetworkCreated, Error>;
        fn start(BundleSpec) -> Result<BundleRunning, Error>;
        fn launch(&Engine, BundleSpec) -> Result<BundleRunning, Error>;
    }
}
