//! The API backend: requests of the Engine API, over a socket or over the program that leads to the engine.

mod archive;
mod bodies;
mod by_curl;
mod client;
mod follow;
mod frames;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod health;
mod log;
mod operations;
mod podman;
mod requests;
mod service;
mod socket;
mod wire;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use client::{Answer, Client, Request, Unanswered};
use health::Checks;
use service::Service;
use wire::{DialStdio, Way};

use super::cause::{Cause, MadeNothing, diagnose};
use super::cli::{Cli, Place};
use super::dialect::Dialect;
use super::error::{End, EngineError};
use super::identity::Identity;

/// An engine that is asked over its API. Its program is used only for what it alone knows: the way to the engine, and
/// the credentials of registries.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    program: Cli,
    client: Arc<Client>,
    dialect: Dialect,
    checks: Arc<Checks>,
    /// The engine that answered first. Nothing else is asked.
    expected: OnceLock<Identity>,
}

/// The connections of an engine value and its clones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections(Arc<OnceLock<Arc<Client>>>);

/// A request that failed, and what it tells of the engine's state.
struct Failure {
    error: EngineError,
    /// The status of its answer, if it got one.
    status: Option<u16>,
    made_nothing: MadeNothing,
}

impl Api {
    pub(crate) fn new(program: Cli, connections: &Connections) -> Self {
        let client = connections.0.get_or_init(|| {
            let way = match program.place() {
                Place::Socket(path) => Way::Socket(path),
                Place::Here => Way::Service(Service::of(&program)),
                Place::Elsewhere => {
                    Way::Program(DialStdio::new(program.program(), program.dial_stdio()))
                }
            };
            Arc::new(Client::new(way, program.dialect()))
        });
        let (client, dialect) = (Arc::clone(client), program.dialect());
        Self { client, dialect, program, checks: Arc::default(), expected: OnceLock::new() }
    }

    /// Sends a request, and returns the answer if the engine did what it was asked.
    fn ask(&self, request: &Request, deadline: Instant) -> Result<Answer, Failure> {
        match self.client.ask(request, self.expected.get(), deadline) {
            Ok(answer) if answer.is_success() => Ok(answer),
            Ok(answer) => Err(self.refused(request, &answer)),
            Err(unanswered) => Err(self.unanswered(request, unanswered)),
        }
    }

    fn refused(&self, request: &Request, answer: &Answer) -> Failure {
        let message = answer.message();
        let (cause, made_nothing) = diagnose(&message);
        // A request that is at fault was not carried out. But something on the way may have run out of time or patience.
        let is_at_fault =
            (400..500).contains(&answer.status) && ![408, 425, 429, 499].contains(&answer.status);
        let made_nothing = MadeNothing(made_nothing.0 || is_at_fault);
        let error = self.error(request, End::Refused(answer.status), cause, &message);
        Failure { error, status: Some(answer.status), made_nothing }
    }

    fn unanswered(&self, request: &Request, unanswered: Unanswered) -> Failure {
        let Unanswered { end, cause, words } = unanswered;
        let (cause, made_nothing) = match &end {
            End::NotReached(_) => (unreached(cause, &words), MadeNothing(true)),
            End::Late(_) => (Cause::TimedOut, MadeNothing(false)),
            End::Cut(_) => (Cause::EngineUnreachable, MadeNothing(false)),
            End::Refused(_) => (diagnose(&words).0, MadeNothing(true)),
            _ => (cause, MadeNothing(true)),
        };
        let error = self.error(request, end, cause, &words);
        Failure { error, status: None, made_nothing }
    }

    fn unexpected(&self, request: &Request, expected: &'static str) -> EngineError {
        self.error(request, End::Unexpected(expected), Cause::Other, "")
    }

    fn error(&self, request: &Request, end: End, cause: Cause, words: &str) -> EngineError {
        let program = self.program.program().to_string_lossy().into_owned();
        let redactor = self.program.redactor();
        EngineError::new(program, request.to_string(), end, cause, words, redactor)
    }
}

/// The cause of a way that could not be opened, which its program may tell.
fn unreached(cause: Cause, words: &str) -> Cause {
    match (cause, diagnose(words).0) {
        (Cause::Other, Cause::Other) => Cause::EngineUnreachable,
        (Cause::Other, told) => told,
        (known, _) => known,
    }
}
