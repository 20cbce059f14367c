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

/// Refuses a NUL byte, which no engine takes.
pub(crate) fn no_nul(what: &str, value: &str) -> Result<(), InvalidInput> {
    if value.contains('\0') {
        return Err(InvalidInput::new(format_args!("{what} {value:?} contains a NUL byte")));
    }
    Ok(())
}

/// Checks a limit in bytes. Engines take 0 for no limit, and count in 64 bits with a sign.
pub(crate) fn check_bytes(what: &str, bytes: u64) -> Result<(), InvalidInput> {
    match i64::try_from(bytes) {
        Ok(1..) => Ok(()),
        Ok(_) => Err(InvalidInput::new(format_args!(
            "a limit of 0 bytes for {what} is no limit; use None for that"
        ))),
        Err(_) => Err(InvalidInput::new(format_args!(
            "{bytes} bytes for {what} are more than an engine can count"
        ))),
    }
}

/// Refuses an empty value, and a NUL byte.
pub(crate) fn filled(what: &str, value: &str) -> Result<(), InvalidInput> {
    if value.is_empty() {
        return Err(InvalidInput::new(format_args!("the {what} is empty")));
    }
    no_nul(what, value)
}
