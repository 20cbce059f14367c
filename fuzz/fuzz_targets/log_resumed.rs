//! A log that is read on from where it was cut has each line once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidecar_bundle::fuzzing::TimedLog;
use sidecar_bundle::{LogLine, LogStream};

#[derive(arbitrary::Arbitrary, Debug)]
struct Frame<'a> {
    is_err: bool,
    /// The milliseconds since the frame before, and those that this one was written late.
    pause: u8,
    late: u16,
    text: &'a [u8],
    ends: bool,
}

/// 2026-01-02T03:00:00Z, in seconds since 1970.
const START: u64 = 1_767_322_800;

/// The frames as an engine has them: each with its time in milliseconds, and its stream.
fn written(frames: &[Frame<'_>]) -> Vec<(u64, u8, Vec<u8>)> {
    // Older frames than the first are not asked for.
    let start = frames.first().map_or(0, |it| u64::from(it.pause));
    let (mut now, mut last) = (0, [start; 2]);
    let write = |frame: &Frame<'_>| {
        now += u64::from(frame.pause);
        let of = usize::from(frame.is_err);
        // In the order of its own stream, and no more than five seconds behind the other.
        last[of] = now.saturating_sub(u64::from(frame.late) % 5000).max(last[of]);
        let (minutes, seconds, millis) = (last[of] / 60_000, last[of] / 1000 % 60, last[of] % 1000);
        let mut data =
            format!("2026-01-02T03:{minutes:02}:{seconds:02}.{millis:03}Z ").into_bytes();
        // An engine ends a frame with each line.
        data.extend(frame.text.iter().filter(|byte| **byte != b'\n'));
        data.extend(frame.ends.then_some(b'\n'));
        (last[of], u8::from(frame.is_err) + 1, data)
    };
    frames.iter().map(write).collect()
}

/// The stream of the frames from a time on.
fn stream(frames: &[(u64, u8, Vec<u8>)], since: Option<&str>) -> Vec<u8> {
    let since = since.map_or(0, |it| {
        let (seconds, nanos) = it.split_once('.').unwrap();
        let millis = nanos.parse::<u64>().unwrap() / 1_000_000;
        (seconds.parse::<u64>().unwrap() - START) * 1000 + millis
    });
    let frames = frames.iter().filter(|(time, ..)| *time >= since);
    let frame = |(_, number, data): &(u64, u8, Vec<u8>)| {
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        [&[*number, 0, 0, 0], &length[..], data].concat()
    };
    frames.flat_map(frame).collect()
}

/// The lines of each stream, read with these cuts.
fn read(frames: &[(u64, u8, Vec<u8>)], cuts: &[u16]) -> [Vec<String>; 2] {
    let (mut log, mut lines) = (TimedLog::default(), [Vec::new(), Vec::new()]);
    let mut add = |it: LogLine| lines[usize::from(it.stream == LogStream::Stderr)].push(it.text);
    let mut since = None;
    for cut in cuts.iter().map(|it| usize::from(*it)).chain([usize::MAX]) {
        let stream = stream(frames, since.as_deref());
        log.read(&stream[..cut.min(stream.len())], &mut add);
        if cut < usize::MAX {
            since = log.cut();
            assert_eq!(log.cut(), since);
        }
    }
    log.finish(&mut add);
    lines
}

/// The lines of each stream as they were written, without times.
fn lines(frames: &[(u64, u8, Vec<u8>)]) -> [Vec<String>; 2] {
    [1, 2].map(|stream| {
        let of = frames.iter().filter(|(_, number, _)| *number == stream);
        // A piece of a line has a time of its own.
        let texts = of.map(|(.., data)| &data[data.iter().position(|it| *it == b' ').unwrap() + 1..]);
        let all = texts.flatten().copied().collect::<Vec<u8>>();
        let lines = all.split_inclusive(|byte| *byte == b'\n');
        let text = |it: &[u8]| String::from_utf8_lossy(it).trim_end_matches(['\r', '\n']).to_owned();
        lines.map(text).collect()
    })
}

fuzz_target!(|input: (Vec<Frame<'_>>, [u16; 4])| {
    let (frames, cuts) = input;
    let frames = written(&frames[..frames.len().min(200)]);
    assert_eq!(read(&frames, &[]), lines(&frames));
    assert_eq!(read(&frames, &cuts), lines(&frames));
});
