//! A short hash of what is compared later.

use sha2::{Digest, Sha256};

/// 128 bits of SHA-256, in hexadecimal.
pub(crate) fn digest(bytes: impl AsRef<[u8]>) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().take(16).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
