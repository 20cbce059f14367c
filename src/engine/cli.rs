//! An engine behind a docker-compatible command-line program.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::engine::command::{Command, CommandError, Failure, Secrets};
use crate::engine::diagnosis::{Cause, MadeNothing};
use crate::engine::facts::{container_facts, network_facts};
use crate::engine::follow::{Event, Followed};
use crate::engine::run::run;
use crate::engine::{
    ContainerFacts, ContainerRequest, Failed, Filter, Made, NetworkFacts, NetworkRequest,
    Operations, Resource,
};
use crate::labels::label_of;
use crate::reaper::Stranger;
use crate::spec::{CheckedSpec, CheckedVariable};
use crate::status::{ExecOutput, LogLine, LogStream};

/// An engine that is driven through its command-line program.
///
/// The program finds its engine as it always does: `DOCKER_HOST`, contexts, TLS and ssh work as the
/// user has set them up. Which of them it is, is read when this value is made, and holds for every
/// command of every bundle that is made with it: a later `docker context use` or `set_var` does not
/// send a removal to another engine.
///
/// | deadline | bounds | by default |
/// |---|---|---|
/// | start | each command that creates or starts | 120 s |
/// | pull | pulling an image | 600 s |
/// | remove | one removal with everything that it asks; one look | 30 s |
///
/// ```
/// use std::time::Duration;
/// use sidecar_bundle::CliEngine;
///
/// let engine = CliEngine::docker().with_start_deadline(Duration::from_secs(600));
/// # let _ = engine;
/// ```
#[derive(Clone, Debug)]
pub struct CliEngine {
    program: OsString,
    host: Option<OsString>,
    context: Option<OsString>,
    state_dir: Option<PathBuf>,
    start_deadline: Duration,
    pull_deadline: Duration,
    remove_deadline: Duration,
    reaper: bool,
    /// Values that the program may print back, as every one of its commands sees what this process
    /// has in its environment.
    hidden: Secrets,
}

impl CliEngine {
    /// The program `docker`, found on `PATH`.
    #[must_use]
    pub fn docker() -> Self {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        let host = set("DOCKER_HOST");
        // The program prefers DOCKER_HOST to any context.
        let context = match host {
            Some(_) => None,
            None => set("DOCKER_CONTEXT").or_else(current_context),
        };
        Self {
            program: "docker".into(),
            host,
            context,
            state_dir: default_state_dir(),
            start_deadline: Duration::from_secs(120),
            pull_deadline: Duration::from_secs(600),
            remove_deadline: Duration::from_secs(30),
            reaper: true,
            hidden: Secrets::default(),
        }
    }

    /// Replaces the program: a name that is looked up on `PATH`, or a path.
    #[must_use]
    pub fn with_program(mut self, program: impl Into<OsString>) -> Self {
        self.program = program.into();
        self
    }

    /// Replaces the directory that holds the leases of slugs.
    ///
    /// By default it is `$XDG_STATE_HOME/sidecar-bundle` or `~/.local/state/sidecar-bundle`. It must
    /// outlive the processes that use it: what the leases of a deleted directory stood for is nobody's.
    #[must_use]
    pub fn with_state_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(directory.into());
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
    fn pinned(&self) -> [(&'static str, Option<OsString>); 2] {
        [("DOCKER_HOST", self.host.clone()), ("DOCKER_CONTEXT", self.context.clone())]
    }

    fn command(&self) -> Command {
        let command = Command::new(&self.program, &self.hidden);
        self.pinned().into_iter().fold(command, |command, (name, value)| command.env(name, value))
    }

    fn inspect(
        &self,
        kind: &str,
        names: &[&str],
        until: Instant,
    ) -> Result<Vec<Value>, CommandError> {
        let command = self.command().args([kind, "inspect"]).args(names.iter().copied());
        let (stdout, failed) = match command.clone().run(until) {
            Ok(stdout) => (stdout, None),
            // It prints what there is, and fails for what there is not.
            Err(Failure { error, stdout, .. }) => (stdout, Some(error)),
        };
        match (serde_json::from_str(&stdout), failed) {
            (Ok(found), None) => Ok(found),
            (Ok(found), Some(error))
                if matches!(error.cause(), Cause::NetworkMissing | Cause::ContainerMissing) =>
            {
                Ok(found)
            }
            (Err(_), None) => Err(command.nonsense("a list in JSON", &stdout)),
            (_, Some(error)) => Err(error),
        }
    }

    fn make(&self, command: Command) -> Result<String, Failed> {
        match command.clone().run(Instant::now() + self.start_deadline) {
            Ok(stdout) => match id_in(&stdout) {
                Some(id) => Ok(id.to_owned()),
                None => {
                    Err(Failed { error: command.nonsense("an id", &stdout), made: Made::Perhaps })
                }
            },
            Err(Failure { error, stdout, made_nothing }) => {
                let made = match id_in(&stdout) {
                    // `docker run` prints the id of a container whose start then fails.
                    Some(id) => Made::Id(id.to_owned()),
                    None if made_nothing == MadeNothing(true) => Made::Nothing,
                    None => Made::Perhaps,
                };
                Err(Failed { error, made })
            }
        }
    }
}

impl Operations for CliEngine {
    fn shared(&self) -> Arc<dyn Operations> {
        Arc::new(self.clone())
    }

    fn endpoint(&self) -> String {
        let text = |value: &OsStr| value.to_string_lossy().into_owned();
        format!("{}\n{:?}\n{:?}", text(&self.program), self.host, self.context)
    }

    fn state_dir(&self) -> Option<PathBuf> {
        self.state_dir.clone()
    }

    fn stranger(&self, owner: &str) -> Option<Stranger> {
        self.reaper.then(|| Stranger {
            program: self.program.clone(),
            env: self.pinned().into(),
            label: label_of(owner),
        })
    }

    fn remove_deadline(&self) -> Duration {
        self.remove_deadline
    }

    fn removal_command(&self, resource: Resource, id: &str) -> String {
        let program = self.program.to_string_lossy();
        let host = match (&self.host, &self.context) {
            (Some(host), _) => format!(" --host {}", host.to_string_lossy()),
            (None, Some(context)) => format!(" --context {}", context.to_string_lossy()),
            (None, None) => String::new(),
        };
        format!("{program}{host} {} {id}", removal(resource).join(" "))
    }

    fn hide(&self, spec: &CheckedSpec) {
        for variable in &spec.variables {
            if let CheckedVariable::Hidden(_, value) = variable {
                self.hidden.add(&value.to_string_lossy());
            }
        }
    }

    fn create_network(&self, request: &NetworkRequest<'_>) -> Result<String, Failed> {
        let addressing = request.addressing;
        let mut command = self
            .command()
            .args(["network", "create", "--subnet"])
            .arg(addressing.subnet().to_string())
            .arg("--gateway")
            .arg(addressing.gateway().to_string());
        if let Some(range) = addressing.dynamic_range() {
            command = command.arg("--ip-range").arg(range.to_string());
        }
        for (key, value) in request.labels.pairs() {
            command = command.arg("--label").arg(format!("{key}={value}"));
        }
        self.make(command.arg(request.name).tethered(request.tether.as_ref()))
    }

    fn run_container(&self, request: &ContainerRequest<'_>) -> Result<String, Failed> {
        self.make(run(self.command(), request))
    }

    fn networks(&self, names: &[&str], until: Instant) -> Result<Vec<NetworkFacts>, CommandError> {
        let all;
        let names = match names {
            [] => {
                let ls = self.command().args(["network", "ls", "--quiet", "--no-trunc"]);
                all = ls.run(until).map_err(|failure| failure.error)?;
                &all.split_whitespace().collect::<Vec<_>>()
            }
            names => names,
        };
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.inspect("network", names, until)?;
        Ok(found.iter().filter_map(network_facts).collect())
    }

    fn container(
        &self,
        name: &str,
        until: Instant,
    ) -> Result<Option<ContainerFacts>, CommandError> {
        let found = self.inspect("container", &[name], until)?;
        Ok(found.first().and_then(container_facts))
    }

    fn pull(&self, image: &str) -> Result<(), CommandError> {
        let command = self.command().args(["pull", image]);
        let until = Instant::now() + self.pull_deadline;
        let (events, incoming) = mpsc::channel();
        let followed = command.clone().follow(&events)?;
        drop(events);
        let mut stderr = String::new();
        loop {
            match incoming.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Event::Line(LogLine { stream: LogStream::Stdout, text })) => {
                    tracing::debug!(image, progress = text, "pulling");
                }
                Ok(Event::Line(LogLine { text, .. })) => stderr += &(text + "\n"),
                Ok(Event::End) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(command.killed(self.pull_deadline, &stderr));
                }
            }
        }
        match followed.end() {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(command.exited(status, &stderr)),
            None => Err(command.killed(self.pull_deadline, &stderr)),
        }
    }

    fn stop(&self, id: &str, grace: Duration, until: Instant) -> Result<(), CommandError> {
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let command = self.command().args(["stop", "--time"]).arg(seconds.to_string()).arg(id);
        command.run(until).map(drop).map_err(|failure| failure.error)
    }

    fn logs(&self, id: &str, last: Option<usize>) -> Result<Vec<LogLine>, CommandError> {
        let command = log_command(self.command().args(["logs", "--timestamps"]), last).arg(id);
        let until = Instant::now() + self.remove_deadline;
        let (status, stdout, stderr) = command.clone().run_to_end(until)?;
        if !status.success() {
            return Err(command.exited(status, &stderr));
        }
        let lines = |text: String, stream| {
            let line = move |line: &str| {
                let (time, text) = line.split_once(' ')?;
                Some((time.to_owned(), LogLine { stream, text: text.to_owned() }))
            };
            text.lines().filter_map(line).collect::<Vec<_>>()
        };
        let mut all = lines(stdout, LogStream::Stdout);
        all.extend(lines(stderr, LogStream::Stderr));
        // Times of one width, to the nanosecond.
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(all.into_iter().map(|(_, line)| line).collect())
    }

    fn follow_log(
        &self,
        id: &str,
        last: Option<usize>,
        events: Sender<Event>,
    ) -> Result<Followed, CommandError> {
        log_command(self.command().args(["logs", "--follow"]), last).arg(id).follow(&events)
    }

    fn follow_end(&self, id: &str, events: Sender<Event>) -> Result<Followed, CommandError> {
        self.command().args(["wait", id]).follow(&events)
    }

    fn exec(&self, id: &str, words: &[String], until: Instant) -> Result<ExecOutput, CommandError> {
        let command = words.iter().fold(self.command().args(["exec", id]), Command::private_arg);
        let (status, stdout, stderr) = command.clone().run_to_end(until)?;
        let of_the_engine = ["Error response from daemon:", "Error: No such", "Cannot connect"];
        match status.code() {
            Some(code) if code == 0 || !of_the_engine.iter().any(|it| stderr.starts_with(it)) => {
                Ok(ExecOutput { code, stdout, stderr })
            }
            _ => Err(command.exited(status, &stderr)),
        }
    }

    fn redacted(&self, text: &str) -> String {
        self.hidden.redacted(text)
    }

    fn find(
        &self,
        resource: Resource,
        filter: &Filter,
        until: Instant,
    ) -> Result<Vec<String>, CommandError> {
        let mut command = match resource {
            Resource::Container => self.command().args(["ps", "--all"]),
            Resource::Network => self.command().args(["network", "ls"]),
        };
        command = command.args(["--quiet", "--no-trunc"]);
        match filter {
            Filter::Id(id) => command = command.arg("--filter").arg(format!("id={id}")),
            Filter::Labels(labels) => {
                for (key, value) in labels {
                    command = command.arg("--filter").arg(format!("label={key}={value}"));
                }
            }
        }
        let stdout = command.run(until).map_err(|failure| failure.error)?;
        Ok(stdout.split_whitespace().map(str::to_owned).collect())
    }

    fn remove(&self, resource: Resource, id: &str, until: Instant) -> Result<(), CommandError> {
        let command = self.command().args(removal(resource).iter().copied()).arg(id);
        command.run(until).map(drop).map_err(|failure| failure.error)
    }
}

fn log_command(command: Command, last: Option<usize>) -> Command {
    match last {
        Some(last) => command.arg(format!("--tail={last}")),
        None => command,
    }
}

/// Never `network rm --force`: podman then deletes the containers on it.
fn removal(resource: Resource) -> &'static [&'static str] {
    match resource {
        Resource::Container => &["rm", "--force", "--volumes"],
        Resource::Network => &["network", "rm"],
    }
}

fn id_in(stdout: &str) -> Option<&str> {
    let is_id = |line: &&str| line.len() == 64 && line.bytes().all(|b| b.is_ascii_hexdigit());
    stdout.lines().map(str::trim).find(is_id)
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
