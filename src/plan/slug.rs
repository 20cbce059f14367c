//! The slug: the one string from which everything else is derived.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::invalid::InvalidInput;

/// The name of a sandbox, checked once.
///
/// One to [`MAX_LEN`](Self::MAX_LEN) bytes of lower-case ASCII letters, digits, `-`, `_` and `.`,
/// starting with a letter or a digit. Every name and address of a bundle is derived from it, and the
/// longest of those names still fits the 63 characters that an engine's DNS can resolve.
///
/// ```
/// use sidecar_bundle::Slug;
///
/// let slug = Slug::new("agent-7")?;
/// assert_eq!(slug.as_str(), "agent-7");
/// assert_eq!(
///     Slug::new("agent 7").unwrap_err().to_string(),
///     "slug has the character ' ' at byte 5; allowed are a-z, 0-9, '-', '_' and '.'"
/// );
/// # Ok::<(), sidecar_bundle::InvalidInput>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Slug(String);

impl Slug {
    /// The longest slug, in bytes.
    pub const MAX_LEN: usize = 40;

    /// Parses a slug.
    ///
    /// ```
    /// use sidecar_bundle::Slug;
    ///
    /// let branch = "Feature/Login";
    /// assert!(Slug::new(branch).is_err());
    /// let slug = Slug::new(branch.to_lowercase().replace('/', "-"))?;
    /// assert_eq!(slug.as_str(), "feature-login");
    /// # Ok::<(), sidecar_bundle::InvalidInput>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Says which character is wrong, and where. Nothing has been touched.
    pub fn new(slug: impl AsRef<str>) -> Result<Self, InvalidInput> {
        checked_name("slug", slug.as_ref(), Self::MAX_LEN).map(Self)
    }

    /// The slug as a string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The SHA-256 of the slug, from which everything is derived.
    pub(super) fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Slug {
    type Err = InvalidInput;

    fn from_str(slug: &str) -> Result<Self, InvalidInput> {
        Self::new(slug)
    }
}

impl TryFrom<&str> for Slug {
    type Error = InvalidInput;

    fn try_from(slug: &str) -> Result<Self, InvalidInput> {
        Self::new(slug)
    }
}

impl AsRef<str> for Slug {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// Checks a slug or a prefix, which `what` names in the error. Positions count bytes from 0.
pub(super) fn checked_name(what: &str, name: &str, max: usize) -> Result<String, InvalidInput> {
    let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.');
    if let Some((position, character)) = name.char_indices().find(|&(_, c)| !allowed(c)) {
        return Err(InvalidInput::new(format_args!(
            "{what} has the character {character:?} at byte {position}; allowed are a-z, 0-9, '-', '_' and '.'"
        )));
    }
    match name.chars().next() {
        None => Err(InvalidInput::new(format_args!("{what} is empty"))),
        Some(character @ ('-' | '_' | '.')) => Err(InvalidInput::new(format_args!(
            "{what} starts with {character:?}; it must start with a-z or 0-9"
        ))),
        Some(_) if name.len() > max => Err(InvalidInput::new(format_args!(
            "{what} has {} bytes; at most {max} are allowed",
            name.len()
        ))),
        Some(_) => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_slug_and_every_kind_of_character_are_fine() {
        for slug in ["a".repeat(40), "0".into(), "a-b_c.9".into()] {
            let parsed = Slug::new(&slug).unwrap();
            assert_eq!((parsed.to_string(), parsed.as_ref()), (slug.clone(), &*slug));
        }
    }
}
