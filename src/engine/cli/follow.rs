//! Commands of an engine's program that go on until what they watch ends.

use std::io::{self, BufRead, BufReader, PipeReader, Read};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use crate::engine::backend::Event;
use crate::status::{LogLine, LogStream};

/// The longest line, in bytes.
const MAX_LINE: u64 = 1 << 20;

/// A command that goes on until it ends or this is dropped.
#[derive(Debug)]
pub(super) struct Followed(duct::Handle);

impl Followed {
    /// Its exit status, if it ends by itself within a second.
    pub(super) fn end(self) -> Option<ExitStatus> {
        for _ in 0..200 {
            if let Ok(Some(output)) = self.0.try_wait() {
                return Some(output.status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        // A killed process needs a moment until it can be waited for, so that it is no zombie.
        for _ in 0..100 {
            match self.0.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(2)),
                Ok(Some(_)) | Err(_) => break,
            }
        }
    }
}

/// Starts it, with threads that read its streams until they end.
pub(super) fn follow(
    expression: &duct::Expression,
    events: &SyncSender<Event>,
) -> io::Result<Followed> {
    let (stdout, stdout_end) = io::pipe()?;
    let (stderr, stderr_end) = io::pipe()?;
    let child =
        Followed(expression.stdout_file(stdout_end).stderr_file(stderr_end).unchecked().start()?);
    // There may be no listener any more.
    let _ = events.send(Event::Begun);
    // Whichever stream ends last drops the last of these.
    let both = Arc::new(());
    for (pipe, stream) in [(stdout, LogStream::Stdout), (stderr, LogStream::Stderr)] {
        let (events, both) = (events.clone(), Arc::clone(&both));
        thread::Builder::new()
            .name("sidecar-bundle-follow".into())
            .spawn(move || read(pipe, stream, &events, both))?;
    }
    Ok(child)
}

fn read(pipe: PipeReader, stream: LogStream, events: &SyncSender<Event>, both: Arc<()>) {
    let mut pipe = BufReader::new(pipe);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        // A longer line comes in pieces.
        match pipe.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches(['\n', '\r']).to_owned();
        if events.send(Event::Line(LogLine { stream, text })).is_err() {
            return;
        }
    }
    if Arc::into_inner(both).is_some() {
        // There may be no listener any more.
        let _ = events.send(Event::End);
    }
}
