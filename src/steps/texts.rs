//! The texts of times and errors in serialized results.

use std::time::SystemTime;

use serde::Serializer;

use crate::error::Error;

/// A time in UTC, in the format of RFC 3339.
pub(super) fn time<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339(*time))
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
pub(super) fn known_time<S: Serializer>(
    known: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match known {
        Some(known) => time(known, serializer),
        None => serializer.serialize_none(),
    }
}

/// An error with its causes.
pub(super) fn error<S: Serializer>(error: &Error, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&error.chain())
}
