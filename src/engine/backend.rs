//! The operations of an engine, with typed answers. A backend implements them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::PipeWriter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;

use super::error::EngineError;
use super::identity::{EngineInfo, Swarm};
use super::support::Refused;
use crate::container::CheckedSpec;
use crate::plan::{Addressing, Ipv6Addressing, NetworkOptions};
use crate::status::{ExecOutput, Exit, FileProblem, Health, LogLine, State, Status};

/// A way to talk to one engine.
pub(crate) trait Backend: fmt::Debug + Send + Sync {
    /// Asks the engine that answers now what it is.
    fn info(&self, deadline: Instant) -> Result<EngineInfo, EngineError>;

    /// The address of the engine, where it is known.
    fn address(&self, deadline: Instant) -> Result<Option<String>, EngineError>;

    /// Checks that the container can be made with these options.
    fn supports(&self, spec: &CheckedSpec, info: &EngineInfo) -> Result<(), Refused>;

    /// Asks the engine for its role in a swarm again.
    fn swarm(&self, deadline: Instant) -> Result<Swarm, EngineError> {
        Ok(self.info(deadline)?.swarm)
    }

    /// Creates the network and returns its id.
    fn create_network(
        &self,
        request: &NetworkRequest<'_>,
        notice: &Notice<'_>,
        deadline: Instant,
    ) -> Result<Id, CreateError>;

    /// Creates and starts the container and returns its id.
    fn run_container(
        &self,
        request: &ContainerRequest<'_>,
        notice: &Notice<'_>,
        deadline: Instant,
    ) -> Result<Id, CreateError>;

    /// The steps of a start one by one, where a container can be created before its network.
    fn stepwise(&self) -> Option<&dyn Stepwise> {
        None
    }

    /// Starts a container that has stopped.
    fn start_container(&self, id: &Id, deadline: Instant) -> Result<(), EngineError>;

    /// Returns the networks that exist among `names` or ids, or all networks if `names` is empty.
    fn networks(&self, names: &[&str], deadline: Instant) -> Result<Vec<NetworkInfo>, EngineError>;

    /// Returns the names of the containers that keep a network from being removed.
    fn attached(&self, network: &Id, deadline: Instant) -> Result<Vec<String>, EngineError>;

    /// Returns the container of this name or id, if there is one.
    fn container(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<ContainerInfo>, EngineError>;

    /// Returns the variables of a container, as `NAME=VALUE`; `None` if there is no such container.
    fn variables(&self, id: &Id, deadline: Instant) -> Result<Option<Vec<String>>, EngineError>;

    /// Returns the names with digests by which registries know an image; none if it was removed.
    fn image_digests(&self, image: &str, deadline: Instant) -> Result<Vec<String>, EngineError>;

    /// Pulls an image.
    fn pull(&self, image: &str, deadline: Instant) -> Result<(), EngineError>;

    /// Asks the container to end, and ends it after the grace period.
    fn stop(&self, id: &Id, grace: Duration, deadline: Instant) -> Result<(), EngineError>;

    /// Sends a signal to the container's first process.
    fn signal(&self, id: &Id, signal: &str, deadline: Instant) -> Result<(), EngineError>;

    /// Returns the container's last lines, as far as they can be had, for the text of an error.
    fn last_lines(
        &self,
        id: &Id,
        count: usize,
        deadline: Instant,
    ) -> Result<Vec<LogLine>, EngineError>;

    /// The operations that commands cannot do: a program whose connection is cut ends like one whose container has
    /// ended. `None` from a backend of commands.
    fn observer(&self) -> Option<&dyn Observer> {
        None
    }

    /// Runs the container's health check if its time has come and the engine does not run it, and returns the time
    /// after which to ask again. `None` if that is never.
    fn check_health(&self, id: &Id, deadline: Instant) -> Result<Option<Duration>, EngineError> {
        let _ = (id, deadline);
        Ok(None)
    }

    /// Returns the ids of the resources that have this id or all of these labels, in any state.
    fn find(
        &self,
        resource: Resource,
        filter: &Filter,
        deadline: Instant,
    ) -> Result<Vec<Id>, EngineError>;

    /// Returns the resources that have this label, whatever its value, in any state.
    fn list(
        &self,
        resource: Resource,
        label: &str,
        deadline: Instant,
    ) -> Result<Vec<Listed>, EngineError>;

    /// Takes a running container off its network, so that both can be removed at the same time. False where that is no
    /// faster, or not known to be.
    fn disconnect(
        &self,
        network: &Id,
        container: &Id,
        deadline: Instant,
    ) -> Result<bool, EngineError> {
        let _ = (network, container, deadline);
        Ok(false)
    }

    /// Removes by id. An error does not say whether the resource still exists.
    fn remove(&self, resource: Resource, id: &Id, deadline: Instant) -> Result<(), EngineError>;

    /// The command with which a person removes the resource, or lists the resources with these labels.
    fn advice(&self, resource: Resource, filter: &Filter) -> String;

    /// Returns true if there is a program by which a reaper would remove.
    fn can_reap(&self) -> bool;

    /// The commands with which a reaper removes the resources of a dead owner.
    fn reaper_spec(&self, info: &EngineInfo) -> ReaperSpec;

    /// Registers the secret values of a specification for redaction.
    fn redact(&self, spec: &CheckedSpec);

    /// A text without secret values.
    fn redacted(&self, text: &str) -> String;
}

/// A start in two steps. The first takes its network by name, and the network need not exist yet.
pub(crate) trait Stepwise: Sync {
    /// Creates the container and returns its id.
    fn create_container(
        &self,
        request: &ContainerRequest<'_>,
        deadline: Instant,
    ) -> Result<Id, CreateError>;

    /// Brings into the container what its specification has, and starts it.
    fn start_created(
        &self,
        id: &Id,
        spec: &CheckedSpec,
        deadline: Instant,
    ) -> Result<(), EngineError>;
}

/// Exact observation of a container.
pub(crate) trait Observer {
    /// Sends the container's end.
    fn follow_end(&self, id: &Id, events: SyncSender<Event>) -> Follow;

    /// Returns the container's log so far, or its last lines.
    fn logs(
        &self,
        id: &Id,
        last: Option<usize>,
        deadline: Instant,
    ) -> Result<Vec<LogLine>, EngineError>;

    /// Sends the lines of the container's log as they come, and then its end.
    fn follow_log(&self, id: &Id, last: Option<usize>, events: SyncSender<Event>) -> Follow;

    /// Sends what happens to the container, without end.
    fn follow_events(&self, id: &Id, events: SyncSender<Event>) -> Follow;

    /// Reads a file of the container, of at most 1 MiB.
    fn read_file(
        &self,
        id: &Id,
        path: &str,
        deadline: Instant,
    ) -> Result<Result<Vec<u8>, FileProblem>, EngineError>;

    /// Returns true if the container has a file or directory at this path.
    fn has_file(&self, id: &Id, path: &str, deadline: Instant) -> Result<bool, EngineError>;

    /// Runs a command in the container, and gives up on it as soon as the caller wants it to stop.
    fn exec(
        &self,
        id: &Id,
        words: &[String],
        deadline: Instant,
        stop: &dyn Fn() -> bool,
    ) -> Result<ExecOutput, EngineError>;
}

/// The two kinds of resources.
///
/// ```
/// use sidecar_bundle::Resource;
///
/// fn inspect(resource: Resource, id: &str) -> String {
///     match resource {
///         Resource::Container => format!("docker container inspect {id}"),
///         Resource::Network => format!("docker network inspect {id}"),
///         other => format!("docker inspect {id} # {other}"),
///     }
/// }
/// assert_eq!(inspect(Resource::Network, "4f2a"), "docker network inspect 4f2a");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Resource {
    /// A container, with its anonymous volumes.
    Container,
    /// A network.
    Network,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Container => "container",
            Self::Network => "network",
        })
    }
}

/// The id of a resource: 64 hexadecimal digits, on Docker and on podman; of a swarm's network, 25 letters and digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(Box<str>);

impl Id {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_id = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| Self(text.into()))
    }

    /// The id of a resource of this kind.
    pub(crate) fn of(resource: Resource, text: &str) -> Option<Self> {
        match resource {
            Resource::Container => Self::parse(text),
            Resource::Network => Self::parse(text).or_else(|| Self::of_swarm(text)),
        }
    }

    fn of_swarm(text: &str) -> Option<Self> {
        let is_id = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_id = text.len() == Self::OF_SWARM && text.bytes().all(is_id);
        is_id.then(|| Self(text.into()))
    }

    const OF_SWARM: usize = 25;

    /// Returns true for a network that the managers of a swarm keep.
    pub(crate) fn is_of_swarm(&self) -> bool {
        self.0.len() == Self::OF_SWARM
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0[..12])
    }
}

/// A create that failed, and the resource that it may still have made.
#[derive(Debug)]
pub(crate) struct CreateError {
    pub(crate) error: EngineError,
    pub(crate) made: Made,
}

/// The knowledge of a guard about its resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// There is nothing to remove.
    Nothing,
    /// The engine may have made it, or may be making it.
    Perhaps,
    /// It has this id.
    Id(Id),
}

/// A selection of resources.
#[derive(Clone, Debug)]
pub(crate) enum Filter {
    Id(Id),
    /// All of these labels.
    Labels(Vec<(String, String)>),
    /// The containers that have their ports: those that run, and those that are paused.
    Running,
}

/// The signs by which others know that a creating request is under way.
pub(crate) struct Notice<'a> {
    /// A pipe that the program holds until it ends.
    pub(crate) liveness: Option<PipeWriter>,
    /// Called with the process id of the program once it runs.
    pub(crate) started: Box<dyn Fn(u32) + 'a>,
}

/// A network to be created.
pub(crate) struct NetworkRequest<'a> {
    pub(crate) name: &'a str,
    pub(crate) addressing: &'a Addressing,
    pub(crate) ipv6: Option<Ipv6Addressing>,
    pub(crate) labels: &'a BTreeMap<String, String>,
    pub(crate) options: &'a NetworkOptions,
}

/// A container to be created.
pub(crate) struct ContainerRequest<'a> {
    pub(crate) name: &'a str,
    pub(crate) attachment: Attachment<'a>,
    /// The address of the engine's host on the network, where the two share a kernel.
    pub(crate) gateway: Ipv4Addr,
    pub(crate) labels: &'a BTreeMap<String, String>,
    pub(crate) spec: &'a CheckedSpec,
}

/// The network of a container, before any further one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attachment<'a> {
    /// A network by its id or name, at these addresses.
    Pinned { network: &'a str, ip: Ipv4Addr, ipv6: Option<Ipv6Addr> },
    /// A network by its id, at whatever address is free in its dynamic range.
    Dynamic { network: &'a str },
    /// The network namespace of a container.
    Namespace { container: &'a Id },
}

impl Attachment<'_> {
    /// The addresses that it is pinned at.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        match self {
            Self::Pinned { ip, ipv6, .. } => {
                [IpAddr::V4(*ip)].into_iter().chain(ipv6.map(IpAddr::V6)).collect()
            }
            Self::Dynamic { .. } | Self::Namespace { .. } => Vec::new(),
        }
    }

    /// The network's id or name; an error is the id of the container whose namespace it is.
    pub(crate) fn network(&self) -> Result<&str, &Id> {
        match self {
            Self::Pinned { network, .. } | Self::Dynamic { network } => Ok(network),
            Self::Namespace { container } => Err(container),
        }
    }
}

/// A resource in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: Id,
    pub(crate) labels: BTreeMap<String, String>,
    /// The state of a container.
    pub(crate) state: Option<State>,
    pub(crate) created: Option<SystemTime>,
}

/// The result of inspecting a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkInfo {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// Its subnets, each with its gateway if it has one.
    pub(crate) subnets: Vec<(IpNet, Option<IpAddr>)>,
    /// The interface that is its bridge, if it has one.
    pub(crate) bridge: Option<String>,
}

/// The result of inspecting a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerInfo {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// The id of its image.
    pub(crate) image: String,
    pub(crate) state: State,
    /// The time of its last start, as the engine prints it.
    pub(crate) started: String,
    pub(crate) exit: Option<Exit>,
    pub(crate) health: Option<Health>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) published: Vec<Published>,
}

/// A port of a container, and the address of the engine's host that it is published at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// Such as `8080/tcp`.
    pub(crate) port: String,
    pub(crate) at: SocketAddr,
}

/// The address of a container on a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The network's id; its name on podman.
    pub(crate) network: String,
    pub(crate) ip: Option<Ipv4Addr>,
    pub(crate) ipv6: Option<Ipv6Addr>,
}

impl ContainerInfo {
    /// The container's status, with its addresses on the network of this id and name.
    pub(crate) fn status(&self, network: &Id, name: &str) -> Status {
        let on = |it: &&Endpoint| it.network == network.as_str() || it.network == name;
        let endpoint = self.endpoints.iter().find(on);
        Status {
            image_id: self.image.clone(),
            state: self.state,
            exit: self.exit.clone(),
            health: self.health,
            address: endpoint.and_then(|it| it.ip),
            ipv6: endpoint.and_then(|it| it.ipv6),
        }
    }
}

/// The most events that wait for their reader. A follower waits until there is room: a line of a log may have a MiB.
pub(crate) const EVENTS: usize = 64;

/// An event of something that is followed.
#[derive(Debug)]
pub(crate) enum Event {
    /// The first event: the engine tells what is followed.
    Begun,
    /// The last event: the engine does not tell it, or cannot tell the rest.
    Failed(EngineError),
    /// A line of the log.
    Line(LogLine),
    /// The container has ended with this code.
    Died(i32),
    /// Something else may have happened.
    Happened,
    /// The end of what is followed.
    End,
}

/// Something that is followed until this is dropped.
#[derive(Debug)]
pub(crate) struct Follow(
    #[expect(dead_code, reason = "it is dropped")] Box<dyn fmt::Debug + Send + Sync>,
);

impl Follow {
    pub(crate) fn new(handle: impl fmt::Debug + Send + Sync + 'static) -> Self {
        Self(Box::new(handle))
    }
}

/// The commands of a reaper, each as the arguments of `program`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReaperSpec {
    pub(crate) program: OsString,
    /// The whole environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Prints `identity`.
    pub(crate) identify: Vec<String>,
    pub(crate) identity: String,
    pub(crate) list_containers: Vec<String>,
    pub(crate) remove_container: Vec<String>,
    pub(crate) list_networks: Vec<String>,
    pub(crate) remove_network: Vec<String>,
    /// Lists the containers of a network; empty if the engine never removes a network that is in use.
    pub(crate) list_attached: Vec<String>,
}
