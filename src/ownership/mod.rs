//! Ownership: who may remove a resource, and who does it.

pub(crate) mod calls;
pub(crate) mod guard;
pub(crate) mod labels;
pub(crate) mod lease;
pub(crate) mod orphans;
pub(crate) mod reaper;
pub(crate) mod session;
pub(crate) mod teardown;

use std::io;

/// 128 random bits in hexadecimal: the id of an owner or of a lease.
pub(crate) fn random_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
