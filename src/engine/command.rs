//! One command of an engine's program: run within a deadline, its failure kept without secrets.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, PipeWriter, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::process::ExitStatus;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::diagnosis::{Cause, MadeNothing, diagnose};
use crate::engine::dialect::Dialect;
use crate::engine::follow::{self, Event, Followed};

/// How much is read of what is for people, and of an answer, in bytes: of a thousand networks, docker prints two
/// million.
const TEXT: u64 = 1 << 20;
const ANSWER: u64 = 64 << 20;

/// An engine's command that failed.
///
/// The first line of its text says which command, how it ended and the engine's last word. Neither the
/// values of variables nor anything that looks like a secret value is in it.
#[derive(Clone)]
pub struct CommandError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    program: String,
    args: Vec<String>,
    end: End,
    cause: Cause,
    stdout: String,
    stderr: String,
}

/// How a command ended.
#[derive(Clone, Debug)]
enum End {
    NotStarted(Arc<io::Error>),
    Exited(ExitStatus),
    Killed(Duration),
    Nonsense(&'static str),
    /// Not run at all, for this reason.
    Withheld(String),
}

impl CommandError {
    /// Why it failed, as far as the engine's text says.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.0.cause
    }

    /// The engine's program, as configured.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.0.program
    }

    /// The arguments, with the values of variables replaced by `***`.
    #[must_use]
    pub fn args(&self) -> &[String] {
        &self.0.args
    }

    /// How the program ended; `None` if it never started or was killed at its deadline.
    #[must_use]
    pub fn status(&self) -> Option<ExitStatus> {
        match self.0.end {
            End::Exited(status) => Some(status),
            End::NotStarted(_) | End::Killed(_) | End::Nonsense(_) | End::Withheld(_) => None,
        }
    }

    /// The last 4 KiB that it printed to standard output.
    #[must_use]
    pub fn stdout(&self) -> &str {
        &self.0.stdout
    }

    /// The last 4 KiB that it printed to standard error.
    #[must_use]
    pub fn stderr(&self) -> &str {
        &self.0.stderr
    }

    /// What an engine that is no program says.
    #[cfg(test)]
    pub(crate) fn for_test(text: &str) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let command = Command::new(OsStr::new("model"), &Secrets::default());
        command.exited(ExitStatus::from_raw(256), text)
    }

    /// The first words of the command, without options: `docker network create`.
    fn name(&self) -> String {
        let args = match &self.0.args[..] {
            [option, _, args @ ..] if option == Dialect::CONNECTION => args,
            args => args,
        };
        let words = args.iter().take(2).take_while(|arg| !arg.starts_with('-'));
        std::iter::once(&self.0.program).chain(words).cloned().collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        match &inner.end {
            End::NotStarted(_) if inner.cause == Cause::ProgramMissing => {
                return write!(f, "{} was not found; is it installed, and on PATH?", inner.program);
            }
            End::NotStarted(_) => return write!(f, "{} could not be run", self.name()),
            End::Killed(after) => {
                write!(f, "{} was killed at its deadline, after {after:?}", self.name())?;
            }
            End::Exited(status) => write!(f, "{} ended with {status}", self.name())?,
            End::Nonsense(expected) => write!(f, "{} did not print {expected}", self.name())?,
            End::Withheld(why) => return write!(f, "{} was not run: {why}", self.name()),
        }
        match last_word(&inner.stderr).or_else(|| last_word(&inner.stdout)) {
            Some(line) => write!(f, ": {line}"),
            None => write!(f, " and printed nothing"),
        }
    }
}

impl fmt::Debug for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandError")
            .field("cause", &self.0.cause)
            .field("program", &self.0.program)
            .field("args", &self.0.args)
            .field("end", &self.0.end)
            .field("stdout", &self.0.stdout)
            .field("stderr", &self.0.stderr)
            .finish()
    }
}

impl std::error::Error for CommandError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.end {
            End::NotStarted(error) => Some(error.as_ref()),
            End::Exited(_) | End::Killed(_) | End::Nonsense(_) | End::Withheld(_) => None,
        }
    }
}

/// A command that failed, with what the engine's state depends on.
pub(crate) struct Failure {
    pub(crate) error: CommandError,
    /// All of standard output, as it was.
    pub(crate) stdout: String,
    pub(crate) made_nothing: MadeNothing,
}

/// One command of an engine's program.
#[derive(Clone)]
pub(crate) struct Command {
    program: OsString,
    args: Vec<OsString>,
    shown: Vec<String>,
    env: Vec<(OsString, Option<OsString>)>,
    secrets: Vec<String>,
    tether: Option<Arc<PipeWriter>>,
    /// How long past its deadline it may go on.
    patience: Duration,
    /// Whether it is in a process group of its own.
    apart: bool,
}

impl Command {
    pub(crate) fn new(program: &OsStr, secrets: &Secrets) -> Self {
        Self {
            program: program.to_owned(),
            args: Vec::new(),
            shown: Vec::new(),
            env: Vec::new(),
            secrets: secrets.longest_first(),
            tether: None,
            patience: Duration::ZERO,
            apart: false,
        }
    }

    /// Past its deadline the command has failed, and is killed only after so much longer.
    pub(crate) fn patiently(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Self {
        let arg = arg.into();
        self.shown.push(arg.clone());
        self.args.push(arg.into());
        self
    }

    pub(crate) fn args<'a>(self, args: impl IntoIterator<Item = &'a str>) -> Self {
        args.into_iter().fold(self, Command::arg)
    }

    /// `NAME=VALUE` on the command line, shown as `NAME=***`.
    pub(crate) fn assignment(mut self, name: &str, value: &str) -> Self {
        self.shown.push(format!("{name}=***"));
        self.args.push(format!("{name}={value}").into());
        self
    }

    #[cfg(fuzzing)]
    pub(crate) fn into_arguments(self) -> Vec<String> {
        self.args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect()
    }

    /// An argument that is nobody's business.
    pub(crate) fn private_arg(mut self, arg: impl Into<String>) -> Self {
        self.shown.push("***".into());
        self.args.push(arg.into().into());
        self
    }

    /// Sets or removes a variable of the program's environment.
    pub(crate) fn env(mut self, name: &str, value: Option<OsString>) -> Self {
        self.env.push((name.into(), value));
        self
    }

    /// In a process group of its own: Ctrl-C, or who kills its owner's group, does not cut it in two.
    pub(crate) fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// Lets the program hold the pipe until it ends: as its standard input, which nothing that it
    /// leaves behind keeps.
    pub(crate) fn tethered(mut self, pipe: Option<&PipeWriter>) -> Self {
        self.tether = pipe.and_then(|pipe| pipe.try_clone().ok()).map(Arc::new);
        self
    }

    /// Runs it and gives what it printed to standard output.
    ///
    /// It is bounded: at `until` the program is killed, and nothing waits for what it may have
    /// started. Its output goes to files, since a pipe ends only with the last process that holds it.
    pub(crate) fn run(self, until: Instant) -> Result<String, Failure> {
        let start = Instant::now();
        let result = self.end_and_output(until, ANSWER);
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
                End::NotStarted(error) => self.redacted(&error.to_string()),
                End::Nonsense(_) | End::Withheld(_) => String::new(),
            },
            "engine command"
        );
        match end {
            End::Exited(status) if status.success() => Ok(stdout),
            end => Err(self.failure(end, stdout, &stderr)),
        }
    }

    /// Runs it to its end, whatever that is: its status, standard output and standard error.
    pub(crate) fn run_to_end(
        self,
        until: Instant,
    ) -> Result<(ExitStatus, String, String), CommandError> {
        tracing::debug!(command = %self.shown_line(), "engine command");
        match self.end_and_output(until, TEXT) {
            Ok((End::Exited(status), stdout, stderr)) => Ok((status, stdout, stderr)),
            Ok((end, stdout, stderr)) => Err(self.failure(end, stdout, &stderr).error),
            Err(error) => Err(self.not_started(error)),
        }
    }

    /// Starts it and tells what it prints as it comes.
    pub(crate) fn follow(self, events: &Sender<Event>) -> Result<Followed, CommandError> {
        tracing::debug!(command = %self.shown_line(), "engine command, followed");
        let followed = follow::follow(&self.expression().stdin_null(), events);
        followed.map_err(|error| self.not_started(error))
    }

    /// The failure of a command that ended like this.
    pub(crate) fn exited(self, status: ExitStatus, stderr: &str) -> CommandError {
        self.failure(End::Exited(status), String::new(), stderr).error
    }

    /// The failure of a command that was ended after this time.
    pub(crate) fn killed(self, after: Duration, stderr: &str) -> CommandError {
        self.failure(End::Killed(after), String::new(), stderr).error
    }

    fn not_started(self, error: io::Error) -> CommandError {
        self.failure(End::NotStarted(error.into()), String::new(), "").error
    }

    /// The failure of a command that succeeded, but whose answer is not `expected`.
    pub(crate) fn nonsense(self, expected: &'static str, stdout: &str) -> CommandError {
        self.failure(End::Nonsense(expected), stdout.to_owned(), "").error
    }

    /// The failure of a command that was not run, since the engine would not refuse it.
    pub(crate) fn withheld(self, cause: Cause, why: String) -> CommandError {
        let mut error = self.failure(End::Withheld(why), String::new(), "").error;
        error.0.cause = cause;
        error
    }

    fn end_and_output(&self, until: Instant, window: u64) -> io::Result<(End, String, String)> {
        let mut stdout = tempfile::tempfile()?;
        let mut stderr = tempfile::tempfile()?;
        let expression = self
            .expression()
            .stdout_file(stdout.try_clone()?)
            .stderr_file(stderr.try_clone()?)
            .unchecked();
        let expression = match &self.tether {
            Some(pipe) => expression.stdin_file(pipe.try_clone()?),
            None => expression.stdin_null(),
        };
        let expression = if self.apart {
            expression.before_spawn(|command| {
                command.process_group(0);
                Ok(())
            })
        } else {
            expression
        };
        let start = Instant::now();
        let end = wait(&expression.start()?, start, until, self.patience)?;
        Ok((end, self.tail(&mut stdout, window), self.tail(&mut stderr, TEXT)))
    }

    fn expression(&self) -> duct::Expression {
        let expression = duct::cmd(&self.program, &self.args);
        self.env.iter().fold(expression, |expression, (name, value)| match value {
            Some(value) => expression.env(name, value),
            None => expression.env_remove(name),
        })
    }

    fn failure(self, end: End, stdout: String, stderr: &str) -> Failure {
        let (cause, made_nothing) = match &end {
            End::NotStarted(error) if error.kind() == io::ErrorKind::NotFound => {
                (Cause::ProgramMissing, MadeNothing(true))
            }
            End::NotStarted(_) => (Cause::Other, MadeNothing(true)),
            End::Killed(_) => (Cause::TimedOut, MadeNothing(false)),
            End::Exited(_) | End::Nonsense(_) | End::Withheld(_) => diagnose(stderr),
        };
        let inner = Inner {
            program: self.program.to_string_lossy().into_owned(),
            end,
            cause,
            stdout: last_bytes(&self.redacted(&stdout)),
            stderr: last_bytes(&self.redacted(stderr)),
            args: self.shown,
        };
        Failure { error: CommandError(Box::new(inner)), stdout, made_nothing }
    }

    /// The end of what was printed, long enough that a secret cannot be cut in two near its end.
    fn tail(&self, file: &mut File, window: u64) -> String {
        let longest = self.secrets.iter().map(String::len).max().unwrap_or(0) as u64;
        let window = window + 2 * longest;
        let mut bytes = Vec::new();
        let read = file.metadata().and_then(|meta| {
            file.seek(SeekFrom::Start(meta.len().saturating_sub(window)))?;
            file.take(window).read_to_end(&mut bytes)
        });
        if let Err(error) = read {
            tracing::warn!(%error, "an engine command's output could not be read back");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn redacted(&self, text: &str) -> String {
        redacted(&self.secrets, text)
    }

    fn shown_line(&self) -> String {
        format!("{} {}", self.program.to_string_lossy(), self.shown.join(" "))
    }
}

/// What is never shown, whatever a program prints.
///
/// An engine's commands share it: each of them sees what this process has in its environment.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Arc<Mutex<BTreeSet<String>>>);

impl Secrets {
    /// A value as it is, as a quoted Go string, and by line.
    pub(crate) fn add(&self, value: &str) {
        let mut spellings = vec![value.to_owned(), value.escape_debug().to_string()];
        // A line of a few characters, such as a brace, is no secret, and would hide half the text.
        let lines = value.lines().map(str::trim).filter(|line| line.len() >= 8);
        spellings.extend(lines.map(str::to_owned));
        spellings.retain(|spelling| !spelling.is_empty());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(spellings);
    }

    /// So that a part never keeps the rest from being found.
    fn longest_first(&self) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = all.iter().cloned().collect();
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        all
    }
}

impl Secrets {
    pub(crate) fn redacted(&self, text: &str) -> String {
        redacted(&self.longest_first(), text)
    }
}

fn redacted(secrets: &[String], text: &str) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

fn ends_within(handle: &duct::Handle, patience: Duration) -> io::Result<bool> {
    let until = Instant::now() + patience;
    while handle.try_wait()?.is_none() {
        if Instant::now() >= until {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(true)
}

/// Waits without signal handlers: `duct`'s own waiting with a deadline installs one for SIGCHLD.
fn wait(
    handle: &duct::Handle,
    start: Instant,
    until: Instant,
    patience: Duration,
) -> io::Result<End> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(output) = handle.try_wait()? {
            return Ok(End::Exited(output.status));
        }
        let now = Instant::now();
        if now >= until {
            if !ends_within(handle, patience)? {
                handle.kill()?;
                // Its end is waited for, so that no zombie stays; not without bound.
                ends_within(handle, Duration::from_millis(500))?;
            }
            return Ok(End::Killed(now - start));
        }
        thread::sleep(pause.min(until - now));
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// The last line that is the engine's and not its program's advice.
fn last_word(output: &str) -> Option<&str> {
    let advice = |line: &str| {
        line.starts_with("exit status ")
            || line.ends_with("--help'.")
            || line.ends_with("--help' for more information")
    };
    output.lines().map(str::trim).rfind(|line| !line.is_empty() && !advice(line))
}

/// The last 4 KiB, from a whole character on.
pub(crate) fn last_bytes(text: &str) -> String {
    let mut from = text.len().saturating_sub(4096);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text[from..].to_owned()
}
