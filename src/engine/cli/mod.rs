//! The command-line backend: the engine's program, run once for each request.

mod command;
mod network;
mod operations;
mod output;
mod run;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{self, Path, PathBuf};

use nix::errno::Errno;
use serde_json::Value;

use crate::engine::dialect::Dialect;
use command::Command;

use super::redactor::Redactor;
use crate::container::is_read_by_engine_programs;

/// A program and its environment.
type Way = (OsString, Vec<(OsString, OsString)>);

/// The place of an engine's API.
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) enum Place {
    /// A socket on this host.
    Socket(PathBuf),
    /// A service that is still to be run: that of podman, which works on this host without one.
    Here,
    /// A place that the program knows the way to.
    Elsewhere,
}

impl Place {
    /// On other systems than Linux, podman works in a virtual machine.
    const OF_PODMAN: Self = if cfg!(target_os = "linux") { Self::Here } else { Self::Elsewhere };
}

/// The engine's program and the way by which it reaches its engine.
#[derive(Clone)]
pub(crate) struct Cli {
    dialect: Dialect,
    program: OsString,
    host: Option<OsString>,
    context: Option<OsString>,
    /// The variables that name the program's configuration, absolute.
    configuration: Vec<(&'static str, Option<OsString>)>,
    redactor: Redactor,
}

impl Cli {
    pub(crate) fn new(dialect: Dialect) -> Self {
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
            host: host.map(absolute_address),
            context,
            configuration: configuration(dialect),
            redactor: Redactor::default(),
        }
    }

    pub(crate) fn with_host(self, address: OsString) -> Self {
        Self { host: Some(absolute_address(address)), context: None, ..self }
    }

    pub(crate) fn with_context(self, name: OsString) -> Self {
        Self { host: None, context: Some(name), ..self }
    }

    pub(crate) fn with_program(self, program: OsString) -> Self {
        let program = match Path::new(&program).components().count() {
            0 | 1 => program,
            _ => path::absolute(&program).map_or(program, PathBuf::into_os_string),
        };
        Self { program, ..self }
    }

    pub(crate) fn with_new_redactor(self) -> Self {
        Self { redactor: Redactor::default(), ..self }
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(super) fn program(&self) -> &OsStr {
        &self.program
    }

    pub(super) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// The place of the engine's API.
    pub(super) fn place(&self) -> Place {
        match (&self.host, &self.context, self.dialect) {
            (Some(host), ..) => match host.to_str().and_then(|it| it.strip_prefix("unix://")) {
                Some(path) => Place::Socket(path.into()),
                None => Place::Elsewhere,
            },
            (None, Some(name), _) if !self.dialect.is_default(name) => Place::Elsewhere,
            (None, _, Dialect::Docker) => Place::Socket("/var/run/docker.sock".into()),
            (None, _, Dialect::Podman) => Place::OF_PODMAN,
        }
    }

    /// The command whose standard input and output are a connection to the engine's API.
    pub(super) fn dial_stdio(&self) -> duct::Expression {
        let words = ["system", "dial-stdio"].map(str::to_owned);
        let dial = duct::cmd(self.absolute_program(), self.connection().into_iter().chain(words));
        self.pinned().fold(dial, |dial, (name, value)| match value {
            Some(value) => dial.env(name, value),
            None => dial.env_remove(name),
        })
    }

    /// The fields of `Debug` that tell the engine.
    pub(crate) fn fmt_way(&self, debug: &mut fmt::DebugStruct<'_, '_>) {
        debug.field("program", &self.program);
        if let Some(host) = &self.host {
            debug.field("host", host);
        }
        if let Some(context) = &self.context {
            debug.field("context", context);
        }
    }

    /// The variables that lead to the engine that was configured when this value was made.
    fn pinned(&self) -> impl Iterator<Item = (&'static str, Option<OsString>)> {
        let [host, context] = self.dialect.steering();
        let steering = [(host, self.host.clone()), (context, self.context.clone())];
        steering.into_iter().chain(self.configuration.iter().cloned())
    }

    /// The program with its environment, before any argument.
    fn bare_command(&self) -> Command {
        let command = Command::new(&self.program, &self.redactor);
        self.pinned().fold(command, |command, (name, value)| command.env(name, value))
    }

    fn command(&self) -> Command {
        self.connection().into_iter().fold(self.bare_command(), Command::arg)
    }

    /// The arguments before any command. If the variable has an unknown name, podman 4.3 uses its default connection.
    fn connection(&self) -> Vec<String> {
        match (&self.context, self.dialect) {
            (Some(name), Dialect::Podman) => {
                vec![Dialect::CONNECTION.to_owned(), name.to_string_lossy().into_owned()]
            }
            _ => Vec::new(),
        }
    }

    /// The whole environment of the program in a process that works in another directory: only variables
    /// that the program reads.
    fn minimal_env(&self) -> Vec<(OsString, OsString)> {
        let is_read = |name: &OsString| name.to_str().is_some_and(is_read_by_engine_programs);
        let own = env::vars_os().filter(|(name, _)| is_read(name));
        let pinned: Vec<_> = self.pinned().collect();
        let replaced = |name: &OsString| pinned.iter().any(|(pinned, _)| name == pinned);
        let mut env: Vec<_> = own.filter(|(name, _)| !replaced(name)).collect();
        env.extend(pinned.into_iter().filter_map(|(name, value)| Some((name.into(), value?))));
        env
    }

    /// The program and its environment, which lead to the same engine wherever they are used.
    pub(super) fn way(&self) -> Way {
        (self.absolute_program(), self.minimal_env())
    }

    /// The program's path, found on `PATH` now.
    pub(super) fn absolute_program(&self) -> OsString {
        path_of(&self.program).map_or_else(|_| self.program.clone(), PathBuf::into_os_string)
    }
}

/// The path of a program, found on `PATH` now.
///
/// Only with a path does std report a program that cannot be run without waiting for a child, which panics in a process
/// that ignores `SIGCHLD` (rust-lang/rust#110317).
pub(crate) fn path_of(program: &OsStr) -> io::Result<PathBuf> {
    if Path::new(program).components().count() > 1 {
        return Ok(program.into());
    }
    on_path(program).ok_or_else(|| Errno::ENOENT.into())
}

/// The path of a program that is found on `PATH` now.
pub(super) fn on_path(program: &OsStr) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let candidates = env::split_paths(&path).map(|directory| directory.join(program));
    let mut absolute = candidates.filter_map(|path| path::absolute(path).ok());
    absolute.find(|path| runs(path))
}

/// Returns true if it is a program.
fn runs(path: &Path) -> bool {
    path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

impl fmt::Debug for Cli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Cli");
        self.fmt_way(&mut debug);
        debug.finish_non_exhaustive()
    }
}

/// The arguments of `docker run`.
#[cfg(fuzzing)]
pub(crate) fn run_arguments(request: &super::backend::ContainerRequest<'_>) -> Vec<String> {
    let program = Command::new(OsStr::new("docker"), &Redactor::default());
    run::run(program, request).into_arguments()
}

/// A socket's path as seen from any directory.
fn absolute_address(address: OsString) -> OsString {
    let relative = address.to_str().and_then(|it| it.strip_prefix("unix://"));
    match relative.filter(|path| !path.is_empty()).map(path::absolute) {
        Some(Ok(path)) => {
            let mut address = OsString::from("unix://");
            address.push(path);
            address
        }
        _ => address,
    }
}

/// The variables that name the program's configuration, as they are now.
fn configuration(dialect: Dialect) -> Vec<(&'static str, Option<OsString>)> {
    let now = |name: &&'static str| {
        let path = env::var_os(name).filter(|value| !value.is_empty());
        (*name, path.map(|path| path::absolute(&path).map_or(path, PathBuf::into_os_string)))
    };
    dialect.configuration().iter().map(now).collect()
}

/// The context that the user has chosen with `docker context use`.
fn current_context() -> Option<OsString> {
    let directory = match env::var_os("DOCKER_CONFIG").filter(|value| !value.is_empty()) {
        Some(directory) => PathBuf::from(directory),
        None => env::home_dir()?.join(".docker"),
    };
    context_in(&directory)
}

fn context_in(directory: &Path) -> Option<OsString> {
    let config = std::fs::read_to_string(directory.join("config.json")).ok()?;
    let config: Value = serde_json::from_str(&config).ok()?;
    config["currentContext"].as_str().filter(|name| !name.is_empty()).map(Into::into)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::engine::backend::{Backend, Id};

    #[test]
    fn the_place_of_the_api_follows_from_what_leads_to_the_engine() {
        let docker = || Cli::new(Dialect::Docker);
        let own_socket = || Place::Socket("/var/run/docker.sock".into());
        for (cli, place) in [
            (docker().with_host("unix:///run/x".into()), Place::Socket("/run/x".into())),
            (docker().with_host("tcp://x:1".into()), Place::Elsewhere),
            (docker().with_context("far".into()), Place::Elsewhere),
            (docker().with_context("default".into()), own_socket()),
            // A name of podman's is always another place.
            (Cli::new(Dialect::Podman).with_context("default".into()), Place::Elsewhere),
        ] {
            assert_eq!(cli.place(), place, "{cli:?}");
        }
    }

    #[test]
    fn only_a_file_that_may_be_run_is_a_program() {
        let room = tempfile::tempdir().unwrap();
        let file = room.path().join("file");
        std::fs::write(&file, "").unwrap();
        let set = |mode| std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        set(0o600);
        assert!(!runs(&file) && !runs(room.path()) && !runs(&room.path().join("none")));
        set(0o700);
        assert!(runs(&file));
    }

    #[test]
    fn the_context_is_the_one_that_was_chosen() {
        let room = tempfile::tempdir().unwrap();
        let chosen = |config: &str| {
            std::fs::write(room.path().join("config.json"), config).unwrap();
            context_in(room.path())
        };
        assert_eq!(chosen(r#"{"currentContext": "far"}"#), Some("far".into()));
        for none in [r#"{"currentContext": ""}"#, r#"{"auths": {}}"#, "no JSON"] {
            assert_eq!(chosen(none), None, "{none}");
        }
    }

    #[test]
    fn docker_runs_the_health_checks_of_its_containers_itself() {
        let id = Id::parse(&"a".repeat(64)).unwrap();
        let checked = Cli::new(Dialect::Docker).check_health(&id, Instant::now());
        assert_eq!(checked.unwrap(), None);
    }

    #[test]
    fn a_program_is_printed_with_the_way_to_its_engine() {
        for (dialect, program) in [(Dialect::Docker, "docker"), (Dialect::Podman, "podman")] {
            let printed = format!("{:?}", Cli::new(dialect).with_host("tcp://there:1".into()));
            assert!(printed.contains(&format!("program: {program:?}")), "{printed}");
            assert!(printed.contains("tcp://there:1"), "{printed}");
        }
    }

    #[test]
    fn a_relative_socket_is_made_absolute_and_no_other_address() {
        let here = env::current_dir().unwrap();
        let of = |address: &str| absolute_address(address.into()).into_string().unwrap();
        assert_eq!(of("unix://run/x"), format!("unix://{}", here.join("run/x").display()));
        for address in ["unix:///run/x", "unix://", "tcp://x:1", "run/x"] {
            assert_eq!(of(address), address);
        }
    }

    #[test]
    fn a_connection_of_podmans_is_an_argument_and_a_context_of_dockers_a_variable() {
        let podman = Cli::new(Dialect::Podman).with_context("far".into());
        assert_eq!(podman.connection(), ["--connection", "far"]);
        let docker = Cli::new(Dialect::Docker).with_context("far".into());
        assert!(docker.connection().is_empty());
        let variables = docker.minimal_env();
        assert!(variables.contains(&("DOCKER_CONTEXT".into(), "far".into())), "{variables:?}");
        // A variable that leads to another engine is not passed on.
        assert!(variables.iter().all(|(name, _)| name != "DOCKER_HOST"), "{variables:?}");
        assert!(
            variables.contains(&("PATH".into(), env::var_os("PATH").unwrap())),
            "{variables:?}"
        );
    }
}
