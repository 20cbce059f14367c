//! What this library asks of an engine: operations with typed answers, never command lines.

pub(crate) mod about;
pub(crate) mod cli;
pub(crate) mod command;
mod commands;
pub(crate) mod create;
pub(crate) mod diagnosis;
pub(crate) mod dialect;
pub(crate) mod facts;
pub(crate) mod follow;
pub(crate) mod run;

use std::collections::BTreeMap;
use std::fmt;
use std::io::PipeWriter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::addressing::Addressing;
use crate::engine::about::Reachability;
use crate::engine::command::CommandError;
use crate::engine::follow::{Event, Followed};
use crate::error::Error;
use crate::ipv6::Ipv6Addressing;
use crate::labels::Labels;
use crate::network_options::NetworkOptions;
use crate::reaper::Stranger;
use crate::spec::CheckedSpec;
use crate::status::{ExecOutput, Exit, Health, LogLine, State, Status};

/// Something that runs containers, such as a [`CliEngine`](crate::CliEngine).
///
/// The trait is sealed: it may gain operations in any release.
pub trait Engine: Operations {}

impl<E: Operations> Engine for E {}

/// What each engine can do. Public in name only, to seal [`Engine`].
pub trait Operations: fmt::Debug + Send + Sync {
    /// A handle that the states and guards hold.
    fn shared(&self) -> Arc<dyn Operations>;

    /// Which engine this is, as configured: equal for equal configurations.
    fn endpoint(&self) -> String;

    /// Where the leases of this engine's slugs are.
    fn state_dir(&self) -> Option<PathBuf>;

    /// Who this process is to the things that it makes here.
    fn owner(&self) -> Result<String, Error>;

    /// How the owner's things can be removed once it has died; `None` if nobody is to do that.
    fn stranger(&self, owner: &str) -> Option<Stranger>;

    /// The time by which deadlines are measured.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Lets time pass.
    fn pause(&self, duration: Duration) {
        thread::sleep(duration);
    }

    /// How long one removal may take, with everything that it asks.
    fn remove_deadline(&self) -> Duration;

    /// Whether this host reaches its containers' addresses, as far as can be said beforehand.
    fn reachability(&self) -> Result<Reachability, CommandError>;

    /// The command with which a person removes the thing.
    fn removal_command(&self, resource: Resource, id: &str) -> String;

    /// Learns what must not be shown, whatever command prints it.
    fn hide(&self, spec: &CheckedSpec);

    /// Whether it can make a network with these options, and with IPv6 if that is wanted.
    fn supports(&self, options: &NetworkOptions, ipv6: bool) -> Result<(), Error>;

    /// Creates the network and gives its id.
    fn create_network(&self, request: &NetworkRequest<'_>) -> Result<String, Failed>;

    /// Creates and starts the container and gives its id.
    fn run_container(&self, request: &ContainerRequest<'_>) -> Result<String, Failed>;

    /// Looks networks up by name or id: those that there are, and all if none is named.
    fn networks(&self, names: &[&str], until: Instant) -> Result<Vec<NetworkFacts>, CommandError>;

    /// The names of the containers that keep a network from being removed.
    fn attached(&self, network: &str, until: Instant) -> Result<Vec<String>, CommandError>;

    /// Looks a container up by name or id; `None` if there is none.
    fn container(&self, name: &str, until: Instant)
    -> Result<Option<ContainerFacts>, CommandError>;

    /// Pulls an image, within the deadline of pulls.
    fn pull(&self, image: &str) -> Result<(), CommandError>;

    /// Asks the container to end, and ends it after the grace period.
    fn stop(&self, id: &str, grace: Duration, until: Instant) -> Result<(), CommandError>;

    /// The container's log so far, or its last lines.
    fn logs(&self, id: &str, last: Option<usize>) -> Result<Vec<LogLine>, CommandError>;

    /// Tells the lines of the container's log as they come, and then its end.
    fn follow_log(
        &self,
        id: &str,
        last: Option<usize>,
        events: Sender<Event>,
    ) -> Result<Followed, CommandError>;

    /// Tells the container's end.
    fn follow_end(&self, id: &str, events: Sender<Event>) -> Result<Followed, CommandError>;

    /// Runs a command in the container.
    fn exec(&self, id: &str, words: &[String], until: Instant) -> Result<ExecOutput, CommandError>;

    /// A text without the values that must not be shown.
    fn redacted(&self, text: &str) -> String;

    /// The ids of what the filter finds, in any state.
    fn find(
        &self,
        resource: Resource,
        filter: &Filter,
        until: Instant,
    ) -> Result<Vec<String>, CommandError>;

    /// Removes by id. An error says nothing of whether the thing still exists.
    fn remove(&self, resource: Resource, id: &str, until: Instant) -> Result<(), CommandError>;
}

/// What an engine makes for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// A create that failed, and what it has made all the same.
#[derive(Debug)]
pub struct Failed {
    pub(crate) error: CommandError,
    pub(crate) made: Made,
}

/// What a guard knows of the thing that it guards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// There is nothing to remove.
    Nothing,
    /// The engine may have made it, or may still be at it.
    Perhaps,
    /// It has this id.
    Id(String),
}

/// What to look for.
#[derive(Clone, Debug)]
pub enum Filter {
    /// This id.
    Id(String),
    /// All of these labels.
    Labels(Vec<(String, String)>),
}

/// What a network is to be.
#[derive(Debug)]
pub struct NetworkRequest<'a> {
    /// For the command to hold until it has ended.
    pub(crate) tether: Option<PipeWriter>,
    pub(crate) name: &'a str,
    pub(crate) addressing: &'a Addressing,
    pub(crate) ipv6: Option<Ipv6Addressing>,
    pub(crate) labels: &'a Labels,
    pub(crate) options: &'a NetworkOptions,
}

/// What a container is to be.
pub struct ContainerRequest<'a> {
    /// For the command to hold until it has ended.
    pub(crate) tether: Option<PipeWriter>,
    pub(crate) name: &'a str,
    pub(crate) network_id: &'a str,
    pub(crate) ip: Ipv4Addr,
    pub(crate) ipv6: Option<Ipv6Addr>,
    pub(crate) labels: &'a Labels,
    pub(crate) spec: &'a CheckedSpec,
}

/// What an engine says of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkFacts {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// Its subnets, each with its gateway if it has one.
    pub(crate) subnets: Vec<(IpNet, Option<IpAddr>)>,
    /// The interface that is its bridge, if it has one.
    pub(crate) bridge: Option<String>,
}

/// What an engine says of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerFacts {
    pub(crate) id: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) state: State,
    pub(crate) exit: Option<Exit>,
    pub(crate) health: Option<Health>,
    pub(crate) endpoints: Vec<Endpoint>,
}

/// A container on a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The network's id; podman says its name.
    pub(crate) network: String,
    pub(crate) ip: Option<Ipv4Addr>,
    pub(crate) ipv6: Option<Ipv6Addr>,
}

impl ContainerFacts {
    pub(crate) fn on(&self, network: &Named<'_>) -> Option<&Endpoint> {
        self.endpoints.iter().find(|it| it.network == network.id || it.network == network.name)
    }

    pub(crate) fn status(self, network: &Named<'_>) -> Status {
        let endpoint = self.on(network);
        let (address, ipv6) = (endpoint.and_then(|it| it.ip), endpoint.and_then(|it| it.ipv6));
        Status { state: self.state, exit: self.exit, health: self.health, address, ipv6 }
    }
}

/// A network by both of its names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
}
