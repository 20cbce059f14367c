//! Failures, and the exit codes of the program.

use std::io;

use sidecar_bundle::{Error, Slug};

/// The end of the help.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  it is done, or a sweep had nothing to remove
  1  the engine, a lease or the output failed, or the engine does not support it
  2  an argument is wrong
  3  remove: the owner of the slug lives, or a sweep holds the slug; try again
  4  remove, logs: there is no bundle of this slug, or it has no container
  5  remove: something could not be removed; sweep: the same, or a slug could not be looked at";

/// The exit code of a sweep that leaves an orphan.
pub(crate) const NOT_REMOVED: u8 = 5;

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Library(#[from] Error),
    #[error("there is no bundle of slug {slug} and prefix {prefix}")]
    NoBundle { slug: Slug, prefix: String },
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Library(error) => exit_code(error),
            Self::NoBundle { .. } => 4,
            Self::Output(_) => 1,
        }
    }
}

fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Invalid(_) => 2,
        Error::Taken { .. } => 3,
        Error::Gone { .. } => 4,
        Error::NotRemoved { .. } => NOT_REMOVED,
        Error::Several(errors) => errors.as_slice().iter().map(exit_code).max().unwrap_or(1),
        _ => 1,
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
