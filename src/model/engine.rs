//! The backend of the model, and its clock.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::world::{EngineState, Fault, Item, World};
use crate::container::CheckedSpec;
use crate::engine::Refused;
use crate::engine::backend::{
    Attachment, Backend, ContainerInfo, ContainerRequest, CreateError, Endpoint, Filter, Id,
    Listed, Made, NetworkInfo, NetworkRequest, Notice, ReaperSpec, Resource, Stepwise,
};
use crate::engine::cause::diagnose;
use crate::engine::clock::Clock;
use crate::engine::error::EngineError;
use crate::engine::identity::{EngineInfo, EngineKind};
use crate::status::{LogLine, State};

/// One way of one process to an engine.
#[derive(Clone, Debug)]
pub(super) struct ModelBackend {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) process: String,
    pub(super) way: usize,
}

impl ModelBackend {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The world and the engine for a request that changes nothing.
    fn ask(&self) -> Result<(MutexGuard<'_, World>, usize), EngineError> {
        let mut world = self.world();
        let fault = self.begin(&mut world).ok_or_else(dead)?;
        match fault {
            Fault::Refuse => Err(EngineError::for_test("the moon is full")),
            Fault::Away => Err(EngineError::for_test("Cannot connect to the Docker daemon")),
            Fault::DieBefore => {
                world.die(&self.process);
                Err(dead())
            }
            _ => {
                let engine = world.ways[self.way];
                Ok((world, engine))
            }
        }
    }

    /// The fault of the next request; none for a dead process.
    fn begin(&self, world: &mut World) -> Option<Fault> {
        if world.dead.contains_key(&self.process) {
            return None;
        }
        world.pass(10);
        Some(world.faults.pop_front().unwrap_or(Fault::Obey))
    }

    /// Changes a container.
    fn change(
        &self,
        id: &Id,
        change: fn(&mut EngineState, &Id) -> Result<(), &'static str>,
    ) -> Result<(), EngineError> {
        let mut world = self.world();
        let fault = self.begin(&mut world).ok_or_else(dead)?;
        if fault.kills() {
            world.die(&self.process);
        }
        let (clock, engine) = (world.clock, world.ways[self.way]);
        let engine = &mut world.engines[engine];
        match fault {
            Fault::Obey => change(engine, id).map_err(EngineError::for_test),
            Fault::NotStarted => Err(EngineError::for_test("docker: Address already in use")),
            Fault::LoseAnswer | Fault::DieAfter => {
                let _ = change(engine, id);
                Err(EngineError::for_test("the moon is full"))
            }
            Fault::ActLate(after) | Fault::DieLate(after) => {
                engine.change_late(clock + after, id.clone(), change);
                Err(EngineError::for_test("the moon is full"))
            }
            Fault::Refuse | Fault::Away | Fault::DieBefore => {
                Err(EngineError::for_test("the moon is full"))
            }
        }
    }

    fn create(&self, item: Item) -> Result<Id, CreateError> {
        let failed = |text: &str, made| CreateError { error: EngineError::for_test(text), made };
        let unmade = |text: &str| {
            let (_, nothing) = diagnose(text);
            failed(text, if nothing.0 { Made::Nothing } else { Made::Perhaps })
        };
        let mut world = self.world();
        let Some(fault) = self.begin(&mut world) else {
            return Err(CreateError { error: dead(), made: Made::Nothing });
        };
        if fault.kills() {
            world.die(&self.process);
        }
        let (clock, engine) = (world.clock, world.ways[self.way]);
        let engine = &mut world.engines[engine];
        match fault {
            Fault::Refuse => Err(unmade("the moon is full")),
            Fault::Away => Err(unmade("Cannot connect to the Docker daemon")),
            Fault::DieBefore => Err(CreateError { error: dead(), made: Made::Perhaps }),
            Fault::LoseAnswer | Fault::DieAfter => {
                let _ = engine.make(item);
                Err(unmade("the moon is full"))
            }
            Fault::ActLate(after) | Fault::DieLate(after) => {
                engine.act_late(clock + after, item);
                Err(unmade("the moon is full"))
            }
            Fault::NotStarted if item.resource == Resource::Container => {
                let id = engine.make(Item { state: State::Created, ..item }).map_err(unmade)?;
                Err(failed("docker: Address already in use", Made::Id(id)))
            }
            Fault::Obey | Fault::NotStarted => engine.make(item).map_err(unmade),
        }
    }
}

/// A container as it is asked for.
fn container(id: Id, request: &ContainerRequest<'_>, state: State) -> Item {
    let Attachment::Pinned { network, ip, .. } = request.attachment else {
        unreachable!("the model has no guests");
    };
    Item {
        resource: Resource::Container,
        id,
        name: request.name.to_owned(),
        labels: request.labels.clone(),
        subnet: None,
        network: network.to_owned(),
        ip,
        state,
    }
}

impl Stepwise for ModelBackend {
    fn create_container(
        &self,
        request: &ContainerRequest<'_>,
        _: Instant,
    ) -> Result<Id, CreateError> {
        let id = self.world().next_id();
        self.create(container(id, request, State::Created))
    }

    fn start_created(&self, id: &Id, _: &CheckedSpec, _: Instant) -> Result<(), EngineError> {
        self.change(id, EngineState::start)
    }
}

fn dead() -> EngineError {
    EngineError::for_test("the owner is dead")
}

fn unused<T>() -> Result<T, EngineError> {
    Err(EngineError::for_test("the model does not use this"))
}

impl Backend for ModelBackend {
    fn info(&self, _: Instant) -> Result<EngineInfo, EngineError> {
        let engine = self.ask()?.1;
        Ok(EngineInfo::for_test(EngineKind::Docker, World::identity(engine)))
    }

    fn address(&self, _: Instant) -> Result<Option<String>, EngineError> {
        unused()
    }

    fn supports(&self, _: &CheckedSpec, _: &EngineInfo) -> Result<(), Refused> {
        Ok(())
    }

    fn create_network(
        &self,
        request: &NetworkRequest<'_>,
        _: &Notice<'_>,
        _: Instant,
    ) -> Result<Id, CreateError> {
        let id = self.world().next_id();
        self.create(Item {
            resource: Resource::Network,
            id,
            name: request.name.to_owned(),
            labels: request.labels.clone(),
            subnet: Some((request.addressing.subnet(), request.addressing.gateway())),
            network: String::new(),
            ip: Ipv4Addr::UNSPECIFIED,
            state: State::Other,
        })
    }

    fn run_container(
        &self,
        request: &ContainerRequest<'_>,
        _: &Notice<'_>,
        _: Instant,
    ) -> Result<Id, CreateError> {
        let id = self.world().next_id();
        self.create(container(id, request, State::Running))
    }

    fn stepwise(&self) -> Option<&dyn Stepwise> {
        Some(self)
    }

    fn start_container(&self, id: &Id, _: Instant) -> Result<(), EngineError> {
        let (mut world, engine) = self.ask()?;
        let found = world.engines[engine].items.iter_mut().find(|it| it.id == *id);
        let item = found.ok_or_else(|| EngineError::for_test("No such container: C"))?;
        item.state = State::Running;
        Ok(())
    }

    fn networks(&self, names: &[&str], _: Instant) -> Result<Vec<NetworkInfo>, EngineError> {
        let (world, engine) = self.ask()?;
        let wanted = |it: &&Item| {
            let is_asked = names.iter().any(|asked| it.id.as_str() == *asked || it.name == *asked);
            it.resource == Resource::Network && (names.is_empty() || is_asked)
        };
        let info = |it: &Item| NetworkInfo {
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
        Ok(world.engines[engine].items.iter().filter(wanted).map(info).collect())
    }

    fn attached(&self, network: &Id, _: Instant) -> Result<Vec<String>, EngineError> {
        let (world, engine) = self.ask()?;
        let attached = world.engines[engine].items.iter();
        let attached = attached.filter(|it| it.network == network.as_str());
        Ok(attached.map(|it| it.name.clone()).collect())
    }

    fn container(&self, name: &str, _: Instant) -> Result<Option<ContainerInfo>, EngineError> {
        let (world, engine) = self.ask()?;
        let mut containers =
            world.engines[engine].items.iter().filter(|it| it.resource == Resource::Container);
        let found = containers.find(|it| it.id.as_str() == name || it.name == name);
        Ok(found.map(|it| ContainerInfo {
            id: it.id.clone(),
            name: it.name.clone(),
            labels: it.labels.clone(),
            image: String::new(),
            state: it.state,
            started: String::new(),
            exit: None,
            health: None,
            endpoints: vec![Endpoint { network: it.network.clone(), ip: Some(it.ip), ipv6: None }],
            published: Vec::new(),
        }))
    }

    fn variables(&self, _: &Id, _: Instant) -> Result<Option<Vec<String>>, EngineError> {
        unused()
    }

    fn image_digests(&self, _: &str, _: Instant) -> Result<Vec<String>, EngineError> {
        unused()
    }

    fn pull(&self, _: &str, _: Instant) -> Result<(), EngineError> {
        unused()
    }

    fn signal(&self, _: &Id, _: &str, _: Instant) -> Result<(), EngineError> {
        self.ask().map(drop)
    }

    fn stop(&self, _: &Id, _: Duration, _: Instant) -> Result<(), EngineError> {
        unused()
    }

    fn last_lines(&self, _: &Id, _: usize, _: Instant) -> Result<Vec<LogLine>, EngineError> {
        Ok(Vec::new())
    }

    fn find(
        &self,
        resource: Resource,
        filter: &Filter,
        _: Instant,
    ) -> Result<Vec<Id>, EngineError> {
        let (world, engine) = self.ask()?;
        let fits = |it: &&Item| {
            it.resource == resource
                && match filter {
                    Filter::Id(id) => it.id == *id,
                    Filter::Labels(all) => all.iter().all(|(k, v)| it.labels.get(k) == Some(v)),
                    Filter::Running => it.state == State::Running,
                }
        };
        Ok(world.engines[engine].items.iter().filter(fits).map(|it| it.id.clone()).collect())
    }

    fn list(
        &self,
        resource: Resource,
        label: &str,
        _: Instant,
    ) -> Result<Vec<Listed>, EngineError> {
        let (world, engine) = self.ask()?;
        let fits = |it: &&Item| it.resource == resource && it.labels.contains_key(label);
        let listed = |it: &Item| Listed {
            id: it.id.clone(),
            labels: it.labels.clone(),
            state: (resource == Resource::Container).then_some(it.state),
            created: None,
        };
        Ok(world.engines[engine].items.iter().filter(fits).map(listed).collect())
    }

    fn disconnect(&self, _: &Id, container: &Id, _: Instant) -> Result<bool, EngineError> {
        self.change(container, |engine, id| {
            if let Some(item) = engine.items.iter_mut().find(|it| it.id == *id) {
                item.network.clear();
            }
            Ok(())
        })?;
        Ok(true)
    }

    fn remove(&self, resource: Resource, id: &Id, _: Instant) -> Result<(), EngineError> {
        let mut world = self.world();
        let fault = self.begin(&mut world).ok_or_else(dead)?;
        world.tried.insert(id.to_string());
        if fault.kills() {
            world.die(&self.process);
        }
        if matches!(fault, Fault::Refuse | Fault::Away | Fault::DieBefore) {
            return Err(EngineError::for_test("the moon is full"));
        }
        let engine = world.ways[self.way];
        let Some(item) = world.engines[engine].get(id.as_str()).cloned() else {
            return Err(EngineError::for_test("network N not found"));
        };
        if item.resource != resource {
            world.violations.push(format!("{} removes as something else: {item:?}", self.process));
        }
        world.judge("a process", &self.process, &item);
        if resource == Resource::Network {
            let mine = |it: &&Item| {
                it.network == id.as_str() && world.held.get(it.id.as_str()) == Some(&self.process)
            };
            let stray = world.items().filter(mine).find(|it| !world.tried.contains(it.id.as_str()));
            if let Some(stray) = stray {
                let violation = format!("{} removes a network before {stray:?}", self.process);
                world.violations.push(violation);
            }
            if world.engines[engine].in_use(id.as_str()) {
                return Err(EngineError::for_test("network N has active endpoints"));
            }
        }
        world.forget(id.as_str());
        match fault {
            Fault::Obey | Fault::NotStarted => Ok(()),
            _ => Err(EngineError::for_test("the moon is full")),
        }
    }

    fn advice(&self, resource: Resource, filter: &Filter) -> String {
        format!("remove {resource} {filter:?}")
    }

    fn can_reap(&self) -> bool {
        true
    }

    fn reaper_spec(&self, _: &EngineInfo) -> ReaperSpec {
        unreachable!("the model's reapers are records")
    }

    fn redact(&self, _: &CheckedSpec) {}

    fn redacted(&self, text: &str) -> String {
        text.to_owned()
    }
}

/// The time of one process.
#[derive(Debug)]
pub(super) struct ModelClock {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) process: String,
    pub(super) start: Instant,
}

impl Clock for ModelClock {
    fn now(&self) -> Instant {
        let world = self.world.lock().unwrap();
        let waited = world.waited.get(&self.process).copied().unwrap_or_default();
        self.start + Duration::from_millis(world.clock + waited)
    }

    /// A dead process waits in a time of its own: in truth it is gone.
    fn pause(&self, duration: Duration) {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap();
        let mut world = self.world.lock().unwrap();
        if world.dead.contains_key(&self.process) {
            *world.waited.entry(self.process.clone()).or_default() += milliseconds;
        } else {
            world.pass(milliseconds);
        }
    }
}
