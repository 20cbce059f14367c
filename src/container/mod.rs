//! The container of a bundle: its specification and the conditions under which it is ready.

mod check;
mod daemon;
mod digest;
mod engine_options;
mod file;
mod options;
mod parts;
mod paths;
mod readiness;
mod security;
mod spec;

pub(crate) use check::CheckedSpec;
pub use daemon::Daemon;
pub(crate) use engine_options::Field;
#[cfg(test)]
pub(crate) use engine_options::harmless;
pub(crate) use file::CheckedFile;
pub use file::ContainerFile;
pub(crate) use options::{HostAddress, Options, collide};
pub use options::{PortMapping, PullPolicy, RestartPolicy};
pub use parts::Relabel;
pub(crate) use parts::{
    CheckedMount, CheckedVariable, MountKind, Tmpfs, is_read_by_engine_programs,
};
pub(crate) use paths::checked_target;
pub(crate) use readiness::Condition;
pub use readiness::Ready;
pub use spec::BundleSpec;
