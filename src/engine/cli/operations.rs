//! Each operation, as commands of the engine's program.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Cli;
use super::command::{Command, Failure};
use super::network::create_network;
use super::run::run;
use crate::container::{CheckedSpec, Field};
use crate::engine::backend::{
    Backend, ContainerInfo, ContainerRequest, CreateError, EVENTS, Event, Filter, Follow, Id, Made,
    NetworkInfo, NetworkRequest, Notice, ReaperSpec, Resource,
};
use crate::engine::cause::{Cause, MadeNothing};
use crate::engine::clock::whole_seconds;
use crate::engine::dialect::{Dialect, list};
use crate::engine::error::EngineError;
use crate::engine::identity::{EngineInfo, EngineKind};
use crate::engine::inspect::{attached_names, container_info, network_info};
use crate::engine::support::{Refused, Unsupported};
use crate::status::{ExecOutput, LogLine, LogStream};

impl Backend for Cli {
    fn info(&self, deadline: Instant) -> Result<EngineInfo, EngineError> {
        let command = self.command().args(["info", "--format", "{{json .}}"]);
        let (status, stdout, stderr) = command.clone().run_to_end(deadline)?;
        if !status.success() {
            return Err(command.exited(status, &stderr));
        }
        let info: Value = serde_json::from_str(&stdout).unwrap_or_default();
        match EngineInfo::read(&info) {
            Some(info) => Ok(info),
            // Without an engine, Docker 20.10's program prints the error in its answer, and succeeds.
            None => match info["ServerErrors"].as_array().map(Vec::as_slice) {
                Some([Value::String(error), ..]) => Err(command.exited(status, error)),
                _ => Err(command.unexpected("the engine's description", &stdout)),
            },
        }
    }

    fn address(&self, deadline: Instant) -> Result<Option<String>, EngineError> {
        let text = |it: &std::ffi::OsString| it.to_string_lossy().into_owned();
        match (&self.host, &self.context) {
            (Some(host), _) => Ok(Some(text(host))),
            (None, Some(name)) if self.dialect.is_default(name) => Ok(None),
            (None, Some(name)) if self.dialect == Dialect::Docker => {
                let found = self.inspect("context", &[&text(name)], deadline)?;
                let address =
                    found.first().and_then(|it| it["Endpoints"]["docker"]["Host"].as_str());
                Ok(address.map(str::to_owned))
            }
            (None, Some(name)) => {
                let list =
                    self.bare_command().args(["system", "connection", "list", "--format", "json"]);
                let listed = list.run(deadline).map_err(|failure| failure.error)?;
                let all: Value = serde_json::from_str(&listed).unwrap_or_default();
                let named =
                    all.as_array().into_iter().flatten().find(|it| it["Name"] == *text(name));
                let address = named.and_then(|it| it["URI"].as_str());
                Ok(Some(address.map_or_else(|| text(name), str::to_owned)))
            }
            (None, None) => Ok(None),
        }
    }

    fn supports(&self, spec: &CheckedSpec, info: &EngineInfo) -> Result<(), Refused> {
        match spec.options.fields.first() {
            None => Ok(()),
            Some(Field { path, .. }) => {
                let what = format!("the option {path}");
                Err(Unsupported::new(what, "an engine that is asked by its API", info).into())
            }
        }
    }

    fn create_network(
        &self,
        request: &NetworkRequest<'_>,
        notice: &Notice<'_>,
        deadline: Instant,
    ) -> Result<Id, CreateError> {
        make(&create_network(self.command(), request), notice, deadline)
    }

    fn run_container(
        &self,
        request: &ContainerRequest<'_>,
        notice: &Notice<'_>,
        deadline: Instant,
    ) -> Result<Id, CreateError> {
        make(&run(self.command(), request), notice, deadline)
    }

    fn start_container(&self, id: &Id, deadline: Instant) -> Result<(), EngineError> {
        let command = self.command().args(["start", id.as_str()]).apart();
        command.run(deadline).map(drop).map_err(|failure| failure.error)
    }

    fn networks(&self, names: &[&str], deadline: Instant) -> Result<Vec<NetworkInfo>, EngineError> {
        let found = if names.is_empty() {
            let ids = self.find(Resource::Network, &Filter::Labels(Vec::new()), deadline)?;
            match &*ids.iter().map(Id::as_str).collect::<Vec<_>>() {
                [] => Vec::new(),
                ids => self.inspect("network", ids, deadline)?,
            }
        } else {
            self.inspect("network", names, deadline)?
        };
        let command = self.command().args(["network", "inspect"]);
        let network = |it: &Value| {
            let unreadable = || command.clone().unexpected("a network", &it.to_string());
            network_info(Dialect::Docker, it).ok_or_else(unreadable)
        };
        found.iter().map(network).collect()
    }

    fn attached(&self, network: &Id, deadline: Instant) -> Result<Vec<String>, EngineError> {
        let found = self.inspect("network", &[network.as_str()], deadline)?;
        Ok(found.first().map(attached_names).unwrap_or_default())
    }

    fn container(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<ContainerInfo>, EngineError> {
        let command = self.command().args(["container", "inspect", name]);
        let found = self.inspect("container", &[name], deadline)?;
        let Some(container) = found.first() else { return Ok(None) };
        let unreadable = || command.unexpected("a container", &container.to_string());
        let mut info = container_info(container).ok_or_else(unreadable)?;
        if let Some(exit) = &mut info.exit {
            exit.error = self.redactor.redacted(&exit.error);
        }
        Ok(Some(info))
    }

    fn pull(&self, image: &str, deadline: Instant) -> Result<(), EngineError> {
        let command = self.command().args(["pull", image]);
        let start = Instant::now();
        let (events, incoming) = mpsc::sync_channel(EVENTS);
        let followed = command.clone().follow(&events)?;
        drop(events);
        let mut stderr = String::new();
        loop {
            match incoming.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Line(LogLine { stream: LogStream::Stdout, text })) => {
                    tracing::debug!(image, progress = self.redactor.redacted(&text), "pulling");
                }
                Ok(Event::Line(LogLine { text, .. })) => stderr += &(text + "\n"),
                Ok(Event::Begun | Event::Died(_) | Event::Happened) => {}
                Ok(Event::Failed(error)) => return Err(error),
                Ok(Event::End) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(command.killed(start.elapsed(), &stderr));
                }
            }
        }
        match followed.end() {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(command.exited(status, &stderr)),
            None => Err(command.killed(start.elapsed(), &stderr)),
        }
    }

    fn stop(&self, id: &Id, grace: Duration, deadline: Instant) -> Result<(), EngineError> {
        let seconds = whole_seconds(grace);
        let command = self.command().args(["stop", "-t"]).arg(seconds.to_string()).arg(id.as_str());
        command.run(deadline).map(drop).map_err(|failure| failure.error)
    }

    fn logs(
        &self,
        id: &Id,
        last: Option<usize>,
        deadline: Instant,
    ) -> Result<Vec<LogLine>, EngineError> {
        let command = log_command(self.command().args(["logs", "--timestamps"]), last);
        let command = command.arg(id.as_str());
        let (status, stdout, stderr) = command.clone().run_to_end(deadline)?;
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
        id: &Id,
        last: Option<usize>,
        events: SyncSender<Event>,
    ) -> Result<Follow, EngineError> {
        let command = log_command(self.command().args(["logs", "--follow"]), last);
        command.arg(id.as_str()).follow(&events).map(Follow::new)
    }

    fn follow_end(&self, id: &Id, events: SyncSender<Event>) -> Result<Follow, EngineError> {
        self.command().args(["wait", id.as_str()]).follow(&events).map(Follow::new)
    }

    fn exec(
        &self,
        id: &Id,
        words: &[String],
        deadline: Instant,
    ) -> Result<ExecOutput, EngineError> {
        let command = self.command().args(["exec", id.as_str()]);
        let command = words.iter().fold(command, Command::private_arg);
        let (status, stdout, stderr) = command.clone().run_to_end(deadline)?;
        match status.code() {
            Some(code) if !is_failure_of_docker(code, &stderr) => {
                Ok(ExecOutput { code, stdout, stderr })
            }
            _ => Err(command.exited(status, &stderr)),
        }
    }

    fn find(
        &self,
        resource: Resource,
        filter: &Filter,
        deadline: Instant,
    ) -> Result<Vec<Id>, EngineError> {
        let command = self.command().args(list(resource).iter().copied());
        let command = filters(filter).into_iter().fold(command, Command::arg);
        let stdout = command.clone().run(deadline).map_err(|failure| failure.error)?;
        let ids = stdout.split_whitespace().map(Id::parse).collect::<Option<_>>();
        ids.ok_or_else(|| command.unexpected("a list of ids", &stdout))
    }

    fn remove(&self, resource: Resource, id: &Id, deadline: Instant) -> Result<(), EngineError> {
        let command = self.command().args(self.dialect.removal(resource).iter().copied());
        let command = command.arg(id.as_str()).apart();
        let stdout = command.clone().run(deadline).map_err(|failure| failure.error)?;
        // `rm --force` of a missing container succeeds, on whatever engine answers.
        if stdout.split_whitespace().any(|word| word == id.as_str()) {
            Ok(())
        } else {
            Err(command.unexpected("the id that it removed", &stdout))
        }
    }

    fn advice(&self, resource: Resource, filter: &Filter) -> String {
        let program = self.program.to_string_lossy();
        let [host, context] = self.dialect.steering_options();
        let mut words = vec![program.into_owned()];
        match (&self.host, &self.context) {
            (Some(it), _) => words.extend([host.into(), it.to_string_lossy().into_owned()]),
            (None, Some(it)) if !self.dialect.is_default(it) => {
                words.extend([context.into(), it.to_string_lossy().into_owned()]);
            }
            (None, _) => {}
        }
        match filter {
            Filter::Id(id) => {
                words.extend(self.dialect.removal(resource).iter().map(|it| (*it).to_owned()));
                words.push(id.to_string());
            }
            Filter::Labels(_) => {
                words.extend(list(resource).iter().map(|it| (*it).to_owned()));
                words.extend(filters(filter));
            }
        }
        words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }

    fn can_reap(&self) -> bool {
        Path::new(&self.absolute_program()).exists()
    }

    fn reaper_spec(&self, info: &EngineInfo) -> ReaperSpec {
        let words = |words: &[&str]| {
            self.connection().into_iter().chain(words.iter().map(|it| (*it).to_owned())).collect()
        };
        let (format, identity) = match (self.dialect, info.kind) {
            // Nothing but its own `storage.conf` leads it elsewhere, and asking is dear.
            (Dialect::Podman, _) if !info.remote => ("", String::new()),
            (Dialect::Docker, EngineKind::Docker) => (
                "{{.ID}}|{{.Name}}|{{.DockerRootDir}}",
                format!("{}|{}|{}", info.identity.id, info.identity.host, info.identity.root),
            ),
            (Dialect::Docker, EngineKind::Podman) => (
                "{{.Name}}|{{.DockerRootDir}}",
                format!("{}|{}", info.identity.host, info.identity.root),
            ),
            (Dialect::Podman, _) => (
                "{{.Host.Hostname}}|{{.Store.GraphRoot}}",
                format!("{}|{}", info.identity.host, info.identity.root),
            ),
        };
        ReaperSpec {
            program: self.absolute_program(),
            env: self.minimal_env(),
            identify: if format.is_empty() {
                Vec::new()
            } else {
                words(&["info", "--format", format])
            },
            identity,
            list_containers: words(list(Resource::Container)),
            remove_container: words(self.dialect.removal(Resource::Container)),
            list_networks: words(list(Resource::Network)),
            remove_network: words(self.dialect.removal(Resource::Network)),
            list_attached: if info.removes_networks_in_use() {
                words(&["ps", "--all", "--quiet"])
            } else {
                Vec::new()
            },
        }
    }

    fn redact(&self, spec: &CheckedSpec) {
        spec.variables
            .iter()
            .filter_map(|variable| variable.hidden_value())
            .for_each(|value| self.redactor.add(value));
    }

    fn redacted(&self, text: &str) -> String {
        self.redactor.redacted(text)
    }
}

impl Cli {
    fn inspect(
        &self,
        kind: &str,
        names: &[&str],
        deadline: Instant,
    ) -> Result<Vec<Value>, EngineError> {
        let command = self.command().args([kind, "inspect"]).args(names.iter().copied());
        let (stdout, failed) = match command.clone().run(deadline) {
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
            (Err(_), None) => Err(command.unexpected("a list in JSON", &stdout)),
            (_, Some(error)) => Err(error),
        }
    }
}

/// Runs a command that makes a resource and prints its id.
fn make(command: &Command, notice: &Notice<'_>, deadline: Instant) -> Result<Id, CreateError> {
    match command.clone().run_noticed(notice, deadline) {
        Ok(stdout) => id_in(&stdout).ok_or_else(|| CreateError {
            error: command.clone().unexpected("an id", &stdout),
            made: Made::Perhaps,
        }),
        Err(Failure { error, stdout, made_nothing }) => {
            let made = match id_in(&stdout) {
                // `docker run` prints the id of a container whose start then fails.
                Some(id) => Made::Id(id),
                None if made_nothing == MadeNothing(true) => Made::Nothing,
                None => Made::Perhaps,
            };
            Err(CreateError { error, made })
        }
    }
}

/// Returns true if docker itself failed, and did not run the command in the container.
fn is_failure_of_docker(code: i32, stderr: &str) -> bool {
    let own = ["Error response from daemon:", "Error: No such", "Cannot connect"];
    code != 0 && own.iter().any(|it| stderr.starts_with(it))
}

fn filters(filter: &Filter) -> Vec<String> {
    match filter {
        Filter::Id(id) => vec!["--filter".into(), format!("id={id}")],
        Filter::Labels(labels) => labels
            .iter()
            .flat_map(|(key, value)| ["--filter".into(), format!("label={key}={value}")])
            .collect(),
    }
}

fn log_command(command: Command, last: Option<usize>) -> Command {
    match last {
        Some(last) => command.arg(format!("--tail={last}")),
        None => command,
    }
}

fn id_in(stdout: &str) -> Option<Id> {
    stdout.lines().map(str::trim).find_map(Id::parse)
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
