//! Each operation, as commands of the engine's program.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::engine::about::Reachability;
use crate::engine::cli::CliEngine;
use crate::engine::command::{Command, CommandError, Failure};
use crate::engine::create::{create_network, needs};
use crate::engine::diagnosis::{Cause, MadeNothing};
use crate::engine::dialect::{Dialect, list};
use crate::engine::facts::{attached_names, container_facts, network_facts};
use crate::engine::follow::{Event, Followed};
use crate::engine::run::run;
use crate::engine::{
    ContainerFacts, ContainerRequest, Failed, Filter, Made, NetworkFacts, NetworkRequest,
    Operations, Resource,
};
use crate::error::Error;
use crate::host;
use crate::labels::label_of;
use crate::lease;
use crate::network_options::NetworkOptions;
use crate::reaper::{Stranger, alive_file};
use crate::spec::{CheckedSpec, CheckedVariable};
use crate::status::{ExecOutput, LogLine, LogStream};

impl CliEngine {
    pub(super) fn inspect(
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

    fn look_where_it_is(&self) -> Result<Reachability, CommandError> {
        let address = self.address()?;
        let reachability =
            self.about()?.reachability(address.as_deref(), host::kernel().as_deref());
        if !reachability.is_here() {
            return Ok(reachability);
        }
        let socket = match (&address, self.dialect) {
            (Some(address), _) => address.strip_prefix("unix://"),
            (None, Dialect::Docker) => Dialect::DOCKER_ADDRESS.strip_prefix("unix://"),
            // Its program does the work itself.
            (None, Dialect::Podman) => None,
        };
        // Who listens at the socket shows it, where this process may look; but for one who only passes on
        // what comes, such as ssh.
        let shared = socket.and_then(|it| host::shares_network_with(Path::new(it)));
        if shared == Some(false) {
            return Ok(Reachability::OtherNamespace);
        }
        if self.dialect == Dialect::Podman {
            return Ok(reachability);
        }
        // Its default bridge shows whether its network namespace is this process's.
        let bridge = self.networks(&["bridge"], self.until_looked())?.pop();
        // Docker 20.10 does not say its gateway.
        let bridge = bridge.and_then(|it| Some((it.bridge?, it.subnets.first()?.0)));
        Ok(match bridge {
            Some((bridge, subnet)) if !host::is_in(&bridge, subnet) => Reachability::OtherNamespace,
            _ => reachability,
        })
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

    fn owner(&self) -> Result<String, Error> {
        lease::owner_for(&format!("{:?}\n{}", self.state_dir, self.endpoint()))
    }

    fn stranger(&self, owner: &str) -> Option<Stranger> {
        self.reaper.then(|| Stranger {
            alive: self.state_dir.as_deref().map(|directory| alive_file(directory, owner)),
            program: self.program.clone(),
            env: self.pinned(),
            dialect: self.dialect,
            label: label_of(owner),
        })
    }

    fn remove_deadline(&self) -> Duration {
        self.remove_deadline
    }

    fn reachability(&self) -> Result<Reachability, CommandError> {
        if let Some(known) = self.known.reachability.get() {
            return Ok(known.clone());
        }
        let found = self.look_where_it_is()?;
        Ok(self.known.reachability.get_or_init(|| found).clone())
    }

    fn removal_command(&self, resource: Resource, id: &str) -> String {
        let program = self.program.to_string_lossy();
        let [host, context] = self.dialect.steering_options();
        let steering = match (&self.host, &self.context) {
            (Some(it), _) => format!(" {host} {}", it.to_string_lossy()),
            (None, Some(it)) if !self.dialect.is_default(it) => {
                format!(" {context} {}", it.to_string_lossy())
            }
            (None, _) => String::new(),
        };
        format!("{program}{steering} {} {id}", self.dialect.removal(resource).join(" "))
    }

    fn hide(&self, spec: &CheckedSpec) {
        for variable in &spec.variables {
            if let CheckedVariable::Hidden(_, value) = variable {
                self.hidden.add(&value.to_string_lossy());
            }
        }
    }

    fn supports(&self, options: &NetworkOptions, ipv6: bool) -> Result<(), Error> {
        let needs = needs(options, ipv6);
        if needs.is_empty() {
            return Ok(());
        }
        let about = self.about().map_err(|source| Error::Look { what: "its version", source })?;
        match needs.into_iter().find(|need| !need.is_met_by(about)) {
            None => Ok(()),
            Some(need) => Err(Error::Unsupported {
                needs: need.least(),
                what: need.what,
                engine: about.to_string(),
            }),
        }
    }

    fn create_network(&self, request: &NetworkRequest<'_>) -> Result<String, Failed> {
        let command = create_network(self.command(), self.dialect, request);
        if self.dialect.prints_ids_of_networks() {
            return self.make(command);
        }
        let perhaps = |error| Failed { error, made: Made::Perhaps };
        match command.clone().run(Instant::now() + self.start_deadline) {
            Ok(_) => {
                let filter = Filter::Labels(request.labels.ownership());
                let ids = self.find(Resource::Network, &filter, self.until_looked());
                let id = ids.map_err(perhaps)?.pop();
                id.ok_or_else(|| perhaps(command.nonsense("a network that can be found", "")))
            }
            Err(Failure { error, made_nothing: MadeNothing(true), .. }) => {
                Err(Failed { error, made: Made::Nothing })
            }
            Err(Failure { error, .. }) => Err(perhaps(error)),
        }
    }

    fn run_container(&self, request: &ContainerRequest<'_>) -> Result<String, Failed> {
        self.make(run(self.command(), request))
    }

    fn networks(&self, names: &[&str], until: Instant) -> Result<Vec<NetworkFacts>, CommandError> {
        let listed = |words: &[&'static str]| {
            let command = self.command().args(words.iter().copied());
            let stdout = command.clone().run(until).map_err(|failure| failure.error)?;
            Ok((command, stdout))
        };
        let found = if !names.is_empty() {
            self.inspect("network", names, until)?
        } else if let Some(words) = self.dialect.list_networks_in_full() {
            let (command, stdout) = listed(words)?;
            let found = serde_json::from_str(&stdout);
            found.map_err(|_| command.nonsense("a list in JSON", &stdout))?
        } else {
            let (_, ids) = listed(list(Resource::Network))?;
            match &*ids.split_whitespace().collect::<Vec<_>>() {
                [] => Vec::new(),
                ids => self.inspect("network", ids, until)?,
            }
        };
        Ok(found.iter().filter_map(|it| network_facts(self.dialect, it)).collect())
    }

    fn attached(&self, network: &str, until: Instant) -> Result<Vec<String>, CommandError> {
        match self.dialect {
            Dialect::Docker => {
                let found = self.inspect("network", &[network], until)?;
                Ok(found.first().map(attached_names).unwrap_or_default())
            }
            Dialect::Podman => {
                let ps = self.command().args(["ps", "--all", "--format", "{{.Names}}", "--filter"]);
                let ps = ps.arg(format!("network={network}"));
                let names = ps.run(until).map_err(|failure| failure.error)?;
                Ok(names.split_whitespace().map(str::to_owned).collect())
            }
        }
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
        let command = self.command().args(["stop", "-t"]).arg(seconds.to_string()).arg(id);
        command.run(until).map(drop).map_err(|failure| failure.error)
    }

    fn logs(&self, id: &str, last: Option<usize>) -> Result<Vec<LogLine>, CommandError> {
        let command = log_command(self.command().args(["logs", "--timestamps"]), last).arg(id);
        let (status, stdout, stderr) = command.clone().run_to_end(self.until_looked())?;
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
        self.command().args(self.dialect.wait().iter().copied()).arg(id).follow(&events)
    }

    fn exec(&self, id: &str, words: &[String], until: Instant) -> Result<ExecOutput, CommandError> {
        let command = words.iter().fold(self.command().args(["exec", id]), Command::private_arg);
        let (status, stdout, stderr) = command.clone().run_to_end(until)?;
        match status.code() {
            Some(code) if !self.dialect.failed_to_exec(code, &stderr) => {
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
        let mut command = self.command().args(list(resource).iter().copied());
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
        let command = self.command().args(self.dialect.removal(resource).iter().copied());
        let command = command.arg(id).apart();
        if resource == Resource::Network && !self.dialect.protects_networks_in_use() {
            let attached = self.attached(id, until)?;
            if !attached.is_empty() {
                let why = format!("the network is in use by {}", attached.join(", "));
                return Err(command.withheld(Cause::NetworkInUse, why));
            }
        }
        command.run(until).map(drop).map_err(|failure| failure.error)
    }
}

fn log_command(command: Command, last: Option<usize>) -> Command {
    match last {
        Some(last) => command.arg(format!("--tail={last}")),
        None => command,
    }
}

fn id_in(stdout: &str) -> Option<&str> {
    let is_id = |line: &&str| line.len() == 64 && line.bytes().all(|b| b.is_ascii_hexdigit());
    stdout.lines().map(str::trim).find(is_id)
}
