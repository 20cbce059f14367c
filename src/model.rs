//! The whole library against an engine in this process that fails, loses answers, acts late and stops
//! its owner at every step.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::engine::about::Reachability;
use crate::engine::command::CommandError;
use crate::engine::diagnosis::diagnose;
use crate::engine::follow::{Event, Followed};
use crate::engine::{
    ContainerFacts, ContainerRequest, Endpoint, Failed, Filter, Made, NetworkFacts, NetworkRequest,
    Operations, Resource,
};
use crate::labels::owner_in;
use crate::lease::{Kept, leases};
use crate::network_options::NetworkOptions;
use crate::reaper::Stranger;
use crate::spec::CheckedSpec;
use crate::status::{ExecOutput, LogLine, State};
use crate::{
    AddressPool, BundleRunning, BundleSpec, Error, NetworkCreated, NetworkPlanned, Slug,
    SweptOutcome, sweep,
};

const SLUGS: [&str; 2] = ["one", "two"];
const OWNERS: usize = 3;

/// What becomes of one command of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Obey,
    Refuse,
    LoseAnswer,
    ActLate(u64),
    /// Makes the container and does not start it.
    NotStarted,
    Away,
    /// The owner dies before, after, or while the engine is at it.
    DieBefore,
    DieAfter,
    DieLate(u64),
}

#[derive(Clone, Debug)]
enum Action {
    Launch { owner: usize, slug: usize, faults: Vec<Fault> },
    Create { owner: usize, slug: usize, free: bool, faults: Vec<Fault> },
    Start { owner: usize, slug: usize, faults: Vec<Fault> },
    Close { owner: usize, slug: usize, faults: Vec<Fault> },
    Keep { owner: usize, slug: usize },
    Attach { owner: usize, slug: usize, faults: Vec<Fault> },
    Sweep { owner: usize, faults: Vec<Fault> },
    Kill { owner: usize },
    Reap { owner: usize },
    Pass(u64),
    ForeignNetwork { slug: usize, of_its_name: bool },
    ForeignContainer { slug: usize },
    Guest { slug: usize },
    ForeignersLeave,
    RemovedBehind { slug: usize, network: bool },
}

#[derive(Clone, Debug, PartialEq)]
struct Thing {
    resource: Resource,
    id: String,
    name: String,
    labels: BTreeMap<String, String>,
    subnet: Option<(Ipv4Net, Ipv4Addr)>,
    network: String,
    ip: Ipv4Addr,
    running: bool,
}

impl Thing {
    fn owner(&self) -> Option<&str> {
        owner_in(&self.labels)
    }

    fn slug(&self) -> &str {
        &self.labels["sidecar-bundle.slug"]
    }
}

#[derive(Debug, Default)]
struct World {
    clock: u64,
    ids: u64,
    things: Vec<Thing>,
    late: Vec<(u64, Thing)>,
    faults: VecDeque<Fault>,
    dead: HashSet<String>,
    waited: BTreeMap<String, u64>,
    /// By id: what its owner has left on purpose, and who has adopted what.
    kept: BTreeSet<String>,
    /// What is under guard, by id: by whom.
    held: BTreeMap<String, String>,
    adopted: BTreeMap<String, String>,
    /// What was to be removed, whatever came of it.
    tried: BTreeSet<String>,
    violations: Vec<String>,
}

impl World {
    fn pass(&mut self, milliseconds: u64) {
        self.clock += milliseconds;
        let (due, late) =
            std::mem::take(&mut self.late).into_iter().partition(|it| it.0 <= self.clock);
        self.late = late;
        let due: Vec<(u64, Thing)> = due;
        for (_, thing) in due {
            let _ = self.make(thing);
        }
    }

    /// By the engine's rules.
    fn make(&mut self, thing: Thing) -> Result<String, &'static str> {
        let same_kind = |it: &&Thing| it.resource == thing.resource;
        let mut others = self.things.iter().filter(same_kind);
        match thing.resource {
            Resource::Network => {
                if others.clone().any(|it| it.name == thing.name) {
                    return Err("network with name N already exists");
                }
                let overlaps = |it: &Thing| match (it.subnet, thing.subnet) {
                    (Some((a, _)), Some((b, _))) => a.contains(&b) || b.contains(&a),
                    _ => false,
                };
                if others.any(overlaps) {
                    return Err("Pool overlaps with other one on this address space");
                }
            }
            Resource::Container => {
                if others.any(|it| it.name == thing.name) {
                    return Err(
                        "Conflict. The container name \"/C\" is already in use by container",
                    );
                }
                if !self.things.iter().any(|it| it.id == thing.network) {
                    return Err("network N not found");
                }
            }
        }
        let id = thing.id.clone();
        self.things.push(thing);
        Ok(id)
    }

    fn next_id(&mut self) -> String {
        self.ids += 1;
        format!("{:064x}", self.ids)
    }

    fn get(&self, id: &str) -> Option<&Thing> {
        self.things.iter().find(|it| it.id == id)
    }

    fn forget(&mut self, id: &str) {
        self.things.retain(|it| it.id != id);
        self.kept.remove(id);
        self.adopted.remove(id);
    }

    /// Who is answerable for a thing now.
    fn holder<'a>(&'a self, thing: &'a Thing) -> Option<&'a str> {
        self.adopted.get(&thing.id).map(String::as_str).or(thing.owner())
    }

    /// What the reaper of a dead owner does, once the last of its commands has ended.
    fn reap(&mut self, owner: &str) {
        self.pass(1000);
        for resource in [Resource::Container, Resource::Network] {
            let theirs: Vec<_> = self.things.iter().filter(|it| it.resource == resource).collect();
            let theirs = theirs.into_iter().filter(|it| self.holder(it) == Some(owner));
            let theirs = theirs.filter(|it| !self.kept.contains(&it.id));
            for id in theirs.map(|it| it.id.clone()).collect::<Vec<_>>() {
                if resource == Resource::Container || !self.in_use(&id) {
                    self.forget(&id);
                }
            }
        }
    }

    fn in_use(&self, network: &str) -> bool {
        self.things.iter().any(|it| it.network == network && it.running)
    }
}

#[derive(Clone, Debug)]
struct ModelEngine {
    world: Arc<Mutex<World>>,
    owner: String,
    state_dir: PathBuf,
    start: Instant,
}

impl ModelEngine {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// A command that changes nothing, or is settled by asking again.
    fn ask(&self) -> Result<MutexGuard<'_, World>, CommandError> {
        let mut world = self.world();
        if world.dead.contains(&self.owner) {
            return Err(CommandError::for_test("the owner is dead"));
        }
        world.pass(10);
        match world.faults.pop_front() {
            Some(Fault::Refuse) => Err(CommandError::for_test("the moon is full")),
            Some(Fault::Away) => Err(CommandError::for_test("Cannot connect to the Docker daemon")),
            Some(Fault::DieBefore) => {
                world.dead.insert(self.owner.clone());
                Err(CommandError::for_test("the owner is dead"))
            }
            _ => Ok(world),
        }
    }

    fn create(&self, thing: Thing) -> Result<String, Failed> {
        let failed = |text: &str, made| Failed { error: CommandError::for_test(text), made };
        let mut world = self.world();
        if world.dead.contains(&self.owner) {
            return Err(failed("the owner is dead", Made::Nothing));
        }
        world.pass(10);
        let fault = world.faults.pop_front().unwrap_or(Fault::Obey);
        if matches!(fault, Fault::DieBefore | Fault::DieAfter | Fault::DieLate(_)) {
            world.dead.insert(self.owner.clone());
        }
        let unmade = |text: &str| {
            let (_, nothing) = diagnose(text);
            failed(text, if nothing.0 { Made::Nothing } else { Made::Perhaps })
        };
        match fault {
            Fault::Refuse => Err(unmade("the moon is full")),
            Fault::Away => Err(unmade("Cannot connect to the Docker daemon")),
            Fault::DieBefore => Err(failed("the owner is dead", Made::Perhaps)),
            Fault::LoseAnswer | Fault::DieAfter => {
                let _ = world.make(thing);
                Err(unmade("the moon is full"))
            }
            Fault::ActLate(after) | Fault::DieLate(after) => {
                let due = world.clock + after;
                world.late.push((due, thing));
                Err(unmade("the moon is full"))
            }
            Fault::NotStarted if thing.resource == Resource::Container => {
                let id = world.make(Thing { running: false, ..thing }).map_err(unmade)?;
                Err(failed("docker: Address already in use", Made::Id(id)))
            }
            Fault::Obey | Fault::NotStarted => world.make(thing).map_err(unmade),
        }
    }
}

impl Operations for ModelEngine {
    fn shared(&self) -> Arc<dyn Operations> {
        Arc::new(self.clone())
    }

    fn endpoint(&self) -> String {
        "model".into()
    }

    fn state_dir(&self) -> Option<PathBuf> {
        Some(self.state_dir.clone())
    }

    fn owner(&self) -> Result<String, Error> {
        Ok(self.owner.clone())
    }

    fn stranger(&self, _owner: &str) -> Option<Stranger> {
        None
    }

    fn now(&self) -> Instant {
        let world = self.world();
        let waited = world.waited.get(&self.owner).copied().unwrap_or_default();
        self.start + Duration::from_millis(world.clock + waited)
    }

    /// A dead owner waits in a time of its own: it is gone at once.
    fn pause(&self, duration: Duration) {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap();
        let mut world = self.world();
        if world.dead.contains(&self.owner) {
            *world.waited.entry(self.owner.clone()).or_default() += milliseconds;
        } else {
            world.pass(milliseconds);
        }
    }

    fn remove_deadline(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn reachability(&self) -> Result<Reachability, CommandError> {
        Ok(Reachability::OtherNamespace)
    }

    fn removal_command(&self, resource: Resource, id: &str) -> String {
        format!("remove {resource} {id}")
    }

    fn hide(&self, _spec: &CheckedSpec) {}

    fn supports(&self, _options: &NetworkOptions, _ipv6: bool) -> Result<(), Error> {
        Ok(())
    }

    fn create_network(&self, request: &NetworkRequest<'_>) -> Result<String, Failed> {
        let id = self.world().next_id();
        self.create(Thing {
            resource: Resource::Network,
            id,
            name: request.name.to_owned(),
            labels: request.labels.pairs().map(|(key, value)| (key, value.to_owned())).collect(),
            subnet: Some((request.addressing.subnet(), request.addressing.gateway())),
            network: String::new(),
            ip: Ipv4Addr::UNSPECIFIED,
            running: false,
        })
    }

    fn run_container(&self, request: &ContainerRequest<'_>) -> Result<String, Failed> {
        let id = self.world().next_id();
        self.create(Thing {
            resource: Resource::Container,
            id,
            name: request.name.to_owned(),
            labels: request.labels.pairs().map(|(key, value)| (key, value.to_owned())).collect(),
            subnet: None,
            network: request.network_id.to_owned(),
            ip: request.ip,
            running: true,
        })
    }

    fn networks(&self, names: &[&str], _: Instant) -> Result<Vec<NetworkFacts>, CommandError> {
        let world = self.ask()?;
        let wanted = |it: &&Thing| {
            let is_asked = names.iter().any(|asked| it.id == *asked || it.name == *asked);
            it.resource == Resource::Network && (names.is_empty() || is_asked)
        };
        let facts = |it: &Thing| NetworkFacts {
            id: it.id.clone(),
            name: it.name.clone(),
            labels: it.labels.clone(),
            subnets: it
                .subnet
                .map(|(subnet, gateway)| (subnet.into(), Some(gateway.into())))
                .into_iter()
                .collect(),
            bridge: None,
        };
        Ok(world.things.iter().filter(wanted).map(facts).collect())
    }

    fn attached(&self, network: &str, _: Instant) -> Result<Vec<String>, CommandError> {
        let world = self.ask()?;
        let attached = world.things.iter().filter(|it| it.network == network);
        Ok(attached.map(|it| it.name.clone()).collect())
    }

    fn container(&self, name: &str, _: Instant) -> Result<Option<ContainerFacts>, CommandError> {
        let world = self.ask()?;
        let mut containers = world.things.iter().filter(|it| it.resource == Resource::Container);
        let found = containers.find(|it| it.id == name || it.name == name);
        Ok(found.map(|it| ContainerFacts {
            id: it.id.clone(),
            labels: it.labels.clone(),
            state: if it.running { State::Running } else { State::Created },
            exit: None,
            health: None,
            endpoints: vec![Endpoint { network: it.network.clone(), ip: Some(it.ip), ipv6: None }],
        }))
    }

    fn find(
        &self,
        resource: Resource,
        filter: &Filter,
        _: Instant,
    ) -> Result<Vec<String>, CommandError> {
        let world = self.ask()?;
        let fits = |it: &&Thing| {
            it.resource == resource
                && match filter {
                    Filter::Id(id) => it.id == *id,
                    Filter::Labels(all) => all.iter().all(|(k, v)| it.labels.get(k) == Some(v)),
                }
        };
        Ok(world.things.iter().filter(fits).map(|it| it.id.clone()).collect())
    }

    fn remove(&self, resource: Resource, id: &str, _: Instant) -> Result<(), CommandError> {
        let mut world = self.world();
        if world.dead.contains(&self.owner) {
            return Err(CommandError::for_test("the owner is dead"));
        }
        world.pass(10);
        world.tried.insert(id.to_owned());
        let fault = world.faults.pop_front().unwrap_or(Fault::Obey);
        if matches!(fault, Fault::DieBefore | Fault::DieAfter | Fault::DieLate(_)) {
            world.dead.insert(self.owner.clone());
        }
        if matches!(fault, Fault::Refuse | Fault::Away | Fault::DieBefore) {
            return Err(CommandError::for_test("the moon is full"));
        }
        let Some(thing) = world.get(id).cloned() else {
            return Err(CommandError::for_test("network N not found"));
        };
        let violation = match thing.owner() {
            _ if thing.resource != resource => Some("removed as something else"),
            None => Some("removed what is foreign"),
            // Who takes over what was kept takes the mark off first.
            Some(_) if world.kept.contains(id) && is_kept(&self.state_dir, thing.slug()) => {
                Some("removed what was kept")
            }
            Some(_) => {
                let holder = world.held.get(id).filter(|holder| **holder != self.owner);
                let living = holder.is_some_and(|holder| !world.dead.contains(holder));
                living.then_some("removed what a living owner holds")
            }
        };
        if let Some(violation) = violation {
            world.violations.push(format!("{} {violation}: {thing:?}", self.owner));
        }
        if resource == Resource::Network {
            let mine = |it: &&Thing| {
                it.network == id
                    && world.held.get(&it.id).is_some_and(|holder| *holder == self.owner)
            };
            let stray = world.things.iter().filter(mine).find(|it| !world.tried.contains(&it.id));
            if let Some(stray) = stray {
                let violation = format!("{} removes a network before {stray:?}", self.owner);
                world.violations.push(violation);
            }
            if world.in_use(id) {
                return Err(CommandError::for_test("network N has active endpoints"));
            }
        }
        world.forget(id);
        match fault {
            Fault::LoseAnswer | Fault::ActLate(_) | Fault::DieAfter | Fault::DieLate(_) => {
                Err(CommandError::for_test("the moon is full"))
            }
            _ => Ok(()),
        }
    }

    fn pull(&self, _: &str) -> Result<(), CommandError> {
        Err(CommandError::for_test("nothing is pulled here"))
    }

    fn stop(&self, _: &str, _: Duration, _: Instant) -> Result<(), CommandError> {
        Ok(())
    }

    fn logs(&self, _: &str, _: Option<usize>) -> Result<Vec<LogLine>, CommandError> {
        Ok(Vec::new())
    }

    fn follow_log(
        &self,
        _: &str,
        _: Option<usize>,
        _: Sender<Event>,
    ) -> Result<Followed, CommandError> {
        Err(CommandError::for_test("nothing is followed here"))
    }

    fn follow_end(&self, _: &str, _: Sender<Event>) -> Result<Followed, CommandError> {
        Err(CommandError::for_test("nothing is followed here"))
    }

    fn exec(&self, _: &str, _: &[String], _: Instant) -> Result<ExecOutput, CommandError> {
        Err(CommandError::for_test("nothing is run here"))
    }

    fn redacted(&self, text: &str) -> String {
        text.to_owned()
    }
}

fn is_kept(directory: &Path, slug: &str) -> bool {
    let leases = leases(directory, "model").unwrap();
    leases.iter().any(|(_, record)| record.slug == slug && record.kept != Kept::Nothing)
}

enum Held {
    Created(NetworkCreated),
    Running(BundleRunning),
}

impl Held {
    fn ids(&self) -> Vec<String> {
        match self {
            Self::Created(network) => vec![network.network_id().to_owned()],
            Self::Running(bundle) => {
                vec![bundle.network_id().to_owned(), bundle.container_id().to_owned()]
            }
        }
    }

    fn plan(&self) -> &NetworkPlanned {
        match self {
            Self::Created(network) => network.plan(),
            Self::Running(bundle) => bundle.plan(),
        }
    }
}

struct Model {
    world: Arc<Mutex<World>>,
    directory: tempfile::TempDir,
    /// How many processes each owner has been.
    lives: [usize; OWNERS],
    held: BTreeMap<(usize, usize), Held>,
    behind: BTreeSet<String>,
    start: Instant,
}

impl Model {
    fn new() -> Self {
        Self {
            world: Arc::default(),
            // In memory where there is such a place: each sequence writes and syncs its leases.
            directory: tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap(),
            lives: [0; OWNERS],
            held: BTreeMap::new(),
            behind: BTreeSet::new(),
            start: Instant::now(),
        }
    }

    fn name(&self, owner: usize) -> String {
        format!("owner-{owner}-{}", self.lives[owner])
    }

    fn engine(&self, owner: usize) -> ModelEngine {
        ModelEngine {
            world: Arc::clone(&self.world),
            owner: self.name(owner),
            state_dir: self.directory.path().to_owned(),
            start: self.start,
        }
    }

    /// Eight subnets, so that slugs meet.
    fn plan(slug: usize) -> NetworkPlanned {
        let pool: AddressPool = "10.0.0.0/21:/24".parse().unwrap();
        NetworkPlanned::new(Slug::new(SLUGS[slug]).unwrap()).with_pool(pool)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each action")]
    fn act(&mut self, action: &Action) {
        self.world().faults.clear();
        match action {
            Action::Launch { owner, slug, faults } => {
                self.world().faults.extend(faults);
                if let Ok(bundle) =
                    Self::plan(*slug).launch(&self.engine(*owner), BundleSpec::new())
                {
                    self.held.insert((*owner, *slug), Held::Running(bundle));
                }
            }
            Action::Create { owner, slug, free, faults } => {
                self.world().faults.extend(faults);
                let (plan, engine) = (Self::plan(*slug), self.engine(*owner));
                let created = if *free {
                    plan.create_network_in_free_subnet(&engine)
                } else {
                    plan.create_network(&engine)
                };
                if let Ok(network) = created {
                    self.held.insert((*owner, *slug), Held::Created(network));
                }
            }
            Action::Start { owner, slug, faults } => {
                if let Some(Held::Created(_)) = self.held.get(&(*owner, *slug)) {
                    let Some(Held::Created(network)) = self.held.remove(&(*owner, *slug)) else {
                        return;
                    };
                    self.world().faults.extend(faults);
                    let held = match network.start(BundleSpec::new()) {
                        Ok(bundle) => Held::Running(bundle),
                        Err(failed) => Held::Created(failed.into_state()),
                    };
                    self.held.insert((*owner, *slug), held);
                }
            }
            Action::Close { owner, slug, faults } => {
                self.world().faults.extend(faults);
                match self.held.remove(&(*owner, *slug)) {
                    Some(Held::Created(network)) => drop(network.close()),
                    Some(Held::Running(bundle)) => drop(bundle.close()),
                    None => {}
                }
            }
            Action::Keep { owner, slug } => {
                let Some(held) = self.held.remove(&(*owner, *slug)) else { return };
                self.world().kept.extend(held.ids());
                match held {
                    Held::Created(network) => drop(network.keep().unwrap()),
                    Held::Running(bundle) => drop(bundle.keep().unwrap()),
                }
            }
            Action::Attach { owner, slug, faults } => {
                self.world().faults.extend(faults);
                let slug_name = Slug::new(SLUGS[*slug]).unwrap();
                let engine = self.engine(*owner);
                if let Ok(bundle) = BundleRunning::attach(slug_name, &engine) {
                    self.held.insert((*owner, *slug), Held::Running(bundle));
                }
            }
            Action::Sweep { owner, faults } => {
                self.world().faults.extend(faults);
                drop(sweep(&self.engine(*owner)));
            }
            Action::Kill { owner } => {
                let name = self.name(*owner);
                self.world().dead.insert(name);
            }
            Action::Reap { owner } => {
                for life in 0..=self.lives[*owner] {
                    let name = format!("owner-{owner}-{life}");
                    let mut world = self.world();
                    if world.dead.contains(&name) {
                        world.reap(&name);
                    }
                }
            }
            Action::Pass(milliseconds) => self.world().pass(*milliseconds),
            Action::ForeignNetwork { slug, of_its_name } => {
                let plan = Self::plan(*slug);
                let name = if *of_its_name { plan.network_name() } else { "foreign".into() };
                let subnet =
                    if *of_its_name { "172.16.0.0/24".parse().unwrap() } else { plan.subnet() };
                self.foreign(Resource::Network, name, Some(subnet), String::new());
            }
            Action::ForeignContainer { slug } => {
                let name = Self::plan(*slug).container_name();
                let mut world = self.world();
                let id = world.next_id();
                let network = world.next_id();
                let thing = foreign(Resource::Container, id, name, None, network);
                // On a network of its own, which is not looked at.
                if !world.things.iter().any(|it| it.name == thing.name) {
                    world.things.push(thing);
                }
            }
            Action::Guest { slug } => {
                let name = Self::plan(*slug).network_name();
                let network =
                    self.world().things.iter().find(|it| it.name == name).map(|it| it.id.clone());
                if let Some(network) = network {
                    self.foreign(Resource::Container, "guest".into(), None, network);
                }
            }
            Action::ForeignersLeave => self.world().things.retain(|it| it.owner().is_some()),
            Action::RemovedBehind { slug, network } => {
                let plan = Self::plan(*slug);
                let name = if *network { plan.network_name() } else { plan.container_name() };
                let mut world = self.world();
                let id = world.things.iter().find(|it| it.name == name && it.owner().is_some());
                let id = id.map(|it| it.id.clone()).filter(|id| !world.in_use(id));
                if let Some(id) = id {
                    world.forget(&id);
                    drop(world);
                    self.behind.insert(id);
                }
            }
        }
        self.world().faults.clear();
        if let Action::Launch { owner, slug, .. }
        | Action::Create { owner, slug, .. }
        | Action::Attach { owner, slug, .. } = action
        {
            self.take_over(*owner, *slug);
        }
        self.bury();
    }

    /// What was kept and is marked so no more belongs to the owner that has asked for it.
    fn take_over(&self, owner: usize, slug: usize) {
        let marked = is_kept(self.directory.path(), SLUGS[slug]);
        let mut world = self.world();
        let kept: Vec<_> = world.kept.iter().cloned().collect();
        for id in kept {
            if !marked && world.get(&id).is_some_and(|thing| thing.slug() == SLUGS[slug]) {
                world.kept.remove(&id);
                world.adopted.insert(id, self.name(owner));
            }
        }
    }

    fn foreign(&self, resource: Resource, name: String, subnet: Option<Ipv4Net>, network: String) {
        let mut world = self.world();
        let id = world.next_id();
        let _ = world.make(foreign(resource, id, name, subnet, network));
    }

    /// What the dead held is dropped, to no effect on the engine; the next life is another process.
    fn bury(&mut self) {
        let held = self.held.iter();
        let held = held.flat_map(|((owner, _), held)| {
            let name = self.name(*owner);
            held.ids().into_iter().map(move |id| (id, name.clone()))
        });
        let held = held.collect();
        self.world().held = held;
        for owner in 0..OWNERS {
            if self.world().dead.contains(&self.name(owner)) {
                self.held.retain(|(holder, _), _| *holder != owner);
                self.lives[owner] += 1;
            }
        }
    }

    /// What holds after every action.
    fn check(&self) -> Result<(), String> {
        let leases = leases(self.directory.path(), "model").unwrap();
        let world = self.world();
        if let Some(violation) = world.violations.first() {
            return Err(violation.clone());
        }
        for thing in world.things.iter().filter(|it| it.owner().is_some()) {
            let owner = thing.owner().unwrap();
            let known = leases.iter().any(|(_, record)| {
                record.slug == thing.slug() && record.owners.iter().any(|it| it.name == owner)
            });
            if !known {
                return Err(format!("nobody knows of {thing:?}"));
            }
        }
        for ((owner, _), held) in &self.held {
            for id in held.ids() {
                match world.get(&id) {
                    Some(thing) => {
                        let plan = held.plan();
                        let subnet = thing.subnet.is_none_or(|(subnet, _)| subnet == plan.subnet());
                        let ip = thing.network.is_empty() || thing.ip == plan.ip();
                        if !subnet || !ip {
                            return Err(format!("{thing:?} is not as planned: {plan}"));
                        }
                    }
                    None if self.behind.contains(&id) => {}
                    None => return Err(format!("owner {owner} holds {id}, which is not there")),
                }
            }
        }
        Ok(())
    }

    /// Everyone ends, the engine is well again, and the dead have reapers or not.
    fn end(mut self, reapers: bool) -> Result<(), String> {
        self.act(&Action::Pass(2000));
        for owner in 0..OWNERS {
            self.act(&Action::Kill { owner });
            if reapers {
                self.act(&Action::Reap { owner });
            }
            self.check()?;
        }
        self.act(&Action::ForeignersLeave);
        let swept = sweep(&self.engine(0)).unwrap();
        let failed = swept.iter().find(|it| matches!(it.outcome, SweptOutcome::Failed(_)));
        self.check()?;
        let world = self.world();
        let left = world.things.iter().find(|it| !world.kept.contains(&it.id));
        match (left, failed) {
            (None, None) => Ok(()),
            (left, failed) => Err(format!("left: {left:?}, failed: {failed:?}")),
        }
    }
}

fn foreign(
    resource: Resource,
    id: String,
    name: String,
    subnet: Option<Ipv4Net>,
    network: String,
) -> Thing {
    Thing {
        resource,
        id,
        name,
        labels: BTreeMap::new(),
        subnet: subnet.map(|subnet| (subnet, subnet.hosts().next().unwrap())),
        network,
        ip: Ipv4Addr::UNSPECIFIED,
        running: true,
    }
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let fault = prop_oneof![
        6 => Just(Fault::Obey),
        1 => Just(Fault::Refuse),
        1 => Just(Fault::LoseAnswer),
        1 => (0..900_u64).prop_map(Fault::ActLate),
        1 => Just(Fault::NotStarted),
        1 => Just(Fault::Away),
        1 => Just(Fault::DieBefore),
        1 => Just(Fault::DieAfter),
        1 => (0..900_u64).prop_map(Fault::DieLate),
    ];
    prop::collection::vec(fault, 0..6)
}

fn actions() -> impl Strategy<Value = Action> {
    let (owner, slug) = (0..OWNERS, 0..SLUGS.len());
    let both = (owner.clone(), slug.clone());
    prop_oneof![
        6 => (both.clone(), faults()).prop_map(|((owner, slug), faults)| Action::Launch { owner, slug, faults }),
        3 => (both.clone(), any::<bool>(), faults())
            .prop_map(|((owner, slug), free, faults)| Action::Create { owner, slug, free, faults }),
        3 => (both.clone(), faults()).prop_map(|((owner, slug), faults)| Action::Start { owner, slug, faults }),
        4 => (both.clone(), faults()).prop_map(|((owner, slug), faults)| Action::Close { owner, slug, faults }),
        2 => both.clone().prop_map(|(owner, slug)| Action::Keep { owner, slug }),
        2 => (both, faults()).prop_map(|((owner, slug), faults)| Action::Attach { owner, slug, faults }),
        2 => (owner.clone(), faults()).prop_map(|(owner, faults)| Action::Sweep { owner, faults }),
        2 => owner.clone().prop_map(|owner| Action::Kill { owner }),
        2 => owner.prop_map(|owner| Action::Reap { owner }),
        1 => (0..2000_u64).prop_map(Action::Pass),
        1 => (slug.clone(), any::<bool>())
            .prop_map(|(slug, of_its_name)| Action::ForeignNetwork { slug, of_its_name }),
        1 => slug.clone().prop_map(|slug| Action::ForeignContainer { slug }),
        1 => slug.clone().prop_map(|slug| Action::Guest { slug }),
        1 => Just(Action::ForeignersLeave),
        1 => (slug, any::<bool>()).prop_map(|(slug, network)| Action::RemovedBehind { slug, network }),
    ]
}

#[test]
fn whatever_happens_nothing_is_lost_and_nothing_foreign_is_touched() {
    const SEQUENCES: u32 = 10_000;
    let config = Config { cases: SEQUENCES, failure_persistence: None, ..Config::default() };
    let sequences = (prop::collection::vec(actions(), 1..16), any::<bool>());
    let start = Instant::now();
    let ran = TestRunner::new(config).run(&sequences, |(actions, reapers)| {
        let mut model = Model::new();
        for action in &actions {
            let foreign = |model: &Model| {
                let world = model.world();
                world.things.iter().filter(|it| it.owner().is_none()).cloned().collect::<Vec<_>>()
            };
            let before = foreign(&model);
            model.act(action);
            model.check().map_err(|error| TestCaseError::fail(format!("{action:?}: {error}")))?;
            let by_others = matches!(
                action,
                Action::ForeignNetwork { .. }
                    | Action::ForeignContainer { .. }
                    | Action::Guest { .. }
                    | Action::ForeignersLeave
            );
            prop_assert!(by_others || foreign(&model) == before, "{:?} touched foreigners", action);
        }
        model.end(reapers).map_err(TestCaseError::fail)
    });
    println!("{SEQUENCES} sequences in {:?}", start.elapsed());
    ran.unwrap();
}
