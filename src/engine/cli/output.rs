//! The output of a command, read as it comes.

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::engine::redactor::Redactor;

/// The reading end of a pipe, and the end of what came through it.
pub(super) struct Output {
    pipe: PipeReader,
    window: usize,
    kept: Vec<u8>,
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
    /// The bytes of a line that are shown.
    const LINE: usize = 1 << 10;

    pub(super) fn new(redactor: Redactor) -> Self {
        Self { begun: Vec::new(), redactor }
    }

    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if matches!(byte, b'\n' | b'\r') {
                let line = self.redactor.redacted(String::from_utf8_lossy(&self.begun).trim());
                if !line.is_empty() {
                    let line: String = line.chars().take(Self::LINE).collect();
                    tracing::debug!(%line, "progress");
                }
                self.begun.clear();
            } else if self.begun.len() < Self::LINE + 2 * self.redactor.longest() {
                self.begun.push(byte);
            }
        }
    }
}

impl Output {
    /// A pipe for a program, of whose output this many bytes are kept.
    pub(super) fn new(window: usize) -> io::Result<(Self, PipeWriter)> {
        let (pipe, writer) = io::pipe()?;
        // Of this end alone: the program's writes wait, as it expects.
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((
            Self { pipe, window, kept: Vec::new(), has_ended: false, failed: None, progress: None },
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
            match self.pipe.read(&mut piece) {
                Ok(0) => self.has_ended = true,
                Ok(length) => {
                    has_come = true;
                    self.kept.extend(&piece[..length]);
                    if let Some(progress) = &mut self.progress {
                        progress.push(&piece[..length]);
                    }
                    if self.kept.len() > 2 * self.window {
                        self.kept.drain(..self.kept.len() - self.window);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
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
        let from = self.kept.len().saturating_sub(self.window);
        String::from_utf8_lossy(&self.kept[from..]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Instant;

    use super::*;

    #[test]
    fn only_the_end_of_an_output_is_kept() {
        let (mut output, mut end) = Output::new(10).unwrap();
        for number in 0..1000 {
            write!(end, "{number:08}").unwrap();
            assert!(output.drain());
            assert!(output.kept.len() <= 20 + 8, "{}", output.kept.len());
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
