//! The names that bundles of one product have.

use sha2::{Digest, Sha256};

use super::slug::{Slug, checked_name};
use crate::invalid::InvalidInput;

/// The names that a launcher gives its bundles.
///
/// | name | form | default |
/// |---|---|---|
/// | network | `<prefix>-bundle-<slug>` | `claude-bottle-bundle-<slug>` |
/// | container | `<prefix>-sidecars-<slug>` | `claude-bottle-sidecars-<slug>` |
/// | a guest's container | `<prefix>-guest-<slug>-<guest>` | `claude-bottle-guest-<slug>-<guest>` |
/// | image, where a specification names none | `<prefix>-sidecars:latest` | `claude-bottle-sidecars:latest` |
/// | variable that lists the daemons | `<PREFIX>_SIDECAR_DAEMONS` | `CLAUDE_BOTTLE_SIDECAR_DAEMONS` |
///
/// Prefix and slug together name a bundle, and each pair has a lease of its own on an engine. The addresses depend on
/// the slug alone: of one slug under two prefixes, the second bundle gets
/// [`Error::SubnetTaken`](crate::Error::SubnetTaken) unless it has another pool or moves to another subnet.
///
/// ```
/// use sidecar_bundle::{NetworkPlanned, Naming, Slug};
///
/// let plan = NetworkPlanned::new(Slug::new("demo")?).with_naming(Naming::new("acme")?);
/// assert_eq!(plan.network_name(), "acme-bundle-demo");
/// assert_eq!(plan.naming().daemons_variable(), "ACME_SIDECAR_DAEMONS");
/// # Ok::<(), sidecar_bundle::InvalidInput>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Naming {
    prefix: String,
    image: String,
    daemons_variable: String,
}

impl Naming {
    /// The longest prefix, in bytes.
    pub const MAX_PREFIX_LEN: usize = 13;

    /// Derives all names from `prefix`: 1 to 13 bytes under the same rule as a [`Slug`].
    ///
    /// In the variable's name, `-` and `.` become `_`, and a leading digit gets a `_` before it.
    ///
    /// ```
    /// use sidecar_bundle::Naming;
    ///
    /// let naming = Naming::new("acme.agents")?;
    /// assert_eq!(naming.image(), "acme.agents-sidecars:latest");
    /// assert_eq!(naming.daemons_variable(), "ACME_AGENTS_SIDECAR_DAEMONS");
    /// assert!(Naming::new("acme-agents-eu").is_err()); // 14 bytes
    /// # Ok::<(), sidecar_bundle::InvalidInput>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Says which character is wrong, and where. Nothing has been touched.
    pub fn new(prefix: impl AsRef<str>) -> Result<Self, InvalidInput> {
        let prefix = checked_name("prefix", prefix.as_ref(), Self::MAX_PREFIX_LEN)?;
        let mut variable = prefix.replace(['-', '.'], "_").to_ascii_uppercase();
        if variable.starts_with(|c: char| c.is_ascii_digit()) {
            variable.insert(0, '_');
        }
        Ok(Self {
            image: format!("{prefix}-sidecars:latest"),
            daemons_variable: format!("{variable}_SIDECAR_DAEMONS"),
            prefix,
        })
    }

    /// Replaces the image of bundles whose specification names none.
    ///
    /// It is checked with the specification, before the engine is asked for anything.
    #[must_use]
    pub fn with_image(mut self, image: impl Into<String>) -> Self {
        self.image = image.into();
        self
    }

    /// Replaces the name of the variable that lists the daemons to start.
    ///
    /// It is checked with the specification, before the engine is asked for anything.
    #[must_use]
    pub fn with_daemons_variable(mut self, name: impl Into<String>) -> Self {
        self.daemons_variable = name.into();
        self
    }

    /// The prefix of every name.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The image of a bundle whose specification names none.
    #[must_use]
    pub fn image(&self) -> &str {
        &self.image
    }

    /// The name of the variable that lists, as a CSV, the daemons that the image's supervisor is to start; see
    /// [`Daemon`](crate::Daemon).
    #[must_use]
    pub fn daemons_variable(&self) -> &str {
        &self.daemons_variable
    }

    pub(crate) fn network_name(&self, slug: &Slug) -> String {
        format!("{}-bundle-{slug}", self.prefix)
    }

    /// `sb` and the first 65 bits of a hash in lower-case base32: legal wherever an interface is named.
    pub(crate) fn bridge_name(&self, slug: &Slug) -> String {
        let digest: [u8; 32] = Sha256::digest(format!("{}\0{slug}", self.prefix)).into();
        let bits = u128::from_be_bytes(*digest.first_chunk().unwrap_or(&[0; 16]));
        let letters = (1..=13).map(|n| {
            let five = usize::try_from(bits >> (128 - 5 * n) & 31).unwrap_or(0);
            char::from(b"abcdefghijklmnopqrstuvwxyz234567"[five])
        });
        "sb".chars().chain(letters).collect()
    }

    /// A filter for another prefix does not find it. A guest's name has no `-`, so no two guests share a name.
    pub(crate) fn guest_name(&self, slug: &Slug, guest: &str) -> String {
        format!("{}-guest-{slug}-{guest}", self.prefix)
    }

    pub(crate) fn container_name(&self, slug: &Slug) -> String {
        format!("{}-sidecars-{slug}", self.prefix)
    }
}

/// The names of the prefix `claude-bottle`.
impl Default for Naming {
    fn default() -> Self {
        Self {
            prefix: "claude-bottle".into(),
            image: "claude-bottle-sidecars:latest".into(),
            daemons_variable: "CLAUDE_BOTTLE_SIDECAR_DAEMONS".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_what_its_prefix_derives() {
        assert_eq!(Naming::default(), Naming::new("claude-bottle").unwrap());
    }

    #[test]
    fn a_variable_never_starts_with_a_digit() {
        assert_eq!(Naming::new("9.a-b").unwrap().daemons_variable(), "_9_A_B_SIDECAR_DAEMONS");
    }

    #[test]
    fn the_longest_names_fit_63_characters() {
        let naming = Naming::new("p".repeat(13)).unwrap();
        let slug = Slug::new("s".repeat(40)).unwrap();
        assert_eq!(naming.container_name(&slug).len(), 63);
        assert!(naming.network_name(&slug).len() < 63);
    }

    #[test]
    fn each_name_is_derived_from_the_prefix_or_replaced() {
        let naming = Naming::new("acme").unwrap();
        let slug = Slug::new("demo").unwrap();
        assert_eq!(naming.network_name(&slug), "acme-bundle-demo");
        assert_eq!(naming.container_name(&slug), "acme-sidecars-demo");
        assert_eq!(naming.guest_name(&slug, "vm"), "acme-guest-demo-vm");
        let naming = naming.with_image("acme/sidecars:7").with_daemons_variable("ACME_DAEMONS");
        let names = [naming.prefix(), naming.image(), naming.daemons_variable()];
        assert_eq!(names, ["acme", "acme/sidecars:7", "ACME_DAEMONS"]);
    }
}
