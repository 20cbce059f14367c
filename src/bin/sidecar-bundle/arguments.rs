//! The arguments of the program.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use sidecar_bundle::{AddressPool, Engine, Error, Naming, NetworkPlanned, Slug};

use crate::failure::{EXIT_CODES, chain};

/// Plans, lists, sweeps and removes sidecar bundles, and prints their logs.
#[derive(Debug, Parser)]
#[command(name = "sidecar-bundle", version, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) engine: EngineArguments,
    /// Prints JSON: one value, or of a log one for each line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Prints the names and addresses of a slug. No engine is asked.
    Plan(PlanArguments),
    /// Lists all bundles on the engine, of every prefix, with their owners.
    List,
    /// Removes the orphans of this user: the containers and networks of dead owners.
    Sweep {
        /// Lists the orphans, and removes nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Prints the log of a bundle as it is, whoever its owner is: the last 1 MiB at most.
    Logs {
        #[command(flatten)]
        bundle: BundleArguments,
        /// Prints only the last lines.
        #[arg(long, value_name = "LINES")]
        tail: Option<usize>,
    },
    /// Removes the containers and the network of a slug, kept or not, unless the owner is seen to live.
    ///
    /// An owner of another user, host or state directory is not seen, and loses its bundle. `list` shows it as
    /// `elsewhere`. This is the `discard` that the errors of launchers name.
    Remove(BundleArguments),
}

#[derive(Debug, Args)]
pub(crate) struct BundleArguments {
    /// The slug.
    pub(crate) slug: Slug,
    /// The prefix of its names.
    #[arg(long = "prefix", value_name = "PREFIX", default_value = "claude-bottle")]
    #[arg(value_parser = |prefix: &str| Naming::new(prefix))]
    pub(crate) naming: Naming,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    bundle: BundleArguments,
    /// The number of the attempt.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    attempt: u64,
    /// The pool that the subnet is cut from.
    #[arg(long, value_name = "RANGE:/PREFIX", default_value_t)]
    pool: AddressPool,
    /// Adds IPv6 addresses.
    #[arg(long)]
    ipv6: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EngineArguments {
    /// The engine; by default, the first of docker and podman that answers, which a note names.
    #[arg(long, global = true, default_value = "detect")]
    engine: Way,
    /// The address of the engine, such as `ssh://me@builder`.
    #[arg(long, global = true, value_name = "ADDRESS")]
    host: Option<OsString>,
    /// The context of docker, or the connection of podman.
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<OsString>,
    /// The program in place of docker or podman, such as a wrapper.
    #[arg(long, global = true)]
    program: Option<OsString>,
    /// The directory of the launchers' leases, if it is not the default one. It exists once there was a launch.
    #[arg(long, global = true, value_name = "DIRECTORY", value_parser = PathBufValueParser::new().try_map(directory))]
    state_dir: Option<PathBuf>,
}

/// In a directory that is not there, each bundle would look like one without an owner.
fn directory(path: PathBuf) -> Result<PathBuf, &'static str> {
    if path.is_dir() { Ok(path) } else { Err("there is no such directory") }
}

/// The ways to an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    Docker,
    DockerCli,
    Podman,
    Detect,
}

impl Arguments {
    /// Reads the arguments of this process, which ends if they are wrong.
    pub(crate) fn read() -> Self {
        let read = Self::parse();
        let EngineArguments { engine, host, context, program, .. } = &read.engine;
        // An option before the command and one after it are not compared by the parser.
        let wrong =
            if *engine == Way::Detect && [host, context, program].iter().any(|it| it.is_some()) {
                "--host, --context and --program need --engine docker, docker-cli or podman"
            } else if host.is_some() && context.is_some() {
                "--host and --context exclude each other"
            } else {
                return read;
            };
        Self::command().error(ErrorKind::ArgumentConflict, wrong).exit()
    }
}

impl EngineArguments {
    /// The engine, and whether it was named.
    pub(crate) fn engine(self) -> Result<(Engine, bool), Error> {
        let is_named = self.engine != Way::Detect;
        let mut engine = match self.engine {
            Way::Docker => Engine::docker(),
            Way::DockerCli => Engine::docker_cli(),
            Way::Podman => Engine::podman(),
            Way::Detect => Engine::detect()?,
        };
        if let Some(program) = self.program {
            engine = engine.with_program(program);
        }
        if let Some(address) = self.host {
            engine = engine.with_host(address);
        }
        if let Some(name) = self.context {
            engine = engine.with_context(name);
        }
        if let Some(directory) = self.state_dir {
            engine = engine.with_state_dir(directory);
        }
        Ok((engine, is_named))
    }
}

/// Says which engine was detected, and why it is not Docker; nothing, if it does not answer any more.
pub(crate) fn note(engine: &Engine) -> Option<String> {
    let version = engine.version().ok()?;
    let asked = format!("no engine was named, so {version} was asked");
    if version.starts_with("Docker ") {
        return Some(asked);
    }
    // A Docker that hangs has taken its time already.
    Some(match Engine::docker().with_remove_deadline(Duration::from_secs(2)).version() {
        Ok(_) => asked,
        Err(error) => format!("{asked}; docker does not answer: {}", chain(&error)),
    })
}

impl PlanArguments {
    pub(crate) fn plan(self) -> Result<NetworkPlanned, Error> {
        let addressing = self.pool.addressing(&self.bundle.slug, self.attempt)?;
        let plan = self.bundle.plan().with_addressing(addressing);
        Ok(if self.ipv6 { plan.with_ipv6() } else { plan })
    }
}

impl BundleArguments {
    pub(crate) fn plan(self) -> NetworkPlanned {
        NetworkPlanned::new(self.slug).with_naming(self.naming)
    }
}
