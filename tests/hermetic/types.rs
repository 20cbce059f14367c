//! Auto traits of the public types.

use std::panic::{RefUnwindSafe, UnwindSafe};

use sidecar_bundle::{
    AddressPool, Addressing, AddressingError, BundleRunning, BundleSpec, Cause, CliEngine,
    CommandError, Engine, Error, NameError, NetworkCreated, NetworkPlanned, Product, Resource,
    Slug, SpecError, StepError,
};

fn is_plain<T: Send + Sync + Unpin + 'static>() {}

fn is_data<T: Send + Sync + Unpin + Clone + PartialEq + UnwindSafe + RefUnwindSafe + 'static>() {}

fn is_an_engine<T: Engine + ?Sized>() {}

fn is_an_error<T: std::error::Error + Send + Sync + Unpin + 'static>() {}

#[test]
fn every_type_can_be_sent_shared_and_moved() {
    is_data::<(Slug, Addressing, AddressPool, Product, NetworkPlanned)>();
    is_plain::<BundleSpec>();
    is_data::<(Cause, Resource, NameError, AddressingError, SpecError)>();
    is_plain::<(CliEngine, NetworkCreated, BundleRunning)>();
    is_an_engine::<CliEngine>();
    is_an_error::<Error>();
    is_an_error::<CommandError>();
    is_an_error::<StepError<NetworkPlanned>>();
    is_an_error::<StepError<NetworkCreated>>();
    is_an_error::<StepError<BundleRunning>>();
}
