//! What one product calls its bundles: the defaults that one value replaces.

use sha2::{Digest, Sha256};

use crate::slug::{NameError, Slug, checked_name};

/// The names that a product gives its bundles.
///
/// | thing | is | by default |
/// |---|---|---|
/// | network | `<prefix>-bundle-<slug>` | `claude-bottle-bundle-<slug>` |
/// | container | `<prefix>-sidecars-<slug>` | `claude-bottle-sidecars-<slug>` |
/// | image, where a specification names none | `<prefix>-sidecars:latest` | `claude-bottle-sidecars:latest` |
/// | variable that lists the daemons | `<PREFIX>_SIDECAR_DAEMONS` | `CLAUDE_BOTTLE_SIDECAR_DAEMONS` |
///
/// ```
/// use sidecar_bundle::{NetworkPlanned, Product, Slug};
///
/// let plan = NetworkPlanned::new(Slug::new("demo")?).with_product(Product::new("acme")?);
/// assert_eq!(plan.network_name(), "acme-bundle-demo");
/// assert_eq!(plan.product().daemons_variable(), "ACME_SIDECAR_DAEMONS");
/// # Ok::<(), sidecar_bundle::NameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Product {
    prefix: String,
    image: String,
    daemons_variable: String,
}

impl Product {
    /// The longest prefix, in bytes.
    pub const MAX_PREFIX_LEN: usize = 13;

    /// Names everything after `prefix`: 1 to 13 bytes under the same rule as a [`Slug`].
    ///
    /// In the variable's name, whatever is no letter or digit becomes `_`, and so does what would
    /// stand before a leading digit.
    ///
    /// # Errors
    ///
    /// Says which character is wrong, and where. Nothing has been touched.
    pub fn new(prefix: impl AsRef<str>) -> Result<Self, NameError> {
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

    /// Replaces the variable that tells the bundle's supervisor which daemons to start.
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

    /// The variable that tells the bundle's supervisor, as a CSV, which daemons to start.
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

    pub(crate) fn container_name(&self, slug: &Slug) -> String {
        format!("{}-sidecars-{slug}", self.prefix)
    }
}

/// The product of the inherited contract, `claude-bottle`.
impl Default for Product {
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
        assert_eq!(Product::default(), Product::new("claude-bottle").unwrap());
    }

    #[test]
    fn a_variable_never_starts_with_a_digit() {
        assert_eq!(Product::new("9.a-b").unwrap().daemons_variable(), "_9_A_B_SIDECAR_DAEMONS");
    }

    #[test]
    fn the_longest_names_fit_63_characters() {
        let product = Product::new("p".repeat(13)).unwrap();
        let slug = Slug::new("s".repeat(40)).unwrap();
        assert_eq!(product.container_name(&slug).len(), 63);
        assert!(product.network_name(&slug).len() < 63);
    }
}
