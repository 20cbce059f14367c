//! The lease of a slug: a locked file for each prefix, slug, engine and host.
//!
//! The kernel releases the lock when its owner dies, in whatever way. A file is unlinked only under its
//! lock, so a lock counts only while the path still leads to the locked file.

mod directory;
mod record;

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::random_id;
use crate::digest::digest;
use crate::engine::Engine;
use crate::engine::backend::Id;
use crate::engine::clock::has_passed;
use crate::error::Error;
use crate::plan::Slug;
pub(crate) use record::Record;

/// The time that a launcher waits for a sweep that holds its lease, and for a dead owner's last command.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time that a sweep waits for a look at a lease.
const LOOK: Duration = Duration::from_secs(1);

/// The proof that the owner of a slug lives. It is released when it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    file: File,
    path: PathBuf,
    owner: String,
    /// The contents of the file. They are a previous owner's until this one makes or adopts something.
    record: Mutex<Record>,
    /// The contents as they were.
    previous: Option<Record>,
    /// Nothing of the slug is left.
    clean: AtomicBool,
}

/// The resources that were kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Nothing,
    Network(Id),
    Bundle { network: Id, container: Id },
}

/// The answer to the claim of a lease by a sweep.
pub(crate) enum Claim {
    /// The owner is dead.
    Won(Box<Lease>),
    /// The owner lives, or another sweep is at work.
    Held(Option<Record>),
    /// The file has gone, or has never been written.
    Gone,
}

/// The answer to a look at a lease.
pub(crate) enum Look {
    /// The owner with this process id lives.
    Held(u32),
    /// The owner is dead. A sweep may be at work.
    Free(Record),
    /// The lease has ended.
    Gone,
}

impl Lease {
    /// Takes the lease of a slug on an engine.
    pub(crate) fn take(
        directory: &Path,
        prefix: &str,
        slug: &Slug,
        engine: &str,
        owner: &str,
    ) -> Result<Self, Error> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Lease { path, source }
        };
        directory::prepare(directory).map_err(at(directory))?;
        let path = directory.join(file_name(prefix, slug, engine, &directory::host()));
        let patience = Instant::now() + PATIENCE;
        loop {
            let file = directory::open(&path, true).map_err(at(&path))?;
            match file.try_lock() {
                Ok(()) if leads_to(&path, &file).map_err(at(&path))? => {
                    let previous = Record::read(&file).map_err(at(&path))?;
                    let record = match previous.clone() {
                        Some(previous) => previous.taken(false),
                        None => Record::new(random_id().map_err(at(&path))?, prefix, slug, owner),
                    };
                    let written = match &previous {
                        Some(_) => record.write(&file),
                        None => write_first(&record, &path, &file),
                    };
                    written.map_err(at(&path))?;
                    let lease = Self::of(file, path, owner, record, previous);
                    lease.wait_for_the_last_command();
                    return Ok(lease);
                }
                // With a lock, the file's last owner has ended in this very moment.
                Err(TryLockError::WouldBlock) | Ok(()) => {
                    let holder = holder(&file).map_err(at(&path))?;
                    if matches!(holder, Holder::Owner(_)) || Instant::now() >= patience {
                        let (pid, since) = match holder {
                            Holder::Owner(holder) | Holder::Sweep(holder) => {
                                (Some(holder.pid), Some(holder.since))
                            }
                            Holder::Unknown => (None, None),
                        };
                        return Err(Error::Taken { slug: slug.clone(), pid, since });
                    }
                    thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::Error(source)) => return Err(at(&path)(source)),
            }
        }
    }

    /// Takes a lease that a sweep has found, if its owner is dead. Nothing is created.
    pub(crate) fn claim(path: &Path) -> io::Result<Claim> {
        let file = match directory::open(path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Claim::Gone),
            file => file?,
        };
        let patience = Instant::now() + LOOK;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if is_held(&file)? || Instant::now() >= patience => {
                    return Ok(Claim::Held(Record::of_holder(&file)));
                }
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(1)),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        let previous = Record::read(&file)?.filter(|_| leads_to(path, &file).unwrap_or(false));
        let Some(previous) = previous else {
            file.unlock()?;
            return Ok(Claim::Gone);
        };
        // Nobody is the owner, and a launcher that meets this lock waits for its end.
        let record = previous.clone().taken(true);
        record.write(&file)?;
        let lease = Self::of(file, path.to_owned(), "", record, Some(previous));
        lease.wait_for_the_last_command();
        Ok(Claim::Won(Box::new(lease)))
    }

    /// Looks at the lease of a record that was found, to see whether its owner lives. Nothing is written.
    ///
    /// The lock is shared while the file is read. Owners and sweeps lock exclusively, so a launcher can tell a look
    /// from them, and waits for its end.
    pub(crate) fn look(path: &Path, found: &Record) -> io::Result<Look> {
        let file = match directory::open(path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Look::Gone),
            file => file?,
        };
        // Another lease may have the name by now.
        let is_it = |record: &Record| record.id == found.id;
        let free = |record| if is_it(&record) { Look::Free(record) } else { Look::Gone };
        let patience = Instant::now() + LOOK;
        loop {
            match file.try_lock_shared() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => match holder(&file)? {
                    Holder::Owner(record) if is_it(&record) => return Ok(Look::Held(record.pid)),
                    Holder::Owner(_) => return Ok(Look::Gone),
                    Holder::Sweep(record) => return Ok(free(record)),
                    Holder::Unknown if Instant::now() >= patience => {
                        return Ok(Look::Held(found.pid));
                    }
                    Holder::Unknown => thread::sleep(Duration::from_millis(1)),
                },
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        let record = Record::read(&file);
        let is_there = leads_to(path, &file);
        file.unlock()?;
        let is_there = is_there?;
        Ok(record?.filter(|_| is_there).map_or(Look::Gone, free))
    }

    fn of(
        file: File,
        path: PathBuf,
        owner: &str,
        record: Record,
        previous: Option<Record>,
    ) -> Self {
        let (record, clean) = (Mutex::new(record), AtomicBool::new(false));
        Self { file, path, owner: owner.to_owned(), record, previous, clean }
    }

    /// The label of everything that is made under this lease.
    pub(crate) fn id(&self) -> String {
        self.record().id.clone()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The owner; empty for a sweep.
    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    /// Returns true if no request of an owner, this one or an earlier one, may still have an effect.
    pub(crate) fn is_settled(&self) -> bool {
        self.record().is_settled()
    }

    /// The owner before this one, if there was one since the slug was last clean.
    pub(crate) fn previous_owner(&self) -> Option<&str> {
        self.previous.as_ref().map(|previous| previous.owner.as_str())
    }

    /// The resources that were kept.
    pub(crate) fn kept(&self) -> Kept {
        let record = self.record();
        match (record.kept, &record.network, &record.container) {
            (true, Some(network), Some(container)) => {
                Kept::Bundle { network: network.clone(), container: container.clone() }
            }
            (true, Some(network), None) => Kept::Network(network.clone()),
            _ => Kept::Nothing,
        }
    }

    /// The resources that are not orphans, whoever made them.
    pub(crate) fn exempt(&self) -> Vec<Id> {
        let record = self.record().clone().passed_on(&self.owner);
        [record.network, record.container].into_iter().flatten().collect()
    }

    /// Marks what stays after its owner. The mark is on the disk afterwards.
    pub(crate) fn keep(&self, network: Id, container: Option<Id>) -> Result<(), Error> {
        if !leads_to(&self.path, &self.file).map_err(|source| self.error(source))? {
            return Err(self.error(io::Error::new(io::ErrorKind::NotFound, "it was deleted")));
        }
        let before = self.record().clone();
        self.change(|record| {
            (record.network, record.container, record.kept) = (Some(network), container, true);
        })?;
        self.file.sync_all().map_err(|source| {
            // Its owner removes it then, and no mark may say otherwise.
            if let Err(error) = self.change(|record| *record = before) {
                tracing::warn!(error = %error.chain(), "a lease could not be written");
            }
            self.error(source)
        })
    }

    /// Takes what was kept for the owner, and removes the mark.
    pub(crate) fn adopt(&self) -> Result<(), Error> {
        self.change(|record| record.kept = false)
    }

    /// Nothing that was kept exists any more.
    pub(crate) fn forget(&self) -> Result<(), Error> {
        if self.kept() == Kept::Nothing {
            return Ok(());
        }
        self.change(|record| {
            (record.network, record.container, record.kept) = (None, None, false);
        })
    }

    /// Notes that a creating request is under way, by the program with this process id if that is known,
    /// or that it has ended.
    pub(crate) fn making(&self, pid: Option<u32>) -> Result<(), Error> {
        self.change(|record| record.making = pid)
    }

    /// Notes that something may appear in the next ten minutes.
    pub(crate) fn unsettle(&self) {
        if let Err(error) = self.change(Record::unsettle) {
            tracing::warn!(error = %error.chain(), "a lease could not be written");
        }
    }

    /// Notes that nothing of the slug is left. The file is then removed with the lease.
    pub(crate) fn set_clean(&self) {
        self.clean.store(true, Ordering::SeqCst);
    }

    fn change(&self, change: impl FnOnce(&mut Record)) -> Result<(), Error> {
        let mut record = self.record();
        let mut changed = record.clone().passed_on(&self.owner);
        change(&mut changed);
        if changed != *record {
            changed.write(&self.file).map_err(|source| self.error(source))?;
            *record = changed;
        }
        Ok(())
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Lease { path: self.path.clone(), source }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A resource that a dead owner's program is about to make cannot be removed yet, and podman leaves
    /// interfaces behind when it is removed half-way.
    fn wait_for_the_last_command(&self) {
        let Some(making) = self.previous.as_ref().and_then(|previous| previous.making) else {
            return;
        };
        let end = Instant::now() + PATIENCE;
        while record::may_live(making) && !has_passed(end) {
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Without the file, nothing on the engine counts as this slug's: it goes only when nothing is left,
    /// and nothing may appear.
    fn settle_file(&self) -> io::Result<()> {
        let mut record = self.record();
        let clean = self.clean.load(Ordering::SeqCst) && !record.kept && record.is_settled();
        if clean && leads_to(&self.path, &self.file)? {
            return fs::remove_file(&self.path);
        }
        // A sweep, or a step that failed early, gives the record back: a reaper may be at work by it.
        if let Some(previous) = self.previous.as_ref().filter(|_| record.owner != self.owner) {
            *record = Record { settling: record.settling, making: None, ..previous.clone() };
            record.write(&self.file)?;
        }
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Unlocked, not merely closed: a child that another thread is starting may hold the file for a
        // moment.
        for result in [self.settle_file(), self.file.unlock()] {
            if let Err(error) = result {
                tracing::warn!(path = %self.path.display(), %error, "a lease could not be released");
            }
        }
    }
}

/// The directory of an engine's leases.
pub(crate) fn directory_of(engine: &Engine) -> Result<PathBuf, Error> {
    let Some(directory) = engine.state_dir() else {
        let source = io::Error::other("neither XDG_STATE_HOME nor a home directory is known");
        return Err(Error::Lease { path: PathBuf::from("sidecar-bundle"), source });
    };
    // The reaper is told of it, a line for each lease.
    if directory.as_os_str().as_encoded_bytes().contains(&b'\n') {
        let source = io::Error::other("its path contains a line break");
        return Err(Error::Lease { path: directory.clone(), source });
    }
    Ok(directory.clone())
}

/// The leases of an engine in a directory: path and record of each.
pub(crate) fn leases(directory: &Path, engine: &str) -> io::Result<Vec<(PathBuf, Record)>> {
    match directory::check(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        checked => checked?,
    }
    let (mut leases, host) = (Vec::new(), directory::host());
    for path in paths(directory)? {
        let Ok(file) = directory::open(&path, false) else { continue };
        let Ok(Some(record)) = Record::read(&file) else { continue };
        let name = file_name(&record.prefix, &record.slug, engine, &host);
        if path.file_name().is_some_and(|it| *it == *name) {
            leases.push((path, record));
        }
    }
    leases.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(leases)
}

/// Removes the files of an engine that were never written: their owners died before they did anything.
pub(crate) fn remove_unwritten(directory: &Path, engine: &str) -> io::Result<()> {
    let host = directory::host();
    for path in paths(directory)? {
        let Ok(file) = directory::open(&path, false) else { continue };
        // Another host's lock is not seen here, so that the name alone has to tell whose it is.
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let ours = name.match_indices('.').any(|(dot, _)| {
            let (prefix, rest) = (&name[..dot], &name[dot + 1..]);
            let slug = rest.rsplitn(3, '.').nth(2).and_then(|slug| Slug::new(slug).ok());
            slug.is_some_and(|slug| file_name(prefix, &slug, engine, &host) == name)
        });
        let is_empty = || file.metadata().is_ok_and(|metadata| metadata.len() == 0);
        let is_unwritten = || Ok::<_, io::Error>(is_empty() && leads_to(&path, &file)?);
        if !ours || !is_unwritten()? || file.try_lock().is_err() {
            continue;
        }
        // The owner may have written it before it was locked here.
        if is_unwritten()? {
            fs::remove_file(&path)?;
        }
        file.unlock()?;
    }
    Ok(())
}

/// The paths of the leases in a directory.
fn paths(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "lease") {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Writes a record to a new file, which is locked. It stays only if it is written.
fn write_first(record: &Record, path: &Path, file: &File) -> io::Result<()> {
    record.write(file).inspect_err(|_| {
        // The error of the write says more.
        let _ = fs::remove_file(path);
    })
}

/// Distinct for each prefix, slug, engine and host: the hash separates what the name alone does not.
fn file_name(prefix: &str, slug: &Slug, engine: &str, host: &str) -> String {
    let hash = digest(format!("{prefix}\0{slug}\0{engine}\0{host}"));
    format!("{prefix}.{slug}.{}.lease", &hash[..16])
}

/// The holder of a lock.
enum Holder {
    Owner(Record),
    Sweep(Record),
    /// Nobody holds it, or the record cannot be read.
    Unknown,
}

/// Looks who holds the lock.
///
/// A sweep that begins or ends holds the lock for a moment under the record of the owner before it, whose process may
/// live. It is not likely to be taken for an owner: an owner is seen three times.
fn holder(file: &File) -> io::Result<Holder> {
    const PAUSES: [Duration; 3] =
        [Duration::ZERO, Duration::from_millis(5), Duration::from_millis(5)];
    let mut holder = Holder::Unknown;
    for pause in PAUSES {
        thread::sleep(pause);
        let record = if is_held(file)? { Record::of_holder(file) } else { None };
        holder = match record {
            None => return Ok(Holder::Unknown),
            Some(record) if record.sweep => return Ok(Holder::Sweep(record)),
            Some(record) => Holder::Owner(record),
        };
    }
    Ok(holder)
}

/// Returns true if an owner or a sweep holds the lock, and false if nobody does or only looks share it.
fn is_held(file: &File) -> io::Result<bool> {
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn leads_to(path: &Path, file: &File) -> io::Result<bool> {
    let locked = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (locked.dev(), locked.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slug() -> Slug {
        Slug::new("s").unwrap()
    }

    fn take(directory: &Path) -> Result<Lease, Error> {
        Lease::take(directory, "p", &slug(), "e", "o")
    }

    fn room() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn files(room: &tempfile::TempDir) -> usize {
        fs::read_dir(room.path()).unwrap().count()
    }

    fn id(digit: &str) -> Id {
        Id::parse(&digit.repeat(64)).unwrap()
    }

    #[test]
    fn a_second_launcher_is_told_who_holds_the_slug() {
        let room = room();
        let lease = take(room.path()).unwrap();
        let start = Instant::now();
        match take(room.path()).unwrap_err() {
            Error::Taken { slug, pid, since } => {
                assert_eq!(slug.as_str(), "s");
                assert_eq!(pid, Some(std::process::id()));
                assert!(since.unwrap().elapsed().unwrap() < Duration::from_secs(60));
            }
            error => panic!("{error}"),
        }
        assert!(start.elapsed() < PATIENCE, "an owner is not waited for");
        drop(lease);
        drop(take(room.path()).unwrap());
    }

    #[test]
    fn only_a_clean_lease_leaves_no_file() {
        let room = room();
        let lease = take(room.path()).unwrap();
        lease.set_clean();
        drop(lease);
        assert_eq!(files(&room), 0);
        drop(take(room.path()).unwrap());
        assert_eq!(files(&room), 1);
    }

    #[test]
    fn everything_that_is_made_under_one_file_has_one_id() {
        let room = room();
        let first = take(room.path()).unwrap().id();
        for _ in 0..40 {
            assert_eq!(take(room.path()).unwrap().id(), first);
        }
        let lease = take(room.path()).unwrap();
        lease.set_clean();
        drop(lease);
        assert_ne!(take(room.path()).unwrap().id(), first);
    }

    #[test]
    fn the_mark_of_what_is_kept_survives_its_owners() {
        let room = room();
        let lease = take(room.path()).unwrap();
        assert_eq!(lease.kept(), Kept::Nothing);
        lease.keep(id("a"), Some(id("b"))).unwrap();
        lease.set_clean();
        drop(lease);
        let bundle = Kept::Bundle { network: id("a"), container: id("b") };
        for _ in 0..20 {
            assert_eq!(take(room.path()).unwrap().kept(), bundle);
        }
        let lease = take(room.path()).unwrap();
        lease.adopt().unwrap();
        assert_eq!((lease.kept(), lease.exempt()), (Kept::Nothing, vec![id("a"), id("b")]));
        drop(lease);
        let next = Lease::take(room.path(), "p", &slug(), "e", "next").unwrap();
        assert_eq!(next.exempt(), [], "they are a dead owner's");
    }

    #[test]
    fn what_was_kept_and_has_gone_is_forgotten() {
        let room = room();
        let lease = take(room.path()).unwrap();
        lease.forget().unwrap();
        lease.keep(id("a"), Some(id("b"))).unwrap();
        lease.forget().unwrap();
        assert_eq!((lease.kept(), lease.exempt()), (Kept::Nothing, vec![]));
        lease.set_clean();
        drop(lease);
        assert_eq!(files(&room), 0);
    }

    #[test]
    fn a_look_waits_a_second_for_a_holder_to_write_its_record() {
        let room = room();
        let lease = take(room.path()).unwrap();
        let (path, found) = (lease.path.clone(), lease.record().clone());
        drop(lease);
        let look = |is_written: bool| {
            let file = directory::open(&path, false).unwrap();
            file.lock().unwrap();
            file.set_len(0).unwrap();
            thread::scope(|scope| {
                let looking = scope.spawn(|| Lease::look(&path, &found).unwrap());
                thread::sleep(Duration::from_millis(600));
                if is_written {
                    assert!(!looking.is_finished(), "it may be written yet");
                    found.write(&file).unwrap();
                } else {
                    let end = Instant::now() + Duration::from_millis(1200);
                    while !looking.is_finished() && Instant::now() < end {
                        thread::sleep(Duration::from_millis(10));
                    }
                }
                file.unlock().unwrap();
                looking.join().unwrap()
            })
        };
        assert!(matches!(look(true), Look::Free(_)));
        assert!(matches!(look(false), Look::Held(pid) if pid == found.pid));
    }

    #[test]
    fn a_path_that_cannot_be_looked_at_is_an_error_and_no_absence() {
        let room = room();
        let path = room.path().join("file");
        let file = directory::open(&path, true).unwrap();
        assert!(leads_to(&path, &file).unwrap());
        assert!(!leads_to(&room.path().join("other"), &file).unwrap());
        leads_to(&path.join("below"), &file).unwrap_err();
    }

    #[test]
    fn a_file_that_cannot_be_written_does_not_stay() {
        let room = room();
        let path = room.path().join("lease");
        fs::write(&path, "half a rec").unwrap();
        let record = Record::new("0".repeat(32), "p", &slug(), "o");
        // As on a full disk.
        write_first(&record, &path, &File::open(&path).unwrap()).unwrap_err();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_was_never_written_goes_if_it_is_this_engines_and_nobody_holds_it() {
        let room = room();
        let slug = Slug::new("s.t").unwrap();
        let path = |prefix, engine, host: &str| {
            let path = room.path().join(file_name(prefix, &slug, engine, host));
            drop(directory::open(&path, true).unwrap());
            path
        };
        let host = directory::host();
        let (ours, held) = (path("p.q", "e", &host), path("held", "e", &host));
        let others = [path("p.q", "f", &host), path("p.q", "e", "elsewhere")];
        let lock = directory::open(&held, false).unwrap();
        lock.lock().unwrap();
        let written = take(room.path()).unwrap().path.clone();
        remove_unwritten(room.path(), "e").unwrap();
        assert!(!ours.exists());
        assert!(held.exists() && written.exists() && others.iter().all(|it| it.exists()));
        // A program that another test starts has the file for a moment.
        lock.unlock().unwrap();
        remove_unwritten(room.path(), "e").unwrap();
        assert!(!held.exists());
    }

    #[test]
    fn a_file_stays_while_something_may_appear() {
        let room = room();
        let lease = take(room.path()).unwrap();
        lease.making(Some(0)).unwrap();
        drop(lease);
        for _ in 0..3 {
            let lease = take(room.path()).unwrap();
            lease.set_clean();
            drop(lease);
            assert_eq!(files(&room), 1);
        }
        let lease = take(room.path()).unwrap();
        lease.record().settling = 1;
        lease.set_clean();
        drop(lease);
        assert_eq!(files(&room), 0);
        let lease = take(room.path()).unwrap();
        lease.unsettle();
        lease.set_clean();
        drop(lease);
        assert_eq!(files(&room), 1);
    }

    #[test]
    fn a_launcher_waits_for_the_last_command_of_a_dead_owner() {
        let room = room();
        let mut command = std::process::Command::new("sleep").arg("0.3").spawn().unwrap();
        let lease = take(room.path()).unwrap();
        lease.making(Some(command.id())).unwrap();
        drop(lease);
        let reaped = thread::spawn(move || command.wait().unwrap());
        let start = Instant::now();
        drop(take(room.path()).unwrap());
        assert!(start.elapsed() > Duration::from_millis(200), "{:?}", start.elapsed());
        reaped.join().unwrap();
    }

    #[test]
    fn a_sweep_claims_only_what_nobody_holds() {
        let room = room();
        let lease = take(room.path()).unwrap();
        let path = lease.path.clone();
        let claim = || Lease::claim(&path).unwrap();
        let start = Instant::now();
        assert!(matches!(claim(), Claim::Held(Some(record)) if record.slug == slug()));
        assert!(start.elapsed() < LOOK, "a sweep does not wait for an owner");
        drop(lease);
        let Claim::Won(claimed) = claim() else { panic!("nobody held it") };
        assert_eq!(claimed.previous_owner(), Some("o"));
        assert!(matches!(claim(), Claim::Held(Some(record)) if record.sweep));
        drop(claimed);
        let Claim::Won(claimed) = claim() else { panic!("it was not clean") };
        assert_eq!(claimed.previous_owner(), Some("o"), "a sweep is no owner");
        claimed.set_clean();
        drop(claimed);
        assert!(matches!(claim(), Claim::Gone));
        assert!(!path.exists(), "a claim creates nothing");
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(Lease::claim(&path).is_err(), "it cannot be trusted");
    }

    #[test]
    fn a_launcher_waits_for_a_sweep() {
        let room = room();
        let lease = take(room.path()).unwrap();
        let path = lease.path.clone();
        drop(lease);
        let Claim::Won(claimed) = Lease::claim(&path).unwrap() else { panic!() };
        thread::scope(|scope| {
            let launcher = scope.spawn(|| take(room.path()));
            thread::sleep(Duration::from_millis(100));
            drop(claimed);
            launcher.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_look_tells_if_the_owner_lives_and_writes_nothing() {
        let room = room();
        let lease = take(room.path()).unwrap();
        let path = lease.path.clone();
        let found = lease.record().clone();
        let look = || Lease::look(&path, &found).unwrap();
        assert!(matches!(look(), Look::Held(pid) if pid == std::process::id()));
        lease.keep(id("a"), None).unwrap();
        drop(lease);
        let text = fs::read_to_string(&path).unwrap();
        let Look::Free(record) = look() else { panic!("nobody holds it") };
        assert!(record.is_kept(&id("a")) && !record.is_kept(&id("b")));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        let Claim::Won(claimed) = Lease::claim(&path).unwrap() else { panic!() };
        assert!(matches!(look(), Look::Free(record) if record.sweep), "a sweep is no owner");
        drop(claimed);
        fs::remove_file(&path).unwrap();
        assert!(matches!(look(), Look::Gone) && files(&room) == 0);
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(Lease::look(&path, &found).is_err(), "it cannot be trusted");
        fs::remove_file(&path).unwrap();
        let another = take(room.path()).unwrap();
        assert!(matches!(look(), Look::Gone));
        drop(another);
        assert!(matches!(look(), Look::Gone));
    }

    #[test]
    fn whoever_takes_a_lease_waits_for_a_look_at_it() {
        let room = room();
        let lease = take(room.path()).unwrap();
        let path = lease.path.clone();
        drop(lease);
        let looked_at = |taken: &(dyn Fn() + Sync)| {
            let file = directory::open(&path, false).unwrap();
            file.try_lock_shared().unwrap();
            thread::scope(|scope| {
                let taking = scope.spawn(taken);
                thread::sleep(Duration::from_millis(100));
                assert!(!taking.is_finished());
                file.unlock().unwrap();
                taking.join().unwrap();
            });
        };
        looked_at(&|| drop(take(room.path()).unwrap()));
        looked_at(&|| assert!(matches!(Lease::claim(&path).unwrap(), Claim::Won(_))));
    }

    #[test]
    fn looks_without_end_refuse_no_launcher_and_no_sweep() {
        let room = room();
        let lease = take(room.path()).unwrap();
        let path = lease.path.clone();
        // The record of an owner whose process id is another process's now.
        lease.change(|record| record.pid = 1).unwrap();
        let found = lease.record().clone();
        drop(lease);
        let done = AtomicBool::new(false);
        // The lock is free for some of the time.
        let pause = || thread::sleep(Duration::from_millis(1));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::SeqCst) {
                        assert!(!matches!(Lease::look(&path, &found).unwrap(), Look::Gone));
                        pause();
                    }
                });
            }
            let claim_and_take = |_| {
                pause();
                let won = matches!(Lease::claim(&path).unwrap(), Claim::Won(_));
                (won, take(room.path()).is_ok())
            };
            let all: Vec<_> = (0..200).map(claim_and_take).collect();
            done.store(true, Ordering::SeqCst);
            assert_eq!(all, [(true, true); 200]);
        });
    }

    #[test]
    fn leases_of_other_engines_are_not_listed() {
        let room = room();
        drop(take(room.path()).unwrap());
        let found = |engine| leases(room.path(), engine).unwrap().len();
        assert_eq!((found("e"), found("f")), (1, 0));
    }

    #[test]
    fn slugs_prefixes_engines_and_hosts_have_leases_of_their_own() {
        let name =
            |prefix, slug, engine, host| file_name(prefix, &Slug::new(slug).unwrap(), engine, host);
        let names = [
            name("p", "s", "e", "h"),
            name("p", "s", "f", "h"),
            name("p", "t", "e", "h"),
            name("p.s", "s", "e", "h"),
            name("p", "s.s", "e", "h"),
            name("p", "s", "e", "i"),
        ];
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn sixteen_threads_never_hold_one_lease_together() {
        use std::sync::atomic::AtomicUsize;
        let room = room();
        let (holders, turns) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        if let Ok(lease) = take(room.path()) {
                            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                            assert!(leads_to(&lease.path, &lease.file).unwrap());
                            turns.fetch_add(1, Ordering::SeqCst);
                            holders.fetch_sub(1, Ordering::SeqCst);
                            lease.set_clean();
                        }
                    }
                });
            }
        });
        assert!(turns.into_inner() > 0);
    }
}
