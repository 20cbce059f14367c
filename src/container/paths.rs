//! Paths in a container.

use std::path::{Component, Path, PathBuf};

use crate::invalid::InvalidInput;

/// Checks an absolute path, and returns it as it is.
pub(super) fn checked_path<'a>(kind: &str, path: &'a Path) -> Result<&'a str, InvalidInput> {
    let wrong = |problem: &str| {
        InvalidInput::new(format_args!("{kind} path {:?} {problem}", path.to_string_lossy()))
    };
    let text = path.to_str().ok_or_else(|| wrong("is not UTF-8"))?;
    if !text.starts_with('/') {
        return Err(wrong("is relative"));
    }
    if text.chars().any(char::is_control) {
        return Err(wrong("contains a control character"));
    }
    Ok(text)
}

/// Checks an absolute path in the container, and returns it without `.` components and a trailing slash.
pub(crate) fn checked_target(kind: &str, path: &Path) -> Result<String, InvalidInput> {
    let wrong = |problem: &str| {
        InvalidInput::new(format_args!("{kind} path {:?} {problem}", path.to_string_lossy()))
    };
    checked_path(kind, path)?;
    if path.components().any(|c| c == Component::ParentDir) {
        return Err(wrong("contains \"..\""));
    }
    let normal: PathBuf = path.components().collect();
    match normal.to_str() {
        Some("/") | None => Err(wrong("is the container's root")),
        Some(text) => Ok(text.to_owned()),
    }
}
