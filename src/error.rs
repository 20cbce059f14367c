//! The errors of steps, and what each leaves in the world.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;

use crate::engine::backend::Resource;
use crate::engine::cause::Cause;
use crate::engine::error::EngineError;
use crate::engine::{NoEngine, Reachability, Refused, Unsupported};
use crate::host::Holder;
use crate::host::ports::{PortHolder, protocol};
use crate::invalid::InvalidInput;
use crate::plan::{AddressPool, NetworkPlanned, Slug};
use crate::status::{Exit, FileProblem};

/// The error of a step.
///
/// Its text says what was being done, and what to do next where there is something to do. The cause is its
/// [`source`](std::error::Error::source).
///
/// ```
/// use sidecar_bundle::{Cause, Error, Slug};
///
/// fn is_worth_a_retry(error: &Error) -> bool {
///     match error {
///         Error::Taken { .. } | Error::PortTaken { .. } | Error::Pull { .. } => true,
///         Error::Several(errors) => errors.as_slice().iter().all(is_worth_a_retry),
///         error => error.cause() == Some(Cause::EngineUnreachable),
///     }
/// }
/// assert!(!is_worth_a_retry(&Slug::new("").unwrap_err().into()));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument was refused. Nothing has been touched.
    #[error(transparent)]
    Invalid(#[from] InvalidInput),
    /// The engine, or the way to it, does not have an option or an operation. Nothing has been touched.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// [`Engine::detect`](crate::Engine::detect) found no engine. Nothing has been touched.
    ///
    /// Nothing else yields it: to a step, a missing engine is [`Error::Look`] with [`Cause::EngineUnreachable`] or
    /// [`Cause::ProgramMissing`].
    #[error(transparent)]
    NoEngine(#[from] NoEngine),
    /// A request to an engine failed, outside of any step. Nothing has been touched.
    ///
    /// No step yields it: it is for `?` on [`Engine::version`](crate::Engine::version) and
    /// [`Engine::reachability`](crate::Engine::reachability).
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Another owner of the slug lives. Nothing has been touched.
    ///
    /// An owner is a [`BundleRunning`](crate::BundleRunning), a [`NetworkCreated`](crate::NetworkCreated) or a step or
    /// sweep under way, of this process or of another one, with the same slug and
    /// [prefix](crate::Naming) on the same engine, and the same state directory.
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
    /// The lease of a slug cannot be taken or written. The step that failed has created nothing.
    #[error("the lease at {} cannot be used", path.display())]
    #[non_exhaustive]
    Lease {
        /// The lease's file, or the directory of leases.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The engine did not create the network. None of ours was seen afterwards unless an [`Error::NotRemoved`]
    /// [comes with it](Error::Several). After a lost answer, one may appear later: the reaper removes it when this
    /// process ends, or else the slug's next launch does.
    #[error("network {network} could not be created")]
    #[non_exhaustive]
    CreateNetwork {
        /// The network's name.
        network: String,
        /// The engine's error.
        source: EngineError,
    },
    /// The subnet overlaps one that exists. Nothing of ours is left.
    ///
    /// [`NetworkPlanned::next_attempt`] moves a derived plan on to another subnet, and
    /// [`NetworkPlanned::create_network_in_free_subnet`] does so until one is free.
    #[error("subnet {subnet} is taken by {}", by_holder(holder.as_ref()))]
    #[non_exhaustive]
    SubnetTaken {
        /// The planned subnet.
        subnet: IpNet,
        /// The holder, where it is known.
        holder: Option<Holder>,
        /// The engine's error; `None` if it was not asked to create anything.
        source: Option<EngineError>,
    },
    /// Something overlaps every subnet of the pool. Nothing has been touched. Another
    /// [pool](NetworkPlanned::with_pool) may have room.
    #[error("none of the {subnets} subnets of pool {pool} is free; held by {}", Few(holders))]
    #[non_exhaustive]
    PoolFull {
        /// The pool.
        pool: AddressPool,
        /// The number of its subnets.
        subnets: u64,
        /// All that overlaps it.
        holders: Vec<Holder>,
    },
    /// The slug's bundle was kept. It has been left alone.
    #[error("a bundle of slug {slug} was kept; attach to it, or discard it")]
    #[non_exhaustive]
    Kept {
        /// The slug.
        slug: Slug,
    },
    /// No bundle of the slug was kept, or nothing of it exists any more. Nothing has been touched.
    #[error("no bundle of slug {slug} was kept")]
    #[non_exhaustive]
    NotKept {
        /// The slug.
        slug: Slug,
    },
    /// The kept bundle has changed, is paused, or is about to be restarted. It is still marked as kept, and has been
    /// left alone. Only a container that had stopped may have been started again, and may run.
    #[error("the kept bundle of slug {slug} cannot be attached to: {problem}; discard removes it")]
    #[non_exhaustive]
    Changed {
        /// The slug.
        slug: Slug,
        /// The change.
        problem: String,
    },
    /// A resource of the slug exists that was made under another lease: by another user, host or state
    /// directory, or before the lease was lost. It has been left alone.
    ///
    /// [`NetworkPlanned::discard`] removes it, and so does the program's `sidecar-bundle remove`. A network of a swarm is
    /// removed on the engine that made it.
    #[error(
        "{resource} {name} ({}) of slug {slug} was made{} under a lease that cannot be seen from here: by another user, host or state directory, or the lease was lost; if its owner is gone, discard{} removes it",
        short(id),
        on_host(host.as_deref()),
        on_its_engine(id)
    )]
    #[non_exhaustive]
    UnknownOwner {
        /// The slug.
        slug: Slug,
        /// A container or a network.
        resource: Resource,
        /// Its name.
        name: String,
        /// Its id.
        id: String,
        /// The name of its owner's host, as its labels tell it.
        host: Option<String>,
    },
    /// The bridge would be an interface that the host has already. Nothing has been touched.
    #[error("bridge {name} exists already, and is not this bundle's")]
    #[non_exhaustive]
    BridgeExists {
        /// The name of the interface.
        name: String,
    },
    /// The kept container has stopped and could not be started again. It is still marked as kept.
    #[error("kept container {container} could not be started again")]
    #[non_exhaustive]
    Restart {
        /// The container's name.
        container: String,
        /// The engine's error.
        source: EngineError,
    },
    /// The engine could not be asked, or [another one](Cause::AnotherEngine) answered.
    ///
    /// A step that creates has left nothing of its own, unless an [`Error::NotRemoved`]
    /// [comes with the error](Error::Several). An attach, a discard, a wait or a look has left the bundle as it was,
    /// except that a stopped container that an attach started again may run.
    #[error("the engine could not be asked for {what}")]
    #[non_exhaustive]
    Look {
        /// The question.
        what: &'static str,
        /// The engine's error.
        source: EngineError,
    },
    /// A network of the planned name exists and is not as planned. It has been left alone.
    #[error(
        "network {network} exists and is not the planned one: its {field} is {}, not {planned}",
        found.as_deref().unwrap_or("not set")
    )]
    #[non_exhaustive]
    NetworkDiffers {
        /// The network's name.
        network: String,
        /// Its id.
        id: String,
        /// The difference: `subnet`, `IPv6 subnet`, `gateway`, or the key of a label.
        field: String,
        /// The planned value.
        planned: String,
        /// The value of the network; `None` if it has none.
        found: Option<String>,
    },
    /// The engine did not start the container. None of ours was seen afterwards unless an [`Error::NotRemoved`]
    /// [comes with it](Error::Several). After a lost answer, one may appear later, as for [`Error::CreateNetwork`]. The
    /// network is in the state that is handed back; after a launch it is removed.
    ///
    /// A missing image is this error, with [`Cause::ImageMissing`], if it may [never](crate::PullPolicy::Never) be
    /// pulled.
    #[error("container {container} could not be started from image {image}")]
    #[non_exhaustive]
    Start {
        /// The container's name.
        container: String,
        /// The image.
        image: String,
        /// The engine's error.
        source: EngineError,
    },
    /// A port of the engine's host that the container was to be published on is taken. The container is gone, and
    /// the network is where [`Error::Start`] leaves it.
    ///
    /// The holder is looked for after the failure: a container of the engine that publishes the port, or, where the
    /// engine is on this host, a process with a socket there. The holder is `None` if it has ended meanwhile, or if
    /// this user may not see it. If one of several ports is taken and it is not known which, the error is
    /// [`Error::Start`] with [`Cause::PortTaken`].
    #[error("container {container} could not be started: host port {at}/{} is taken by {}", protocol(*udp), by_port_holder(holder.as_ref()))]
    #[non_exhaustive]
    PortTaken {
        /// The container's name.
        container: String,
        /// The address and the port.
        at: SocketAddr,
        /// True for a port of UDP, false for one of TCP.
        udp: bool,
        /// The holder, where it is known.
        holder: Option<PortHolder>,
        /// The engine's error.
        source: EngineError,
    },
    /// The image could not be pulled. No container is left. The network is in the state that is handed back; after
    /// a launch it is removed.
    #[error("image {image} could not be pulled")]
    #[non_exhaustive]
    Pull {
        /// The image.
        image: String,
        /// The engine's error.
        source: EngineError,
    },
    /// The container has ended. After a start it has been removed; while waiting it is left as it is.
    #[error("container {container} ended with {exit}{}", after_log(log))]
    #[non_exhaustive]
    Died {
        /// The container's name.
        container: String,
        /// Its exit.
        exit: Box<Exit>,
        /// The last lines of its log, at most 4 KiB, without secrets.
        log: String,
    },
    /// The container does not have the address that it was pinned at. It has been removed.
    #[error("container {container} has {}, not {planned}", address(*found))]
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
    #[error("not ready after {timeout:?}: {waited_for}; last seen: {seen}{}", after_log(log))]
    #[non_exhaustive]
    NotReady {
        /// The condition.
        waited_for: String,
        /// The time that was waited.
        timeout: Duration,
        /// The last thing that was seen.
        seen: String,
        /// The last lines of the container's log, at most 4 KiB, without secrets.
        log: String,
    },
    /// The wait was stopped by a [`Stopper`](crate::Stopper), and the bundle is left as it is; or, with the feature `tokio`,
    /// a call has not begun since its runtime is shut down.
    #[error("the wait was stopped")]
    Stopped,
    /// The bundle's address is not on this host, or packets to it take another way, so nothing connects to it from here.
    #[error("address {ip} cannot be reached from here: {reachability}")]
    #[non_exhaustive]
    Unreachable {
        /// The bundle's address.
        ip: Ipv4Addr,
        /// The reason, and the remedy.
        reachability: Reachability,
    },
    /// The engine did not run a command in the container, or the command did not end in time and may
    /// run still.
    #[error("{program} could not be run to its end in the container")]
    #[non_exhaustive]
    Exec {
        /// The command's first word.
        program: String,
        /// The engine's error.
        source: EngineError,
    },
    /// The engine did not send a signal to the container, which is as it was.
    #[error("signal {signal} was not sent to container {container}")]
    #[non_exhaustive]
    Signal {
        /// The container's name.
        container: String,
        /// The signal.
        signal: String,
        /// The engine's error.
        source: EngineError,
    },
    /// A file of the container could not be read. The container is as it was.
    #[error("file {path} of container {container} {problem}")]
    #[non_exhaustive]
    File {
        /// The container's name.
        container: String,
        /// The path in the container.
        path: String,
        /// The problem.
        problem: FileProblem,
    },
    /// The engine has not published the port: the specification does not, or the container does not run.
    #[error("port {port} of container {container} is not published")]
    #[non_exhaustive]
    NotPublished {
        /// The container's name.
        container: String,
        /// The port, such as `8080/tcp`.
        port: String,
    },
    /// A resource could not be removed, or could not be seen to be gone.
    #[error("{resource} {name} may be left{}; {} it with `{command}`", in_use_by(attached), advice(id.as_ref()))]
    #[non_exhaustive]
    NotRemoved {
        /// A container or a network.
        resource: Resource,
        /// Its name.
        name: String,
        /// Its id; `None` if it is not known.
        id: Option<String>,
        /// The names of the containers that keep a network from going; none of them has been touched.
        attached: Vec<String>,
        /// The command that removes it by its id, or lists it by its labels.
        command: String,
        /// The engine's last error; `None` if time ran out before there was one.
        source: Option<EngineError>,
    },
    /// One of many bundles failed, in [`launch_all`](crate::launch_all) or [`close_all`](crate::close_all). Its own error tells
    /// what is left.
    #[error(transparent)]
    Bundle(BundleError),
    /// Several errors, in the order in which they came. The cause is the first one's.
    ///
    /// This is how an [`Error::NotRemoved`] comes with an error: the step's own error is the first of
    /// [`Errors::as_slice`], and what could not be removed after it follows.
    #[error(transparent)]
    Several(Errors),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid(error) => error.into(),
            Refused::Unsupported(error) => error.into(),
            Refused::Unknown(source) => Self::Look { what: "its address", source },
        }
    }
}

impl Error {
    /// The cause of the engine's failure, or one that was seen before the engine was asked, such as a taken subnet. For
    /// a pull, it is [`Cause::ImageMissing`] unless more is known. For several errors, it is the first one's.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::CreateNetwork { source, .. }
            | Self::Start { source, .. }
            | Self::Exec { source, .. }
            | Self::Signal { source, .. }
            | Self::Look { source, .. }
            | Self::Restart { source, .. }
            | Self::Engine(source) => Some(source.cause()),
            Self::NoEngine(none) => none.errors().first().map(EngineError::cause),
            Self::SubnetTaken { .. } => Some(Cause::SubnetOverlap),
            Self::PortTaken { .. } => Some(Cause::PortTaken),
            Self::Pull { source, .. } => Some(match source.cause() {
                Cause::Other => Cause::ImageMissing,
                cause => cause,
            }),
            Self::NotRemoved { source, .. } => source.as_ref().map(EngineError::cause),
            Self::Bundle(failed) => failed.error().cause(),
            Self::Several(errors) => errors.0.first().and_then(Self::cause),
            _ => None,
        }
    }

    /// The error with its sources.
    pub(crate) fn chain(&self) -> impl fmt::Display + '_ {
        Chain(self)
    }

    /// The errors in this one: those of [`Error::Several`], or else this error alone. None of them is itself several.
    #[must_use]
    pub fn each(&self) -> &[Self] {
        match self {
            Self::Several(errors) => errors.as_slice(),
            error => std::slice::from_ref(error),
        }
    }

    /// The error as that of one bundle of many.
    pub(crate) fn of(self, plan: NetworkPlanned) -> Self {
        Self::Bundle(BundleError(Box::new((plan, self))))
    }

    /// Joins errors; none is a success.
    pub(crate) fn all(errors: Vec<Self>) -> Result<(), Self> {
        let mut errors = errors.into_iter();
        let Some(first) = errors.next() else { return Ok(()) };
        Err(errors.fold(first, Self::then))
    }

    /// Adds the errors of cleaning up.
    pub(crate) fn and(self, cleaning_up: Result<(), Self>) -> Self {
        match cleaning_up {
            Ok(()) => self,
            Err(more) => self.then(more),
        }
    }

    /// Both errors, side by side.
    fn then(self, other: Self) -> Self {
        let flat = |error| match error {
            Self::Several(Errors(errors)) => errors,
            error => vec![error],
        };
        let mut errors = flat(self);
        errors.extend(flat(other));
        Self::Several(Errors(errors))
    }
}

/// The error of one bundle of many. It prints `bundle SLUG: ERROR`; the source is the error's.
///
/// ```
/// use sidecar_bundle::{BundleSpec, Engine, Error, NetworkPlanned, Slug, launch_all};
///
/// let wrong = (NetworkPlanned::new(Slug::new("demo")?), BundleSpec::new().image("two words"));
/// let (error, _) = launch_all(&Engine::docker(), [wrong]).unwrap_err().into_parts();
/// let Error::Bundle(failed) = error else { panic!("{error}") };
/// assert_eq!(failed.to_string(), "bundle demo: \"two words\" is not an image reference");
/// let (plan, _) = failed.into_parts(); // to try again
/// assert_eq!(plan.slug().as_str(), "demo");
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct BundleError(Box<(NetworkPlanned, Error)>);

impl BundleError {
    /// The plan of the bundle, with its slug.
    #[must_use]
    pub fn plan(&self) -> &NetworkPlanned {
        &self.0.0
    }

    /// Its error.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0.1
    }

    /// The plan, to try again, and the error.
    #[must_use]
    pub fn into_parts(self) -> (NetworkPlanned, Error) {
        *self.0
    }
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bundle {}: {}", self.plan().slug(), self.error())
    }
}

impl std::error::Error for BundleError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error().source()
    }
}

/// Errors that came together, two or more. It prints one after the other; the source is the first one's.
///
/// ```
/// use sidecar_bundle::{BundleSpec, Engine, Error, NetworkPlanned, Slug, launch_all};
///
/// let engine = Engine::docker().with_host("unix:///no/such/socket");
/// let plans = ["first", "second"].map(|it| NetworkPlanned::new(Slug::new(it).unwrap()));
/// let failed = launch_all(&engine, plans.map(|it| (it, BundleSpec::new()))).unwrap_err();
/// let Error::Several(errors) = failed.error() else { panic!("{failed}") };
/// assert_eq!(errors.as_slice().len(), 2);
/// ```
#[derive(Debug)]
pub struct Errors(Vec<Error>);

impl Errors {
    /// The errors, in the order in which they came.
    #[must_use]
    pub fn as_slice(&self) -> &[Error] {
        &self.0
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if i == 0 { "" } else { "; and " })?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(self.0.first()?)
    }
}

/// A step that failed: the error, and the state before the step.
///
/// With `?` in a function that returns [`Error`], the state is closed, and what could not be removed
/// [comes with the error](Error::Several). The removal of each resource takes at most the
/// [deadline of a removal](crate::Engine::with_remove_deadline). A grace period of the container comes before, with one
/// more such deadline. To try again, take both apart:
///
/// ```no_run
/// # use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
/// # fn main() -> Result<(), sidecar_bundle::Error> {
/// let network = NetworkPlanned::new(Slug::new("demo")?).create_network(&Engine::docker())?;
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
/// Any other error type that this is converted into holds the state, and closes it when the error is dropped.
pub struct StepError<S>(Box<(Error, S)>);

impl<S> StepError<S> {
    pub(crate) fn new(error: Error, state: S) -> Self {
        Self(Box::new((error, state)))
    }

    /// The error.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0.0
    }

    /// The state before the step, to try again. The error is dropped.
    ///
    /// ```
    /// use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
    ///
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let failed = plan.clone().launch(&Engine::docker(), BundleSpec::new().pids(0)).unwrap_err();
    /// assert_eq!(failed.into_state(), plan);
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    #[must_use]
    pub fn into_state(self) -> S {
        self.0.1
    }

    /// The error, and the state before the step.
    ///
    /// ```no_run
    /// # use std::{thread, time::Duration};
    /// # use sidecar_bundle::{BundleSpec, Engine, Error, NetworkPlanned, Slug, StepError};
    /// # let (engine, spec) = (Engine::docker(), BundleSpec::new());
    /// # let mut plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let bundle = loop {
    ///     match plan.launch(&engine, spec.clone()).map_err(StepError::into_parts) {
    ///         Ok(bundle) => break bundle,
    ///         Err((Error::Taken { .. }, back)) => plan = back, // until its owner is done
    ///         Err((error, _)) => return Err(error),
    ///     }
    ///     thread::sleep(Duration::from_secs(1));
    /// };
    /// # bundle.close()?;
    /// # Ok::<(), Error>(())
    /// ```
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

/// There is nothing to remove.
impl From<StepError<NetworkPlanned>> for Error {
    fn from(failed: StepError<NetworkPlanned>) -> Self {
        failed.into_parts().0
    }
}

/// All managers of a swarm list its networks, which have shorter ids.
fn on_its_engine(id: &str) -> &'static str {
    if id.len() < 64 { " on the engine that made it" } else { "" }
}

/// The beginning of an id, as engines print it.
fn on_host(host: Option<&str>) -> String {
    host.map_or_else(String::new, |host| format!(" on host {host}"))
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

fn address(found: Option<IpAddr>) -> String {
    found.map_or("no address".into(), |ip| format!("the address {ip}"))
}

fn advice(id: Option<&String>) -> &'static str {
    if id.is_some() { "remove" } else { "look for" }
}

fn by(pid: Option<u32>, since: Option<SystemTime>) -> String {
    let pid = match pid {
        Some(pid) if pid == std::process::id() => format!(" by this process, pid {pid},"),
        Some(pid) => format!(" by pid {pid}"),
        None => String::new(),
    };
    let since = since.map(|t| format!(" since {}", humantime::format_rfc3339_seconds(t)));
    let text = pid + &since.unwrap_or_default();
    text.trim_end_matches(',').to_owned()
}

fn by_holder(holder: Option<&Holder>) -> String {
    let unnamed = "something that the engine does not name; next_attempt or create_network_in_free_subnet moves a derived subnet on";
    holder.map_or(unnamed.into(), Holder::to_string)
}

fn by_port_holder(holder: Option<&PortHolder>) -> String {
    holder.map_or("something that cannot be seen from here".into(), PortHolder::to_string)
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

struct Chain<'a>(&'a Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = std::error::Error::source(self.0);
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_is_made_of_others_has_the_cause_of_the_first() {
        let unreachable = || {
            let text =
                "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?";
            EngineError::withheld(text.into(), Cause::EngineUnreachable)
        };
        let other = || EngineError::withheld("x".into(), Cause::Other);
        let none = NoEngine::for_test(vec![unreachable(), other()]);
        assert_eq!(none.errors().len(), 2);
        assert_eq!(Error::NoEngine(none).cause(), Some(Cause::EngineUnreachable));
        let plan = NetworkPlanned::new(Slug::new("demo").unwrap());
        let of_bundle = Error::Engine(unreachable()).of(plan);
        assert_eq!(of_bundle.cause(), Some(Cause::EngineUnreachable));
        let both = Error::Engine(other()).and(Err(Error::Engine(unreachable())));
        assert_eq!(both.cause(), Some(Cause::Other));
        assert_eq!(both.each().len(), 2);
    }
}
