//! Sequences of actions, and their effect.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use ipnet::Ipv4Net;
use proptest::prelude::*;

use super::engine::{ModelBackend, ModelClock};
use super::world::{Fault, Item, World};
use crate::engine::backend::{Id, Resource};
use crate::engine::{Engine, ReaperChoice};
use crate::status::State;
use crate::{AddressPool, BundleRunning, BundleSpec, NetworkCreated, NetworkPlanned, Slug, sweep};

pub(super) const SLUGS: [&str; 2] = ["one", "two"];
pub(super) const OWNERS: usize = 3;

/// The engine values of each process: way, reaper, lease directory. Ways 0 and 1 lead to one engine, way 2
/// to one or the other.
pub(super) const VALUES: [(usize, bool, usize); 5] =
    [(0, true, 0), (1, true, 0), (2, true, 0), (0, false, 0), (1, true, 1)];

/// An owner, an engine value of its process, and a slug.
#[derive(Clone, Copy, Debug)]
pub(super) struct Who {
    pub(super) owner: usize,
    pub(super) value: usize,
    pub(super) slug: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    Launch(Who, Vec<Fault>),
    Create {
        who: Who,
        free: bool,
        faults: Vec<Fault>,
    },
    Start(Who, Vec<Fault>),
    Close(Who, Vec<Fault>),
    Keep(Who),
    Attach(Who, Vec<Fault>),
    /// Of the specification that the others launch, or of another one.
    AttachOrLaunch {
        who: Who,
        other: bool,
        faults: Vec<Fault>,
    },
    Discard(Who, Vec<Fault>),
    Sweep(Who, Vec<Fault>),
    Kill {
        owner: usize,
    },
    Reap {
        owner: usize,
    },
    Pass(u64),
    /// The context leads to the other engine from now on.
    Repoint,
    /// The containers of a slug end.
    End {
        slug: usize,
    },
    ForeignNetwork {
        engine: usize,
        slug: usize,
        of_its_name: bool,
    },
    ForeignContainer {
        engine: usize,
        slug: usize,
    },
    Guest {
        engine: usize,
        slug: usize,
    },
    ForeignersLeave,
    RemovedBehind {
        engine: usize,
        slug: usize,
        network: bool,
    },
    LoseLease {
        directory: usize,
        slug: usize,
    },
}

impl Action {
    pub(super) fn is_of_others(&self) -> bool {
        matches!(
            self,
            Self::ForeignNetwork { .. }
                | Self::ForeignContainer { .. }
                | Self::Guest { .. }
                | Self::ForeignersLeave
        )
    }
}

/// A state that a process holds.
#[expect(clippy::large_enum_variant, reason = "there are few")]
pub(super) enum Held {
    Created(NetworkCreated),
    Running(BundleRunning),
}

impl Held {
    pub(super) fn ids(&self) -> Vec<String> {
        match self {
            Self::Created(network) => vec![network.network_id().to_owned()],
            Self::Running(bundle) => {
                vec![bundle.network_id().to_owned(), bundle.container_id().to_owned()]
            }
        }
    }

    pub(super) fn plan(&self) -> &NetworkPlanned {
        match self {
            Self::Created(network) => network.plan(),
            Self::Running(bundle) => bundle.plan(),
        }
    }
}

/// The world, and the processes in it.
pub(super) struct Model {
    pub(super) world: Arc<Mutex<World>>,
    _directories: Vec<tempfile::TempDir>,
    /// The number of processes that each owner has been.
    lives: [usize; OWNERS],
    /// The states that are held, by owner, engine value and slug.
    pub(super) held: BTreeMap<(usize, usize, usize), Held>,
    /// The ids of what was removed behind an owner's back.
    pub(super) behind: BTreeSet<String>,
    start: Instant,
}

impl Model {
    pub(super) fn new() -> Self {
        super::IS_FIRST.set(Some(true));
        // In memory where there is such a place: each sequence writes and syncs its leases.
        let room = || tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let directories = vec![room(), room()];
        let paths = directories.iter().map(|it| it.path().to_owned()).collect();
        Self {
            world: Arc::new(Mutex::new(World::new(paths))),
            _directories: directories,
            lives: [0; OWNERS],
            held: BTreeMap::new(),
            behind: BTreeSet::new(),
            start: Instant::now(),
        }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn process(&self, owner: usize) -> String {
        format!("owner-{owner}-{}", self.lives[owner])
    }

    pub(super) fn engine(&self, owner: usize, value: usize) -> Engine {
        let (way, reaper, directory) = VALUES[value];
        let process = self.process(owner);
        let mut world = self.world();
        let record = Arc::clone(world.reapers.entry(process.clone()).or_default());
        let directory = world.directories[directory].clone();
        drop(world);
        let world = Arc::clone(&self.world);
        let clock = ModelClock { world, process: process.clone(), start: self.start };
        let backend = ModelBackend { world: Arc::clone(&self.world), process, way };
        let reaper = if reaper { ReaperChoice::Model(record) } else { ReaperChoice::None };
        Engine::model(Arc::new(backend), directory, reaper, Arc::new(clock))
    }

    /// Eight subnets, so that slugs meet.
    pub(super) fn plan(slug: usize) -> NetworkPlanned {
        let pool: AddressPool = "10.0.0.0/21:/24".parse().unwrap();
        NetworkPlanned::new(Slug::new(SLUGS[slug]).unwrap()).with_pool(pool)
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each action")]
    pub(super) fn act(&mut self, action: &Action) {
        self.world().faults.clear();
        self.world().tried.clear();
        let engine = |who: &Who| self.engine(who.owner, who.value);
        let key = |who: &Who| (who.owner, who.value, who.slug);
        match action {
            Action::Launch(who, faults) => {
                let engine = engine(who);
                self.world().faults.extend(faults);
                if let Ok(bundle) = Self::plan(who.slug).launch(&engine, BundleSpec::new()) {
                    self.held.insert(key(who), Held::Running(bundle));
                }
                self.take_over(who);
            }
            Action::Create { who, free, faults } => {
                let (plan, engine) = (Self::plan(who.slug), engine(who));
                self.world().faults.extend(faults);
                let created = if *free {
                    plan.create_network_in_free_subnet(&engine)
                } else {
                    plan.create_network(&engine)
                };
                if let Ok(network) = created {
                    self.held.insert(key(who), Held::Created(network));
                }
                self.take_over(who);
            }
            Action::Start(who, faults) => {
                let Some(held) = self.held.remove(&key(who)) else { return };
                self.world().faults.extend(faults);
                let held = match held {
                    Held::Created(network) => match network.start(BundleSpec::new()) {
                        Ok(bundle) => Held::Running(bundle),
                        Err(failed) => Held::Created(failed.into_state()),
                    },
                    running @ Held::Running(_) => running,
                };
                self.held.insert(key(who), held);
            }
            Action::Close(who, faults) => {
                self.world().faults.extend(faults);
                match self.held.remove(&key(who)) {
                    Some(Held::Created(network)) => drop(network.close()),
                    Some(Held::Running(bundle)) => drop(bundle.close()),
                    None => {}
                }
            }
            Action::Keep(who) => {
                let Some(held) = self.held.remove(&key(who)) else { return };
                let ids = held.ids();
                let kept = match held {
                    Held::Created(network) => {
                        network.keep().map_err(|it| Held::Created(it.into_state()))
                    }
                    Held::Running(bundle) => {
                        bundle.keep().map_err(|it| Held::Running(it.into_state()))
                    }
                };
                match kept {
                    Ok(_) => {
                        let mut world = self.world();
                        let there: Vec<_> =
                            ids.into_iter().filter(|id| world.get(id).is_some()).collect();
                        world.kept.extend(there);
                    }
                    // Its lease was lost.
                    Err(held) => drop(self.held.insert(key(who), held)),
                }
            }
            Action::Attach(who, faults) => {
                let engine = engine(who);
                self.world().faults.extend(faults);
                if let Ok(bundle) = Self::plan(who.slug).attach(&engine) {
                    self.attached(key(who), bundle);
                }
                self.take_over(who);
            }
            Action::AttachOrLaunch { who, other, faults } => {
                let engine = engine(who);
                self.world().faults.extend(faults);
                let spec = BundleSpec::new();
                let spec = if *other { spec.label("made", "otherwise") } else { spec };
                if let Ok(bundle) = Self::plan(who.slug).attach_or_launch(&engine, spec) {
                    self.attached(key(who), bundle);
                }
                self.take_over(who);
            }
            Action::Discard(who, faults) => {
                let engine = engine(who);
                let unseen = self.held_unseen(who);
                let mut world = self.world();
                world.faults.extend(faults);
                world.discarding = true;
                drop(world);
                drop(Self::plan(who.slug).discard(&engine));
                self.world().discarding = false;
                let gone = |id: &String| self.world().get(id).is_none();
                self.behind.extend(unseen.into_iter().filter(gone).collect::<Vec<_>>());
                self.take_over(who);
            }
            Action::Sweep(who, faults) => {
                let engine = engine(who);
                self.world().faults.extend(faults);
                drop(sweep(&engine));
            }
            Action::Kill { owner } => {
                let process = self.process(*owner);
                self.world().die(&process);
            }
            Action::Reap { owner } => {
                for life in 0..=self.lives[*owner] {
                    let process = format!("owner-{owner}-{life}");
                    let mut world = self.world();
                    if world.dead.contains_key(&process) {
                        world.reap(&process);
                    }
                }
            }
            Action::Pass(milliseconds) => self.world().pass(*milliseconds),
            Action::Repoint => {
                let mut world = self.world();
                world.ways[2] = 1 - world.ways[2];
            }
            Action::End { slug } => {
                for engine in &mut self.world().engines {
                    let ours = engine.items.iter_mut().filter(|it| it.is_of_slug(SLUGS[*slug]));
                    for item in ours.filter(|it| it.resource == Resource::Container) {
                        item.state = State::Exited;
                    }
                }
            }
            Action::ForeignNetwork { engine, slug, of_its_name } => {
                let plan = Self::plan(*slug);
                let (name, subnet) = if *of_its_name {
                    (plan.network_name(), "172.16.0.0/24".parse().unwrap())
                } else {
                    ("foreign".into(), plan.subnet())
                };
                self.foreign(*engine, Resource::Network, name, Some(subnet), String::new());
            }
            Action::ForeignContainer { engine, slug } => {
                let name = Self::plan(*slug).container_name();
                // On a network of its own.
                let subnet = "172.17.0.0/24".parse().unwrap();
                self.foreign(
                    *engine,
                    Resource::Network,
                    "other".into(),
                    Some(subnet),
                    String::new(),
                );
                self.on_network(*engine, name, "other");
            }
            Action::Guest { engine, slug } => {
                let network = Self::plan(*slug).network_name();
                self.on_network(*engine, "guest".into(), &network);
            }
            Action::ForeignersLeave => {
                for engine in &mut self.world().engines {
                    engine.items.retain(|it| it.owner().is_some());
                }
            }
            Action::RemovedBehind { engine, slug, network } => {
                let plan = Self::plan(*slug);
                let name = if *network { plan.network_name() } else { plan.container_name() };
                let mut world = self.world();
                let engine = &world.engines[*engine];
                let item = engine.items.iter().find(|it| it.name == name && it.owner().is_some());
                let id = item.map(|it| it.id.to_string()).filter(|id| !engine.in_use(id));
                if let Some(id) = id {
                    world.forget(&id);
                    drop(world);
                    self.behind.insert(id);
                }
            }
            Action::LoseLease { directory, slug } => {
                let mut world = self.world();
                let directory = world.directories[*directory].clone();
                for (path, record) in world.records() {
                    if path.starts_with(&directory) && record.slug.as_str() == SLUGS[*slug] {
                        std::fs::remove_file(path).unwrap();
                        world.lost.insert(record.id);
                    }
                }
            }
        }
        self.world().faults.clear();
        self.bury();
    }

    fn attached(&mut self, key: (usize, usize, usize), bundle: BundleRunning) {
        let mut world = self.world();
        let container = world.get(bundle.container_id()).cloned();
        if container.is_none_or(|it| it.state != State::Running) {
            world.violations.push(format!("attached to what does not run: {bundle:?}"));
        }
        drop(world);
        self.held.insert(key, Held::Running(bundle));
    }

    /// Kept resources that are no longer marked belong to the owner that asked for them.
    fn take_over(&self, who: &Who) {
        let mut world = self.world();
        let kept: Vec<_> = world.kept.iter().cloned().collect();
        for id in kept {
            let of_slug = world.get(&id).is_some_and(|item| item.is_of_slug(SLUGS[who.slug]));
            if of_slug && !world.is_marked_as_kept(&id) {
                world.kept.remove(&id);
            }
        }
    }

    /// The ids of the slug's resources whose owner cannot be seen: under a lease of the other directory, or a
    /// lost one.
    fn held_unseen(&self, who: &Who) -> Vec<String> {
        let of_slug = self.held.iter().filter(|((_, _, slug), _)| *slug == who.slug);
        let ids = of_slug.flat_map(|((_, value, _), held)| {
            let elsewhere = VALUES[*value].2 != VALUES[who.value].2;
            held.ids().into_iter().map(move |id| (id, elsewhere))
        });
        let world = self.world();
        let lost =
            |id: &str| world.get(id).is_some_and(|it| world.lost.contains(it.lease().unwrap()));
        ids.filter(|(id, elsewhere)| *elsewhere || lost(id)).map(|(id, _)| id).collect()
    }

    fn on_network(&self, engine: usize, name: String, network: &str) {
        let world = self.world();
        let network = world.engines[engine].items.iter().find(|it| it.name == network);
        let Some(network) = network.map(|it| it.id.to_string()) else { return };
        drop(world);
        self.foreign(engine, Resource::Container, name, None, network);
    }

    fn foreign(
        &self,
        engine: usize,
        resource: Resource,
        name: String,
        subnet: Option<Ipv4Net>,
        network: String,
    ) {
        let mut world = self.world();
        let id: Id = world.next_id();
        let item = Item {
            resource,
            id,
            name,
            labels: BTreeMap::new(),
            subnet: subnet.map(|subnet| (subnet, subnet.hosts().next().unwrap())),
            network,
            ip: Ipv4Addr::UNSPECIFIED,
            state: State::Running,
        };
        let _ = world.engines[engine].make(item);
    }

    /// Drops the states of dead processes, without an effect; the next life is another process.
    fn bury(&mut self) {
        for owner in 0..OWNERS {
            let process = self.process(owner);
            if self.world().dead.contains_key(&process) {
                self.held.retain(|(holder, _, _), _| *holder != owner);
                self.world().restore(&process);
                self.lives[owner] += 1;
            }
        }
        let held = self.held.iter().flat_map(|((owner, _, _), held)| {
            let process = self.process(*owner);
            held.ids().into_iter().map(move |id| (id, process.clone()))
        });
        let held = held.collect();
        self.world().held = held;
    }
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let fault = prop_oneof![
        8 => Just(Fault::Obey),
        1 => Just(Fault::Refuse),
        1 => Just(Fault::LoseAnswer),
        1 => (0..900_u64).prop_map(Fault::ActLate),
        1 => Just(Fault::NotStarted),
        1 => Just(Fault::Away),
        1 => Just(Fault::DieBefore),
        1 => Just(Fault::DieAfter),
        1 => (0..900_u64).prop_map(Fault::DieLate),
    ];
    prop::collection::vec(fault, 0..8)
}

pub(super) fn actions() -> impl Strategy<Value = Action> {
    let (owner, slug, engine) = (0..OWNERS, 0..SLUGS.len(), 0..2_usize);
    let who = (owner.clone(), 0..VALUES.len(), slug.clone()).prop_map(|(owner, value, slug)| Who {
        owner,
        value,
        slug,
    });
    let here = (engine, slug.clone());
    prop_oneof![
        6 => (who.clone(), faults()).prop_map(|(who, faults)| Action::Launch(who, faults)),
        3 => (who.clone(), any::<bool>(), faults())
            .prop_map(|(who, free, faults)| Action::Create { who, free, faults }),
        4 => (who.clone(), faults()).prop_map(|(who, faults)| Action::Start(who, faults)),
        4 => (who.clone(), faults()).prop_map(|(who, faults)| Action::Close(who, faults)),
        4 => who.clone().prop_map(Action::Keep),
        3 => (who.clone(), faults()).prop_map(|(who, faults)| Action::Attach(who, faults)),
        2 => (who.clone(), any::<bool>(), faults())
            .prop_map(|(who, other, faults)| Action::AttachOrLaunch { who, other, faults }),
        1 => (who.clone(), faults()).prop_map(|(who, faults)| Action::Discard(who, faults)),
        2 => (who, faults()).prop_map(|(who, faults)| Action::Sweep(who, faults)),
        2 => owner.clone().prop_map(|owner| Action::Kill { owner }),
        2 => owner.prop_map(|owner| Action::Reap { owner }),
        1 => (0..2000_u64).prop_map(Action::Pass),
        1 => Just(Action::Repoint),
        1 => slug.clone().prop_map(|slug| Action::End { slug }),
        1 => (here.clone(), any::<bool>()).prop_map(|((engine, slug), of_its_name)| {
            Action::ForeignNetwork { engine, slug, of_its_name }
        }),
        1 => here.clone().prop_map(|(engine, slug)| Action::ForeignContainer { engine, slug }),
        1 => here.clone().prop_map(|(engine, slug)| Action::Guest { engine, slug }),
        1 => Just(Action::ForeignersLeave),
        1 => (here, any::<bool>()).prop_map(|((engine, slug), network)| {
            Action::RemovedBehind { engine, slug, network }
        }),
        1 => (0..2_usize, slug).prop_map(|(directory, slug)| Action::LoseLease { directory, slug }),
    ]
}

/// Sequences that found a defect, or that show a guarantee for certain; each with and without reapers.
pub(super) fn failed_once() -> Vec<(Vec<Action>, bool)> {
    use Fault::{Away, LoseAnswer, Obey, Refuse};
    let who = Who { owner: 0, value: 0, slug: 0 };
    let moving = Who { value: 2, ..who };
    // A look after each try, between two checks of the identity.
    let refused = [Refuse, Obey, Obey, Obey];
    let never_removed = [&[Obey, Away][..], &refused.repeat(4)].concat();
    let sequences = [
        // The remains of a failed start stay beside the network that was kept.
        vec![
            Action::Create { who, free: false, faults: Vec::new() },
            Action::Start(who, never_removed),
            Action::Keep(who),
        ],
        // The answer to a create is lost.
        vec![Action::Create { who, free: false, faults: vec![Obey, LoseAnswer] }],
        // Another engine does not have what is to be removed.
        vec![
            Action::Launch(moving, Vec::new()),
            Action::Repoint,
            Action::Close(moving, Vec::new()),
            Action::Repoint,
        ],
        // A kept container has ended.
        vec![
            Action::Launch(who, Vec::new()),
            Action::Keep(who),
            Action::End { slug: 0 },
            Action::Attach(who, Vec::new()),
        ],
    ];
    let both = |actions: Vec<Action>| [(actions.clone(), false), (actions, true)];
    sequences.into_iter().flat_map(both).collect()
}
