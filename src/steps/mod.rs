//! The steps between the states, and what is asked of a running bundle.

pub(crate) mod attach;
mod create;
mod discard;
mod launch;
mod observe;
mod start;
mod survey;
pub(crate) mod sweep;
mod wait;

pub use discard::Discarded;
pub use observe::LogFollower;
