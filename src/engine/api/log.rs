//! Lines from the frames of a container's log.

use std::collections::VecDeque;
use std::time::UNIX_EPOCH;

use super::frames::Piece;
use crate::engine::clock::parse_time;
use crate::status::{LogLine, LogStream};

/// The longest line, in bytes. A longer one comes in pieces.
const MAX_LINE: usize = 1 << 20;

/// The bytes of a whole log that are kept.
const KEPT: usize = 1 << 20;

/// The lines that have begun, of both streams.
///
/// An engine cuts a line of more than 16 KiB into several frames. Only the last of them ends with a newline.
#[derive(Default)]
pub(super) struct Lines {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Lines {
    /// Adds data, and passes on each line that it completes.
    pub(super) fn push(&mut self, stream: LogStream, data: &[u8], mut line: impl FnMut(LogLine)) {
        let begun = self.of(stream);
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            begun.extend(part);
            if part.ends_with(b"\n") || begun.len() >= MAX_LINE {
                line(log_line(stream, &std::mem::take(begun)));
            }
        }
    }

    fn of(&mut self, stream: LogStream) -> &mut Vec<u8> {
        match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        }
    }

    /// Passes on the lines that have no end.
    pub(super) fn finish(&mut self, mut line: impl FnMut(LogLine)) {
        for (stream, begun) in
            [(LogStream::Stdout, &mut self.stdout), (LogStream::Stderr, &mut self.stderr)]
        {
            if !begun.is_empty() {
                line(log_line(stream, &std::mem::take(begun)));
            }
        }
    }
}

fn log_line(stream: LogStream, bytes: &[u8]) -> LogLine {
    let text = String::from_utf8_lossy(bytes);
    LogLine { stream, text: text.trim_end_matches(['\n', '\r']).to_owned() }
}

/// The end of a log.
#[derive(Default)]
pub(super) struct Tail {
    lines: VecDeque<LogLine>,
    bytes: usize,
}

impl Tail {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn push(&mut self, line: LogLine) {
        self.bytes += size(&line);
        self.lines.push_back(line);
        while self.bytes > KEPT
            && self.lines.len() > 1
            && let Some(first) = self.lines.pop_front()
        {
            self.bytes -= size(&first);
        }
    }

    pub(super) fn into_lines(self) -> Vec<LogLine> {
        self.lines.into()
    }
}

/// The memory of a line: one that is empty takes some, too.
fn size(line: &LogLine) -> usize {
    size_of::<LogLine>() + line.text.len()
}

/// A log that is read frame by frame, each with its time, and read on from where it was cut.
#[derive(Default)]
pub(super) struct TimedLines {
    lines: Lines,
    /// The time of the last frame, as the engine prints it.
    time: String,
    /// The frames of this time so far.
    frames: usize,
    /// The frames of this time that were read before the cut.
    known: usize,
    /// The stream of a frame that has begun, and what there was of its line before.
    begun: Option<(LogStream, usize)>,
}

impl TimedLines {
    /// Adds a piece, and passes on the line that it completes.
    pub(super) fn push(&mut self, piece: &Piece<'_>, line: impl FnMut(LogLine)) {
        let mut data = piece.data;
        if piece.first {
            self.begun = Some((piece.stream, self.lines.of(piece.stream).len()));
            data = self.enter(data);
        }
        if self.frames > self.known {
            self.lines.push(piece.stream, data, line);
        }
        if piece.last {
            self.begun = None;
        }
    }

    /// Reads the time at the start of a frame, and returns the data behind it.
    fn enter<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let space = data.iter().position(|byte| *byte == b' ');
        let (time, data) = space.map_or((data, &[][..]), |it| (&data[..it], &data[it + 1..]));
        let time = String::from_utf8_lossy(time);
        if self.time != time {
            (self.time, self.frames, self.known) = (time.into_owned(), 0, 0);
        }
        self.frames += 1;
        data
    }

    /// The stream was cut. Returns the time from which it is to be read again, if anything was read: seconds
    /// since the epoch and nanoseconds, as the API takes it.
    pub(super) fn cut(&mut self) -> Option<String> {
        if let Some((stream, before)) = self.begun.take() {
            self.lines.of(stream).truncate(before);
            self.frames -= 1;
        }
        (self.known, self.frames) = (self.frames.max(self.known), 0);
        since(&self.time)
    }

    /// Passes on the lines that have no end.
    pub(super) fn finish(&mut self, line: impl FnMut(LogLine)) {
        self.lines.finish(line);
    }
}

/// A time as the API takes it: seconds since the epoch, and nanoseconds.
pub(super) fn since(time: &str) -> Option<String> {
    let time = parse_time(time)?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("{}.{:09}", time.as_secs(), time.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(parts: &[(LogStream, &[u8])]) -> Vec<String> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        let mut add = |line: LogLine| all.push(format!("{:?} {}", line.stream, line.text));
        for (stream, data) in parts {
            lines.push(*stream, data, &mut add);
        }
        lines.finish(&mut add);
        all
    }

    #[test]
    fn a_line_in_several_frames_is_one_line() {
        use LogStream::{Stderr, Stdout};
        assert_eq!(
            lines(&[
                (Stdout, b"one"),
                (Stderr, b"err\n"),
                (Stdout, b" line\r\n\ntwo\n"),
                (Stderr, b"end")
            ]),
            ["Stderr err", "Stdout one line", "Stdout ", "Stdout two", "Stderr end"]
        );
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory_than_it_may() {
        let whole = vec![b'x'; MAX_LINE / 2];
        let mut pieces = 0;
        let mut lines = Lines::default();
        for _ in 0..10 {
            lines.push(LogStream::Stdout, &whole, |line| {
                pieces += 1;
                assert_eq!(line.text.len(), MAX_LINE);
            });
        }
        assert_eq!((pieces, lines.stdout.len()), (5, 0));
    }

    #[test]
    fn a_tail_keeps_the_last_lines() {
        let mut tail = Tail::default();
        for number in 0..300 {
            let text = format!("{number}{}", "x".repeat(10_000));
            tail.push(LogLine { stream: LogStream::Stdout, text });
        }
        let lines = tail.into_lines();
        assert!(lines.len() > 90 && lines.len() < 110, "{}", lines.len());
        assert!(lines.last().unwrap().text.starts_with("299x"));
    }

    #[test]
    fn a_log_that_was_cut_anywhere_continues_where_it_was() {
        const LOG: [&str; 6] = [
            "2026-01-02T03:04:05.000000001Z a\n",
            "2026-01-02T03:04:05.000000001Z b",
            "2026-01-02T03:04:05.000000002Z c\n",
            "2026-01-02T03:04:05.000000002Z d\n",
            "2026-01-02T03:04:05.000000002Z e\n",
            "2026-01-02T03:04:05.000000003Z f\n",
        ];
        let stream = |from: usize| -> Vec<u8> {
            let frame = |text: &&str| {
                let length = u32::try_from(text.len()).unwrap().to_be_bytes();
                [&[1, 0, 0, 0], &length[..], text.as_bytes()].concat()
            };
            LOG[from..].iter().flat_map(frame).collect()
        };
        let whole = stream(0);
        for (first, second) in (0..whole.len()).flat_map(|a| (0..whole.len()).map(move |b| (a, b)))
        {
            let (mut timed, mut all) = (TimedLines::default(), Vec::new());
            let mut since = None;
            for cut in [first, second, usize::MAX] {
                // The engine begins with the first frame of that time.
                let of =
                    |it: &String| LOG.iter().position(|frame| frame[28..29] == it[it.len() - 1..]);
                let stream = stream(since.as_ref().and_then(of).unwrap_or(0));
                let _ = super::super::frames::read(&stream[..cut.min(stream.len())], |piece| {
                    timed.push(&piece, |line| all.push(line.text));
                    true
                });
                since = timed.cut();
            }
            assert_eq!(all, ["a", "bc", "d", "e", "f"], "{first} {second}");
        }
    }

    #[test]
    fn a_time_is_told_in_seconds_whatever_its_zone() {
        for time in [
            "2026-01-02T03:04:05.000000678Z",
            "2026-01-02T05:04:05.000000678+02:00",
            "2026-01-01T21:34:05.000000678-05:30",
        ] {
            let mut timed = TimedLines::default();
            assert_eq!(timed.enter(format!("{time} text\n").as_bytes()), b"text\n");
            assert_eq!(timed.cut().unwrap(), "1767323045.000000678", "{time}");
        }
        assert_eq!(since("2026-01-02T03:04:05Z").unwrap(), "1767323045.000000000");
        for none in ["", "Z", "noon", "2026-01-02T03:04:05", "éééééé"] {
            assert_eq!(since(none), None, "{none}");
        }
    }
}
