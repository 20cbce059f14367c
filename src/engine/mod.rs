//! Engines: Docker and podman, and the ways to talk to them.

mod api;
pub(crate) mod backend;
pub(crate) mod cause;
pub(crate) mod cli;
pub(crate) mod clock;
pub(crate) mod connection;
mod dialect;
mod engines;
pub(crate) mod error;
pub(crate) mod http;
pub(crate) mod identity;
mod inspect;
mod reachability;
pub(crate) mod redactor;
mod retried;
mod support;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{env, path};

#[cfg(fuzzing)]
pub(crate) use api::fuzzing;
use api::{Api, Connections};
use backend::Backend;
use cli::Cli;
use clock::{Clock, SystemClock, deadline};
use dialect::Dialect;
pub use engines::Engines;
use error::EngineError;
use identity::EngineKind;
pub use reachability::Reachability;
pub(crate) use support::Refused;
pub use support::Unsupported;

/// An engine: Docker or podman.
///
/// | constructor | the way |
/// |---|---|
/// | [`docker`](Self::docker) | the Engine API: over the socket of a `unix://` address, else over `docker system dial-stdio`, for contexts, TLS and ssh |
/// | [`docker_cli`](Self::docker_cli) | the commands of the program `docker` |
/// | [`podman`](Self::podman) | podman's API: over the socket of a `unix://` address, else of a service that this process runs; over `podman system dial-stdio` for connections and other addresses |
///
/// The engine is found as its program finds it: `DOCKER_HOST`, contexts, TLS and ssh work as the user has set
/// them up, and so do `CONTAINER_HOST` and connections. They are read when this value is made, and apply to
/// every request of every bundle that is made with it: a later `docker context use`, `set_var` or
/// `set_current_dir` does not send a removal to another engine. Over the API, a connection leads to the engine that
/// described itself on it; if a new one leads to another engine, that engine is asked for nothing. Up to eight
/// connections are kept, at most as long as this value and its clones; each that is not a socket is a process of the
/// program.
///
/// Podman has no daemon. If no address and no connection is configured, the first request runs `podman system service`
/// on a socket that only this user reaches. One process serves all engine values that lead to the same podman, while
/// one of them lives. It describes itself once, which takes some 0.3 s. It ends ten seconds after its last connection,
/// also if this process was killed, and is run again when it is needed. It finishes the requests that are under way.
///
/// The program also pulls images, since it knows the credentials of registries, and the reaper runs it.
///
/// Neither the `proxies` of docker's `config.json` nor the proxies of podman's environment reach a container that is
/// made over the API. The commands of docker set those of `config.json` as its environment.
///
/// An engine is identified by its answer, not by its configuration. Two values that lead to one engine share its
/// slugs: while one of them holds a slug, the other gets [`Error::Taken`](crate::Error::Taken).
///
/// | set by | bounds | default |
/// |---|---|---|
/// | [`with_start_deadline`](Self::with_start_deadline) | each request that creates or starts | 120 s |
/// | [`with_pull_deadline`](Self::with_pull_deadline) | each pull of an image | 600 s |
/// | [`with_remove_deadline`](Self::with_remove_deadline) | each removal, with its looks; each other look | 30 s |
///
/// A look is a request that only reads, such as an `inspect` or a list. A request that passes its deadline has
/// failed; a command is killed.
///
/// ```
/// use std::time::Duration;
/// use sidecar_bundle::Engine;
///
/// let engine = Engine::docker().with_start_deadline(Duration::from_secs(600));
/// # let _ = engine;
/// ```
///
/// One program drives bundles on many engines at once, also of one slug. [`Engines`] place slugs among them, and ask all of
/// them at once.
///
/// ```no_run
/// use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
///
/// let engines = [
///     Engine::docker(),
///     Engine::docker().with_host("ssh://me@builder-1"),
///     Engine::docker().with_context("builder-2"),
///     Engine::podman(),
/// ];
/// let plan = NetworkPlanned::new(Slug::new("demo")?);
/// let bundles: Vec<_> = engines
///     .iter()
///     .map(|engine| Ok(plan.clone().launch(engine, BundleSpec::new())?))
///     .collect::<Result<_, sidecar_bundle::Error>>()?;
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
#[derive(Clone)]
pub struct Engine {
    access: Access,
    state_dir: Option<PathBuf>,
    deadlines: Deadlines,
    reaper: ReaperChoice,
    drops_in_background: bool,
    clock: Arc<dyn Clock>,
    /// Asked once for this value and its clones.
    reachability: Arc<OnceLock<Reachability>>,
}

/// The configuration from which a backend is made.
#[derive(Clone, Debug)]
enum Access {
    Api(Cli, Connections),
    Cli(Cli),
    #[cfg(test)]
    Model(Arc<dyn Backend>),
}

/// The reaper of an owner.
#[derive(Clone, Debug)]
pub(crate) enum ReaperChoice {
    /// A process that is started when it is needed.
    Process,
    None,
    /// A record of what a reaper would know.
    #[cfg(test)]
    Model(Arc<crate::model::world::ReaperRecord>),
}

/// The bounds of requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    pub(crate) start: Duration,
    pub(crate) pull: Duration,
    pub(crate) remove: Duration,
}

impl Engine {
    /// Docker, over its API: version 1.41 or newer, that of Docker 20.10.
    ///
    /// A `unix://` address, which is the default, is connected to directly. Every other is reached by the program
    /// `docker`, found on `PATH`.
    #[must_use]
    pub fn docker() -> Self {
        Self::of(Access::Api(Cli::new(Dialect::Docker), Connections::default()))
    }

    /// Docker, by the commands of the program `docker`, found on `PATH`: for places where only these are allowed,
    /// such as a wrapper around `sudo docker`.
    ///
    /// It pulls, creates, starts, inspects, stops and removes. A command succeeds by its exit status and its answer. The
    /// exit status is lost where this process ignores `SIGCHLD` or something in it waits for all children; its answer
    /// decides then, or an `inspect`. If a container has secret or inherited values, one more command checks whether they
    /// have arrived.
    ///
    /// Logs, [`events`](crate::Container::events), [`exec`](crate::Container::exec), files, second networks, and
    /// readiness by the log, a file or a command are [`Error::Unsupported`](crate::Error::Unsupported). The program
    /// ends in the same way when its connection is cut as at the end of a log, and mixes its own warnings into the log.
    /// A wait has to ask for a container's end, and may notice it two seconds late. Where the program is podman under
    /// another name, use [`detect`](Self::detect) or [`podman`](Self::podman).
    #[must_use]
    pub fn docker_cli() -> Self {
        Self::of(Access::Cli(Cli::new(Dialect::Docker)))
    }

    /// Podman, over its API: podman 4.0 or newer, with netavark as its network backend; as root or rootless.
    ///
    /// The program `podman`, found on `PATH`, runs the service, or leads to one that is elsewhere. On other systems than
    /// Linux, it leads to its virtual machine.
    #[must_use]
    pub fn podman() -> Self {
        Self::of(Access::Api(Cli::new(Dialect::Podman), Connections::default()))
    }

    /// The first that answers: `docker`, then `podman`. A `docker` that is podman under another name is
    /// recognized, and driven as podman.
    ///
    /// ```no_run
    /// use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, Slug};
    ///
    /// let engine = Engine::detect()?;
    /// println!("bundles run on {}", engine.version()?);
    /// let plan = NetworkPlanned::new(Slug::new("demo")?);
    /// let bundle = plan.launch(&engine, BundleSpec::new().image("nginx:1"))?;
    /// # bundle.close()?;
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`NoEngine`] with the error of each, when neither answers.
    pub fn detect() -> Result<Self, NoEngine> {
        let mut errors = Vec::new();
        for engine in [Self::docker(), Self::podman()] {
            match engine.backend().info(engine.look_deadline()) {
                Ok(_) => return Ok(engine),
                Err(error) => errors.push(error),
            }
        }
        let program = Self::docker_cli();
        let info = program.backend().info(program.look_deadline());
        // It finds its engine as podman does.
        if info.is_ok_and(|info| info.program == EngineKind::Podman) {
            return Ok(Self::podman().with_program("docker"));
        }
        Err(NoEngine(errors))
    }

    fn of(access: Access) -> Self {
        Self {
            access,
            state_dir: default_state_dir(),
            deadlines: Deadlines {
                start: Duration::from_secs(120),
                pull: Duration::from_secs(600),
                remove: Duration::from_secs(30),
            },
            reaper: ReaperChoice::Process,
            drops_in_background: false,
            clock: Arc::new(SystemClock),
            reachability: Arc::default(),
        }
    }

    /// The engine at this address: `unix:///run/docker.sock`, `tcp://host:2376`, `ssh://user@host` ...
    ///
    /// It replaces `DOCKER_HOST` or `CONTAINER_HOST`, and any context.
    ///
    /// ```no_run
    /// use sidecar_bundle::Engine;
    ///
    /// // The rootless Docker of this user, beside the one of the system.
    /// let runtime = std::env::var("XDG_RUNTIME_DIR")?;
    /// let engine = Engine::docker().with_host(format!("unix://{runtime}/docker.sock"));
    /// println!("{}", engine.reachability()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_host(self, address: impl Into<OsString>) -> Self {
        self.with_cli(|cli| cli.with_host(address.into()))
    }

    /// The engine that the program's configuration knows by this name: a context of docker's, with its
    /// TLS material, or a connection of podman's.
    ///
    /// It replaces `DOCKER_HOST` or `CONTAINER_HOST`.
    ///
    /// ```no_run
    /// use sidecar_bundle::{Engine, bundles};
    ///
    /// for context in ["default", "builder-1", "builder-2"] {
    ///     let found = bundles(&Engine::docker().with_context(context))?;
    ///     println!("{context}: {} bundles", found.len());
    /// }
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    #[must_use]
    pub fn with_context(self, name: impl Into<OsString>) -> Self {
        self.with_cli(|cli| cli.with_context(name.into()))
    }

    /// Replaces the program: a name that is looked up on `PATH`, or a path. It must understand the
    /// commands of the program that it replaces. A `unix://` address is connected to without it all the same.
    ///
    /// ```
    /// use sidecar_bundle::{Cause, Engine};
    ///
    /// // A wrapper, such as a script with `exec sudo docker "$@"`.
    /// let engine = Engine::docker_cli().with_program("/no/such/sudo-docker");
    /// let error = engine.version().unwrap_err();
    /// assert_eq!(error.cause(), Cause::ProgramMissing);
    /// ```
    #[must_use]
    pub fn with_program(self, program: impl Into<OsString>) -> Self {
        self.with_cli(|cli| cli.with_program(program.into()))
    }

    fn with_cli(mut self, change: impl FnOnce(Cli) -> Cli) -> Self {
        self.access = match self.access {
            Access::Api(cli, _) => Access::Api(change(cli), Connections::default()),
            Access::Cli(cli) => Access::Cli(change(cli)),
            #[cfg(test)]
            model @ Access::Model(_) => model,
        };
        Self { reachability: Arc::default(), ..self }
    }

    /// Replaces the directory that holds the leases of slugs.
    ///
    /// The default is `$XDG_STATE_HOME/sidecar-bundle` or `~/.local/state/sidecar-bundle`. It is made when it is
    /// first needed, with those above it, for this user alone. It must outlive
    /// the processes that use it, and must be this user's own: neither a symbolic link nor writable by
    /// others.
    ///
    /// ```no_run
    /// use sidecar_bundle::{Engine, sweep};
    ///
    /// /// For the launcher and for its sweep: another directory has other leases.
    /// fn engine() -> Engine {
    ///     Engine::docker().with_state_dir("/var/lib/acme/leases")
    /// }
    /// println!("{:?}", sweep(&engine())?);
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    #[must_use]
    pub fn with_state_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        self.state_dir = Some(path::absolute(&directory).unwrap_or(directory));
        self
    }

    /// Replaces the deadline of each request that creates or starts.
    #[must_use]
    pub fn with_start_deadline(mut self, timeout: Duration) -> Self {
        self.deadlines.start = timeout;
        self
    }

    /// Replaces the deadline of each pull of an image.
    #[must_use]
    pub fn with_pull_deadline(mut self, timeout: Duration) -> Self {
        self.deadlines.pull = timeout;
        self
    }

    /// Replaces the deadline of each removal, and of each look: a request that only reads.
    #[must_use]
    pub fn with_remove_deadline(mut self, timeout: Duration) -> Self {
        self.deadlines.remove = timeout;
        self
    }

    /// Uses no reaper, the process that removes the resources of this one when it is killed.
    ///
    /// The slug's next launch or a [`sweep`](crate::sweep) then removes them.
    #[must_use]
    pub fn without_reaper(mut self) -> Self {
        self.reaper = ReaperChoice::None;
        self
    }

    /// Closes each dropped [`BundleRunning`](crate::BundleRunning) in the background, as by
    /// [`close_in_background`](crate::BundleRunning::close_in_background): the drop returns at once where a reaper
    /// runs. The drop of a guest or of a network alone does not, nor does a `?` that closes a state.
    ///
    /// The next launch then overlaps the teardown before it, unless it is of the same slug or in the same subnet.
    /// [`wait_for_teardowns`](crate::wait_for_teardowns) is for the end of the program: what is left to the reaper gets no grace
    /// period, and its log is not saved.
    #[must_use]
    pub fn with_background_drop(mut self) -> Self {
        self.drops_in_background = true;
        self
    }

    pub(crate) fn drops_in_background(&self) -> bool {
        self.drops_in_background
    }

    /// Returns true if a reaper could remove what this process leaves when it is killed: the engine's program is there,
    /// or else `curl` for a Docker that is reached by its socket. Without one, the slug's next launch or a
    /// [`sweep`](crate::sweep) removes it. No engine is asked.
    ///
    /// ```
    /// use sidecar_bundle::Engine;
    ///
    /// let engine = Engine::docker().without_reaper();
    /// assert!(!engine.has_reaper());
    /// if !engine.has_reaper() {
    ///     eprintln!("after `kill -9`, run `sidecar-bundle sweep`");
    /// }
    /// ```
    #[must_use]
    pub fn has_reaper(&self) -> bool {
        !matches!(self.reaper, ReaperChoice::None) && self.backend().can_reap()
    }

    /// The engine's kind and version: `Docker 20.10.24+dfsg1` or `Podman 4.3.1`.
    ///
    /// # Errors
    ///
    /// [`EngineError`] when the engine cannot be asked.
    pub fn version(&self) -> Result<String, EngineError> {
        self.backend().info(self.look_deadline()).map(|info| info.to_string())
    }

    /// Asks the engine where its bridges are, which tells whether programs of this host can reach its containers. The
    /// engine is asked once; no packet is sent to a container.
    ///
    /// ```no_run
    /// use sidecar_bundle::Engine;
    ///
    /// let reachability = Engine::docker().reachability()?;
    /// if !reachability.is_here() {
    ///     eprintln!("a guest on this host would not reach its bundle: {reachability}");
    /// }
    /// # Ok::<(), sidecar_bundle::EngineError>(())
    /// ```
    ///
    /// The answer is an expectation, before anything exists. For a running bundle,
    /// [`BundleRunning::is_reachable`](crate::BundleRunning::is_reachable) is certain.
    ///
    /// # Errors
    ///
    /// [`EngineError`] when the engine cannot be asked.
    pub fn reachability(&self) -> Result<Reachability, EngineError> {
        if let Some(known) = self.reachability.get() {
            return Ok(known.clone());
        }
        let found = match &self.access {
            Access::Api(..) | Access::Cli(_) => {
                reachability::locate(&*self.backend(), self.look_deadline())?
            }
            #[cfg(test)]
            Access::Model(_) => Reachability::OtherNamespace,
        };
        Ok(self.reachability.get_or_init(|| found).clone())
    }

    /// A connection with a redactor of its own.
    pub(crate) fn backend(&self) -> Arc<dyn Backend> {
        match &self.access {
            Access::Api(cli, connections) => {
                Arc::new(Api::new(cli.clone().with_new_redactor(), connections))
            }
            Access::Cli(cli) => Arc::new(cli.clone().with_new_redactor()),
            #[cfg(test)]
            Access::Model(backend) => Arc::clone(backend),
        }
    }

    pub(crate) fn state_dir(&self) -> Option<&PathBuf> {
        self.state_dir.as_ref()
    }

    pub(crate) fn reaper(&self) -> &ReaperChoice {
        &self.reaper
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(crate) fn pause(&self, duration: Duration) {
        self.clock.pause(duration);
    }

    /// The end of the time for which something that comes or goes of itself may be in the way of a create.
    pub(crate) fn patience(&self) -> Instant {
        self.now() + Duration::from_secs(15)
    }

    /// Pauses for a moment and returns true, until that end.
    pub(crate) fn is_patient(&self, patience: Instant) -> bool {
        let is_patient = self.now() < patience;
        if is_patient {
            self.pause(Duration::from_millis(100));
        }
        is_patient
    }

    pub(crate) fn start_deadline(&self) -> Instant {
        deadline(self.now(), self.deadlines.start)
    }

    pub(crate) fn pull_deadline(&self) -> Instant {
        deadline(self.now(), self.deadlines.pull)
    }

    /// The deadline of one removal, or of one look.
    pub(crate) fn look_deadline(&self) -> Instant {
        deadline(self.now(), self.deadlines.remove)
    }

    #[cfg(test)]
    pub(crate) fn model(
        backend: Arc<dyn Backend>,
        state_dir: PathBuf,
        reaper: ReaperChoice,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let deadlines = Deadlines {
            start: Duration::from_secs(60),
            pull: Duration::from_secs(60),
            remove: Duration::from_secs(5),
        };
        let (access, reachability) = (Access::Model(backend), Arc::default());
        Self {
            access,
            state_dir: Some(state_dir),
            deadlines,
            reaper,
            drops_in_background: false,
            clock,
            reachability,
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Engine");
        match &self.access {
            Access::Api(cli, _) => cli.fmt_way(debug.field("by", &"API")),
            Access::Cli(cli) => cli.fmt_way(debug.field("by", &"commands")),
            #[cfg(test)]
            Access::Model(backend) => _ = debug.field("model", backend),
        }
        debug.field("state_dir", &self.state_dir).finish_non_exhaustive()
    }
}

/// No engine answers. Nothing has been touched.
///
/// It prints the error of each that was tried.
///
/// ```no_run
/// use sidecar_bundle::Engine;
///
/// # fn test_on(_: Engine) {}
/// // A test that is skipped where there is no engine, but not in CI.
/// match Engine::detect() {
///     Ok(engine) => test_on(engine),
///     Err(none) if std::env::var_os("CI").is_none() => eprintln!("skipped: {none}"),
///     Err(none) => panic!("{none}"),
/// }
/// ```
#[derive(Debug)]
pub struct NoEngine(Vec<EngineError>);

impl NoEngine {
    #[cfg(test)]
    pub(crate) fn for_test(errors: Vec<EngineError>) -> Self {
        Self(errors)
    }

    /// The error of each that was tried.
    #[must_use]
    pub fn errors(&self) -> &[EngineError] {
        &self.0
    }
}

impl fmt::Display for NoEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no engine answers")?;
        for (i, error) in self.0.iter().enumerate() {
            write!(f, "{} {error}", if i == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl std::error::Error for NoEngine {}

fn default_state_dir() -> Option<PathBuf> {
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || path::absolute(env::home_dir()?.join(".local/state")).ok();
    let state = state.or_else(home)?;
    Some(state.join("sidecar-bundle"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Stopped(Instant);

    impl Clock for Stopped {
        fn now(&self) -> Instant {
            self.0
        }

        fn pause(&self, _: Duration) {}
    }

    #[test]
    fn the_state_of_all_engines_is_in_one_directory_of_the_user() {
        let [docker, podman] = [Engine::docker(), Engine::podman()];
        let directory = docker.state_dir().unwrap();
        assert!(directory.is_absolute() && directory.ends_with("sidecar-bundle"), "{directory:?}");
        assert_eq!(podman.state_dir(), Some(directory));
    }

    #[test]
    fn patience_has_an_end() {
        let now = Instant::now();
        let engine = Engine { clock: Arc::new(Stopped(now)), ..Engine::docker() };
        assert!(engine.is_patient(engine.patience()) && !engine.is_patient(now));
    }
}
