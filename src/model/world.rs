//! The engines, the processes, and everything that is true of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ipnet::Ipv4Net;

use crate::engine::backend::{Id, Resource};
use crate::engine::identity::Identity;
use crate::ownership::labels::{LabelMap, lease_in, owner_in};
use crate::ownership::lease::Record;
use crate::status::State;

/// The effect of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Obey,
    Refuse,
    LoseAnswer,
    /// After so many milliseconds.
    ActLate(u64),
    /// Makes the container and does not start it.
    NotStarted,
    Away,
    /// The owner dies before, after, or while the engine is at work.
    DieBefore,
    DieAfter,
    DieLate(u64),
}

impl Fault {
    pub(super) fn kills(self) -> bool {
        matches!(self, Self::DieBefore | Self::DieAfter | Self::DieLate(_))
    }
}

/// A network or a container.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) resource: Resource,
    pub(super) id: Id,
    pub(super) name: String,
    pub(super) labels: LabelMap,
    pub(super) subnet: Option<(Ipv4Net, Ipv4Addr)>,
    /// The network that a container is on.
    pub(super) network: String,
    pub(super) ip: Ipv4Addr,
    pub(super) state: State,
}

impl Item {
    pub(super) fn owner(&self) -> Option<&str> {
        owner_in(&self.labels)
    }

    pub(super) fn lease(&self) -> Option<&str> {
        lease_in(&self.labels)
    }

    pub(super) fn is_of_slug(&self, slug: &str) -> bool {
        self.labels.get("sidecar-bundle.slug").is_some_and(|it| it == slug)
    }
}

/// One engine.
#[derive(Debug, Default)]
pub(super) struct EngineState {
    pub(super) items: Vec<Item>,
    /// Changes that are yet to come, each at its time.
    late: Vec<(u64, Late)>,
}

#[derive(Debug)]
enum Late {
    Made(Item),
    Changed(Id, Change),
}

/// A change of a container.
type Change = fn(&mut EngineState, &Id) -> Result<(), &'static str>;

impl EngineState {
    pub(super) fn get(&self, id: &str) -> Option<&Item> {
        self.items.iter().find(|it| it.id.as_str() == id)
    }

    pub(super) fn in_use(&self, network: &str) -> bool {
        self.items.iter().any(|it| it.network == network && it.state == State::Running)
    }

    pub(super) fn act_late(&mut self, due: u64, item: Item) {
        self.late.push((due, Late::Made(item)));
    }

    pub(super) fn change_late(&mut self, due: u64, id: Id, change: Change) {
        self.late.push((due, Late::Changed(id, change)));
    }

    /// Starts a container that was created, on the network that it knows by its name.
    pub(super) fn start(&mut self, id: &Id) -> Result<(), &'static str> {
        let Some(item) = self.get(id.as_str()).cloned() else { return Err("No such container: C") };
        let is_it = |it: &&Item| it.resource == Resource::Network && it.name == item.network;
        let Some(network) = self.items.iter().find(is_it).map(|it| it.id.to_string()) else {
            return Err("network N not found");
        };
        let started = Item { network, state: State::Running, ..item };
        self.items.iter_mut().filter(|it| it.id == *id).for_each(|it| *it = started.clone());
        Ok(())
    }

    /// Makes an item by an engine's rules.
    pub(super) fn make(&mut self, item: Item) -> Result<Id, &'static str> {
        let mut others = self.items.iter().filter(|it| it.resource == item.resource);
        match item.resource {
            Resource::Network => {
                if others.clone().any(|it| it.name == item.name) {
                    return Err("network with name N already exists");
                }
                let overlaps = |it: &Item| match (it.subnet, item.subnet) {
                    (Some((a, _)), Some((b, _))) => a.contains(&b) || b.contains(&a),
                    _ => false,
                };
                if others.any(overlaps) {
                    return Err("Pool overlaps with other one on this address space");
                }
            }
            Resource::Container => {
                if others.any(|it| it.name == item.name) {
                    return Err(
                        "Conflict. The container name \"/C\" is already in use by container",
                    );
                }
                // One that is not started knows its network by a name.
                if item.state == State::Running && self.get(&item.network).is_none() {
                    return Err("network N not found");
                }
            }
        }
        let id = item.id.clone();
        self.items.push(item);
        Ok(id)
    }
}

/// A lease directory and the reapers of a process, as they were when it died.
#[derive(Clone, Debug)]
pub(super) struct Death {
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// Owner ids by the digest of their engine, each with its lease.
    pub(super) held: BTreeMap<String, BTreeMap<String, PathBuf>>,
}

/// Everything there is.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) clock: u64,
    ids: u64,
    pub(super) engines: [EngineState; 2],
    /// The engine that each way leads to.
    pub(super) ways: [usize; 3],
    pub(super) directories: Vec<PathBuf>,
    pub(super) faults: VecDeque<Fault>,
    /// The processes that have died, and the world as it was then.
    pub(super) dead: BTreeMap<String, Death>,
    /// The time that dead processes have waited.
    pub(super) waited: BTreeMap<String, u64>,
    pub(super) reapers: BTreeMap<String, Arc<ReaperRecord>>,
    /// By id: kept on purpose.
    pub(super) kept: BTreeSet<String>,
    /// By id: the process that holds it.
    pub(super) held: BTreeMap<String, String>,
    /// The ids that a removal was asked for, whatever came of it.
    pub(super) tried: BTreeSet<String>,
    /// The ids of leases whose files were deleted.
    pub(super) lost: BTreeSet<String>,
    /// A discard is under way, which may take what is kept or held under a lease that it cannot see.
    pub(super) discarding: bool,
    pub(super) violations: Vec<String>,
}

impl World {
    pub(super) fn new(directories: Vec<PathBuf>) -> Self {
        Self { directories, ..Self::default() }
    }

    pub(super) fn pass(&mut self, milliseconds: u64) {
        self.clock += milliseconds;
        for engine in &mut self.engines {
            let late = std::mem::take(&mut engine.late);
            let (due, late): (Vec<_>, Vec<_>) = late.into_iter().partition(|it| it.0 <= self.clock);
            engine.late = late;
            for (_, late) in due {
                match late {
                    Late::Made(item) => drop(engine.make(item)),
                    Late::Changed(id, change) => drop(change(engine, &id)),
                }
            }
        }
    }

    pub(super) fn next_id(&mut self) -> Id {
        self.ids += 1;
        Id::parse(&format!("{:064x}", self.ids)).unwrap()
    }

    pub(super) fn identity(engine: usize) -> Identity {
        Identity { id: "model".into(), host: "host".into(), root: engine.to_string() }
    }

    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        self.engines.iter().flat_map(|engine| &engine.items)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Item> {
        self.engines.iter().find_map(|engine| engine.get(id))
    }

    pub(super) fn forget(&mut self, id: &str) {
        for engine in &mut self.engines {
            engine.items.retain(|it| it.id.as_str() != id);
        }
        self.kept.remove(id);
    }

    /// The leases of a directory, by their files.
    pub(super) fn records(&self) -> Vec<(PathBuf, Record)> {
        let mut records = Vec::new();
        for directory in &self.directories {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let record = Record::read(&fs::File::open(&path).unwrap()).unwrap();
                records.extend(record.map(|record| (path, record)));
            }
        }
        records
    }

    pub(super) fn is_marked_as_kept(&self, id: &str) -> bool {
        let has = |it: &Option<Id>| it.as_ref().is_some_and(|it| it.as_str() == id);
        self.records()
            .iter()
            .any(|(_, record)| record.kept && (has(&record.network) || has(&record.container)))
    }

    /// A process dies here and now.
    pub(super) fn die(&mut self, process: &str) {
        if self.dead.contains_key(process) {
            return;
        }
        let mut files = BTreeMap::new();
        for directory in &self.directories {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                files.insert(path.clone(), fs::read(path).unwrap());
            }
        }
        let held = self.reapers.get(process).map(|reaper| reaper.0.lock().unwrap().clone());
        self.dead.insert(process.to_owned(), Death { files, held: held.unwrap_or_default() });
    }

    /// Undoes what a dead process wrote after its death: in truth it wrote nothing.
    pub(super) fn restore(&self, process: &str) {
        let Death { files, .. } = &self.dead[process];
        for directory in &self.directories {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if !files.contains_key(&path) {
                    fs::remove_file(path).unwrap();
                }
            }
        }
        for (path, bytes) in files {
            use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
            let mut options = fs::OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            std::io::Write::write_all(&mut options.open(path).unwrap(), bytes).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    /// The work of a dead process's reapers, once the last of its programs has ended. It follows
    /// `reaper.sh`.
    pub(super) fn reap(&mut self, process: &str) {
        self.pass(1000);
        let held = self.dead[process].held.clone();
        for engine in 0..self.engines.len() {
            let Some(owners) = held.get(&Self::identity(engine).digest()) else { continue };
            for (owner, lease) in owners {
                self.reap_owner(engine, owner, lease);
            }
        }
        self.dead.get_mut(process).unwrap().held.clear();
    }

    fn reap_owner(&mut self, engine: usize, owner: &str, lease: &Path) {
        let record = fs::File::open(lease).ok().and_then(|file| Record::read(&file).unwrap());
        let listed: Vec<Id> = record
            .iter()
            .flat_map(|record| [&record.network, &record.container])
            .flatten()
            .cloned()
            .collect();
        let adopted = record.is_some_and(|record| record.owner == owner && !record.kept);
        for resource in [Resource::Container, Resource::Network] {
            let wanted = |it: &&Item| {
                let is_listed = listed.contains(&it.id);
                let own = it.owner() == Some(owner) && (adopted || !is_listed);
                it.resource == resource && (own || adopted && is_listed)
            };
            let items: Vec<_> = self.engines[engine].items.iter().filter(wanted).cloned().collect();
            for item in items {
                self.judge("a reaper", owner, &item);
                let id = item.id.as_str();
                if resource == Resource::Container || !self.engines[engine].in_use(id) {
                    self.forget(id);
                }
            }
        }
    }

    /// Notes a violation if this process, or the reaper of a dead one, may not remove this.
    pub(super) fn judge(&mut self, who: &str, process: &str, item: &Item) {
        let id = item.id.as_str();
        let held_elsewhere = self.held.get(id).filter(|holder| *holder != process);
        let living = held_elsewhere.is_some_and(|holder| !self.dead.contains_key(holder));
        let violation = if item.owner().is_none() {
            Some("removes what is foreign")
        } else if self.kept.contains(id) && self.is_marked_as_kept(id) && !self.discarding {
            Some("removes what was kept")
        } else if living && !self.discarding {
            Some("removes what a living owner holds")
        } else {
            None
        };
        if let Some(violation) = violation {
            self.violations.push(format!("{who} ({process}) {violation}: {item:?}"));
        }
    }
}

/// The knowledge of a process's reapers, by engine: the owners that are held, each with its lease.
#[derive(Debug, Default)]
pub(crate) struct ReaperRecord(Mutex<BTreeMap<String, BTreeMap<String, PathBuf>>>);

impl ReaperRecord {
    pub(crate) fn hold(&self, engine: &str, owner: &str, lease: &Path) {
        let mut held = self.0.lock().unwrap();
        held.entry(engine.to_owned()).or_default().insert(owner.to_owned(), lease.to_owned());
    }

    pub(crate) fn release(&self, owner: &str) {
        for held in self.0.lock().unwrap().values_mut() {
            held.remove(owner);
        }
    }

    pub(crate) fn release_others(&self, owner: &str, lease: &Path) {
        for held in self.0.lock().unwrap().values_mut() {
            held.retain(|other, path| other == owner || path != lease);
        }
    }
}
