//! Each operation, as commands of the engine's program.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Cli;
use super::command::{Command, Failure};
use super::network::create_network;
use super::run::run;
use crate::container::{CheckedSpec, Field};
use crate::engine::backend::{
    Backend, ContainerInfo, ContainerRequest, CreateError, Filter, Id, Listed, Made, NetworkInfo,
    NetworkRequest, Notice, ReaperSpec, Resource,
};
use crate::engine::cause::{Cause, MadeNothing};
use crate::engine::clock::whole_seconds;
use crate::engine::dialect::{Dialect, list};
use crate::engine::error::EngineError;
use crate::engine::identity::{EngineInfo, EngineKind};
use crate::engine::inspect::{attached_names, container_info, image_digests, listed, network_info};
use crate::engine::support::{Refused, Unsupported};
use crate::status::{LogLine, LogStream, State};

impl Backend for Cli {
    fn info(&self, deadline: Instant) -> Result<EngineInfo, EngineError> {
        let command = self.command().args(["info", "--format", "{{json .}}"]);
        let described = command.clone().answer("the engine's description", deadline, from_json)?;
        match EngineInfo::read(&described) {
            Some(info) => Ok(info),
            // Without an engine, Docker 20.10's program prints the error in its answer, and succeeds.
            None => match described["ServerErrors"].as_array().map(Vec::as_slice) {
                Some([Value::String(error), ..]) => Err(command.said(error)),
                _ => Err(command.unexpected("the engine's description", &described.to_string())),
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
                let all = list.answer("a list in JSON", deadline, from_json)?;
                let named =
                    all.as_array().into_iter().flatten().find(|it| it["Name"] == *text(name));
                let address = named.and_then(|it| it["URI"].as_str());
                Ok(Some(address.map_or_else(|| text(name), str::to_owned)))
            }
            (None, None) => Ok(None),
        }
    }

    fn supports(&self, spec: &CheckedSpec, info: &EngineInfo) -> Result<(), Refused> {
        if let Some(Field { path, .. }) = spec.options.fields.first() {
            return Err(Unsupported::by_commands(&format!("the option {path}"), info).into());
        }
        if let Some(file) = spec.files.first() {
            return Err(Unsupported::by_commands(&format!("the file {}", file.path), info).into());
        }
        if let Some(refused) = Unsupported::relabelling(spec, info) {
            return Err(refused.into());
        }
        if let Some(refused) = Unsupported::host_gateway(spec, info, true) {
            return Err(refused.into());
        }
        if let Some(network) = &spec.options.also_on {
            let what = format!("a second network, {network},");
            return Err(Unsupported::by_commands(&what, info).into());
        }
        if spec.options.save_log.is_some() {
            return Err(Unsupported::by_commands("a log that is saved", info).into());
        }
        if let Some(ready) = spec.ready.iter().find(|it| it.needs_observer()) {
            // A command may have a secret value among its words.
            let ready = self.redactor.redacted(&ready.to_string());
            return Err(Unsupported::by_commands(&format!("readiness by {ready}"), info).into());
        }
        Ok(())
    }

    fn create_network(
        &self,
        request: &NetworkRequest<'_>,
        notice: &Notice<'_>,
        deadline: Instant,
    ) -> Result<Id, CreateError> {
        let command = create_network(self.command(), request);
        match command.clone().run_noticed(notice, deadline) {
            Ok(stdout) => made(Resource::Network, command, &stdout),
            Err(failure) => match id_in(Resource::Network, &failure.stdout) {
                Some(id) if failure.status_lost => Ok(id),
                Some(id) => Err(CreateError { error: failure.error, made: Made::Id(id) }),
                None => Err(failure.not_made()),
            },
        }
    }

    fn run_container(
        &self,
        request: &ContainerRequest<'_>,
        notice: &Notice<'_>,
        deadline: Instant,
    ) -> Result<Id, CreateError> {
        let command = run(self.command(), request);
        let id = match command.clone().run_noticed(notice, deadline) {
            Ok(stdout) => made(Resource::Container, command, &stdout)?,
            // It prints the id of a container whose start then fails, too.
            Err(failure) => match id_in(Resource::Container, &failure.stdout) {
                Some(id) => match self.check_start(&id, failure, deadline) {
                    Ok(()) => id,
                    Err(error) => return Err(CreateError { error, made: Made::Id(id) }),
                },
                None => return Err(failure.not_made()),
            },
        };
        match self.check_variables(&id, request.spec, deadline) {
            Ok(()) => Ok(id),
            Err(error) => Err(CreateError { error, made: Made::Id(id) }),
        }
    }

    fn start_container(&self, id: &Id, deadline: Instant) -> Result<(), EngineError> {
        let command = self.command().args(["start", id.as_str()]).apart();
        command.answer("the id that it started", deadline, |stdout| names(stdout, id))
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
        let unreadable = || command.unexpected("a container", "");
        let mut info = container_info(container).ok_or_else(unreadable)?;
        if let Some(exit) = &mut info.exit {
            exit.error = self.redactor.redacted(&exit.error);
        }
        Ok(Some(info))
    }

    fn variables(&self, id: &Id, deadline: Instant) -> Result<Option<Vec<String>>, EngineError> {
        let words = ["container", "inspect", "--format", "{{json .Config.Env}}", id.as_str()];
        let command = self.command().args(words).private();
        let read = |stdout: &str| serde_json::from_str::<Option<Vec<String>>>(stdout).ok();
        let variables = command.answer("a list in JSON", deadline, read)?;
        Ok(Some(variables.unwrap_or_default()))
    }

    fn image_digests(&self, image: &str, deadline: Instant) -> Result<Vec<String>, EngineError> {
        let found = self.inspect("image", &[image], deadline)?;
        Ok(found.first().map(image_digests).unwrap_or_default())
    }

    fn pull(&self, image: &str, deadline: Instant) -> Result<(), EngineError> {
        let command = self.command().args(["pull", image]).with_progress();
        command.answer("the image", deadline, |stdout| is_pulled(stdout).then_some(()))
    }

    fn stop(&self, id: &Id, grace: Duration, deadline: Instant) -> Result<(), EngineError> {
        let seconds = whole_seconds(grace);
        let command = self.command().args(["stop", "-t"]).arg(seconds.to_string()).arg(id.as_str());
        command.answer("the id that it stopped", deadline, |stdout| names(stdout, id))
    }

    fn signal(&self, id: &Id, signal: &str, deadline: Instant) -> Result<(), EngineError> {
        let command = self.command().args(["kill", "--signal", signal]).arg(id.as_str());
        command.answer("the id that it signalled", deadline, |stdout| names(stdout, id))
    }

    /// A line that does not begin with a time is docker's own.
    fn last_lines(
        &self,
        id: &Id,
        count: usize,
        deadline: Instant,
    ) -> Result<Vec<LogLine>, EngineError> {
        let command = self.command().args(["logs", "--timestamps"]);
        let command = command.arg(format!("--tail={count}")).arg(id.as_str());
        let [stdout, stderr] = command.texts(deadline)?;
        let lines = |text: String, stream| {
            let line = move |line: &str| {
                let (time, text) = line.split_once(' ')?;
                let is_time = time.starts_with(|c: char| c.is_ascii_digit()) && time.contains('T');
                is_time.then(|| (time.to_owned(), LogLine { stream, text: text.to_owned() }))
            };
            text.lines().filter_map(line).collect::<Vec<_>>()
        };
        let mut all = lines(stdout, LogStream::Stdout);
        all.extend(lines(stderr, LogStream::Stderr));
        // Times of one width, to the nanosecond.
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(all.into_iter().map(|(_, line)| line).collect())
    }

    fn find(
        &self,
        resource: Resource,
        filter: &Filter,
        deadline: Instant,
    ) -> Result<Vec<Id>, EngineError> {
        self.ids(resource, filters(filter), deadline)
    }

    /// The labels of a list are separated by commas, which a value may contain: its ids are inspected.
    fn list(
        &self,
        resource: Resource,
        label: &str,
        deadline: Instant,
    ) -> Result<Vec<Listed>, EngineError> {
        let filter = vec!["--filter".to_owned(), format!("label={label}")];
        let ids = self.ids(resource, filter, deadline)?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let kind = match resource {
            Resource::Container => "container",
            Resource::Network => "network",
        };
        let found =
            self.inspect(kind, &ids.iter().map(Id::as_str).collect::<Vec<_>>(), deadline)?;
        let command = self.command().args([kind, "inspect"]);
        let unreadable = || command.clone().unexpected("resources", "");
        found.iter().map(|it| listed(resource, it).ok_or_else(unreadable)).collect()
    }

    fn remove(&self, resource: Resource, id: &Id, deadline: Instant) -> Result<(), EngineError> {
        let command = self.command().args(self.dialect.removal(resource).iter().copied());
        let command = command.arg(id.as_str()).apart();
        // `rm --force` of a missing container succeeds, on whatever engine answers.
        command.answer("the id that it removed", deadline, |stdout| names(stdout, id))
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
            Filter::Labels(_) | Filter::Running => {
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
                // A second line is that of a manager which does not see all networks of its swarm.
                "{{.ID}}|{{.Name}}|{{.DockerRootDir}}{{with .Swarm}}{{if or (eq .LocalNodeState \"locked\") (and .ControlAvailable (or .Error (ne .LocalNodeState \"active\")))}}{{\"\\n\"}}unsure{{end}}{{end}}",
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
        let values = spec.variables.iter().filter_map(|variable| variable.hidden_value());
        let files = spec.files.iter().filter(|it| it.file.is_secret);
        let contents = files.map(|it| String::from_utf8_lossy(&it.file.contents));
        values.for_each(|value| self.redactor.add(value));
        contents.for_each(|value| self.redactor.add(&value));
    }

    fn redacted(&self, text: &str) -> String {
        self.redactor.redacted(text)
    }
}

impl Cli {
    /// Checks that a container was started by a command whose failure is not known.
    fn check_start(&self, id: &Id, failure: Failure, deadline: Instant) -> Result<(), EngineError> {
        if failure.status_lost {
            match self.container(id.as_str(), deadline)? {
                Some(container) if container.state != State::Created => return Ok(()),
                _ => {}
            }
        }
        Err(failure.error)
    }

    /// Checks that the values that went through the program's environment have arrived.
    fn check_variables(
        &self,
        id: &Id,
        spec: &CheckedSpec,
        deadline: Instant,
    ) -> Result<(), EngineError> {
        let mut hidden = spec.variables.iter().filter(|it| it.hidden().is_some()).peekable();
        if hidden.peek().is_none() {
            return Ok(());
        }
        let arrived = self.variables(id, deadline)?.unwrap_or_default();
        match hidden.find(|it| it.hidden().is_some_and(|variable| !arrived.contains(&variable))) {
            None => Ok(()),
            Some(lost) => Err(EngineError::variable_lost(&self.program, lost.name())),
        }
    }

    /// The ids of the resources that pass these filters.
    fn ids(
        &self,
        resource: Resource,
        filters: Vec<String>,
        deadline: Instant,
    ) -> Result<Vec<Id>, EngineError> {
        let words: &[&str] = match resource {
            Resource::Container => &["ps", "--all"],
            Resource::Network => &["network", "ls"],
        };
        // A table has a header even if it is empty.
        let command = self.command().args(words.iter().copied());
        let command = command.args(["--no-trunc", "--format", "table {{.ID}}"]);
        let command = filters.into_iter().fold(command, Command::arg).apart();
        command.answer("a list of ids", deadline, |stdout| {
            let mut lines = stdout.lines().map(str::trim).filter(|line| !line.is_empty());
            lines.next().filter(|header| header.ends_with(" ID"))?;
            lines.map(|line| Id::of(resource, line)).collect()
        })
    }

    fn inspect(
        &self,
        kind: &str,
        names: &[&str],
        deadline: Instant,
    ) -> Result<Vec<Value>, EngineError> {
        let command = self.command().args([kind, "inspect"]).args(names.iter().copied());
        // A container's environment has secret values, which may be unknown here.
        let command = if kind == "container" { command.private() } else { command };
        let (stdout, failed, status_lost) = match command.clone().run(deadline) {
            Ok(stdout) => (stdout, None, false),
            // It prints what there is, and fails for what there is not.
            Err(Failure { error, stdout, status_lost, .. }) => (stdout, Some(error), status_lost),
        };
        match (serde_json::from_str::<Vec<_>>(&stdout), failed) {
            (Ok(found), None) if found.len() >= names.len() => Ok(found),
            (Ok(_), None) => Err(command.unexpected("an answer for each", &stdout)),
            (Ok(found), Some(error))
                if matches!(
                    error.cause(),
                    Cause::NetworkMissing | Cause::ContainerMissing | Cause::ImageMissing
                ) =>
            {
                Ok(found)
            }
            (Ok(found), Some(_)) if status_lost && found.len() == names.len() => Ok(found),
            (Err(_), None) => Err(command.unexpected("a list in JSON", &stdout)),
            (_, Some(error)) => Err(error),
        }
    }
}

/// Returns true if a pull has printed the image's name or id, which it does at its end alone. Progress has more words.
fn is_pulled(stdout: &str) -> bool {
    let whole = stdout.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    whole.map(str::trim).any(|line| !line.is_empty() && !line.contains(char::is_whitespace))
}

/// The id that a command which made a resource has printed.
fn made(resource: Resource, command: Command, stdout: &str) -> Result<Id, CreateError> {
    let unexpected =
        || CreateError { error: command.unexpected("an id", stdout), made: Made::Perhaps };
    id_in(resource, stdout).ok_or_else(unexpected)
}

impl Failure {
    /// The error of a command that printed no id.
    fn not_made(self) -> CreateError {
        let made = match self.made_nothing {
            MadeNothing(true) => Made::Nothing,
            MadeNothing(false) => Made::Perhaps,
        };
        CreateError { error: self.error, made }
    }
}

/// `Some` if the command has printed this id, on a line of its own.
fn names(stdout: &str, id: &Id) -> Option<()> {
    stdout.lines().any(|line| line.trim() == id.as_str()).then_some(())
}

fn from_json(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

fn filters(filter: &Filter) -> Vec<String> {
    match filter {
        Filter::Id(id) => vec!["--filter".into(), format!("id={id}")],
        Filter::Labels(labels) => labels
            .iter()
            .flat_map(|(key, value)| ["--filter".into(), format!("label={key}={value}")])
            .collect(),
        Filter::Running => ["running", "paused"]
            .into_iter()
            .flat_map(|state| ["--filter".into(), format!("status={state}")])
            .collect(),
    }
}

fn id_in(resource: Resource, stdout: &str) -> Option<Id> {
    stdout.lines().map(str::trim).find_map(|line| Id::of(resource, line))
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_is_done_when_the_name_stands_alone_on_a_whole_line() {
        for (stdout, done) in [
            ("docker.io/x:1\n", true),
            ("1: Pulling from x\n\n sha256:1 \n", true),
            ("docker.io/x:1", false),
            ("1: Pulling from x\n", false),
            ("\n", false),
            ("", false),
        ] {
            assert_eq!(is_pulled(stdout), done, "{stdout:?}");
        }
    }

    #[test]
    fn a_word_is_read_back_by_a_shell() {
        for (word, text) in [
            ("docker", "docker"),
            ("unix:///run/x-1_2.s", "unix:///run/x-1_2.s"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(quoted(word), text);
        }
    }

    #[test]
    fn a_reaper_asks_a_podman_for_its_identity_only_if_that_is_elsewhere() {
        let cli = Cli::new(Dialect::Podman).with_context("far".into());
        for remote in [false, true] {
            let info = serde_json::json!({
                "host": {"hostname": "h", "security": {}, "serviceIsRemote": remote},
                "store": {"graphRoot": "/g"},
                "version": {"Version": "4.3.1"},
            });
            let spec = cli.reaper_spec(&EngineInfo::read(&info).unwrap());
            let asks = ["--connection", "far", "info", "--format"].map(str::to_owned);
            assert_eq!(spec.identify.starts_with(&asks), remote, "{spec:?}");
            assert_eq!(spec.identity, if remote { "h|/g" } else { "" });
            assert!(spec.list_networks.starts_with(&asks[..2]), "{spec:?}");
        }
    }
}
