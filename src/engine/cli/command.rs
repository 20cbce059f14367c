//! One command of an engine's program: run within a deadline, its failure kept without secrets.

use std::ffi::{OsStr, OsString};
use std::io::{self, PipeWriter};
use std::os::unix::process::CommandExt;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::output::{Output, Progress};
use super::path_of;
use crate::engine::backend::Notice;
use crate::engine::cause::{Cause, MadeNothing, diagnose};
use crate::engine::dialect::Dialect;
use crate::engine::error::{End, EngineError};
use crate::engine::redactor::Redactor;

/// The bytes that are read of a message, and of an answer: docker prints two million of a thousand networks.
const TEXT: usize = 1 << 20;
const ANSWER: usize = 64 << 20;

/// A command that failed, and what it tells of the engine's state.
pub(super) struct Failure {
    pub(super) error: EngineError,
    /// All of standard output, as it was.
    pub(super) stdout: String,
    pub(super) made_nothing: MadeNothing,
    /// It may be no failure: its exit status was lost.
    pub(super) status_lost: bool,
}

/// One command of an engine's program.
#[derive(Clone)]
pub(super) struct Command {
    program: OsString,
    args: Vec<OsString>,
    shown: Vec<String>,
    env: Vec<(OsString, Option<OsString>)>,
    redactor: Redactor,
    /// In a process group of its own.
    apart: bool,
    /// Its answer is in no error.
    private: bool,
    /// Each line that it prints is traced as it comes.
    has_progress: bool,
}

impl Command {
    pub(super) fn new(program: &OsStr, redactor: &Redactor) -> Self {
        Self {
            program: program.to_owned(),
            args: Vec::new(),
            shown: Vec::new(),
            env: Vec::new(),
            redactor: redactor.clone(),
            apart: false,
            private: false,
            has_progress: false,
        }
    }

    pub(super) fn arg(mut self, arg: impl Into<String>) -> Self {
        let arg = arg.into();
        self.shown.push(arg.clone());
        self.args.push(arg.into());
        self
    }

    pub(super) fn args<'a>(self, args: impl IntoIterator<Item = &'a str>) -> Self {
        args.into_iter().fold(self, Command::arg)
    }

    /// `NAME=VALUE` on the command line, shown as `NAME=***`.
    pub(super) fn assignment(mut self, name: &str, value: &str) -> Self {
        self.shown.push(format!("{name}=***"));
        self.args.push(format!("{name}={value}").into());
        self
    }

    #[cfg(fuzzing)]
    pub(super) fn into_arguments(self) -> Vec<String> {
        self.args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect()
    }

    /// Sets or removes a variable of the program's environment.
    pub(super) fn env(mut self, name: &str, value: Option<OsString>) -> Self {
        self.env.push((name.into(), value));
        self
    }

    /// In a process group of its own: neither Ctrl-C nor a kill of its owner's group interrupts it.
    pub(super) fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// Keeps its standard output, which has secret values, out of errors.
    pub(super) fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// Traces each line that it prints, as it comes.
    pub(super) fn with_progress(mut self) -> Self {
        self.has_progress = true;
        self
    }

    /// Runs it and returns its standard output.
    ///
    /// It is bounded: at the deadline the program is killed, and nothing waits for what it may have started, though
    /// that may hold its pipes.
    pub(super) fn run(self, deadline: Instant) -> Result<String, Failure> {
        self.run_with(None, deadline)
    }

    /// Runs it so that others notice that it is under way.
    pub(super) fn run_noticed(
        self,
        notice: &Notice<'_>,
        deadline: Instant,
    ) -> Result<String, Failure> {
        self.run_with(Some(notice), deadline)
    }

    fn run_with(self, notice: Option<&Notice<'_>>, deadline: Instant) -> Result<String, Failure> {
        let start = Instant::now();
        let result = self.end_and_output(notice, deadline, ANSWER);
        let duration = start.elapsed();
        let (end, stdout, stderr) = match result {
            Ok(output) => output,
            Err(error) => (End::NotStarted(error.into()), String::new(), String::new()),
        };
        tracing::debug!(
            command = %self.shown_line(),
            duration_ms = duration.as_millis(),
            end = %match &end {
                End::Exited(status) => status.to_string(),
                End::Killed(_) => "killed at its deadline".into(),
                End::StatusLost => "exit status lost".into(),
                End::NotStarted(error) | End::Lost(error) => {
                    self.redactor.redacted(&error.to_string())
                }
                _ => String::new(),
            },
            "engine command"
        );
        match end {
            End::Exited(status) if status.success() => Ok(stdout),
            end => Err(self.failure(end, stdout, &stderr)),
        }
    }

    /// Runs it and returns what it answers: that is read from its standard output, or is not what was expected.
    ///
    /// If the exit status of a command was lost, only its answer tells that it succeeded. `read` must therefore refuse
    /// an empty one.
    pub(super) fn answer<T>(
        self,
        expected: &'static str,
        deadline: Instant,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, EngineError> {
        match self.clone().run(deadline) {
            Ok(stdout) => read(&stdout).ok_or_else(|| self.unexpected(expected, &stdout)),
            Err(failure) if failure.status_lost => read(&failure.stdout).ok_or(failure.error),
            Err(failure) => Err(failure.error),
        }
    }

    /// Runs it and returns what it has printed on both streams.
    pub(super) fn texts(self, deadline: Instant) -> Result<[String; 2], EngineError> {
        tracing::debug!(command = %self.shown_line(), "engine command");
        match self.end_and_output(None, deadline, TEXT) {
            Ok((End::StatusLost, stdout, stderr)) => Ok([stdout, stderr]),
            Ok((End::Exited(status), stdout, stderr)) if status.success() => Ok([stdout, stderr]),
            Ok((end, stdout, stderr)) => Err(self.failure(end, stdout, &stderr).error),
            Err(error) => Err(self.not_started(error)),
        }
    }

    /// The error of a command that succeeded, and told of an error in its answer.
    pub(super) fn said(self, error: &str) -> EngineError {
        self.failure(End::Exited(ExitStatus::default()), String::new(), error).error
    }

    fn not_started(self, error: io::Error) -> EngineError {
        self.failure(End::NotStarted(error.into()), String::new(), "").error
    }

    /// The error of a command that succeeded and did not print what was expected.
    pub(super) fn unexpected(self, expected: &'static str, stdout: &str) -> EngineError {
        self.failure(End::Unexpected(expected), stdout.to_owned(), "").error
    }

    fn end_and_output(
        &self,
        notice: Option<&Notice<'_>>,
        deadline: Instant,
        window: usize,
    ) -> io::Result<(End, String, String)> {
        let (stdout, their_stdout) = Output::new(window)?;
        let (stderr, their_stderr) = Output::new(TEXT)?;
        let progress = || self.has_progress.then(|| Progress::new(self.redactor.clone()));
        let [stdout, stderr] = [stdout, stderr].map(|it| it.with_progress(progress()));
        let expression = self.expression_for(notice, [their_stdout, their_stderr])?;
        let start = Instant::now();
        let handle = expression.start()?;
        // No copy of the pipes outlives the program.
        drop(expression);
        if let Some(notice) = notice {
            handle.pids().into_iter().for_each(&notice.started);
        }
        let mut outputs = [stdout, stderr];
        // It is under way: no error means that it made nothing.
        let end = wait(&handle, start, deadline, &mut outputs)
            .unwrap_or_else(|error| End::Lost(error.into()));
        match &end {
            End::Exited(_) | End::StatusLost => read_to_end(&mut outputs),
            // It has no answer, and perhaps a word.
            _ => _ = drain(&mut outputs),
        }
        let failed = outputs.iter_mut().find_map(Output::take_error);
        let end = failed.map_or(end, |error| End::Lost(error.into()));
        let [stdout, stderr] = outputs.map(Output::into_text);
        Ok((end, stdout, stderr))
    }

    fn expression_for(
        &self,
        notice: Option<&Notice<'_>>,
        [stdout, stderr]: [PipeWriter; 2],
    ) -> io::Result<duct::Expression> {
        let expression = self.expression()?.stdout_file(stdout).stderr_file(stderr).unchecked();
        // Its standard input, which nothing that it leaves behind keeps.
        let expression = match notice.and_then(|notice| notice.liveness.as_ref()) {
            Some(pipe) => expression.stdin_file(pipe.try_clone()?),
            None => expression.stdin_null(),
        };
        if !self.apart {
            return Ok(expression);
        }
        Ok(expression.before_spawn(|command| {
            command.process_group(0);
            Ok(())
        }))
    }

    fn expression(&self) -> io::Result<duct::Expression> {
        let expression = duct::cmd(path_of(&self.program)?, &self.args);
        Ok(self.env.iter().fold(expression, |expression, (name, value)| match value {
            Some(value) => expression.env(name, value),
            None => expression.env_remove(name),
        }))
    }

    fn failure(self, end: End, stdout: String, stderr: &str) -> Failure {
        let (cause, made_nothing) = match &end {
            End::NotStarted(error) if error.kind() == io::ErrorKind::NotFound => {
                (Cause::ProgramMissing, MadeNothing(true))
            }
            End::NotStarted(_) => (Cause::Other, MadeNothing(true)),
            End::Lost(error) if error.kind() == io::ErrorKind::TimedOut => {
                (Cause::TimedOut, MadeNothing(false))
            }
            End::Lost(_) => (Cause::Other, MadeNothing(false)),
            End::Killed(_) => (Cause::TimedOut, MadeNothing(false)),
            _ => diagnose(stderr),
        };
        let status_lost = matches!(end, End::StatusLost);
        let printed = match stderr.trim() {
            "" if !self.private => &stdout,
            _ => stderr,
        };
        let error = self.error(end, cause, printed);
        Failure { error, stdout, made_nothing, status_lost }
    }

    fn error(self, end: End, cause: Cause, printed: &str) -> EngineError {
        let program = self.program.to_string_lossy().into_owned();
        EngineError::new(program, self.name(), end, cause, printed, &self.redactor)
    }

    /// The first words of the command, without options: `docker network create`.
    fn name(&self) -> String {
        let words = match &self.shown[..] {
            [option, _, words @ ..] if option == Dialect::CONNECTION => words,
            words => words,
        };
        let words = words.iter().take(2).take_while(|word| !word.starts_with('-'));
        let program = self.program.to_string_lossy().into_owned();
        std::iter::once(&program).chain(words).cloned().collect::<Vec<_>>().join(" ")
    }

    fn shown_line(&self) -> String {
        format!("{} {}", self.program.to_string_lossy(), self.shown.join(" "))
    }
}

/// Waits without signal handlers: `duct`'s own waiting with a deadline installs one for SIGCHLD.
fn wait(
    handle: &duct::Handle,
    start: Instant,
    deadline: Instant,
    outputs: &mut [Output; 2],
) -> io::Result<End> {
    const LONGEST: Duration = Duration::from_millis(10);
    let mut pause = Duration::from_millis(1);
    loop {
        // A program whose pipe is full waits for this.
        drain(outputs);
        match handle.try_wait() {
            Ok(Some(output)) => return Ok(End::Exited(output.status)),
            Ok(None) => {}
            Err(error) => return unwaited(error),
        }
        let now = Instant::now();
        if now >= deadline {
            // A program of another user, such as sudo, may not be killed.
            handle.kill().map_err(|error| {
                let text = format!("it could not be killed at its deadline: {error}");
                io::Error::new(io::ErrorKind::TimedOut, text)
            })?;
            reap(handle);
            return Ok(End::Killed(now - start));
        }
        // A program that ends closes its pipes, unless it has left them to another. It has ended a moment later.
        if outputs.iter().all(Output::has_ended) {
            thread::sleep(pause.min(deadline - now));
            pause = pause.saturating_mul(2).min(LONGEST);
        } else {
            Output::wait(outputs, LONGEST.min(deadline - now));
        }
    }
}

/// The end of a program that could not be waited for.
fn unwaited(error: io::Error) -> io::Result<End> {
    match error.raw_os_error().map(Errno::from_raw) {
        // This process ignores the ends of its children, or somebody in it waits for all of them.
        Some(Errno::ECHILD) => Ok(End::StatusLost),
        _ => Err(error),
    }
}

/// Returns true if something came.
fn drain(outputs: &mut [Output; 2]) -> bool {
    outputs.each_mut().map(Output::drain).contains(&true)
}

/// Reads what a program has left in its pipes. Who holds them beyond its end is waited for no longer than a moment.
fn read_to_end(outputs: &mut [Output; 2]) {
    for _ in 0..20 {
        let has_come = drain(outputs);
        if outputs.iter().all(Output::has_ended) {
            break;
        }
        if !has_come {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Waits for the end of a killed program, so that no zombie stays; not without bound.
fn reap(handle: &duct::Handle) {
    for _ in 0..100 {
        match handle.try_wait() {
            Ok(None) => thread::sleep(Duration::from_millis(5)),
            Ok(Some(_)) | Err(_) => break,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use nix::sys::signal::kill;
    use nix::sys::wait::waitpid;
    use nix::unistd::{Pid, getpgid, getpgrp};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// Somebody else in the process waits for all children.
    #[test]
    fn a_status_that_somebody_else_was_told_is_lost_and_the_answer_is_not() {
        let mut status_lost = 0;
        for _ in 0..20 {
            let command = Command::new(OsStr::new("sh"), &Redactor::default());
            let command = command.args(["-c", "sleep 0.05; echo answer"]);
            let waits = |pid: u32| {
                let pid = Pid::from_raw(pid.try_into().unwrap());
                thread::spawn(move || waitpid(pid, None));
            };
            let notice = Notice { liveness: None, started: Box::new(waits) };
            match command.run_noticed(&notice, Instant::now() + LONG) {
                Ok(stdout) => assert_eq!(stdout, "answer\n"),
                Err(failure) => {
                    assert!(failure.status_lost, "{}", failure.error);
                    assert_eq!(failure.stdout, "answer\n");
                    assert_eq!(failure.made_nothing, MadeNothing(false));
                    status_lost += 1;
                }
            }
        }
        assert!(status_lost > 0);
    }

    /// As root, tests can kill every program.
    #[test]
    fn a_program_that_may_not_be_killed_has_run_out_of_time_too() {
        let command = Command::new(OsStr::new("sudo"), &Redactor::default());
        let end = |kind| End::Lost(io::Error::from(kind).into());
        let failure = |kind| command.clone().failure(end(kind), String::new(), "");
        let out_of_time = failure(io::ErrorKind::TimedOut);
        assert_eq!(out_of_time.error.cause(), Cause::TimedOut);
        assert_eq!(out_of_time.made_nothing, MadeNothing(false));
        assert_eq!(failure(io::ErrorKind::Other).error.cause(), Cause::Other);
    }

    fn shell(script: &str) -> Command {
        Command::new(OsStr::new("sh"), &Redactor::default()).args(["-c", script])
    }

    #[test]
    fn a_program_whose_end_is_not_known_may_have_made_something_whatever_it_said() {
        let said = "Cannot connect to the Docker daemon";
        assert_eq!(diagnose(said).1, MadeNothing(true));
        let end = End::Lost(io::Error::from(io::ErrorKind::Other).into());
        let failure = shell("true").failure(end, String::new(), said);
        assert_eq!(failure.made_nothing, MadeNothing(false));
    }

    #[test]
    fn only_a_program_that_is_no_child_any_more_has_lost_its_status() {
        let end = |errno: Errno| unwaited(errno.into());
        assert!(matches!(end(Errno::ECHILD), Ok(End::StatusLost)));
        assert_eq!(end(Errno::EINVAL).unwrap_err().raw_os_error(), Some(Errno::EINVAL as i32));
    }

    #[test]
    fn what_a_program_leaves_behind_may_say_its_last_word() {
        let stdout = shell("(sleep 0.02; echo answer) &").run(Instant::now() + LONG);
        assert_eq!(stdout.map_err(|it| it.error).unwrap(), "answer\n");
    }

    #[test]
    fn the_texts_of_a_command_that_failed_are_an_error() {
        let texts = |script| shell(script).texts(Instant::now() + LONG);
        assert_eq!(texts("echo a; echo b >&2").unwrap(), ["a\n", "b\n"]);
        let error = texts("echo a; echo b >&2; exit 3").unwrap_err().to_string();
        assert!(error.contains("3: b"), "{error}");
    }

    #[test]
    fn only_a_command_that_is_to_run_apart_is_in_a_group_of_its_own() {
        for apart in [false, true] {
            let group = Cell::new(None);
            let looks =
                |pid: u32| group.set(getpgid(Some(Pid::from_raw(pid.try_into().unwrap()))).ok());
            let notice = Notice { liveness: None, started: Box::new(looks) };
            let command = shell("sleep 0.1");
            let command = if apart { command.apart() } else { command };
            let ran = command.run_noticed(&notice, Instant::now() + LONG);
            assert!(ran.is_ok());
            assert_eq!(group.get().unwrap() != getpgrp(), apart);
        }
    }

    #[test]
    fn nothing_of_a_killed_program_stays() {
        let started = Cell::new(None);
        let notice = Notice { liveness: None, started: Box::new(|pid| started.set(Some(pid))) };
        let soon = Instant::now() + Duration::from_millis(50);
        let failure = shell("exec sleep 60").run_noticed(&notice, soon).unwrap_err();
        assert_eq!(failure.error.cause(), Cause::TimedOut);
        let pid = Pid::from_raw(started.get().unwrap().try_into().unwrap());
        // A zombie is there, too.
        assert_eq!(kill(pid, None), Err(Errno::ESRCH));
    }

    #[test]
    fn a_command_is_named_by_its_words_without_the_way_to_its_engine() {
        let named = |words: &[&str]| {
            let command = Command::new(OsStr::new("podman"), &Redactor::default());
            command.args(words.iter().copied()).name()
        };
        assert_eq!(
            named(&["--connection", "far", "network", "create", "n"]),
            "podman network create"
        );
        assert_eq!(named(&["run", "--detach", "x"]), "podman run");
    }
}
