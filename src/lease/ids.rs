//! Ids that nobody else has: a lease directory's, kept in it, and this process's.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::error::Error;

/// The id of the directory, made with its first lease.
pub(super) fn directory_id(directory: &Path) -> io::Result<String> {
    let path = directory.join("id");
    let read = || fs::read_to_string(&path).map(|id| id.trim().to_owned());
    let id = match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Whole or not at all, and only the first of two writers: never an id that changes.
            let mut new = tempfile::NamedTempFile::new_in(directory)?;
            writeln!(new, "{}", random_id()?)?;
            new.as_file().sync_all()?;
            match new.persist_noclobber(&path) {
                Ok(_) => {}
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.error),
            }
            read()?
        }
        id => id?,
    };
    if id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(id)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "its file \"id\" holds no id"))
    }
}

/// This process as an owner, drawn once, of what it makes with the leases of one domain: a directory and an
/// endpoint. What it holds in one is foreign to it in another, also where both lead to one engine.
pub(crate) fn owner_for(domain: &str) -> Result<String, Error> {
    static PROCESS: OnceLock<String> = OnceLock::new();
    let drawn = PROCESS.get().cloned().map_or_else(random_id, Ok);
    let drawn = drawn.map_err(|source| Error::Lease { path: PathBuf::from("owner"), source })?;
    let process = PROCESS.get_or_init(|| drawn);
    let digest = Sha256::digest(format!("{process}\n{domain}"));
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    Ok(format!("{:032x}", u128::from_be_bytes(half)))
}

/// 128 random bits in hexadecimal.
fn random_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
