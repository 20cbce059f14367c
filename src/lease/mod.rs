//! Who owns a slug: a locked file for each prefix, slug and engine endpoint.
//!
//! The kernel lets go of the lock when its owner dies, whatever way. A file is unlinked only under its
//! lock, so a lock that was won is worth something only while the path still leads to the locked file.

mod ids;
mod record;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::engine::Operations;
use crate::error::Error;
use crate::product::Product;
use crate::slug::Slug;

use ids::directory_id;
pub(crate) use ids::owner_for;
pub(crate) use record::{Kept, Record};

/// How long a launcher waits for a sweep that holds its lease.
const SWEEP_PATIENCE: Duration = Duration::from_secs(10);

/// The proof that the owner of a slug lives.
#[derive(Debug)]
pub(crate) struct Lease {
    file: File,
    path: PathBuf,
    directory_id: String,
    predecessors: Vec<String>,
    /// The owner; nobody in a sweep.
    me: String,
    record: Mutex<Record>,
}

/// What a sweep found at the path of a lease.
pub(crate) enum Claim {
    /// The owner is dead.
    Won(Lease),
    /// The owner lives, or another sweep is at it.
    Held(Option<Record>),
    /// The file has gone.
    Gone,
}

impl Lease {
    /// Takes the lease of a slug on an engine, or says who has it.
    pub(crate) fn of(
        engine: &dyn Operations,
        product: &Product,
        slug: &Slug,
        owner: &str,
    ) -> Result<Self, Error> {
        let directory = directory_of(engine)?;
        Self::take(&directory, product.prefix(), slug, &engine.endpoint(), owner)
    }

    fn take(
        directory: &Path,
        prefix: &str,
        slug: &Slug,
        endpoint: &str,
        owner: &str,
    ) -> Result<Self, Error> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Lease { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(at(directory))?;
        let directory_id = directory_id(directory).map_err(at(directory))?;
        let path = directory.join(file_name(prefix, slug.as_str(), endpoint));
        let patience = Instant::now() + SWEEP_PATIENCE;
        loop {
            let file = open(&path, true).map_err(at(&path))?;
            match file.try_lock() {
                Ok(()) if leads_to(&path, &file).map_err(at(&path))? => {
                    let before = Record::read(&file);
                    let mut record = Record::new(prefix, slug.as_str());
                    if let Some(before) = before {
                        record.kept = before.kept;
                        record.owners = before.owners_seen_dead();
                    }
                    let predecessors = record.names_of_owners();
                    record.add_owner(owner);
                    record.write(&file).map_err(at(&path))?;
                    let (me, record) = (owner.to_owned(), Mutex::new(record));
                    return Ok(Self { file, path, directory_id, predecessors, me, record });
                }
                // The file's last owner has ended well in this very moment.
                Ok(()) if Instant::now() < patience => {}
                Err(TryLockError::WouldBlock) | Ok(()) => {
                    let owner = Record::of_owner(&file);
                    let brief = owner.as_ref().is_none_or(|owner| owner.sweep);
                    if !brief || Instant::now() >= patience {
                        return Err(Error::Taken {
                            slug: slug.clone(),
                            pid: owner.as_ref().map(|owner| owner.pid),
                            since: owner.map(|owner| owner.since),
                        });
                    }
                    thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::Error(source)) => return Err(at(&path)(source)),
            }
        }
    }

    /// Takes a lease that a sweep has found, if its owner is dead. Nothing is created.
    pub(crate) fn claim(directory: &Path, path: &Path) -> io::Result<Claim> {
        let file = match open(path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Claim::Gone),
            file => file?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Claim::Held(Record::of_owner(&file))),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let record = Record::read(&file).filter(|_| leads_to(path, &file).unwrap_or(false));
        let (path, directory_id) = (path.to_owned(), directory_id(directory)?);
        let Some(mut record) = record else {
            // Nothing can be said of an owner whose record cannot be read, so nothing is removed.
            file.unlock()?;
            return Ok(Claim::Gone);
        };
        // A launcher that meets this lock is to wait for its end; the rest of the record stays.
        record.owners = record.owners_seen_dead();
        let sweeping = Record { pid: std::process::id(), sweep: true, ..record.clone() };
        sweeping.write(&file)?;
        let predecessors = record.names_of_owners();
        let (me, record) = (String::new(), Mutex::new(record));
        Ok(Claim::Won(Self { file, path, directory_id, predecessors, me, record }))
    }

    /// The random id that is stored in the lease's directory.
    pub(crate) fn directory_id(&self) -> &str {
        &self.directory_id
    }

    /// Everyone who may have left things of this slug, each dead by now, or done with it.
    pub(crate) fn predecessors(&self) -> &[String] {
        &self.predecessors
    }

    /// What the last owner has left on purpose.
    pub(crate) fn kept(&self) -> Kept {
        self.record().kept
    }

    /// Marks what is to stay. The mark is on the disk afterwards.
    pub(crate) fn set_kept(&self, kept: Kept) -> Result<(), Error> {
        let mut record = self.record();
        let marked = Record { kept, ..record.clone() };
        marked
            .write(&self.file)
            .and_then(|()| self.file.sync_all())
            .map_err(|source| Error::Lease { path: self.path.clone(), source })?;
        *record = marked;
        Ok(())
    }

    /// Lets go of the slug, whose things are all gone.
    ///
    /// The file stays while one of them may yet appear: an engine's command may outlive the owner that
    /// has died over it.
    pub(crate) fn end(self) {
        let unsettled = self.record().unsettled_owners(&self.me);
        if !unsettled.is_empty() {
            self.record().owners = unsettled;
            return self.abandon();
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a lease file could not be removed");
        }
        self.unlock();
    }

    /// Lets go of the slug while something of it is left, or may be. The file stays: without it,
    /// nothing on the engine counts as ours.
    pub(crate) fn abandon(self) {
        let record = self.record().clone();
        if let Err(error) = record.write(&self.file) {
            tracing::warn!(path = %self.path.display(), %error, "a lease could not be written");
        }
        self.unlock();
    }

    /// Not by closing the file: a child that another thread is starting may hold it for a moment.
    fn unlock(self) {
        if let Err(error) = self.file.unlock() {
            tracing::warn!(path = %self.path.display(), %error, "a lease could not be unlocked");
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the leases of an engine are.
pub(crate) fn directory_of(engine: &dyn Operations) -> Result<PathBuf, Error> {
    engine.state_dir().ok_or_else(|| Error::Lease {
        path: PathBuf::from("sidecar-bundle"),
        source: io::Error::other("neither XDG_STATE_HOME nor a home directory is known"),
    })
}

/// The leases of an engine in a directory: path and record of each.
pub(crate) fn leases(directory: &Path, endpoint: &str) -> io::Result<Vec<(PathBuf, Record)>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut leases = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "lease") {
            continue;
        }
        let Ok(file) = open(&path, false) else { continue };
        let Some(record) = Record::read(&file) else { continue };
        let name = file_name(&record.prefix, &record.slug, endpoint);
        if path.file_name().is_some_and(|it| *it == *name) {
            leases.push((path, record));
        }
    }
    leases.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(leases)
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)
}

/// Distinct for each triple: the hash is over what cannot be spelled in another way.
fn file_name(prefix: &str, slug: &str, endpoint: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::record::SETTLED;
    use super::*;

    fn take(directory: &Path) -> Result<Lease, Error> {
        Lease::take(directory, "p", &Slug::new("s").unwrap(), "e", "o")
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
        assert_eq!(lease.kept(), Kept::Nothing);
        lease.set_kept(Kept::Bundle).unwrap();
        lease.abandon();
        take(directory.path()).unwrap().abandon();
        let lease = take(directory.path()).unwrap();
        assert_eq!(lease.kept(), Kept::Bundle);
        lease.set_kept(Kept::Nothing).unwrap();
        lease.abandon();
        assert_eq!(take(directory.path()).unwrap().kept(), Kept::Nothing);
    }

    #[test]
    fn a_process_is_an_owner_of_its_own_in_each_domain() {
        let [one, again, other] = ["a", "a", "b"].map(|domain| owner_for(domain).unwrap());
        assert_eq!(one, again);
        assert_ne!(one, other);
        assert!(one.len() == 32 && one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
    }

    #[test]
    fn owners_are_remembered_until_the_slug_is_clean() {
        let directory = tempfile::tempdir().unwrap();
        let slug = Slug::new("s").unwrap();
        let take = |owner: &str| Lease::take(directory.path(), "p", &slug, "e", owner).unwrap();
        take("a").abandon();
        take("b").abandon();
        let lease = take("a");
        assert_eq!(lease.predecessors(), ["a", "b"]);
        assert_eq!(lease.record().names_of_owners(), ["b", "a"]);
        lease.end();
        // What b was at may appear yet; a has ended well.
        let lease = take("c");
        assert_eq!(lease.predecessors(), ["b"]);
        lease.record().owners[0].seen_dead -= SETTLED.as_secs();
        lease.end();
        let lease = take("d");
        assert!(lease.predecessors().is_empty());
        lease.end();
        for owner in 0..40 {
            take(&owner.to_string()).abandon();
        }
        assert_eq!(take("e").predecessors().len(), Record::MAX_OWNERS);
    }

    #[test]
    fn a_sweep_claims_only_what_nobody_holds() {
        let directory = tempfile::tempdir().unwrap();
        let lease = take(directory.path()).unwrap();
        let path = lease.path.clone();
        let claim = || Lease::claim(directory.path(), &path).unwrap();
        assert!(matches!(claim(), Claim::Held(Some(record)) if record.slug == "s"));
        lease.abandon();
        let Claim::Won(claimed) = claim() else { panic!("nobody held it") };
        assert_eq!(claimed.predecessors(), ["o"]);
        assert!(matches!(claim(), Claim::Held(Some(record)) if record.sweep));
        claimed.end();
        let Claim::Won(claimed) = claim() else { panic!("what o was at may appear yet") };
        claimed.record().owners[0].seen_dead -= SETTLED.as_secs();
        claimed.end();
        assert!(matches!(claim(), Claim::Gone));
        assert!(!path.exists(), "a claim creates nothing");
    }

    #[test]
    fn a_launcher_waits_for_a_sweep() {
        let directory = tempfile::tempdir().unwrap();
        let lease = take(directory.path()).unwrap();
        let path = lease.path.clone();
        lease.abandon();
        let Claim::Won(claimed) = Lease::claim(directory.path(), &path).unwrap() else { panic!() };
        thread::scope(|scope| {
            let launcher = scope.spawn(|| take(directory.path()));
            thread::sleep(Duration::from_millis(100));
            claimed.abandon();
            launcher.join().unwrap().unwrap();
        });
    }

    #[test]
    fn leases_of_other_engines_are_not_listed() {
        let directory = tempfile::tempdir().unwrap();
        take(directory.path()).unwrap().abandon();
        let found = |endpoint| leases(directory.path(), endpoint).unwrap().len();
        assert_eq!((found("e"), found("f")), (1, 0));
    }

    #[test]
    fn slugs_prefixes_and_endpoints_do_not_stand_in_each_others_way() {
        let names = [
            file_name("p", "s", "e"),
            file_name("p", "s", "f"),
            file_name("p", "t", "e"),
            file_name("p.s", "s", "e"),
            file_name("p", "s.s", "e"),
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
