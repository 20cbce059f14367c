//! A fake `docker` program, `tests/helpers/docker`, run through a link in a directory of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use sidecar_bundle::{BundleRunning, BundleSpec, Engine, Error, NetworkPlanned, Slug};
use tempfile::TempDir;

use crate::owner::Owner;
use crate::surroundings::trace_everything;

pub(crate) const NETWORK: &str = "claude-bottle-bundle-demo";
pub(crate) const CONTAINER: &str = "claude-bottle-sidecars-demo";

pub(crate) fn plan() -> NetworkPlanned {
    NetworkPlanned::new(Slug::new("demo").unwrap())
}

/// An engine in a virtual machine, so that nothing depends on the interfaces of this host.
pub(crate) const ELSEWHERE: &str =
    r#"echo '{"ServerVersion":"26.1.5","OperatingSystem":"Docker Desktop"}'"#;

pub(crate) struct Fake {
    dir: TempDir,
}

/// One call of the program, as it was recorded.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
}

impl Fake {
    #[track_caller]
    pub(crate) fn new() -> Self {
        trace_everything();
        let dir = tempfile::tempdir().unwrap();
        for name in ["calls", "infos", "on", "network", "container"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        // A script written here could not be run while another test's fork still holds it open.
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/helpers/docker");
        symlink(script, dir.path().join("docker")).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn engine(&self) -> Engine {
        let docker = Engine::docker_cli().with_program(self.path("docker"));
        docker.with_state_dir(self.path("leases"))
    }

    /// The same engine, in the words of an owner that is another process.
    pub(crate) fn engine_words(&self) -> [String; 3] {
        let word = |key: &str, path: &str| format!("{key}={}", self.path(path).display());
        ["docker-cli".into(), word("program", "docker"), word("state", "leases")]
    }

    /// An owner that is another process, with further words for its engine.
    #[track_caller]
    pub(crate) fn owner(&self, more: &[&str]) -> Owner {
        let more = more.iter().map(|&word| word.to_owned());
        Owner::start(&self.engine_words().into_iter().chain(more).collect::<Vec<_>>())
    }

    /// A running bundle.
    #[track_caller]
    pub(crate) fn up(&self) -> BundleRunning {
        plan().launch(&self.engine(), BundleSpec::new()).unwrap()
    }

    /// The same as both steps with `?`, in a function that returns [`Error`].
    pub(crate) fn try_up(&self) -> Result<BundleRunning, Error> {
        Ok(plan().create_network(&self.engine())?.start(BundleSpec::new())?)
    }

    /// A running bundle of an owner that is another process.
    #[track_caller]
    pub(crate) fn owner_up(&self) -> Owner {
        let mut owner = self.owner(&[]);
        owner.expect("launch demo", "up");
        owner
    }

    /// From now on, the operation does this instead.
    #[track_caller]
    pub(crate) fn on(&self, operation: &str, snippet: &str) {
        fs::write(self.path("on").join(operation), snippet).unwrap();
    }

    /// From now on, another engine answers for its identity as long as the file `moved` exists.
    #[track_caller]
    pub(crate) fn moves(&self) {
        let other = r#"echo '{"ServerVersion":"28.0.0","ID":"OTHER"}'"#;
        self.on("info", &format!("if [ -e \"$dir/moved\" ]; then {other}; else obey; fi"));
    }

    /// The first engine is back.
    #[track_caller]
    pub(crate) fn moves_back(&self) {
        fs::remove_file(self.path("moved")).unwrap();
    }

    /// The operation does this instead, once.
    #[track_caller]
    pub(crate) fn once(&self, operation: &str, snippet: &str) {
        self.on(&format!("{operation}.once"), snippet);
    }

    /// From now on, the operation does what it should.
    #[track_caller]
    pub(crate) fn obey(&self, operation: &str) {
        fs::remove_file(self.path("on").join(operation)).unwrap();
    }

    /// The calls so far, but for those that ask the engine for its identity.
    #[track_caller]
    pub(crate) fn calls(&self) -> Vec<Call> {
        let file = |n: usize| fs::read(self.path("calls").join(n.to_string())).ok();
        (1..).map_while(file).map(|record| Call::read(&record)).collect()
    }

    /// The number of calls that asked the engine for its identity.
    #[track_caller]
    pub(crate) fn infos(&self) -> usize {
        fs::read_dir(self.path("infos")).unwrap().count()
    }

    /// The operations so far: `network create`, `run` ...
    #[track_caller]
    pub(crate) fn operations(&self) -> Vec<String> {
        self.calls().iter().map(Call::operation).collect()
    }

    /// Name and id of each network and container that exists.
    #[track_caller]
    pub(crate) fn resources(&self) -> Vec<(String, String)> {
        let mut resources = Vec::new();
        for kind in ["network", "container"] {
            for entry in fs::read_dir(self.path(kind)).unwrap() {
                let text = fs::read_to_string(entry.as_ref().unwrap().path()).unwrap();
                let name = text.lines().find_map(|line| line.strip_prefix("name=")).unwrap();
                let id = entry.unwrap().file_name().into_string().unwrap();
                resources.push((name.to_owned(), id));
            }
        }
        resources
    }

    /// A network that somebody else has made, and its id.
    #[track_caller]
    pub(crate) fn foreign_network(&self, name: &str, lines: &[&str]) -> String {
        let id = "f".repeat(64);
        let text = format!("name={name}\n{}\n", lines.join("\n"));
        fs::write(self.path("network").join(&id), text).unwrap();
        id
    }

    /// The number of reapers, by the program that they were started with.
    ///
    /// Each has a process group of its own, with its subshells in it, which look the same.
    pub(crate) fn reapers(&self) -> usize {
        let program = self.path("docker");
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let groups = processes.filter_map(|it| {
            let cmdline = std::fs::read(it.path().join("cmdline")).ok()?;
            let mut words = cmdline.split(|byte| *byte == 0);
            let is_one = words.any(|word| word == b"sidecar-bundle-reaper")
                && words.any(|word| word == program.as_os_str().as_encoded_bytes());
            let stat = std::fs::read_to_string(it.path().join("stat")).ok().filter(|_| is_one)?;
            stat.rsplit_once(") ")?.1.split(' ').nth(2).map(str::to_owned)
        });
        groups.collect::<BTreeSet<_>>().len()
    }

    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        let left = self.resources();
        assert!(left.is_empty(), "{left:?} after {:?}", self.operations());
    }
}

/// Ends what the program has left running, as told in the file `pids`.
impl Drop for Fake {
    fn drop(&mut self) {
        for pid in fs::read_to_string(self.path("pids")).unwrap_or_default().lines() {
            let _ended_already = Command::new("kill").args(["-9", pid]).output();
        }
    }
}

impl Call {
    fn read(record: &[u8]) -> Self {
        let text = String::from_utf8(record.to_vec()).unwrap();
        let mut parts = text.split_terminator('\0').map(str::to_owned);
        let count = parts.next().unwrap().parse().unwrap();
        let args = parts.by_ref().take(count).collect();
        let variable = |part: String| part.split_once('=').map(|(k, v)| (k.into(), v.into()));
        Self { args, env: parts.filter_map(variable).collect() }
    }

    pub(crate) fn operation(&self) -> String {
        let words = if matches!(self.args[0].as_str(), "network" | "container") { 2 } else { 1 };
        self.args[..words].join(" ")
    }

    /// The value of a label that is drawn at random.
    #[track_caller]
    pub(crate) fn drawn(&self, key: &str) -> &str {
        let start = format!("sidecar-bundle.{key}=");
        let value = self.args.iter().find_map(|arg| arg.strip_prefix(&start)).unwrap();
        let is_hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        assert!(value.len() == 32 && value.chars().all(is_hex), "{key}={value}");
        value
    }
}
