//! The requests in which Docker and podman differ.
//!
//! Podman has Docker's API too, in which its own options and answers are lost: its own is asked but for logs, events
//! and commands in the container.

use std::sync::Arc;

use serde_json::{Value, json};

use super::client::Request;
use crate::engine::backend::{Id, Resource};
use crate::engine::dialect::Dialect;

/// Lists resources, all of them without filters.
pub(super) fn list(dialect: Dialect, resource: Resource) -> Request {
    match (dialect, resource) {
        (Dialect::Docker, Resource::Container) => Request::get("/containers/json").query("all", 1),
        (Dialect::Docker, Resource::Network) => Request::get("/networks"),
        (Dialect::Podman, Resource::Container) => {
            Request::get("/libpod/containers/json").query("all", true)
        }
        (Dialect::Podman, Resource::Network) => Request::get("/libpod/networks/json"),
    }
}

pub(super) fn inspect(dialect: Dialect, resource: Resource, name: &str) -> Request {
    Request::get(match (dialect, resource) {
        (Dialect::Docker, Resource::Container) => format!("/containers/{name}/json"),
        (Dialect::Docker, Resource::Network) => format!("/networks/{name}"),
        (Dialect::Podman, Resource::Container) => format!("/libpod/containers/{name}/json"),
        (Dialect::Podman, Resource::Network) => format!("/libpod/networks/{name}/json"),
    })
}

pub(super) fn create(dialect: Dialect, resource: Resource, name: &str, body: Value) -> Request {
    match (dialect, resource) {
        (Dialect::Docker, Resource::Network) => Request::post("/networks/create"),
        (Dialect::Docker, Resource::Container) => {
            Request::post("/containers/create").query("name", name)
        }
        (Dialect::Podman, Resource::Network) => Request::post("/libpod/networks/create"),
        (Dialect::Podman, Resource::Container) => Request::post("/libpod/containers/create"),
    }
    .json(body)
}

/// Removes at once, a container with its anonymous volumes.
///
/// Podman would wait for the container's end unless it is told not to. Its network is never forced: the containers on
/// it would be removed too.
pub(super) fn remove(dialect: Dialect, resource: Resource, id: &Id) -> Request {
    match (dialect, resource) {
        (Dialect::Docker, Resource::Container) => {
            Request::delete(format!("/containers/{id}")).query("force", 1).query("v", 1)
        }
        (Dialect::Docker, Resource::Network) => Request::delete(format!("/networks/{id}")),
        (Dialect::Podman, Resource::Container) => {
            let request = Request::delete(format!("/libpod/containers/{id}"));
            request.query("force", true).query("volumes", true).query("timeout", 0)
        }
        (Dialect::Podman, Resource::Network) => Request::delete(format!("/libpod/networks/{id}")),
    }
}

/// Brings a container into one more network of Docker's.
pub(super) fn connect(network: &str, id: &Id, endpoint: &Value) -> Request {
    let body = json!({"Container": id.as_str(), "EndpointConfig": endpoint});
    Request::post(format!("/networks/{network}/connect")).json(body)
}

/// Takes a container off a network of Docker's, whether it runs or not.
pub(super) fn disconnect(network: &Id, container: &Id) -> Request {
    let body = json!({"Container": container.as_str(), "Force": true});
    Request::post(format!("/networks/{network}/disconnect")).json(body)
}

/// The path of the request for a container's files.
fn files(dialect: Dialect, id: &Id) -> String {
    match dialect {
        Dialect::Docker => format!("/containers/{id}/archive"),
        Dialect::Podman => format!("/libpod/containers/{id}/archive"),
    }
}

/// Tells of a file without its contents.
pub(super) fn stat(dialect: Dialect, id: &Id, path: &str) -> Request {
    Request::head(files(dialect, id)).query("path", path)
}

/// An archive of a file, or of a directory with all that is in it.
pub(super) fn pack(dialect: Dialect, id: &Id, path: &str) -> Request {
    Request::get(files(dialect, id)).query("path", path)
}

pub(super) fn signal(dialect: Dialect, id: &Id, signal: &str) -> Request {
    let path = match dialect {
        Dialect::Docker => format!("/containers/{id}/kill"),
        Dialect::Podman => format!("/libpod/containers/{id}/kill"),
    };
    Request::post(path).query("signal", signal)
}

/// Unpacks an archive in a directory of the container. Directories that are missing are made.
pub(super) fn unpack(dialect: Dialect, id: &Id, directory: &str, archive: Arc<[u8]>) -> Request {
    let request = Request::put(files(dialect, id));
    let request = match dialect {
        // A directory is not replaced by a file.
        Dialect::Docker => request.query("noOverwriteDirNonDir", true),
        // Otherwise podman gives the files to the container's user.
        Dialect::Podman => request.query("copyUIDGID", false),
    };
    request.query("path", directory).archive(archive)
}

pub(super) fn stop(dialect: Dialect, id: &Id, seconds: u64) -> Request {
    match dialect {
        Dialect::Docker => Request::post(format!("/containers/{id}/stop")).query("t", seconds),
        Dialect::Podman => {
            Request::post(format!("/libpod/containers/{id}/stop")).query("timeout", seconds)
        }
    }
}

/// Is answered at the container's end. Podman looks now and then, four times a second unless it is told more.
pub(super) fn wait(dialect: Dialect, id: &Id) -> Request {
    match dialect {
        Dialect::Docker => {
            Request::post(format!("/containers/{id}/wait")).query("condition", "not-running")
        }
        Dialect::Podman => Request::post(format!("/libpod/containers/{id}/wait"))
            .query("condition", "stopped")
            .query("condition", "exited")
            .query("interval", "50ms"),
    }
}

/// The events of a container. Podman has other names for the same events in a filter than in an answer.
pub(super) fn events(dialect: Dialect, id: &Id) -> Value {
    let mut filters = json!({"type": ["container"], "container": [id.as_str()]});
    if dialect == Dialect::Docker {
        filters["event"] = json!(["start", "die", "destroy", "health_status"]);
    }
    filters
}

/// The id of what was made, or is listed.
pub(super) fn id(resource: Resource, answer: &Value) -> Option<Id> {
    Id::of(resource, answer["Id"].as_str().or(answer["id"].as_str())?)
}
