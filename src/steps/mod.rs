//! The steps between the states, and what is asked of a running bundle.

pub(crate) mod attach;
pub(crate) mod bundles;
mod create;
mod discard;
mod events;
pub(crate) mod guest;
pub(crate) mod launch;
mod observe;
mod ports;
mod probe;
mod start;
mod survey;
pub(crate) mod sweep;
#[cfg(feature = "serde")]
mod texts;
mod wait;
mod wrong_order;

pub use discard::Discarded;
pub use events::{BundleEvent, Events};
pub use observe::LogFollower;
