//! One slug to a running sidecar container at an address known beforehand, and back.

mod addressing;
mod created;
mod engine;
mod error;
mod guard;
mod labels;
mod lease;
mod planned;
mod product;
mod running;
mod slug;
mod spec;

pub use addressing::{AddressPool, Addressing, AddressingError};
pub use created::NetworkCreated;
pub use engine::cli::CliEngine;
pub use engine::command::CommandError;
pub use engine::diagnosis::Cause;
pub use engine::{Engine, Resource};
pub use error::{Error, StepError};
pub use ipnet;
pub use planned::NetworkPlanned;
pub use product::Product;
pub use running::BundleRunning;
pub use slug::{NameError, Slug};
pub use spec::{BundleSpec, SpecError};
