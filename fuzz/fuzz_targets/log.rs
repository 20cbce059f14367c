//! The lines of a log are those that were printed, however the stream is cut into frames and reads.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use sidecar_bundle::LogStream;
use sidecar_bundle::fuzzing::log_lines;

/// The documented length of a line that comes in pieces.
const MAX_LINE: usize = 1 << 20;

#[derive(arbitrary::Arbitrary, Debug)]
struct Input<'a> {
    /// To standard error, if the first is true, and this often.
    frames: Vec<(bool, &'a [u8], u16)>,
    /// The lengths of the reads, over and over.
    reads: &'a [u8],
    raw: &'a [u8],
}

/// Hands out as much at a time as it is told.
struct Cut<'a>(&'a [u8], std::iter::Cycle<std::slice::Iter<'a, u8>>);

impl Read for Cut<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = usize::from(*self.1.next().unwrap_or(&1)) + 1;
        let most = most.min(buffer.len());
        self.0.read(&mut buffer[..most])
    }
}

/// The lines of all that was printed to a stream.
fn lines(printed: &[u8]) -> Vec<String> {
    let lines = printed.split_inclusive(|byte| *byte == b'\n');
    let text =
        |piece: &[u8]| String::from_utf8_lossy(piece).trim_end_matches(['\r', '\n']).to_owned();
    lines.flat_map(|line| line.chunks(MAX_LINE)).map(text).collect()
}

fuzz_target!(|input: Input<'_>| {
    let (mut stream, mut out, mut err) = (Vec::new(), Vec::new(), Vec::new());
    for (is_err, data, times) in &input.frames {
        // Of one number alone a log gets long, as in the corpus: it takes as long as a thousand short ones.
        let times = if *times == 20_000 { *times } else { times % 16 };
        let data = data.repeat(usize::from(times));
        if stream.len() + data.len() > MAX_LINE + MAX_LINE / 4 {
            return;
        }
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        stream.extend([u8::from(*is_err) + 1, 0, 0, 0]);
        stream.extend(length);
        stream.extend(&data);
        if *is_err { err.extend(data) } else { out.extend(data) }
    }
    let (found, read) = log_lines(&*stream);
    read.unwrap();
    for (of, printed) in [(LogStream::Stdout, out), (LogStream::Stderr, err)] {
        let found: Vec<_> = found.iter().filter(|it| it.stream == of).map(|it| &*it.text).collect();
        // Not `assert_eq`: a message of megabytes tells nothing.
        assert!(found == lines(&printed), "{of:?} has {} lines", found.len());
        // A byte that is not UTF-8 becomes three.
        assert!(found.iter().all(|it| it.len() <= 3 * MAX_LINE));
    }

    // Neither a stream of frames nor another one depends on the lengths of reads.
    stream.truncate(4096);
    for stream in [&*stream, input.raw, &[&stream, input.raw].concat()] {
        let (whole, read) = log_lines(stream);
        let (in_pieces, again) = log_lines(Cut(stream, input.reads.iter().cycle()));
        assert_eq!(in_pieces, whole);
        let kind = |it: std::io::Result<()>| it.map_err(|error| (error.kind(), error.to_string()));
        assert_eq!(kind(again), kind(read));
    }
});
