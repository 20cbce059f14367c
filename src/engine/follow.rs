//! A command of an engine's program that goes on until what it watches ends.

use std::io::{self, BufRead, BufReader, PipeReader, Read};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;

use crate::guard::KillOnDrop;
use crate::status::{LogLine, LogStream};

/// In bytes.
const MAX_LINE: u64 = 1 << 20;

/// What such a command tells.
#[derive(Debug)]
pub enum Event {
    /// It printed a line.
    Line(LogLine),
    /// One of its streams has ended, and the other, too.
    End,
}

/// Such a command; it ends when this is dropped.
#[derive(Debug)]
pub struct Followed(KillOnDrop);

impl Followed {
    /// How it ended; killed if it has not.
    pub(crate) fn end(self) -> Option<std::process::ExitStatus> {
        self.0.end()
    }
}

/// Starts it, with threads that read its streams until they end.
pub(crate) fn follow(
    expression: &duct::Expression,
    events: &Sender<Event>,
) -> io::Result<Followed> {
    let (stdout, stdout_end) = io::pipe()?;
    let (stderr, stderr_end) = io::pipe()?;
    let child = KillOnDrop::new(
        expression.stdout_file(stdout_end).stderr_file(stderr_end).unchecked().start()?,
    );
    // Whichever stream ends last drops the last of these.
    let both = Arc::new(());
    for (pipe, stream) in [(stdout, LogStream::Stdout), (stderr, LogStream::Stderr)] {
        let (events, both) = (events.clone(), Arc::clone(&both));
        thread::Builder::new()
            .name("sidecar-bundle-follow".into())
            .spawn(move || read(pipe, stream, &events, both))?;
    }
    Ok(Followed(child))
}

fn read(pipe: PipeReader, stream: LogStream, events: &Sender<Event>, both: Arc<()>) {
    let mut pipe = BufReader::new(pipe);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        // What never ends its line is told in pieces.
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
        // Nobody who listens is no trouble.
        let _ = events.send(Event::End);
    }
}
