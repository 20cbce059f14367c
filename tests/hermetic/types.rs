//! Auto traits of the public types.

use std::panic::{RefUnwindSafe, UnwindSafe};

use sidecar_bundle::{
    AddressPool, Addressing, BundleRunning, BundleSpec, Cause, Engine, EngineError, Error,
    InvalidInput, Naming, NetworkCreated, NetworkPlanned, NoEngine, Resource, Slug, StepError,
    Unsupported,
};

fn is_plain<T: Send + Sync + Unpin + 'static>() {}

fn is_data<T: Send + Sync + Unpin + Clone + PartialEq + UnwindSafe + RefUnwindSafe + 'static>() {}

fn is_an_error<T: std::error::Error + Send + Sync + Unpin + 'static>() {}

#[test]
fn every_type_can_be_sent_shared_and_moved() {
    is_data::<(Slug, Addressing, AddressPool, Naming, NetworkPlanned)>();
    is_plain::<BundleSpec>();
    is_data::<(Cause, Resource, InvalidInput, Unsupported)>();
    is_plain::<(Engine, NetworkCreated, BundleRunning)>();
    is_an_error::<Error>();
    is_an_error::<EngineError>();
    is_an_error::<NoEngine>();
    is_an_error::<StepError<NetworkPlanned>>();
    is_an_error::<StepError<NetworkCreated>>();
    is_an_error::<StepError<BundleRunning>>();
}
