//! What can go wrong, and what is left in the world then.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;

use crate::addressing::{AddressPool, AddressingError};
use crate::engine::Resource;
use crate::engine::about::Reachability;
use crate::engine::command::CommandError;
use crate::engine::diagnosis::Cause;
use crate::host::Holder;
use crate::network_options::NetworkOptionsError;
use crate::slug::{NameError, Slug};
use crate::spec::SpecError;
use crate::status::Exit;

/// Everything that a bundle's way up and down can fail with.
///
/// The text says what was being done; why it failed is the error's
/// [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A slug or a prefix is not one. Nothing has been touched.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Addresses cannot be used. Nothing has been touched.
    #[error(transparent)]
    Addressing(#[from] AddressingError),
    /// A specification is wrong. Its step has not asked the engine for anything.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A network's options are wrong. Nothing has been touched.
    #[error(transparent)]
    NetworkOptions(#[from] NetworkOptionsError),
    /// The engine cannot do what the network's options ask for. Nothing has been touched.
    #[error("{what} needs {needs}, and this is {engine}")]
    #[non_exhaustive]
    Unsupported {
        /// What was asked for.
        what: String,
        /// The engines that can.
        needs: String,
        /// This engine, with its version.
        engine: String,
    },
    /// Another owner of the slug lives. Nothing has been touched.
    #[error("slug {slug} is taken{}", by(*pid, *since))]
    #[non_exhaustive]
    Taken {
        /// The slug.
        slug: Slug,
        /// The owner's process id, where it could be read.
        pid: Option<u32>,
        /// Since when, where it could be read.
        since: Option<SystemTime>,
    },
    /// The lease of a slug cannot be taken, or not be marked as kept. Nothing has been created by the
    /// step that failed.
    #[error("the lease at {} cannot be used", path.display())]
    #[non_exhaustive]
    Lease {
        /// The lease's file, or the directory of leases.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The engine did not create the network. None of ours is left unless [`Error::NotRemoved`] comes
    /// with it.
    #[error("network {network} could not be created")]
    #[non_exhaustive]
    CreateNetwork {
        /// The network's name.
        network: String,
        /// The engine's command.
        source: CommandError,
    },
    /// The subnet overlaps one that exists. Nothing of ours is left.
    #[error("subnet {subnet} is taken by {}", by_holder(holder.as_ref()))]
    #[non_exhaustive]
    SubnetTaken {
        /// The planned subnet.
        subnet: IpNet,
        /// What holds it, where it can be said.
        holder: Option<Holder>,
        /// The engine's command; `None` if it was not asked to create anything.
        source: Option<CommandError>,
    },
    /// Something overlaps every subnet of the pool. Nothing has been touched.
    #[error("none of the {subnets} subnets of pool {pool} is free; held by {}", Few(holders))]
    #[non_exhaustive]
    PoolFull {
        /// The pool.
        pool: AddressPool,
        /// How many subnets it has.
        subnets: u64,
        /// All that overlaps it.
        holders: Vec<Holder>,
    },
    /// The slug's bundle was kept; it can be attached to, and is not launched anew.
    #[error("a bundle of slug {slug} was kept; attach to it")]
    #[non_exhaustive]
    Kept {
        /// The slug.
        slug: Slug,
    },
    /// There is no kept bundle of the slug. Nothing has been touched.
    #[error("no bundle of slug {slug} was kept")]
    #[non_exhaustive]
    NotKept {
        /// The slug.
        slug: Slug,
    },
    /// What was kept is not what it was. It has been left alone, and is still marked as kept.
    #[error("the kept bundle of slug {slug} cannot be attached to: {problem}")]
    #[non_exhaustive]
    Changed {
        /// The slug.
        slug: Slug,
        /// What is wrong with it.
        problem: String,
    },
    /// No engine answers. Nothing has been touched.
    #[error("no engine answers: {}", Sayings(said))]
    #[non_exhaustive]
    NoEngine {
        /// What each that was tried said.
        said: Vec<CommandError>,
    },
    /// The engine could not be asked. Nothing has been touched.
    #[error("the engine could not be asked for {what}")]
    #[non_exhaustive]
    Look {
        /// What it was asked for.
        what: &'static str,
        /// The engine's command.
        source: CommandError,
    },
    /// A network of the planned name exists and is not as planned. It has been left alone.
    #[error(
        "network {network} exists, and is not the planned one: its {field} is {}, not {planned}",
        found.as_deref().unwrap_or("not set")
    )]
    #[non_exhaustive]
    NetworkDiffers {
        /// The network's name.
        network: String,
        /// Its id.
        id: String,
        /// What differs: `subnet`, `gateway`, or the key of a label.
        field: String,
        /// What was planned.
        planned: String,
        /// What the network has; `None` if it has no such thing.
        found: Option<String>,
    },
    /// The engine did not start the container. None of ours is left unless [`Error::NotRemoved`] comes
    /// with it.
    #[error("container {container} could not be started from image {image}")]
    #[non_exhaustive]
    Start {
        /// The container's name.
        container: String,
        /// The image.
        image: String,
        /// The engine's command.
        source: CommandError,
    },
    /// The image could not be pulled. No container has been made.
    #[error("image {image} could not be pulled")]
    #[non_exhaustive]
    Pull {
        /// The image.
        image: String,
        /// The engine's command.
        source: CommandError,
    },
    /// The container has ended. After a start it has been removed; while waiting it is left as it is.
    #[error("container {container} ended with {exit}{}", after_log(log))]
    #[non_exhaustive]
    Died {
        /// The container's name.
        container: String,
        /// How it ended.
        exit: Box<Exit>,
        /// The last lines of its log, at most 4 KiB, without secrets.
        log: String,
    },
    /// The container does not have the address that it was pinned at. It has been removed.
    #[error("container {container} has the address {}, not {planned}", found.map_or("none".into(), |ip| ip.to_string()))]
    #[non_exhaustive]
    WrongAddress {
        /// The container's name.
        container: String,
        /// The planned address.
        planned: IpAddr,
        /// Its address of that kind on the network, if it has one.
        found: Option<IpAddr>,
    },
    /// The container does not exist any more: somebody else removed it.
    #[error("container {container} does not exist any more")]
    #[non_exhaustive]
    Gone {
        /// The container's name.
        container: String,
    },
    /// The bundle was not ready in time. It is left as it is.
    #[error("waited {within:?} in vain for {waited_for}; seen last: {seen}{}", after_log(log))]
    #[non_exhaustive]
    NotReady {
        /// The condition.
        waited_for: String,
        /// For how long.
        within: Duration,
        /// What was seen last.
        seen: String,
        /// The last lines of the container's log, at most 4 KiB, without secrets.
        log: String,
    },
    /// The bundle's address is not on this host, so nothing connects to it from here.
    #[error("address {ip} cannot be reached from here: {reachability}")]
    #[non_exhaustive]
    Unreachable {
        /// The bundle's address.
        ip: Ipv4Addr,
        /// Why, and what to do instead.
        reachability: Reachability,
    },
    /// The engine did not run a command in the container, or the command did not end in time and may
    /// run still.
    #[error("{program} could not be run to its end in the container")]
    #[non_exhaustive]
    Exec {
        /// The command's first word.
        program: String,
        /// The engine's command.
        source: CommandError,
    },
    /// Something of ours could not be removed, or could not be seen to be gone.
    #[error("{resource} {name} may be left{}; remove it with `{command}`", in_use_by(attached))]
    #[non_exhaustive]
    NotRemoved {
        /// A container or a network.
        resource: Resource,
        /// Its name.
        name: String,
        /// Its id; `None` if the engine never told.
        id: Option<String>,
        /// The names of the containers that keep a network from going; none of them has been touched.
        attached: Vec<String>,
        /// The command that removes it.
        command: String,
        /// What the engine said last; `None` if time ran out before it said anything.
        source: Option<CommandError>,
    },
    /// More than one thing went wrong, the first one first.
    #[error("{} errors: {}", .0.len(), Chains(.0))]
    Several(Vec<Error>),
}

impl Error {
    /// Why the engine did not do it, also where it was not asked: a taken subnet, for one. Of several errors,
    /// the first one's.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::CreateNetwork { source, .. }
            | Self::Start { source, .. }
            | Self::Exec { source, .. }
            | Self::Look { source, .. } => Some(source.cause()),
            Self::NoEngine { said } => said.first().map(CommandError::cause),
            Self::SubnetTaken { .. } => Some(Cause::SubnetOverlap),
            Self::Pull { .. } => Some(Cause::ImageMissing),
            Self::NotRemoved { source, .. } => source.as_ref().map(CommandError::cause),
            Self::Several(errors) => errors.first().and_then(Self::cause),
            _ => None,
        }
    }

    /// This one with its sources.
    pub(crate) fn chain(&self) -> impl fmt::Display + '_ {
        Chains(std::slice::from_ref(self))
    }

    /// All of them, a single one as itself.
    pub(crate) fn all(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 | 1 => errors.pop().map_or(Ok(()), Err),
            _ => Err(Self::Several(errors)),
        }
    }

    /// This one, and what went wrong while cleaning up behind it.
    pub(crate) fn and(self, cleaning_up: Result<(), Self>) -> Self {
        match cleaning_up {
            Ok(()) => self,
            Err(Self::Several(more)) => Self::Several(std::iter::once(self).chain(more).collect()),
            Err(more) => Self::Several(vec![self, more]),
        }
    }
}

/// A step that failed: the error, and the state before the step.
///
/// With `?` in a function that returns [`Error`], the state is closed, and what could not be removed
/// comes with the error. To try again, take both apart:
///
/// ```no_run
/// # use sidecar_bundle::{BundleSpec, CliEngine, NetworkPlanned, Slug};
/// # fn main() -> Result<(), sidecar_bundle::Error> {
/// let network = NetworkPlanned::new(Slug::new("demo")?).create_network(&CliEngine::docker())?;
/// let bundle = match network.start(BundleSpec::new().image("mine:next")) {
///     Ok(bundle) => bundle,
///     Err(failed) => {
///         eprintln!("{failed}; going back");
///         failed.into_state().start(BundleSpec::new().image("mine:last"))?
///     }
/// };
/// # bundle.close()
/// # }
/// ```
///
/// Converted into any other error type, the state lives in that error and is torn down when it drops.
pub struct StepError<S>(Box<(Error, S)>);

impl<S> StepError<S> {
    pub(crate) fn new(error: Error, state: S) -> Self {
        Self(Box::new((error, state)))
    }

    /// What went wrong.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0.0
    }

    /// The state before the step, to try again. The error is dropped.
    #[must_use]
    pub fn into_state(self) -> S {
        self.0.1
    }

    /// The error, and the state before the step.
    #[must_use]
    pub fn into_parts(self) -> (Error, S) {
        *self.0
    }
}

impl<S> fmt::Debug for StepError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StepError").field(self.error()).finish_non_exhaustive()
    }
}

impl<S> fmt::Display for StepError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}

impl<S> std::error::Error for StepError<S> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error().source()
    }
}

impl<S: GiveUp> From<StepError<S>> for Error {
    fn from(failed: StepError<S>) -> Self {
        let (error, state) = failed.into_parts();
        error.and(state.give_up())
    }
}

/// A state that a failed step hands back. Public in name only.
pub trait GiveUp {
    /// Removes what the state owns.
    fn give_up(self) -> Result<(), Error>;
}

fn by(pid: Option<u32>, since: Option<SystemTime>) -> String {
    let pid = pid.map(|pid| format!(" by pid {pid}")).unwrap_or_default();
    let since = since.map(|t| format!(" since {}", humantime::format_rfc3339_seconds(t)));
    pid + &since.unwrap_or_default()
}

fn by_holder(holder: Option<&Holder>) -> String {
    holder.map_or("something that the engine does not name".into(), Holder::to_string)
}

/// The first of them, and how many more.
struct Few<'a>(&'a [Holder]);

impl fmt::Display for Few<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<_> = self.0.iter().take(3).map(Holder::to_string).collect();
        f.write_str(&shown.join(", "))?;
        match self.0.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

fn after_log(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!("; its log ends with:\n{log}") }
}

fn in_use_by(attached: &[String]) -> String {
    match attached {
        [] => String::new(),
        names => format!(", in use by {}", names.join(", ")),
    }
}

/// One after the other, since a list has no single source.
struct Sayings<'a>(&'a [CommandError]);

impl fmt::Display for Sayings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, said) in self.0.iter().enumerate() {
            write!(f, "{}{said}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// Each error with its sources, since a list has no single one.
struct Chains<'a>(&'a [Error]);

impl fmt::Display for Chains<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")?;
            let mut source = std::error::Error::source(error);
            while let Some(error) = source {
                write!(f, ": {error}")?;
                source = error.source();
            }
        }
        Ok(())
    }
}
