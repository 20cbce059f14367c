//! Lines from the frames of a container's log.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
        for mut part in data.split_inclusive(|byte| *byte == b'\n') {
            while !part.is_empty() {
                let (piece, rest) = part.split_at(part.len().min(MAX_LINE - begun.len()));
                begun.extend(piece);
                part = rest;
                if begun.ends_with(b"\n") || begun.len() == MAX_LINE {
                    line(log_line(stream, &std::mem::take(begun)));
                }
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

/// The time by which a frame of one stream may be written after a later one of the other.
const SKEW: Duration = Duration::from_secs(5);

/// A log that is read frame by frame, each with its time, and read on from where it was cut.
///
/// The frames of a stream are in the order of their times. Those of two streams need not be: an engine takes the time of a
/// frame before it waits for its turn to write it.
#[derive(Default)]
pub(super) struct TimedLines {
    lines: Lines,
    stdout: Place,
    stderr: Place,
    /// The time of the first frame: what was before it was not asked for.
    first: Option<SystemTime>,
    /// The frame that is read was not read before.
    is_new: bool,
    /// A frame that has begun: its stream, what there was of its line before, and if it counts at its place.
    begun: Option<(LogStream, usize, bool)>,
}

/// The place to which a stream was read.
#[derive(Default)]
struct Place {
    /// The time of the last frame.
    time: Option<SystemTime>,
    /// The frames of this time so far.
    frames: usize,
    /// The frames of this time that were read before the cut.
    known: usize,
    /// Frames that were read before the cut may be read again.
    is_behind: bool,
}

impl Place {
    /// Takes note of a frame: if it is new, and if it counts at this place.
    fn enter(&mut self, time: SystemTime) -> (bool, bool) {
        if self.is_behind && self.time.is_some_and(|it| time < it) {
            return (false, false);
        }
        if self.time != Some(time) {
            *self = Self { time: Some(time), ..Self::default() };
        }
        self.frames += 1;
        self.is_behind &= self.frames <= self.known;
        (!self.is_behind, true)
    }

    fn cut(&mut self) {
        self.known = if self.is_behind { self.frames.max(self.known) } else { self.frames };
        (self.frames, self.is_behind) = (0, true);
    }
}

impl TimedLines {
    /// Adds a piece, and passes on the line that it completes.
    pub(super) fn push(&mut self, piece: &Piece<'_>, line: impl FnMut(LogLine)) {
        let mut data = piece.data;
        if piece.first {
            let before = self.lines.of(piece.stream).len();
            let counts;
            (data, counts) = self.enter(piece.stream, data);
            self.begun = Some((piece.stream, before, counts));
        }
        if self.is_new {
            self.lines.push(piece.stream, data, line);
        }
        if piece.last {
            self.begun = None;
        }
    }

    /// Reads the time at the start of a frame, and returns the data behind it, and if the frame counts at its place.
    fn enter<'a>(&mut self, stream: LogStream, data: &'a [u8]) -> (&'a [u8], bool) {
        let space = data.iter().position(|byte| *byte == b' ');
        let (time, data) = space.map_or((data, &[][..]), |it| (&data[..it], &data[it + 1..]));
        let Some(time) = parse_time(&String::from_utf8_lossy(time)) else {
            self.is_new = true;
            return (data, false);
        };
        self.first.get_or_insert(time);
        let (is_new, counts) = self.place(stream).enter(time);
        self.is_new = is_new;
        (data, counts)
    }

    fn place(&mut self, stream: LogStream) -> &mut Place {
        match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        }
    }

    /// The stream was cut. Returns the time from which it is to be read again, if anything was read: seconds
    /// since the epoch and nanoseconds, as the API takes it.
    pub(super) fn cut(&mut self) -> Option<String> {
        if let Some((stream, before, counts)) = self.begun.take() {
            self.lines.of(stream).truncate(before);
            self.place(stream).frames -= usize::from(counts);
        }
        for place in [&mut self.stdout, &mut self.stderr] {
            // An engine may round the time that it is given.
            place.time = place.time.or(self.first);
            place.cut();
        }
        let [out, err] = [self.stdout.time, self.stderr.time];
        let newest = out.max(err)?;
        let skewed = newest.checked_sub(SKEW).max(self.first)?;
        Some(text(out.min(err).map_or(skewed, |oldest| oldest.max(skewed))))
    }

    /// Passes on the lines that have no end.
    pub(super) fn finish(&mut self, line: impl FnMut(LogLine)) {
        self.lines.finish(line);
    }
}

/// A time of the engine's as the API takes it: seconds since the epoch, and nanoseconds.
pub(super) fn since(time: &str) -> Option<String> {
    parse_time(time).map(text)
}

fn text(time: SystemTime) -> String {
    let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:09}", time.as_secs(), time.subsec_nanos())
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
    fn a_long_line_is_cut_at_the_same_places_whatever_its_frames() {
        let line = [vec![b'x'; MAX_LINE + 5], vec![b'\n']].concat();
        for length in [line.len(), MAX_LINE - 3, 1000] {
            let parts: Vec<_> = line.chunks(length).map(|it| (LogStream::Stdout, it)).collect();
            let lengths: Vec<_> =
                lines(&parts).iter().map(|it| it.len() - "Stdout ".len()).collect();
            assert_eq!(lengths, [MAX_LINE, 5], "{length}");
        }
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
    fn a_tail_is_as_long_as_it_may_be() {
        for (more, kept) in [(0, 2), (1, 1)] {
            let mut tail = Tail::default();
            for length in [KEPT / 2, KEPT / 2 + more] {
                let text = "x".repeat(length - size_of::<LogLine>());
                tail.push(LogLine { stream: LogStream::Stdout, text });
            }
            assert_eq!(tail.into_lines().len(), kept);
        }
        // A line of any length is better than none.
        let mut tail = Tail::default();
        tail.push(LogLine { stream: LogStream::Stdout, text: "x".repeat(KEPT) });
        assert_eq!(tail.into_lines().len(), 1);
    }

    #[test]
    fn a_log_that_was_cut_anywhere_continues_where_it_was() {
        // The stream, the last digit of the time, and the text. Some were written late.
        const LOG: [(u8, u8, &str); 9] = [
            (1, 1, "a\n"),
            (1, 1, "b"),
            (2, 3, "A\n"),
            (1, 2, "c\n"),
            (1, 2, "d\n"),
            (2, 3, "B\n"),
            (1, 2, "e\n"),
            (1, 4, "f\n"),
            (2, 3, "C\n"),
        ];
        // The engine leaves out the frames before a time.
        let stream = |since: u8| -> Vec<u8> {
            let frame = |(stream, digit, text): (u8, u8, &str)| {
                let text = format!("2026-01-02T03:04:05.00000000{digit}Z {text}");
                let length = u32::try_from(text.len()).unwrap().to_be_bytes();
                [&[stream, 0, 0, 0], &length[..], text.as_bytes()].concat()
            };
            LOG.into_iter().filter(|it| it.1 >= since).flat_map(frame).collect()
        };
        let whole = stream(0).len();
        for (first, second) in (0..whole).flat_map(|a| (0..whole).map(move |b| (a, b))) {
            let (mut timed, mut all) = (TimedLines::default(), [String::new(), String::new()]);
            let mut since = None;
            for cut in [first, second, usize::MAX] {
                let digit = |it: &String| it.bytes().last().map(|digit| digit - b'0');
                let stream = stream(since.as_ref().and_then(digit).unwrap_or(0));
                let _ = super::super::frames::read(&stream[..cut.min(stream.len())], |piece| {
                    timed.push(&piece, |line| {
                        let of = usize::from(line.stream == LogStream::Stderr);
                        all[of] += &(line.text + " ");
                    });
                    true
                });
                since = timed.cut();
                assert_eq!(timed.cut(), since);
            }
            assert_eq!(all, ["a bc d e f ", "A B C "], "{first} {second}");
        }
    }

    /// Podman's frames are as long as their lines, and come in pieces.
    #[test]
    fn a_frame_that_was_cut_between_two_pieces_is_read_again() {
        let (mut timed, mut all) = (TimedLines::default(), Vec::new());
        let mut push = |timed: &mut TimedLines, data: &str, first, last| {
            let piece = Piece { stream: LogStream::Stdout, first, last, data: data.as_bytes() };
            timed.push(&piece, |line| all.push(line.text));
        };
        let time = "2026-01-02T03:04:05Z";
        push(&mut timed, &format!("{time} a\n"), true, true);
        push(&mut timed, &format!("{time} b"), true, false);
        timed.cut();
        push(&mut timed, &format!("{time} a\n"), true, true);
        push(&mut timed, &format!("{time} b"), true, false);
        push(&mut timed, "c\n", false, true);
        assert_eq!(all, ["a", "bc"]);
    }

    #[test]
    fn what_was_before_the_first_frame_is_not_asked_for() {
        let mut timed = TimedLines::default();
        let time = |seconds: u8| format!("2026-01-02T03:04:{seconds:02}Z x\n");
        timed.enter(LogStream::Stdout, time(10).as_bytes());
        assert_eq!(timed.cut().unwrap(), "1767323050.000000000");
        timed.enter(LogStream::Stdout, time(13).as_bytes());
        assert_eq!(timed.cut().unwrap(), "1767323050.000000000");
        timed.enter(LogStream::Stdout, time(20).as_bytes());
        // The other stream's may come late by some seconds.
        assert_eq!(timed.cut().unwrap(), "1767323055.000000000");
        timed.enter(LogStream::Stderr, time(19).as_bytes());
        assert_eq!(timed.cut().unwrap(), "1767323059.000000000");
    }

    #[test]
    fn what_was_before_the_first_frame_is_not_told_after_a_cut() {
        let mut timed = TimedLines::default();
        let time = |seconds: u8| format!("2026-01-02T03:04:{seconds:02}Z x\n");
        timed.enter(LogStream::Stdout, time(10).as_bytes());
        for _ in 0..2 {
            timed.cut();
            timed.enter(LogStream::Stderr, time(9).as_bytes());
            assert!(!timed.is_new);
        }
        timed.enter(LogStream::Stderr, time(10).as_bytes());
        assert!(timed.is_new);
    }

    #[test]
    fn a_time_is_told_in_seconds_whatever_its_zone() {
        for time in [
            "2026-01-02T03:04:05.000000678Z",
            "2026-01-02T05:04:05.000000678+02:00",
            "2026-01-01T21:34:05.000000678-05:30",
        ] {
            let mut timed = TimedLines::default();
            let frame = format!("{time} text\n");
            let entered = timed.enter(LogStream::Stdout, frame.as_bytes());
            assert_eq!(entered, (&b"text\n"[..], true));
            assert_eq!(timed.cut().unwrap(), "1767323045.000000678", "{time}");
        }
        assert_eq!(since("2026-01-02T03:04:05Z").unwrap(), "1767323045.000000000");
        for none in ["", "Z", "noon", "2026-01-02T03:04:05", "éééééé"] {
            assert_eq!(since(none), None, "{none}");
        }
    }
}
