//! An engine behind a command-line program: which, where, and what it says of itself.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::engine::Operations;
use crate::engine::about::{About, Reachability};
use crate::engine::command::{Command, CommandError, Secrets};
use crate::engine::dialect::Dialect;
use crate::error::Error;

/// An engine that is driven through its command-line program: `docker` or `podman`.
///
/// The program finds its engine as it always does: `DOCKER_HOST`, contexts, TLS and ssh work as the
/// user has set them up, and so do `CONTAINER_HOST` and connections. Which of them it is, is read when
/// this value is made, and holds for every command of every bundle that is made with it: a later
/// `docker context use` or `set_var` does not send a removal to another engine.
///
/// | deadline | bounds | by default |
/// |---|---|---|
/// | start | each command that creates or starts | 120 s |
/// | pull | pulling an image | 600 s |
/// | remove | one removal with everything that it asks; one look | 30 s |
///
/// A command that is past its deadline has failed, and is killed. Podman's program does all the work
/// itself and leaves interfaces behind when it is killed half-way, so it is given ten seconds more to end.
///
/// ```
/// use std::time::Duration;
/// use sidecar_bundle::CliEngine;
///
/// let engine = CliEngine::docker().with_start_deadline(Duration::from_secs(600));
/// # let _ = engine;
/// ```
///
/// Each value is an engine of its own, so one program drives bundles on many hosts at once, also of
/// one slug:
///
/// ```no_run
/// use sidecar_bundle::{BundleSpec, CliEngine, NetworkPlanned, Slug};
///
/// let engines = [
///     CliEngine::docker(),
///     CliEngine::docker().with_host("ssh://me@builder-1"),
///     CliEngine::docker().with_context("builder-2"),
///     CliEngine::podman(),
/// ];
/// let plan = NetworkPlanned::new(Slug::new("demo")?);
/// let bundles: Vec<_> = engines
///     .iter()
///     .map(|engine| Ok(plan.clone().launch(engine, BundleSpec::new())?))
///     .collect::<Result<_, sidecar_bundle::Error>>()?;
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
///
/// Leases tell engines apart by program, address and context *as configured*: two values that lead to
/// one engine by two ways do not know of each other, and what the one holds is foreign to the other.
#[derive(Clone, Debug)]
pub struct CliEngine {
    pub(super) dialect: Dialect,
    pub(super) program: OsString,
    pub(super) host: Option<OsString>,
    pub(super) context: Option<OsString>,
    /// The variables that say where the program's configuration is.
    configuration: Vec<(&'static str, Option<OsString>)>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) start_deadline: Duration,
    pub(super) pull_deadline: Duration,
    pub(super) remove_deadline: Duration,
    pub(super) reaper: bool,
    /// Values that the program may print back, as every one of its commands sees what this process
    /// has in its environment.
    pub(super) hidden: Secrets,
    /// Asked once for this value and its clones.
    pub(super) known: Arc<Known>,
}

/// What the engine was asked once.
#[derive(Debug, Default)]
pub(super) struct Known {
    about: OnceLock<About>,
    pub(super) reachability: OnceLock<Reachability>,
}

impl CliEngine {
    /// The program `docker`, found on `PATH`. Where it is podman by another name, take
    /// [`detect`](Self::detect) or [`podman`](Self::podman) instead, and for podman's service at an address
    /// `podman().with_host(address)`: podman does not keep a network that is in use from being removed, as
    /// Docker does, and is driven otherwise.
    #[must_use]
    pub fn docker() -> Self {
        Self::of(Dialect::Docker)
    }

    /// The program `podman`, found on `PATH`, with netavark as its network backend; as root or rootless.
    #[must_use]
    pub fn podman() -> Self {
        Self::of(Dialect::Podman)
    }

    /// The first that answers: `docker`, then `podman`. A `docker` that is podman by another name is
    /// taken for what it is.
    ///
    /// # Errors
    ///
    /// [`Error::NoEngine`] when none does, with what each of them said.
    pub fn detect() -> Result<Self, Error> {
        let mut said = Vec::new();
        for engine in [Self::docker(), Self::podman()] {
            match engine.about() {
                Ok(about) if about.dialect == engine.dialect => return Ok(engine),
                // It finds its engine as podman does.
                Ok(_) => return Ok(Self::podman().with_program(engine.program)),
                Err(error) => said.push(error),
            }
        }
        Err(Error::NoEngine { said })
    }

    fn of(dialect: Dialect) -> Self {
        let [host, context] =
            dialect.steering().map(|name| env::var_os(name).filter(|value| !value.is_empty()));
        // The program prefers an address to any name.
        let context = match (&host, dialect) {
            (Some(_), _) => None,
            // Named even where nobody has chosen one, so that a later choice changes nothing.
            (None, Dialect::Docker) => {
                context.or_else(current_context).or_else(|| Some(Dialect::DOCKER_DEFAULT.into()))
            }
            (None, Dialect::Podman) => context,
        };
        Self {
            dialect,
            program: dialect.program().into(),
            host,
            context,
            configuration: configuration(dialect),
            state_dir: default_state_dir(),
            start_deadline: Duration::from_secs(120),
            pull_deadline: Duration::from_secs(600),
            remove_deadline: Duration::from_secs(30),
            reaper: true,
            hidden: Secrets::default(),
            known: Arc::default(),
        }
    }

    /// The engine at this address: `unix:///run/docker.sock`, `tcp://host:2376`, `ssh://user@host` ...
    ///
    /// It takes the place of `DOCKER_HOST` or `CONTAINER_HOST`, and of any context.
    #[must_use]
    pub fn with_host(self, address: impl Into<OsString>) -> Self {
        Self { host: Some(address.into()), context: None, known: Arc::default(), ..self }
    }

    /// The engine that the program's configuration knows by this name: a context of docker's, with its
    /// TLS material, or a connection of podman's.
    ///
    /// It takes the place of `DOCKER_HOST` or `CONTAINER_HOST`.
    #[must_use]
    pub fn with_context(self, name: impl Into<OsString>) -> Self {
        Self { host: None, context: Some(name.into()), known: Arc::default(), ..self }
    }

    /// Which engine it is, and its version: `Docker 20.10.24+dfsg1` or `Podman 4.3.1`. It is asked once.
    ///
    /// # Errors
    ///
    /// [`Error::Look`] when the engine cannot be asked.
    pub fn version(&self) -> Result<String, Error> {
        let about = self.about().map_err(|source| Error::Look { what: "its version", source })?;
        Ok(about.to_string())
    }

    /// Asks the engine whether programs of this host can reach the addresses of its containers at all,
    /// and if not, why, and what to do instead. No packet is sent to any of them. It is asked once.
    ///
    /// ```no_run
    /// use sidecar_bundle::CliEngine;
    ///
    /// let reachability = CliEngine::docker().reachability()?;
    /// if !reachability.is_here() {
    ///     eprintln!("a guest on this host would not reach its bundle: {reachability}");
    /// }
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    ///
    /// It is what can be said before anything exists. Of a bundle that runs,
    /// [`BundleRunning::is_reachable`](crate::BundleRunning::is_reachable) says it for certain.
    ///
    /// # Errors
    ///
    /// [`Error::Look`] when the engine cannot be asked.
    pub fn reachability(&self) -> Result<Reachability, Error> {
        Operations::reachability(self).map_err(|source| Error::Look { what: "where it is", source })
    }

    /// Replaces the program: a name that is looked up on `PATH`, or a path. It is to speak the language
    /// of the one that it replaces.
    #[must_use]
    pub fn with_program(self, program: impl Into<OsString>) -> Self {
        Self { program: program.into(), known: Arc::default(), ..self }
    }

    /// Replaces the directory that holds the leases of slugs.
    ///
    /// By default it is `$XDG_STATE_HOME/sidecar-bundle` or `~/.local/state/sidecar-bundle`. It must
    /// outlive the processes that use it: what the leases of a deleted directory stood for is nobody's.
    #[must_use]
    pub fn with_state_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        // What looks there later may work in another directory.
        self.state_dir = Some(std::path::absolute(&directory).unwrap_or(directory));
        self
    }

    /// Replaces the deadline of each command that creates or starts.
    #[must_use]
    pub fn with_start_deadline(mut self, deadline: Duration) -> Self {
        self.start_deadline = deadline;
        self
    }

    /// Replaces the deadline of pulling an image.
    #[must_use]
    pub fn with_pull_deadline(mut self, deadline: Duration) -> Self {
        self.pull_deadline = deadline;
        self
    }

    /// Replaces the deadline of each removal, and of each look.
    #[must_use]
    pub fn with_remove_deadline(mut self, deadline: Duration) -> Self {
        self.remove_deadline = deadline;
        self
    }

    /// Does without the process that removes what this one leaves when it is killed.
    ///
    /// What then stays is removed by the slug's next launch, or by a [`sweep`](crate::sweep).
    #[must_use]
    pub fn without_reaper(mut self) -> Self {
        self.reaper = false;
        self
    }

    /// What it takes to reach the engine that was configured when this value was made.
    pub(super) fn pinned(&self) -> Vec<(&'static str, Option<OsString>)> {
        let [host, context] = self.dialect.steering();
        let steering = [(host, self.host.clone()), (context, self.context.clone())];
        steering.into_iter().chain(self.configuration.iter().cloned()).collect()
    }

    /// What the engine says of itself.
    pub(super) fn about(&self) -> Result<&About, CommandError> {
        if let Some(about) = self.known.about.get() {
            return Ok(about);
        }
        let command = self.command().args(["info", "--format", "{{json .}}"]);
        let (status, stdout, stderr) = command.clone().run_to_end(self.until_looked())?;
        if !status.success() {
            return Err(command.exited(status, &stderr));
        }
        let info: Value = serde_json::from_str(&stdout).unwrap_or_default();
        match About::read(&info) {
            Some(about) => Ok(self.known.about.get_or_init(|| about)),
            // Docker 20.10's program says so that there is no engine, and succeeds.
            None => match info["ServerErrors"].as_array().map(Vec::as_slice) {
                Some([Value::String(error), ..]) => Err(command.exited(status, error)),
                _ => Err(command.nonsense("what the engine is", &stdout)),
            },
        }
    }

    /// The address of the engine, where it is known.
    pub(super) fn address(&self) -> Result<Option<String>, CommandError> {
        let text = |it: &OsString| it.to_string_lossy().into_owned();
        match (&self.host, &self.context) {
            (Some(host), _) => Ok(Some(text(host))),
            (None, Some(name)) if self.dialect.is_default(name) => Ok(None),
            (None, Some(name)) if self.dialect == Dialect::Docker => {
                let found = self.inspect("context", &[&text(name)], self.until_looked())?;
                let address =
                    found.first().and_then(|it| it["Endpoints"]["docker"]["Host"].as_str());
                Ok(address.map(str::to_owned))
            }
            (None, Some(name)) => {
                let list =
                    self.program().args(["system", "connection", "list", "--format", "json"]);
                let listed = list.run(self.until_looked()).map_err(|failure| failure.error)?;
                let all: Value = serde_json::from_str(&listed).unwrap_or_default();
                let named =
                    all.as_array().into_iter().flatten().find(|it| it["Name"] == *text(name));
                let address = named.and_then(|it| it["URI"].as_str());
                Ok(Some(address.map_or_else(|| text(name), str::to_owned)))
            }
            (None, None) => Ok(None),
        }
    }

    pub(super) fn until_looked(&self) -> Instant {
        Instant::now() + self.remove_deadline
    }

    /// The program with its environment, before any argument.
    fn program(&self) -> Command {
        let program = Command::new(&self.program, &self.hidden);
        let program = program.patiently(self.dialect.patience());
        let pinned = self.pinned().into_iter();
        pinned.fold(program, |command, (name, value)| command.env(name, value))
    }

    pub(super) fn command(&self) -> Command {
        let command = self.program();
        match &self.context {
            // By its variable, podman 4.3 takes a name that it does not know for its default.
            Some(name) if self.dialect == Dialect::Podman => {
                command.arg(Dialect::CONNECTION).arg(name.to_string_lossy().into_owned())
            }
            _ => command,
        }
    }
}

/// The variables that say where the program's configuration is, as they are now.
fn configuration(dialect: Dialect) -> Vec<(&'static str, Option<OsString>)> {
    let now = |name: &&'static str| {
        let path = env::var_os(name).filter(|value| !value.is_empty());
        // What uses it later may work in another directory.
        (*name, path.map(|path| std::path::absolute(&path).map_or(path, PathBuf::into_os_string)))
    };
    dialect.configuration().iter().map(now).collect()
}

/// Which context the user has chosen with `docker context use`.
fn current_context() -> Option<OsString> {
    let directory = match env::var_os("DOCKER_CONFIG").filter(|value| !value.is_empty()) {
        Some(directory) => PathBuf::from(directory),
        None => env::home_dir()?.join(".docker"),
    };
    let config = std::fs::read_to_string(directory.join("config.json")).ok()?;
    let config: Value = serde_json::from_str(&config).ok()?;
    config["currentContext"].as_str().filter(|name| !name.is_empty()).map(Into::into)
}

fn default_state_dir() -> Option<PathBuf> {
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(env::home_dir()?.join(".local/state")))?;
    Some(state.join("sidecar-bundle"))
}
