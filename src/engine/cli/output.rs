//! The output of a command, read as it comes.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::engine::redactor::Redactor;
use crate::engine::retried::retried;

/// The reading end of a pipe, and the end of what came through it.
pub(super) struct Output {
    pipe: PipeReader,
    window: usize,
    kept: VecDeque<u8>,
    has_ended: bool,
    failed: Option<io::Error>,
    progress: Option<Progress>,
}

/// The lines of an output, traced as they come.
pub(super) struct Progress {
    begun: Vec<u8>,
    redactor: Redactor,
}

impl Progress {
    /// The characters of a line that are shown.
    const LINE: usize = 1 << 10;

    /// The bytes of the longest line that is shown: of a longer one, a secret may be cut in two.
    const LONGEST: usize = 256 << 10;

    pub(super) fn new(redactor: Redactor) -> Self {
        Self { begun: Vec::new(), redactor }
    }

    fn push(&mut self, bytes: &[u8]) {
        for line in self.lines(bytes) {
            tracing::debug!(%line, "progress");
        }
    }

    /// The lines that end in these bytes, as they are shown.
    fn lines(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut parts = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).peekable();
        while let Some(part) = parts.next() {
            let room = Self::LONGEST.saturating_sub(self.begun.len());
            self.begun.extend(part.iter().take(room));
            if parts.peek().is_some() {
                let line = std::mem::take(&mut self.begun);
                if line.len() == Self::LONGEST {
                    continue;
                }
                let line = self.redactor.redacted(String::from_utf8_lossy(&line).trim());
                if !line.is_empty() {
                    lines.push(line.chars().take(Self::LINE).collect());
                }
            }
        }
        lines
    }
}

impl Output {
    /// A pipe for a program, of whose output this many bytes are kept.
    pub(super) fn new(window: usize) -> io::Result<(Self, PipeWriter)> {
        let (pipe, writer) = io::pipe()?;
        // Of this end alone: the program's writes wait, as it expects.
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((
            Self {
                pipe,
                window,
                kept: VecDeque::new(),
                has_ended: false,
                failed: None,
                progress: None,
            },
            writer,
        ))
    }

    pub(super) fn with_progress(mut self, progress: Option<Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// Reads what there is, and returns true if that was anything.
    pub(super) fn drain(&mut self) -> bool {
        let mut piece = [0; 16 << 10];
        let mut has_come = false;
        // Not all there is: one that writes without end is not read without end.
        for _ in 0..256 {
            if self.has_ended {
                break;
            }
            match retried(|| self.pipe.read(&mut piece)) {
                Ok(0) => self.has_ended = true,
                Ok(length) => {
                    has_come = true;
                    self.kept.extend(&piece[..length]);
                    if let Some(progress) = &mut self.progress {
                        progress.push(&piece[..length]);
                    }
                    let from = self.kept.len().saturating_sub(self.window);
                    self.kept.drain(..from);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => (self.failed, self.has_ended) = (Some(error), true),
            }
        }
        has_come
    }

    /// Waits until one of them has something, or its end, no longer than this.
    pub(super) fn wait(outputs: &[Self], timeout: Duration) {
        let open = outputs.iter().filter(|it| !it.has_ended);
        let mut open: Vec<_> =
            open.map(|it| PollFd::new(it.pipe.as_fd(), PollFlags::POLLIN)).collect();
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        // An error is a signal's: the caller looks again.
        let _ = poll(&mut open, timeout);
    }

    /// Returns true if nobody can write any more.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The error of a read: what was kept is not all.
    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    pub(super) fn into_text(self) -> String {
        String::from_utf8_lossy(&Vec::from(self.kept)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::time::Instant;

    use super::*;

    #[test]
    fn only_the_end_of_an_output_is_kept() {
        let (mut output, mut end) = Output::new(10).unwrap();
        for number in 0..1000 {
            write!(end, "{number:08}").unwrap();
            assert!(output.drain());
            assert!(output.kept.len() <= 10, "{}", output.kept.len());
        }
        assert!(!output.drain() && !output.has_ended());
        drop(end);
        // A program that another test starts has the pipe for a moment.
        let deadline = Instant::now() + Duration::from_secs(10);
        while !output.has_ended() {
            assert!(!output.drain() && Instant::now() < deadline);
        }
        assert_eq!(output.into_text(), "9800000999");
    }

    #[test]
    fn an_output_that_cannot_be_read_is_not_taken_for_a_whole_one() {
        let (mut output, _end) = Output::new(10).unwrap();
        assert!(!output.drain() && output.take_error().is_none());
        output.pipe = PipeReader::from(OwnedFd::from(File::open("/").unwrap()));
        assert!(!output.drain() && output.has_ended());
        assert_eq!(output.take_error().unwrap().kind(), ErrorKind::IsADirectory);
    }

    #[test]
    fn an_output_is_awaited_until_something_comes_and_no_ended_one_is() {
        const PAUSE: Duration = Duration::from_millis(50);
        let (mut ended, end) = Output::new(10).unwrap();
        drop(end);
        let deadline = Instant::now() + Duration::from_secs(10);
        while !ended.has_ended() {
            assert!(!ended.drain() && Instant::now() < deadline);
        }
        let (silent, mut end) = Output::new(10).unwrap();
        let outputs = [ended, silent];
        let start = Instant::now();
        Output::wait(&outputs, PAUSE);
        assert!(start.elapsed() >= PAUSE, "{:?}", start.elapsed());
        end.write_all(b"word").unwrap();
        let start = Instant::now();
        Output::wait(&outputs, 100 * PAUSE);
        assert!(start.elapsed() < 50 * PAUSE, "{:?}", start.elapsed());
    }

    #[test]
    fn a_line_of_progress_is_shown_as_it_ends_without_secrets() {
        let redactor = Redactor::default();
        redactor.add("hunter2-is-secret");
        let mut progress = Progress::new(redactor);
        assert_eq!(progress.lines(b"1: Wai"), [""; 0]);
        assert_eq!(progress.lines(b"ting\r\n\n2: hunter2-is"), ["1: Waiting"]);
        assert_eq!(progress.lines(b"-secret \n"), ["2: ***"]);
        // Shown in part, and a secret in that part is whole.
        let long = "x".repeat(Progress::LINE - 5);
        let line = format!("{long}hunter2-is-secret{long}\n");
        assert_eq!(progress.lines(line.as_bytes()), [format!("{long}***xx")]);
        // A secret may be at its end.
        let line = vec![b' '; Progress::LONGEST - 1];
        assert_eq!(progress.lines(&line), [""; 0]);
        assert_eq!(progress.lines(b"hunter2-is-secret"), [""; 0]);
        assert_eq!(progress.lines(b"\nx\n"), ["x"]);
    }

    #[test]
    fn what_is_not_closed_is_read_all_the_same() {
        let (mut output, mut end) = Output::new(100).unwrap();
        let _held = end.try_clone().unwrap();
        end.write_all(b"hello").unwrap();
        drop(end);
        output.drain();
        assert!(!output.has_ended());
        assert_eq!(output.into_text(), "hello");
    }
}
