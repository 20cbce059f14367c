//! The contents of a lease file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::engine::backend::{Id, Resource};
use crate::plan::Slug;

/// The first line, with the version of the format. The reaper reads the file, too.
const HEADER: &str = "sidecar-bundle lease 2";

/// The time for which a request of a dead owner may still have an effect.
const SETTLING: Duration = Duration::from_secs(600);

/// The contents of a lease file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Random, drawn with the file: the label of everything that is made under this lease.
    pub(crate) id: String,
    pub(crate) prefix: String,
    pub(crate) slug: Slug,
    /// The last owner.
    pub(crate) owner: String,
    pub(crate) pid: u32,
    pub(crate) since: SystemTime,
    /// The network and the container that were kept, or that were kept and are the owner's now.
    pub(crate) network: Option<Id>,
    pub(crate) container: Option<Id>,
    /// True if they are kept now.
    pub(crate) kept: bool,
    /// A creating request is under way, by the program with this process id; 0 while there is none.
    pub(super) making: Option<u32>,
    /// Held for a moment, by a sweep.
    pub(crate) sweep: bool,
    /// Something may still appear until then, in seconds since 1970.
    pub(super) settling: u64,
}

impl Record {
    pub(super) fn new(id: String, prefix: &str, slug: &Slug, owner: &str) -> Self {
        Self {
            id,
            prefix: prefix.to_owned(),
            slug: slug.clone(),
            owner: owner.to_owned(),
            pid: std::process::id(),
            since: SystemTime::now(),
            network: None,
            container: None,
            kept: false,
            making: None,
            sweep: false,
            settling: 0,
        }
    }

    /// The record of a dead owner under the lock of this process. It stays that owner's, whose reaper reads
    /// it, until something is made or adopted.
    pub(super) fn taken(self, sweep: bool) -> Self {
        let (pid, since) = (std::process::id(), SystemTime::now());
        let mut taken = Self { pid, since, making: None, sweep, ..self };
        if self.making.is_some() {
            taken.unsettle();
        }
        taken
    }

    /// The record of the next owner of the slug.
    pub(super) fn passed_on(self, owner: &str) -> Self {
        let mut next = Self { owner: owner.to_owned(), ..self };
        // Resources that a dead owner had adopted are orphans.
        if !self.kept && self.owner != owner {
            (next.network, next.container) = (None, None);
        }
        next
    }

    /// Returns true if this resource was kept, and nobody has attached to it since.
    pub(crate) fn is_kept(&self, id: &Id) -> bool {
        self.kept && [&self.network, &self.container].into_iter().flatten().any(|it| it == id)
    }

    /// Something may appear in the next ten minutes.
    pub(super) fn unsettle(&mut self) {
        self.settling = seconds(SystemTime::now() + SETTLING);
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settling <= seconds(SystemTime::now())
    }

    /// The record of the present holder of the lock. An owner that has just locked the file may need a
    /// moment to write, and until then the record is a dead one's.
    pub(super) fn of_holder(file: &File) -> Option<Self> {
        let mut record = None;
        for _ in 0..20 {
            record = Self::read(file).ok().flatten();
            if record.as_ref().is_some_and(|record| may_live(record.pid)) {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        record
    }

    /// Reads the record; none from an empty file.
    pub(crate) fn read(mut file: &File) -> io::Result<Option<Self>> {
        let mut text = String::new();
        file.seek(SeekFrom::Start(0))?;
        file.take(65_536).read_to_string(&mut text)?;
        if text.is_empty() {
            return Ok(None);
        }
        let unreadable = || {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "its contents are not a lease of this release",
            )
        };
        Self::parse(&text).map(Some).ok_or_else(unreadable)
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix(HEADER)?.strip_prefix('\n')?;
        let (text, _) = text.split_once("\nend\n")?;
        let field =
            |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let optional = |key: &str, resource| match field(key)? {
            "" => Some(None),
            id => Id::of(resource, id).map(Some),
        };
        let since = Duration::from_secs(field("since")?.parse().ok()?);
        Some(Self {
            id: field("id").filter(|id| id.len() == 32)?.to_owned(),
            prefix: field("prefix")?.to_owned(),
            slug: Slug::new(field("slug")?).ok()?,
            owner: field("owner")?.to_owned(),
            pid: field("pid")?.parse().ok()?,
            // A later date cannot be printed.
            since: UNIX_EPOCH.checked_add(since.min(Duration::from_secs(253_402_300_799)))?,
            network: optional("network", Resource::Network)?,
            container: optional("container", Resource::Container)?,
            kept: field("kept")? == "true",
            making: match field("making")? {
                "" => None,
                pid => Some(pid.parse().ok()?),
            },
            sweep: field("sweep")? == "true",
            settling: field("settling")?.parse().ok()?,
        })
    }

    /// The old end is cut off last: whenever the writer dies, one of the two records can be read.
    pub(super) fn write(&self, mut file: &File) -> io::Result<()> {
        let text = self.text();
        file.seek(SeekFrom::Start(0))?;
        file.write_all(text.as_bytes())?;
        file.set_len(text.len() as u64)
    }

    fn text(&self) -> String {
        let Self { id, prefix, slug, owner, pid, kept, sweep, settling, .. } = self;
        let since = seconds(self.since);
        let text_of = |id: &Option<Id>| id.as_ref().map(Id::to_string).unwrap_or_default();
        let (network, container) = (text_of(&self.network), text_of(&self.container));
        let making = self.making.map(|pid| pid.to_string()).unwrap_or_default();
        format!(
            "{HEADER}\nid={id}\nprefix={prefix}\nslug={slug}\nowner={owner}\npid={pid}\nsince={since}\n\
             network={network}\ncontainer={container}\nkept={kept}\nmaking={making}\nsweep={sweep}\n\
             settling={settling}\nend\n"
        )
    }

    /// Reads a record, and writes what was read.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn rewritten(text: &str) -> Option<String> {
        Some(Self::parse(text)?.text())
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns false if there is no process with this id.
pub(super) fn may_live(pid: u32) -> bool {
    let Ok(pid) = i32::try_from(pid) else { return false };
    pid > 0 && kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let id = Id::parse(&"a".repeat(64));
        let record = Record::new("0".repeat(32), "p", &Slug::new("s").unwrap(), "o");
        let since = UNIX_EPOCH + Duration::from_secs(5);
        Record { since, network: id, kept: true, making: Some(7), settling: 9, ..record }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Record::read(&file).unwrap(), None);
        record().write(&file).unwrap();
        assert_eq!(Record::read(&file).unwrap(), Some(record()));
        let shorter = Record { network: None, ..record() };
        shorter.write(&file).unwrap();
        assert_eq!(Record::read(&file).unwrap(), Some(shorter));
        assert_eq!(Record::rewritten(&record().text()), Some(record().text()));
        assert_eq!(Record::rewritten("another text"), None);
    }

    #[test]
    fn contents_of_another_release_are_an_error() {
        for text in ["sidecar-bundle lease 3\nend\n", "prefix=p\nend\n", "\n"] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let error = Record::read(&file).unwrap_err();
            assert_eq!(error.to_string(), "its contents are not a lease of this release");
        }
    }

    #[test]
    fn the_next_owner_gets_what_is_kept_and_nothing_else() {
        let next = record().taken(false).passed_on("next");
        assert_eq!((next.owner.as_str(), next.kept, next.making), ("next", true, None));
        assert_eq!((&next.id, &next.network), (&record().id, &record().network));
        assert!(!next.is_settled(), "a request of the dead was under way");
        let adopted = Record { kept: false, making: None, ..record() };
        let taken = adopted.taken(false);
        assert_eq!((taken.owner.as_str(), &taken.network), ("o", &record().network));
        let next = taken.passed_on("next");
        assert_eq!(next.network, None);
        assert!(next.is_settled());
    }
}
