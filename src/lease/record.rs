//! What stands in a lease's file: who holds it, what was kept, and who may have made things.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An owner's last command may be at it for so long after its owner was seen to be dead.
pub(super) const SETTLED: Duration = Duration::from_secs(600);

/// What stays of a slug when its owner ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Nothing,
    Network,
    Bundle,
}

/// What stands in a lease's file.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) prefix: String,
    pub(crate) slug: String,
    pub(crate) pid: u32,
    pub(crate) since: SystemTime,
    pub(crate) kept: Kept,
    /// Held for a moment, by a sweep.
    pub(crate) sweep: bool,
    pub(crate) owners: Vec<Owner>,
}

/// Somebody who may have made things of the slug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) name: String,
    /// When it was first seen to be dead, in seconds since 1970; 0 while it may live.
    pub(super) seen_dead: u64,
}

impl Record {
    /// As many owners as are remembered who died one after the other, each before it could clean up.
    pub(super) const MAX_OWNERS: usize = 16;

    pub(super) fn new(prefix: &str, slug: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            slug: slug.to_owned(),
            pid: std::process::id(),
            since: SystemTime::now(),
            kept: Kept::Nothing,
            sweep: false,
            owners: Vec::new(),
        }
    }

    pub(super) fn add_owner(&mut self, owner: &str) {
        self.owners.retain(|it| it.name != owner);
        self.owners.push(Owner { name: owner.to_owned(), seen_dead: 0 });
        let old = self.owners.len().saturating_sub(Self::MAX_OWNERS);
        self.owners.drain(..old);
    }

    pub(super) fn names_of_owners(&self) -> Vec<String> {
        self.owners.iter().map(|owner| owner.name.clone()).collect()
    }

    /// The owners, now that nobody holds the lease.
    pub(super) fn owners_seen_dead(&self) -> Vec<Owner> {
        let seen = |owner: &Owner| Owner {
            name: owner.name.clone(),
            seen_dead: if owner.seen_dead == 0 {
                seconds(SystemTime::now())
            } else {
                owner.seen_dead
            },
        };
        self.owners.iter().map(seen).collect()
    }

    /// The others that were alive a short while ago.
    pub(super) fn unsettled_owners(&self, me: &str) -> Vec<Owner> {
        let before = seconds(SystemTime::now()).saturating_sub(SETTLED.as_secs());
        let others = self.owners.iter().filter(|owner| owner.name != me);
        others.filter(|owner| owner.seen_dead > before).cloned().collect()
    }

    /// Who holds the lease. An owner that has just locked it may need a moment to write that down, and
    /// until then the record is a dead one's.
    pub(super) fn of_owner(file: &File) -> Option<Self> {
        let mut record = None;
        for _ in 0..20 {
            record = Self::read(file);
            if record.as_ref().is_some_and(|record| may_live(record.pid)) {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        record
    }

    pub(super) fn read(mut file: &File) -> Option<Self> {
        let mut text = String::new();
        file.seek(SeekFrom::Start(0)).ok()?;
        file.take(65_536).read_to_string(&mut text).ok()?;
        let (text, _) = text.split_once("\nend\n")?;
        let field =
            |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let since = Duration::from_secs(field("since")?.parse().ok()?);
        Some(Self {
            prefix: field("prefix")?.to_owned(),
            slug: field("slug")?.to_owned(),
            pid: field("pid")?.parse().ok()?,
            // A date behind the year 9999 is none, and cannot be printed as one.
            since: UNIX_EPOCH.checked_add(since.min(Duration::from_secs(253_402_300_799)))?,
            kept: match field("kept")? {
                "network" => Kept::Network,
                "bundle" => Kept::Bundle,
                _ => Kept::Nothing,
            },
            sweep: field("sweep")? == "true",
            owners: field("owners")?
                .split_whitespace()
                .map(|owner| {
                    let (name, seen_dead) = owner.split_once('@')?;
                    Some(Owner { name: name.to_owned(), seen_dead: seen_dead.parse().ok()? })
                })
                .collect::<Option<_>>()?,
        })
    }

    /// The old end is cut off last: whenever the writer dies, one of the two records can be read.
    pub(super) fn write(&self, mut file: &File) -> io::Result<()> {
        let Self { prefix, slug, pid, since, kept, sweep, owners } = self;
        let since = seconds(*since);
        let kept = match kept {
            Kept::Nothing => "nothing",
            Kept::Network => "network",
            Kept::Bundle => "bundle",
        };
        let owners = owners.iter().map(|it| format!("{}@{}", it.name, it.seen_dead));
        let owners = owners.collect::<Vec<_>>().join(" ");
        let text = format!(
            "prefix={prefix}\nslug={slug}\npid={pid}\nsince={since}\nkept={kept}\nsweep={sweep}\nowners={owners}\nend\n"
        );
        file.seek(SeekFrom::Start(0))?;
        file.write_all(text.as_bytes())?;
        file.set_len(text.len() as u64)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Without `/proc`, anyone may.
fn may_live(pid: u32) -> bool {
    !Path::new("/proc/self").exists() || Path::new("/proc").join(pid.to_string()).exists()
}
