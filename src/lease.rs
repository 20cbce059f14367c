//! Who owns a slug: a locked file for each prefix, slug and engine endpoint.
//!
//! The kernel lets go of the lock when its owner dies, whatever way. A file is unlinked only under its
//! lock, so a lock that was won is worth something only while the path still leads to the locked file.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::slug::Slug;

/// The proof that the owner of a slug lives.
#[derive(Debug)]
pub(crate) struct Lease {
    file: File,
    path: PathBuf,
    directory_id: String,
    kept: AtomicBool,
}

impl Lease {
    /// Takes the lease of a slug on an engine, or says who has it.
    pub(crate) fn take(
        directory: &Path,
        prefix: &str,
        slug: &Slug,
        endpoint: &str,
    ) -> Result<Self, Error> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Lease { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(at(directory))?;
        let directory_id = directory_id(directory).map_err(at(directory))?;
        let path = directory.join(file_name(prefix, slug, endpoint));
        // Each turn but the last has lost the file to an owner that ended in this very moment.
        for _ in 0..100 {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(at(&path))?;
            match file.try_lock() {
                Ok(()) if leads_to(&path, &file).map_err(at(&path))? => {
                    let kept = AtomicBool::new(Record::read(&file).is_some_and(|it| it.kept));
                    let lease = Self { file, path, directory_id, kept };
                    lease.write().map_err(at(&lease.path))?;
                    return Ok(lease);
                }
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let owner = Record::of_owner(&file);
                    return Err(Error::Taken {
                        slug: slug.clone(),
                        pid: owner.as_ref().map(|owner| owner.pid),
                        since: owner.map(|owner| owner.since),
                    });
                }
                Err(TryLockError::Error(source)) => return Err(at(&path)(source)),
            }
        }
        Err(Error::Taken { slug: slug.clone(), pid: None, since: None })
    }

    /// The random id that is stored in the lease's directory.
    pub(crate) fn directory_id(&self) -> &str {
        &self.directory_id
    }

    /// Lets go of the slug, whose things are all gone.
    pub(crate) fn end(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a lease file could not be removed");
        }
        self.unlock();
    }

    /// Lets go of the slug while something of it is left. The file stays: without it, nothing on the
    /// engine counts as ours.
    pub(crate) fn abandon(self) {
        self.unlock();
    }

    /// Whether the slug's things are to stay when their owner ends.
    pub(crate) fn kept(&self) -> bool {
        self.kept.load(Ordering::SeqCst)
    }

    /// Marks the slug's things as such that stay, or no longer so. The mark is on the disk afterwards.
    pub(crate) fn set_kept(&self, kept: bool) -> Result<(), Error> {
        self.kept.store(kept, Ordering::SeqCst);
        let written = self.write().and_then(|()| self.file.sync_all());
        written.map_err(|source| Error::Lease { path: self.path.clone(), source })
    }

    /// Not by closing the file: a child that another thread is starting may hold it for a moment.
    fn unlock(self) {
        if let Err(error) = self.file.unlock() {
            tracing::warn!(path = %self.path.display(), %error, "a lease could not be unlocked");
        }
    }

    fn write(&self) -> io::Result<()> {
        let record =
            Record { pid: std::process::id(), since: SystemTime::now(), kept: self.kept() };
        record.write(&self.file)
    }
}

/// What stands in a lease's file.
struct Record {
    pid: u32,
    since: SystemTime,
    kept: bool,
}

impl Record {
    /// Who holds the lease; an owner that has just locked it may need a moment to write that down.
    fn of_owner(file: &File) -> Option<Self> {
        for _ in 0..20 {
            if let Some(record) = Self::read(file) {
                return Some(record);
            }
            thread::sleep(Duration::from_millis(10));
        }
        None
    }

    fn read(mut file: &File) -> Option<Self> {
        let mut text = String::new();
        file.seek(SeekFrom::Start(0)).ok()?;
        file.read_to_string(&mut text).ok()?;
        let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        field("end")?;
        let since = Duration::from_secs(field("since=")?.parse().ok()?);
        Some(Self {
            pid: field("pid=")?.parse().ok()?,
            // A date behind the year 9999 is none, and cannot be printed as one.
            since: UNIX_EPOCH.checked_add(since.min(Duration::from_secs(253_402_300_799)))?,
            kept: field("kept=")? == "true",
        })
    }

    fn write(&self, mut file: &File) -> io::Result<()> {
        let since = self.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let text = format!("pid={}\nsince={since}\nkept={}\nend\n", self.pid, self.kept);
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(text.as_bytes())
    }
}

/// Distinct for each triple: the hash is over what cannot be spelled in another way.
fn file_name(prefix: &str, slug: &Slug, endpoint: &str) -> String {
    let hash = Sha256::digest(format!("{prefix}\0{slug}\0{endpoint}"));
    let hash = hash.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte));
    format!("{prefix}.{slug}.{hash:016x}.lease")
}

fn leads_to(path: &Path, file: &File) -> io::Result<bool> {
    let locked = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (locked.dev(), locked.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The id of the directory, made with its first lease.
fn directory_id(directory: &Path) -> io::Result<String> {
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

/// This process as an owner: drawn once.
pub(crate) fn owner() -> Result<&'static str, Error> {
    static OWNER: OnceLock<String> = OnceLock::new();
    if let Some(owner) = OWNER.get() {
        return Ok(owner);
    }
    let drawn = random_id();
    let drawn = drawn.map_err(|source| Error::Lease { path: PathBuf::from("owner"), source })?;
    Ok(OWNER.get_or_init(|| drawn))
}

/// 128 random bits in hexadecimal.
fn random_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(directory: &Path) -> Result<Lease, Error> {
        Lease::take(directory, "p", &Slug::new("s").unwrap(), "e")
    }

    #[test]
    fn a_second_launcher_is_told_who_holds_the_slug() {
        let directory = tempfile::tempdir().unwrap();
        let lease = take(directory.path()).unwrap();
        match take(directory.path()).unwrap_err() {
            Error::Taken { slug, pid, since } => {
                assert_eq!(slug.as_str(), "s");
                assert_eq!(pid, Some(std::process::id()));
                assert!(since.unwrap().elapsed().unwrap() < Duration::from_secs(60));
            }
            error => panic!("{error}"),
        }
        lease.end();
        take(directory.path()).unwrap();
    }

    #[test]
    fn only_a_lease_that_ended_well_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let files = || fs::read_dir(directory.path()).unwrap().count();
        take(directory.path()).unwrap().end();
        assert_eq!(files(), 1, "the id alone");
        take(directory.path()).unwrap().abandon();
        assert_eq!(files(), 2);
    }

    #[test]
    fn the_mark_of_what_is_kept_survives_the_next_owner() {
        let directory = tempfile::tempdir().unwrap();
        let lease = take(directory.path()).unwrap();
        assert!(!lease.kept());
        lease.set_kept(true).unwrap();
        lease.abandon();
        take(directory.path()).unwrap().abandon();
        let lease = take(directory.path()).unwrap();
        assert!(lease.kept());
        lease.set_kept(false).unwrap();
        lease.abandon();
        assert!(!take(directory.path()).unwrap().kept());
    }

    #[test]
    fn slugs_prefixes_and_endpoints_do_not_stand_in_each_others_way() {
        let slug = |slug| Slug::new(slug).unwrap();
        let names = [
            file_name("p", &slug("s"), "e"),
            file_name("p", &slug("s"), "f"),
            file_name("p", &slug("t"), "e"),
            file_name("p.s", &slug("s"), "e"),
            file_name("p", &slug("s.s"), "e"),
        ];
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn a_directory_keeps_its_id() {
        let directory = tempfile::tempdir().unwrap();
        let first = directory_id(directory.path()).unwrap();
        assert_eq!(directory_id(directory.path()).unwrap(), first);
        fs::write(directory.path().join("id"), "").unwrap();
        let error = take(directory.path()).unwrap_err();
        assert_eq!(
            std::error::Error::source(&error).unwrap().to_string(),
            "its file \"id\" holds no id"
        );
    }

    #[test]
    fn sixteen_threads_never_hold_one_lease_together() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let directory = tempfile::tempdir().unwrap();
        let (holders, turns) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        if let Ok(lease) = take(directory.path()) {
                            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                            turns.fetch_add(1, Ordering::SeqCst);
                            holders.fetch_sub(1, Ordering::SeqCst);
                            lease.end();
                        }
                    }
                });
            }
        });
        assert!(turns.into_inner() > 0);
    }
}
