//! Each operation, as requests of the Engine API.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::panic::resume_unwind;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::BodyReader;

use super::archive::First;
use super::by_curl::ByCurl;
use super::client::{Answer, Line, Request, Unanswered, unanswered};
use super::follow::{self, log_request, tail};
use super::frames::Piece;
use super::log::{Lines, Tail};
use super::{Api, Failure, archive, bodies, frames, podman, requests};
use crate::container::{CheckedSpec, Field};
use crate::engine::backend::{
    Backend, ContainerInfo, ContainerRequest, CreateError, Event, Filter, Follow, Id, Listed, Made,
    NetworkInfo, NetworkRequest, Notice, Observer, ReaperSpec, Resource, Stepwise,
};
use crate::engine::cause::{Cause, MadeNothing, diagnose};
use crate::engine::cli::Place;
use crate::engine::clock::{has_passed, whole_seconds};
use crate::engine::dialect::Dialect;
use crate::engine::error::{End, EngineError};
use crate::engine::identity::{EngineInfo, EngineKind, Swarm};
use crate::engine::inspect::{
    attached_names, container_info, image_digests, listed, network_info, variables,
};
use crate::engine::support::{Refused, Unsupported};
use crate::invalid::InvalidInput;
use crate::status::{ExecOutput, FileProblem, LogLine, LogStream};

/// The bytes of each stream of a command's output that are told.
const OUTPUT: usize = 1 << 20;

/// The bytes that are kept of it: more, so that one that is too long is known to be.
const KEPT: usize = 2 << 20;

/// The time in which an engine notices that a command has ended, after its output has, or that a container has.
const LAG: Duration = Duration::from_millis(500);

impl Backend for Api {
    fn info(&self, deadline: Instant) -> Result<EngineInfo, EngineError> {
        let info = self.client.info(deadline);
        let info = info.map_err(|it| self.unanswered(&Request::get("/info"), it).error)?;
        self.expected.get_or_init(|| info.identity.clone());
        Ok(info)
    }

    fn address(&self, deadline: Instant) -> Result<Option<String>, EngineError> {
        self.program.address(deadline)
    }

    fn supports(&self, spec: &CheckedSpec, info: &EngineInfo) -> Result<(), Refused> {
        if let Some(flag) = spec.options.flags.first() {
            let what = format!("the flag {flag}");
            return Err(Unsupported::new(what, "Engine::docker_cli()", info).into());
        }
        if let Some(file) = spec.files.iter().find(|it| it.directory_and_name().0 == "/")
            && !archive::volumes(self.dialect, spec).is_empty()
        {
            return Err(Refused::Invalid(InvalidInput::new(format_args!(
                "file {} is in the root, which is read-only, and Docker copies nothing there; put it in a directory",
                file.path
            ))));
        }
        if let Some(refused) = Unsupported::host_gateway(spec, info, false) {
            return Err(refused.into());
        }
        if self.dialect == Dialect::Docker {
            if let Some(refused) = Unsupported::relabelling(spec, info) {
                return Err(refused.into());
            }
            return spec.security.as_ref().map(drop).map_err(|it| Refused::Invalid(it.clone()));
        }
        match podman::check(spec).map_err(Refused::Invalid)? {
            None => Ok(()),
            Some(Field { path, .. }) => {
                let what = format!("the option {path}, or this value of it,");
                Err(Unsupported::new(what, "Docker", info).into())
            }
        }
    }

    fn swarm(&self, deadline: Instant) -> Result<Swarm, EngineError> {
        let request = Request::get("/info");
        let answer = self.ask(&request, deadline).map_err(Failure::into_error)?.json();
        let info = EngineInfo::read(&answer);
        info.map(|it| it.swarm).ok_or_else(|| self.unexpected(&request, "its description"))
    }

    fn create_network(
        &self,
        request: &NetworkRequest<'_>,
        _: &Notice<'_>,
        deadline: Instant,
    ) -> Result<Id, CreateError> {
        let body = match self.dialect {
            Dialect::Docker => bodies::network(request),
            Dialect::Podman => podman::network(request),
        };
        self.create(Resource::Network, request.name, body, deadline)
    }

    fn run_container(
        &self,
        request: &ContainerRequest<'_>,
        _: &Notice<'_>,
        deadline: Instant,
    ) -> Result<Id, CreateError> {
        let id = self.create_container(request, deadline)?;
        match self.start_created(&id, request.spec, deadline) {
            Ok(()) => Ok(id),
            Err(error) => Err(CreateError { error, made: Made::Id(id) }),
        }
    }

    /// Podman looks for the network when it creates the container.
    fn stepwise(&self) -> Option<&dyn Stepwise> {
        (self.dialect == Dialect::Docker).then_some(self)
    }

    fn start_container(&self, id: &Id, deadline: Instant) -> Result<(), EngineError> {
        let request = Request::post(format!("/containers/{id}/start"));
        match self.ask(&request, deadline) {
            // It runs already.
            Err(Failure { status: Some(304), .. }) | Ok(_) => Ok(()),
            Err(failure) => Err(failure.error),
        }
    }

    fn networks(&self, names: &[&str], deadline: Instant) -> Result<Vec<NetworkInfo>, EngineError> {
        if names.is_empty() {
            let request = requests::list(self.dialect, Resource::Network);
            let answer = self.ask(&request, deadline).map_err(Failure::into_error)?.json();
            let Some(all) = answer.as_array() else {
                return Err(self.unexpected(&request, "networks"));
            };
            let all = all.iter().map(|it| network_info(self.dialect, it)).collect::<Option<_>>();
            return all.ok_or_else(|| self.unexpected(&request, "networks"));
        }
        let mut found = Vec::new();
        for name in names {
            let request = requests::inspect(self.dialect, Resource::Network, name);
            if let Some(network) = self.look(&request, deadline)? {
                let info = network_info(self.dialect, &network);
                found.push(info.ok_or_else(|| self.unexpected(&request, "a network"))?);
            }
        }
        Ok(found)
    }

    fn attached(&self, network: &Id, deadline: Instant) -> Result<Vec<String>, EngineError> {
        if self.dialect == Dialect::Podman {
            return self.names_on(network, deadline);
        }
        let request = requests::inspect(self.dialect, Resource::Network, network.as_str());
        let Some(network) = self.look(&request, deadline)? else { return Ok(Vec::new()) };
        // An answer that is not the engine's does not mean "nobody".
        if !network["Containers"].is_object() && network["Scope"] != "swarm" {
            return Err(self.unexpected(&request, "the containers of a network"));
        }
        Ok(attached_names(&network))
    }

    fn container(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<ContainerInfo>, EngineError> {
        let request = requests::inspect(self.dialect, Resource::Container, name);
        let Some(container) = self.look_at_a_container(&request, deadline)? else {
            return Ok(None);
        };
        let info = container_info(&container);
        let mut info = info.ok_or_else(|| self.unexpected(&request, "a container"))?;
        if let Some(exit) = &mut info.exit {
            exit.error = self.program.redactor().redacted(&exit.error);
        }
        Ok(Some(info))
    }

    fn variables(&self, id: &Id, deadline: Instant) -> Result<Option<Vec<String>>, EngineError> {
        let request = requests::inspect(self.dialect, Resource::Container, id.as_str());
        Ok(self.look_at_a_container(&request, deadline)?.as_ref().map(variables))
    }

    fn image_digests(&self, image: &str, deadline: Instant) -> Result<Vec<String>, EngineError> {
        let request = Request::get(format!("/images/{image}/json"));
        Ok(self.look(&request, deadline)?.as_ref().map(image_digests).unwrap_or_default())
    }

    /// The program knows the credentials of registries.
    fn pull(&self, image: &str, deadline: Instant) -> Result<(), EngineError> {
        self.program.pull(image, deadline)
    }

    fn stop(&self, id: &Id, grace: Duration, deadline: Instant) -> Result<(), EngineError> {
        let request = requests::stop(self.dialect, id, whole_seconds(grace)).repeatable();
        match self.ask(&request, deadline) {
            // It has ended already.
            Err(Failure { status: Some(304), .. }) | Ok(_) => Ok(()),
            Err(failure) => Err(failure.error),
        }
    }

    fn signal(&self, id: &Id, signal: &str, deadline: Instant) -> Result<(), EngineError> {
        let request = requests::signal(self.dialect, id, signal);
        self.ask(&request, deadline).map(drop).map_err(Failure::into_error)
    }

    fn last_lines(
        &self,
        id: &Id,
        count: usize,
        deadline: Instant,
    ) -> Result<Vec<LogLine>, EngineError> {
        let mut kept = Tail::default();
        // Some words are better than none.
        let _ = self.read_log(id, Some(count), &mut kept, deadline);
        Ok(kept.into_lines())
    }

    fn observer(&self) -> Option<&dyn Observer> {
        Some(self)
    }

    fn check_health(&self, id: &Id, deadline: Instant) -> Result<Option<Duration>, EngineError> {
        match self.dialect {
            Dialect::Docker => Ok(None),
            Dialect::Podman => self.check_podmans_health(id, deadline),
        }
    }

    fn find(
        &self,
        resource: Resource,
        filter: &Filter,
        deadline: Instant,
    ) -> Result<Vec<Id>, EngineError> {
        let filters = match filter {
            Filter::Id(id) => json!({"id": [id.as_str()]}),
            Filter::Labels(labels) => {
                let labels: Vec<_> =
                    labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                json!({"label": labels})
            }
            Filter::Running => json!({"status": ["running", "paused"]}),
        };
        let request = requests::list(self.dialect, resource).query("filters", filters);
        let answer = self.ask(&request, deadline).map_err(Failure::into_error)?.json();
        let all = answer.as_array();
        let ids = all
            .and_then(|all| all.iter().map(|it| requests::id(resource, it)).collect::<Option<_>>());
        ids.ok_or_else(|| self.unexpected(&request, "a list of ids"))
    }

    fn list(
        &self,
        resource: Resource,
        label: &str,
        deadline: Instant,
    ) -> Result<Vec<Listed>, EngineError> {
        let request = requests::list(self.dialect, resource);
        let request = request.query("filters", json!({"label": [label]}));
        let answer = self.ask(&request, deadline).map_err(Failure::into_error)?.json();
        let listed = |it| listed(resource, it);
        let all = answer.as_array().and_then(|all| all.iter().map(listed).collect::<Option<_>>());
        all.ok_or_else(|| self.unexpected(&request, "a list of resources"))
    }

    fn disconnect(
        &self,
        network: &Id,
        container: &Id,
        deadline: Instant,
    ) -> Result<bool, EngineError> {
        if self.dialect == Dialect::Podman {
            return Ok(false);
        }
        let request = requests::disconnect(network, container);
        self.ask(&request, deadline).map_err(Failure::into_error)?;
        Ok(true)
    }

    fn remove(&self, resource: Resource, id: &Id, deadline: Instant) -> Result<(), EngineError> {
        let request = requests::remove(self.dialect, resource, id);
        let answer = self.ask(&request, deadline).map_err(Failure::into_error)?.json();
        // Podman reports what it was asked for one by one.
        let mut reports = answer.as_array().into_iter().flatten();
        if reports.any(|it| it.get("Err").is_some_and(|error| !error.is_null())) {
            return Err(self.unexpected(&request, "the removal"));
        }
        Ok(())
    }

    fn advice(&self, resource: Resource, filter: &Filter) -> String {
        self.program.advice(resource, filter)
    }

    fn can_reap(&self) -> bool {
        self.program.can_reap() || self.reaped_by_curl().is_some()
    }

    fn reaper_spec(&self, info: &EngineInfo) -> ReaperSpec {
        let spec = self.program.reaper_spec(info);
        match self.reaped_by_curl() {
            Some(curl) if !self.program.can_reap() && info.kind == EngineKind::Docker => {
                curl.replace(spec)
            }
            _ => spec,
        }
    }

    fn redact(&self, spec: &CheckedSpec) {
        self.program.redact(spec);
    }

    fn redacted(&self, text: &str) -> String {
        self.program.redacted(text)
    }
}

impl Stepwise for Api {
    fn create_container(
        &self,
        request: &ContainerRequest<'_>,
        deadline: Instant,
    ) -> Result<Id, CreateError> {
        let body = match self.dialect {
            Dialect::Docker => bodies::container(request),
            Dialect::Podman => podman::container(request),
        };
        self.create(Resource::Container, request.name, body, deadline)
    }

    fn start_created(
        &self,
        id: &Id,
        spec: &CheckedSpec,
        deadline: Instant,
    ) -> Result<(), EngineError> {
        self.prepare(id, spec, deadline)?;
        self.start_container(id, deadline)
    }
}

impl Observer for Api {
    fn follow_end(&self, id: &Id, events: SyncSender<Event>) -> Follow {
        follow::follow_end(self.clone(), id, events)
    }

    fn logs(
        &self,
        id: &Id,
        last: Option<usize>,
        deadline: Instant,
    ) -> Result<Vec<LogLine>, EngineError> {
        let mut kept = Tail::default();
        self.read_log(id, last, &mut kept, deadline)?;
        Ok(kept.into_lines())
    }

    fn follow_log(&self, id: &Id, last: Option<usize>, events: SyncSender<Event>) -> Follow {
        follow::follow_log(self.clone(), id, last, events)
    }

    fn follow_events(&self, id: &Id, events: SyncSender<Event>) -> Follow {
        let filters = requests::events(self.dialect, id);
        follow::follow_events(self.clone(), id, filters, events)
    }

    fn read_file(
        &self,
        id: &Id,
        path: &str,
        deadline: Instant,
    ) -> Result<Result<Vec<u8>, FileProblem>, EngineError> {
        match self.found(id, path, deadline)? {
            Some(First::File(contents)) if contents.len() > FileProblem::LONGEST => {
                Ok(Err(FileProblem::TooLong))
            }
            Some(First::File(contents)) => Ok(Ok(contents)),
            Some(First::Other) => Ok(Err(FileProblem::NotAFile)),
            None if self.dialect == Dialect::Podman => Ok(Err(FileProblem::Missing)),
            Some(First::Link(_)) | None => self.read_by_command(id, path, deadline),
        }
    }

    fn has_file(&self, id: &Id, path: &str, deadline: Instant) -> Result<bool, EngineError> {
        match self.ask(&requests::stat(self.dialect, id, path), deadline) {
            Ok(_) if self.dialect == Dialect::Podman => Ok(true),
            Err(Failure { status: Some(404), .. }) if self.dialect == Dialect::Podman => Ok(false),
            // It may be a link that leads nowhere.
            Ok(_)
                if matches!(
                    self.found(id, path, deadline)?,
                    Some(First::File(_) | First::Other)
                ) =>
            {
                Ok(true)
            }
            Ok(_) | Err(Failure { status: Some(404), .. }) => {
                let words = ["test", "-e", path].map(str::to_owned);
                Ok(self.run(id, &words, deadline, &|| false)?.code == 0)
            }
            Err(failure) => Err(failure.error),
        }
    }

    fn exec(
        &self,
        id: &Id,
        words: &[String],
        deadline: Instant,
        stop: &dyn Fn() -> bool,
    ) -> Result<ExecOutput, EngineError> {
        let Ran { code, stdout, stderr } = self.run(id, words, deadline, stop)?;
        let [stdout, stderr] = [stdout, stderr].map(|it| last_bytes(&it));
        Ok(ExecOutput { code, stdout, stderr })
    }
}

impl Api {
    /// Runs a command in the container to its end, or until the caller wants it to stop.
    fn run(
        &self,
        id: &Id,
        words: &[String],
        deadline: Instant,
        stop: &dyn Fn() -> bool,
    ) -> Result<Ran, EngineError> {
        let body = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": words});
        let create = Request::post(format!("/containers/{id}/exec")).json(body);
        let answer = self.ask(&create, deadline).map_err(Failure::into_error)?.json();
        let Some(exec) = answer["Id"].as_str() else {
            return Err(self.unexpected(&create, "an id"));
        };
        let start = Request::post(format!("/exec/{exec}/start"));
        let start = start.json(json!({"Detach": false, "Tty": false}));
        let (mut stdout, mut stderr) = (VecDeque::new(), VecDeque::new());
        let streamed = self.stream_until(stop, &start, deadline, |piece| match piece.stream {
            LogStream::Stdout => keep(&mut stdout, piece.data),
            LogStream::Stderr => keep(&mut stderr, piece.data),
        });
        let [stdout, stderr] = [stdout, stderr].map(Vec::from);
        if let Err(error) = streamed {
            if !error.is_refusal() {
                return Err(error);
            }
            // A command that could not be run has an exit code, too.
            return match self.exit(exec, deadline) {
                Ok(Ended { code: code @ (126 | 127), .. }) => {
                    let stderr = error.message().into();
                    Ok(Ran { code, stdout: Vec::new(), stderr })
                }
                _ => Err(error),
            };
        }
        let ended = self.exit(exec, deadline)?;
        if ended.has_run {
            return Ok(Ran { code: ended.code, stdout, stderr });
        }
        // Docker answers before it starts the command, and tells why it could not in place of its output.
        let words = last_bytes(&stdout).trim_end().to_owned();
        match diagnose(&words).0 {
            Cause::CommandNotRun => {
                Ok(Ran { code: ended.code, stdout: Vec::new(), stderr: words.into() })
            }
            cause => {
                Err(self.error(&start, End::Unexpected("the command's output"), cause, &words))
            }
        }
    }

    /// The file that a path leads to, or a link that only the container can follow; `None` if the engine sees none.
    fn found(&self, id: &Id, path: &str, deadline: Instant) -> Result<Option<First>, EngineError> {
        let mut path = path.to_owned();
        // As many links as Linux follows.
        for _ in 0..40 {
            match self.first_of(id, &path, deadline)? {
                Some(First::Link(target)) if target.starts_with('/') => path = target,
                // The engine would take the name of a link for that of its directory.
                Some(First::Link(target)) if !target.contains("..") => {
                    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
                    path = format!("{directory}/{target}");
                }
                first => return Ok(first),
            }
        }
        Ok(None)
    }

    /// The first entry of an archive of this file; `None` if there is no such file.
    fn first_of(
        &self,
        id: &Id,
        path: &str,
        deadline: Instant,
    ) -> Result<Option<First>, EngineError> {
        let request = requests::pack(self.dialect, id, path);
        let start = Instant::now();
        let sent = self.client.send(&request, self.expected.get(), deadline);
        // The rest of the archive is not read, and the connection not kept.
        let (response, _line) = sent.map_err(|it| self.unanswered(&request, it).error)?;
        if !response.status().is_success() {
            return match self.refused(&request, &Answer::of_refusal(response)) {
                Failure { status: Some(404), error, .. }
                    if error.cause() != Cause::ContainerMissing =>
                {
                    Ok(None)
                }
                failure => Err(failure.error),
            };
        }
        let first = archive::first(response.into_body().into_reader(), OUTPUT as u64);
        first.map(Some).map_err(|error| {
            let unanswered = Unanswered::new(unanswered(error.into(), start));
            self.unanswered(&request, unanswered).error
        })
    }

    /// Reads a file by a command in the container: Docker before 23 does not see file systems in memory from outside.
    fn read_by_command(
        &self,
        id: &Id,
        path: &str,
        deadline: Instant,
    ) -> Result<Result<Vec<u8>, FileProblem>, EngineError> {
        // A device may have no end, and the engine ends no command.
        let run = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            self.run(id, &words, deadline, &|| false)
        };
        let ran = match run(&["test", "-f", path]) {
            // It does not run, and has nothing in memory any more.
            Err(error) if error.is_refusal() && error.cause() != Cause::ContainerMissing => {
                return Ok(Err(FileProblem::Missing));
            }
            Ok(Ran { code: 0, .. }) => {
                run(&["head", "-c", &(FileProblem::LONGEST + 1).to_string(), path])?
            }
            Ok(Ran { code: 1, .. }) => {
                let is_there = run(&["test", "-e", path])?.code == 0;
                return Ok(Err(if is_there {
                    FileProblem::NotAFile
                } else {
                    FileProblem::Missing
                }));
            }
            ran => ran?,
        };
        match ran.code {
            0 if ran.stdout.len() > FileProblem::LONGEST => Ok(Err(FileProblem::TooLong)),
            0 => Ok(Ok(ran.stdout)),
            code => {
                let why = format!(
                    "`test` or `head` of the image ended with {code}: {}",
                    last_bytes(&ran.stderr)
                );
                let why = self.program.redactor().redacted(why.trim_end());
                Err(EngineError::withheld(why, Cause::Other))
            }
        }
    }

    /// Sends a request that makes a resource, and returns the id of what was made.
    fn create(
        &self,
        resource: Resource,
        name: &str,
        body: Value,
        deadline: Instant,
    ) -> Result<Id, CreateError> {
        let request = requests::create(self.dialect, resource, name, body);
        match self.ask(&request, deadline) {
            Ok(answer) => {
                let id = requests::id(resource, &answer.json());
                id.ok_or_else(|| CreateError {
                    error: self.unexpected(&request, "an id"),
                    made: Made::Perhaps,
                })
            }
            Err(Failure { error, made_nothing: MadeNothing(true), .. }) => {
                Err(CreateError { error, made: Made::Nothing })
            }
            Err(Failure { error, .. }) => Err(CreateError { error, made: Made::Perhaps }),
        }
    }

    /// Brings into a container what it has from its start on.
    fn prepare(&self, id: &Id, spec: &CheckedSpec, deadline: Instant) -> Result<(), EngineError> {
        if let (Some(network), Dialect::Docker) = (&spec.options.also_on, self.dialect) {
            let request = requests::connect(network, id, &bodies::endpoint(&spec.options));
            self.ask(&request, deadline).map_err(Failure::into_error)?;
        }
        let archives = archive::archives(self.dialect, spec).map_err(|error| {
            EngineError::withheld(format!("the files cannot be packed: {error}"), Cause::Other)
        })?;
        for (directory, archive) in archives {
            let request = requests::unpack(self.dialect, id, &directory, archive);
            self.ask(&request, deadline).map_err(Failure::into_error)?;
        }
        Ok(())
    }

    /// The way of a reaper without docker's program.
    fn reaped_by_curl(&self) -> Option<ByCurl> {
        match (self.dialect, self.program.place()) {
            (Dialect::Docker, Place::Socket(socket)) => ByCurl::to(&socket),
            _ => None,
        }
    }

    /// The names of the containers on a network of podman's.
    fn names_on(&self, network: &Id, deadline: Instant) -> Result<Vec<String>, EngineError> {
        let request = requests::list(self.dialect, Resource::Container);
        let request = request.query("filters", json!({"network": [network.as_str()]}));
        let answer = self.ask(&request, deadline).map_err(Failure::into_error)?.json();
        let name = |it: &Value| Some(it["Names"][0].as_str()?.to_owned());
        let names = answer.as_array().and_then(|all| all.iter().map(name).collect::<Option<_>>());
        names.ok_or_else(|| self.unexpected(&request, "the containers of a network"))
    }

    /// Asks for one resource; `None` if the engine says that it does not exist.
    pub(super) fn look(
        &self,
        request: &Request,
        deadline: Instant,
    ) -> Result<Option<Value>, EngineError> {
        match self.ask(request, deadline) {
            Ok(answer) => Ok(Some(answer.json())),
            Err(Failure { status: Some(404), error, .. })
                if matches!(
                    error.cause(),
                    Cause::NetworkMissing | Cause::ContainerMissing | Cause::ImageMissing
                ) =>
            {
                Ok(None)
            }
            Err(failure) => Err(failure.error),
        }
    }

    /// Asks for a container. Podman reads `/proc` of its process, and refuses to tell anything of a container whose
    /// process has just ended.
    fn look_at_a_container(
        &self,
        request: &Request,
        deadline: Instant,
    ) -> Result<Option<Value>, EngineError> {
        let end = deadline.min(Instant::now() + LAG);
        loop {
            match self.look(request, deadline) {
                Err(error) if is_ending(&error) && !has_passed(end) => {
                    thread::sleep(Duration::from_millis(10));
                }
                looked => return looked,
            }
        }
    }

    fn read_log(
        &self,
        id: &Id,
        last: Option<usize>,
        kept: &mut Tail,
        deadline: Instant,
    ) -> Result<(), EngineError> {
        let request = log_request(id).query("tail", tail(last));
        let mut lines = Lines::default();
        let read = self.stream(&request, deadline, |piece| {
            lines.push(piece.stream, piece.data, |line| kept.push(line));
        });
        lines.finish(|line| kept.push(line));
        read
    }

    /// Reads an answer of frames to its end.
    pub(super) fn stream(
        &self,
        request: &Request,
        deadline: Instant,
        sink: impl FnMut(&Piece<'_>),
    ) -> Result<(), EngineError> {
        let start = Instant::now();
        let (mut reader, _line) = self.open_stream(request, deadline)?;
        frames_to_end(&mut reader, sink).map_err(|error| self.unread(request, start, error))
    }

    /// The same, until the caller wants it to stop. The connection is ended then.
    fn stream_until(
        &self,
        stop: &dyn Fn() -> bool,
        request: &Request,
        deadline: Instant,
        sink: impl FnMut(&Piece<'_>) + Send,
    ) -> Result<(), EngineError> {
        const TICK: Duration = Duration::from_millis(50);
        let start = Instant::now();
        let (mut reader, line) = self.open_stream(request, deadline)?;
        let read = thread::scope(|scope| {
            let (end, ended) = mpsc::channel();
            let reading = thread::Builder::new().spawn_scoped(scope, move || {
                let read = frames_to_end(&mut reader, sink);
                // Nobody waits any more if the caller has stopped.
                let _ = end.send(());
                read
            })?;
            // It ends without a word if it panics.
            let mut is_stopped = false;
            while !is_stopped && ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                is_stopped = stop();
            }
            if is_stopped {
                line.shut();
            }
            let read = reading.join().unwrap_or_else(|panic| resume_unwind(panic));
            // The end of the connection is that of a whole answer.
            if is_stopped { Err(io::ErrorKind::ConnectionAborted.into()) } else { read }
        });
        read.map_err(|error| self.unread(request, start, error))
    }

    /// Asks for an answer whose end is that of its connection, which is not kept.
    fn open_stream(
        &self,
        request: &Request,
        deadline: Instant,
    ) -> Result<(BodyReader<'static>, Line), EngineError> {
        let sent = self.client.send(request, self.expected.get(), deadline);
        let (response, line) = sent.map_err(|it| self.unanswered(request, it).error)?;
        if !response.status().is_success() {
            return Err(self.refused(request, &Answer::of_refusal(response)).error);
        }
        Ok((response.into_body().into_reader(), line))
    }

    /// The error of an answer of frames that was not read to its end.
    fn unread(&self, request: &Request, start: Instant, error: io::Error) -> EngineError {
        if let Some(words) = frames::said(&error) {
            let (cause, _) = diagnose(words);
            return self.error(request, End::Unexpected("all of it"), cause, words);
        }
        let unanswered = Unanswered::new(unanswered(error.into(), start));
        self.unanswered(request, unanswered).error
    }

    /// The end of a command whose output has ended. A command that goes on has lost its connection.
    fn exit(&self, exec: &str, deadline: Instant) -> Result<Ended, EngineError> {
        let request = Request::get(format!("/exec/{exec}/json"));
        let lag = Instant::now() + LAG;
        loop {
            let answer = self.ask(&request, deadline).map_err(Failure::into_error)?.json();
            let code = answer["ExitCode"].as_i64().and_then(|code| code.try_into().ok());
            match (answer["Running"].as_bool(), code) {
                (Some(false), Some(code)) => {
                    let has_run = self.dialect == Dialect::Podman || answer["Pid"] != 0;
                    return Ok(Ended { code, has_run });
                }
                (Some(true), _) if !has_passed(lag.min(deadline)) => {
                    thread::sleep(Duration::from_millis(10));
                }
                _ => return Err(self.unexpected(&request, "the command's end")),
            }
        }
    }
}

fn frames_to_end(reader: &mut impl Read, mut sink: impl FnMut(&Piece<'_>)) -> io::Result<()> {
    frames::read(reader, |piece| {
        sink(&piece);
        true
    })
}

/// A command that has ended, with the end of its output.
struct Ran {
    code: i32,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// The end of a command in a container.
struct Ended {
    code: i32,
    /// False if it could not be started.
    has_run: bool,
}

impl Failure {
    fn into_error(self) -> EngineError {
        self.error
    }
}

/// Returns true if an engine could not describe a container because its process ended meanwhile.
fn is_ending(error: &EngineError) -> bool {
    error.is_refusal()
        && error.message().contains("/proc/")
        && error.message().contains("no such process")
}

/// The end of an output.
fn last_bytes(output: &[u8]) -> String {
    let from = output.len().saturating_sub(OUTPUT);
    String::from_utf8_lossy(&output[from..]).into_owned()
}

/// Adds data to the end of an output, of which only the end is kept.
fn keep(output: &mut VecDeque<u8>, data: &[u8]) {
    output.extend(data);
    let from = output.len().saturating_sub(KEPT);
    output.drain(..from);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::api::Connections;
    use crate::engine::cli::Cli;

    #[test]
    fn a_reaper_runs_the_program_of_the_engine_where_there_is_one() {
        let docker = json!({"ServerVersion": "28.5.2"});
        let podman = json!({"ServerVersion": "4.3.1", "ProductLicense": "Apache-2.0"});
        for (program, info, runs) in
            [("/bin/sh", &docker, "/bin/sh"), ("/no/such/docker", &podman, "/no/such/docker")]
        {
            let cli = Cli::new(Dialect::Docker).with_host("unix:///no/such/socket".into());
            let api = Api::new(cli.with_program(program.into()), &Connections::default());
            let spec = api.reaper_spec(&EngineInfo::read(info).unwrap());
            assert_eq!(spec.program, runs, "{info}");
            assert!(spec.env.iter().all(|(name, _)| name != "SIDECAR_BUNDLE_BY_CURL"), "{spec:?}");
        }
    }

    #[test]
    fn the_end_of_an_output_is_kept_in_no_more_memory_than_it_may_take() {
        let mut output = VecDeque::new();
        for byte in 0..7 {
            keep(&mut output, &vec![b'0' + byte; OUTPUT / 2 + 1]);
            assert!(output.len() <= KEPT, "{byte}");
        }
        let last = last_bytes(&Vec::from(output));
        assert!(last.len() == OUTPUT && last.starts_with('5') && last.ends_with('6'));
    }
}
