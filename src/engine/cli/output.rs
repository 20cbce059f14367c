//! What a program prints, as far as it is kept.

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The most that is read at a time: a program that never pauses must not outlast its deadline. A pipe holds no more.
const AT_A_TIME: usize = 1 << 20;

/// The end of one stream of a program, read from a pipe.
pub(super) struct Output {
    /// `None` once every process that held it has ended.
    pipe: Option<PipeReader>,
    bytes: Vec<u8>,
    /// The bytes that are kept.
    window: usize,
}

impl Output {
    /// A stream and the pipe's end for the program.
    pub(super) fn new(window: usize) -> io::Result<(Self, PipeWriter)> {
        let (pipe, end) = io::pipe()?;
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((Self { pipe: Some(pipe), bytes: Vec::new(), window }, end))
    }

    /// Reads what is there.
    fn read(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let (mut piece, mut read) = ([0; 16 << 10], 0);
        while read < AT_A_TIME {
            match pipe.read(&mut piece) {
                Ok(0) => {
                    self.pipe = None;
                    break;
                }
                Ok(length) => {
                    read += length;
                    self.bytes.extend(&piece[..length]);
                    if self.bytes.len() > 2 * self.window {
                        self.bytes.drain(..self.bytes.len() - self.window);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What was read, at most the last bytes of it.
    pub(super) fn into_text(self) -> String {
        let from = self.bytes.len().saturating_sub(self.window);
        String::from_utf8_lossy(&self.bytes[from..]).into_owned()
    }
}

/// Reads what is there of each.
pub(super) fn read(outputs: &mut [Output]) -> io::Result<()> {
    outputs.iter_mut().try_for_each(Output::read)
}

/// Waits until there is something to read, no longer than this.
pub(super) fn wait(outputs: &[Output], timeout: Duration) -> io::Result<()> {
    let pipes = outputs.iter().filter_map(|output| output.pipe.as_ref());
    let mut pipes: Vec<_> =
        pipes.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)).collect();
    if pipes.is_empty() {
        thread::sleep(timeout);
        return Ok(());
    }
    // At least a millisecond, which is the unit.
    let timeout = timeout.max(Duration::from_millis(1));
    match poll(&mut pipes, PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn only_the_end_of_an_output_is_kept() {
        let (mut output, mut end) = Output::new(10).unwrap();
        for number in 0..1000 {
            write!(end, "{number:08}").unwrap();
            output.read().unwrap();
            assert!(output.bytes.len() <= 20 + 8, "{}", output.bytes.len());
        }
        drop(end);
        output.read().unwrap();
        assert_eq!(output.into_text(), "9800000999");
    }

    #[test]
    fn what_is_not_closed_is_read_all_the_same() {
        let (mut output, mut end) = Output::new(100).unwrap();
        let held = end.try_clone().unwrap();
        end.write_all(b"hello").unwrap();
        drop(end);
        output.read().unwrap();
        assert_eq!(output.into_text(), "hello");
        drop(held);
    }
}
