//! Input that is refused before anything is touched.

use std::fmt;

/// The reason why an argument was refused. Nothing has been touched.
///
/// The message names the argument or shows its value, and says what is wrong with it. Of several mistakes, only
/// the first is reported.
///
/// ```
/// use sidecar_bundle::Slug;
///
/// assert_eq!(Slug::new("").unwrap_err().to_string(), "slug is empty");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidInput(Box<str>);

impl InvalidInput {
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        Self(message.to_string().into())
    }
}
