//! The requests and the answers of an engine, as fuzzers see them.

use std::io::{self, Read};

use serde_json::{Value, json};

use super::log::{Lines, TimedLines};
use super::{bodies, frames, podman};
use crate::engine::backend::{ContainerRequest, Resource};
use crate::engine::dialect::Dialect;
use crate::engine::identity::EngineInfo;
use crate::engine::inspect;
use crate::status::LogLine;

/// The bodies for Docker and for podman; `None` for podman if it does not have all options.
pub(crate) fn bodies(request: &ContainerRequest<'_>) -> (Value, Option<Value>) {
    let has_all = podman::check(request.spec).is_ok_and(|missing| missing.is_none());
    (bodies::container(request), has_all.then(|| podman::container(request)))
}

/// The contents of an engine's answer about a container.
#[must_use]
pub fn container_in(answer: &Value) -> Option<Value> {
    let info = inspect::container_info(answer)?;
    let on = info.endpoints.iter().map(|it| json!([it.network, it.ip, it.ipv6]));
    let published = info.published.iter().map(|it| json!([it.port, it.at.ip(), it.at.port()]));
    Some(json!({
        "id": info.id.as_str(),
        "name": info.name,
        "labels": info.labels,
        "image": info.image,
        "state": format!("{:?}", info.state),
        "started": info.started,
        "exit": info.exit.map(|it| json!([it.code, it.out_of_memory, it.error])),
        "health": info.health.map(|it| format!("{it:?}")),
        "endpoints": on.collect::<Vec<_>>(),
        "published": published.collect::<Vec<_>>(),
        "variables": inspect::variables(answer),
    }))
}

/// The contents of an answer of Docker or podman about a network.
#[must_use]
pub fn network_in(is_podman: bool, answer: &Value) -> Option<Value> {
    let dialect = if is_podman { Dialect::Podman } else { Dialect::Docker };
    let info = inspect::network_info(dialect, answer)?;
    let subnets = info.subnets.iter().map(|(subnet, gateway)| json!([subnet.to_string(), gateway]));
    Some(json!({
        "id": info.id.as_str(),
        "name": info.name,
        "labels": info.labels,
        "subnets": subnets.collect::<Vec<_>>(),
        "bridge": info.bridge,
        "attached": inspect::attached_names(answer),
    }))
}

/// The contents of an item of a list of containers or networks.
#[must_use]
pub fn listed_in(is_container: bool, item: &Value) -> Option<Value> {
    let resource = if is_container { Resource::Container } else { Resource::Network };
    let listed = inspect::listed(resource, item)?;
    let state = listed.state.map(|it| format!("{it:?}"));
    Some(json!({"id": listed.id.as_str(), "labels": listed.labels, "state": state}))
}

/// The contents of an engine's answer about itself.
#[must_use]
pub fn engine_in(answer: &Value) -> Option<Value> {
    let info = EngineInfo::read(answer)?;
    Some(json!({
        "kind": format!("{:?}", info.kind),
        "version": info.version,
        "numbers": info.version(),
        "identity": [info.identity.id, info.identity.host, info.identity.root],
        "rootless": info.rootless,
        "kernel": info.kernel,
    }))
}

/// The lines of a stream of frames, and its error if it has one.
pub fn log_lines(stream: impl Read) -> (Vec<LogLine>, io::Result<()>) {
    let (mut lines, mut all) = (Lines::default(), Vec::new());
    let read = frames::read(stream, |piece| {
        lines.push(piece.stream, piece.data, |line| all.push(line));
        true
    });
    lines.finish(|line| all.push(line));
    (all, read)
}

/// A log with times, which is read on from where it was cut.
#[derive(Default)]
pub struct TimedLog(TimedLines);

impl TimedLog {
    /// Reads the stream to its end, and passes on each line that it completes.
    pub fn read(&mut self, stream: impl Read, mut line: impl FnMut(LogLine)) {
        let _ = frames::read(stream, |piece| {
            self.0.push(&piece, &mut line);
            true
        });
    }

    /// Returns the time from which the log is to be read again, as the API takes it.
    pub fn cut(&mut self) -> Option<String> {
        self.0.cut()
    }

    /// Passes on the lines that have no end.
    pub fn finish(mut self, line: impl FnMut(LogLine)) {
        self.0.finish(line);
    }
}
