//! Owners that are processes of their own: the program `tests/helpers/owner.rs`, told what to do.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::NamedTempFile;

pub(crate) struct Owner {
    pub(crate) child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    stderr: NamedTempFile,
}

impl Owner {
    /// Its program on the engine that the words describe.
    pub(crate) fn program(engine: &[impl AsRef<OsStr>]) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_sidecar-bundle-test-owner"));
        program.args(engine);
        program
    }

    /// One that ignores the ends of its children, so that nobody is told their exit status.
    #[track_caller]
    pub(crate) fn start_deaf(engine: &[impl AsRef<OsStr>]) -> Self {
        Self::start_deaf_to(engine, "version")
    }

    /// The same, with the start of its answer to `version`.
    #[track_caller]
    pub(crate) fn start_deaf_to(engine: &[impl AsRef<OsStr>], version: &str) -> Self {
        let program = Self::program(engine);
        let mut env = Command::new("env");
        env.arg("--ignore-signal=CHLD").arg(program.get_program()).args(program.get_args());
        let mut owner = Self::spawn(env);
        // By then it is the program.
        owner.expect("version", version);
        let status = std::fs::read_to_string(format!("/proc/{}/status", owner.child.id())).unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
        assert_ne!(ignored & 1 << (nix::sys::signal::Signal::SIGCHLD as u32 - 1), 0);
        owner
    }

    #[track_caller]
    pub(crate) fn start(engine: &[impl AsRef<OsStr>]) -> Self {
        Self::spawn(Self::program(engine))
    }

    /// The command runs its program, perhaps by way of another one.
    #[track_caller]
    pub(crate) fn spawn(mut command: Command) -> Self {
        let stderr = NamedTempFile::new().unwrap();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr.reopen().unwrap())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, stdin, stdout: BufReader::new(stdout), stderr }
    }

    #[track_caller]
    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.stdin.as_ref().unwrap(), "{command}").unwrap();
    }

    /// Its next answer; empty if it has ended.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.answer()
    }

    /// The rest of an answer that must start so.
    #[track_caller]
    pub(crate) fn expect(&mut self, command: &str, answer: &str) -> String {
        let answered = self.ask(command);
        let Some(rest) = answered.strip_prefix(answer) else {
            panic!("{command}: {answered}\n{}", self.stderr());
        };
        rest.trim_start().to_owned()
    }

    /// Ends the programs that lead it to its engine, so that it has to find its way anew.
    pub(crate) fn cut(&self) {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let children = tasks.map(|task| task.unwrap().path().join("children"));
        let children: String = children.map(|it| std::fs::read_to_string(it).unwrap()).collect();
        for child in children.split_whitespace() {
            let cmdline = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&cmdline).contains("dial-stdio") {
                let pid = nix::unistd::Pid::from_raw(child.parse().unwrap());
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            }
        }
    }

    /// Its debug output and traces so far.
    #[track_caller]
    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(self.stderr.path()).unwrap()
    }

    /// Kills it without a warning.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has removed its bundles and ended; it may have been told to die.
    #[track_caller]
    pub(crate) fn end(mut self) {
        drop(self.stdin.take());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.stderr());
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ = self.child.wait();
    }
}
