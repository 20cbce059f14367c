//! The frames of a stream that carries standard output and standard error.
//!
//! Eight bytes: 1 for standard output or 2 for standard error, three zeros, and the length of the data in 32
//! bits, big-endian. Then the data. 3 is for an error of the engine itself, after which nothing comes.
//! <https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach>

use std::io::{self, ErrorKind, Read};

use crate::status::LogStream;

/// The most that is read of a frame at a time.
const PIECE: usize = 32 << 10;

/// A piece of the data of a frame.
pub(super) struct Piece<'a> {
    pub(super) stream: LogStream,
    /// True of the first of a frame.
    pub(super) first: bool,
    /// True of the last of a frame.
    pub(super) last: bool,
    pub(super) data: &'a [u8],
}

/// Reads all frames, until the stream ends between two of them or the sink returns false.
pub(super) fn read(mut from: impl Read, mut sink: impl FnMut(Piece<'_>) -> bool) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        let Some(header) = header(&mut from)? else { return Ok(()) };
        let [stream, 0, 0, 0, length @ ..] = header else { return Err(unframed()) };
        let stream = match stream {
            // The engine may echo standard input.
            0 | 1 => LogStream::Stdout,
            2 => LogStream::Stderr,
            3 => {
                let mut words = Vec::new();
                let length = u32::from_be_bytes(length).min(MOST_WORDS);
                from.take(length.into()).read_to_end(&mut words)?;
                let words = String::from_utf8_lossy(&words).trim().to_owned();
                return Err(io::Error::other(Said(words)));
            }
            _ => return Err(unframed()),
        };
        let mut left = u32::from_be_bytes(length) as usize;
        let mut first = true;
        while left > 0 || first {
            let piece = &mut buffer[..left.min(PIECE)];
            from.read_exact(piece)?;
            left -= piece.len();
            if !sink(Piece { stream, first, last: left == 0, data: piece }) {
                return Ok(());
            }
            first = false;
        }
    }
}

/// The most that is read of an error of the engine.
const MOST_WORDS: u32 = 4096;

/// The engine could not read on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);

/// The engine's words, if it ended a stream with an error.
pub(super) fn said(error: &io::Error) -> Option<&str> {
    Some(&error.get_ref()?.downcast_ref::<Said>()?.0)
}

fn unframed() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the stream has no frames")
}

/// Reads the start of a frame; `None` if the stream ends before its first byte.
fn header(from: &mut impl Read) -> io::Result<Option<[u8; 8]>> {
    let mut header = Vec::with_capacity(8);
    from.take(8).read_to_end(&mut header)?;
    match header.try_into() {
        Ok(header) => Ok(Some(header)),
        Err(part) if part.is_empty() => Ok(None),
        Err(_) => Err(ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(stream: u8, data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0], &length[..], data].concat()
    }

    fn all(stream: &[u8]) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        read(stream, |piece| {
            match piece.stream {
                LogStream::Stdout => out.extend(piece.data),
                LogStream::Stderr => err.extend(piece.data),
            }
            true
        })?;
        Ok((out, err))
    }

    proptest! {
        #[test]
        fn what_is_framed_comes_out_of_its_stream(
            frames in prop::collection::vec((1_u8..3, 0_usize..3 * PIECE, any::<u8>()), 0..6)
        ) {
            let data = |length, byte: u8| (byte..=255).cycle().take(length).collect();
            let frames: Vec<(u8, Vec<u8>)> = frames
                .into_iter()
                .map(|(stream, length, byte)| (stream, data(length, byte)))
                .collect();
            let stream: Vec<u8> = frames.iter().flat_map(|(number, data)| frame(*number, data)).collect();
            let of = |wanted: u8| -> Vec<u8> {
                frames.iter().filter(|(number, _)| *number == wanted).flat_map(|(_, data)| data.clone()).collect()
            };
            prop_assert_eq!(all(&stream).unwrap(), (of(1), of(2)));
        }

        #[test]
        fn a_stream_that_is_cut_inside_a_frame_is_an_error(
            data in prop::collection::vec(any::<u8>(), 1..100),
            cut in any::<prop::sample::Index>(),
        ) {
            let stream = frame(1, &data);
            let cut = 1 + cut.index(stream.len() - 1);
            prop_assert_eq!(all(&stream[..cut]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        }

        #[test]
        fn no_stream_is_a_panic(stream in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = all(&stream);
        }
    }

    #[test]
    fn a_stream_without_frames_is_an_error() {
        assert_eq!(all(b"listening on 80\n").unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
