//! System calls that a signal may interrupt.

use std::io::{self, ErrorKind};

/// Calls again as long as a signal interrupts it.
pub(super) fn retried<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            called => return called,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_made_again_after_a_signal_and_after_nothing_else() {
        let of = |kinds: &[ErrorKind]| {
            let mut results = kinds.iter().map(|kind| Err(io::Error::from(*kind)));
            let result = retried(|| results.next().unwrap_or(Ok(7)));
            (result.map_err(|error| error.kind()), results.len())
        };
        assert_eq!(of(&[ErrorKind::Interrupted, ErrorKind::Interrupted]), (Ok(7), 0));
        let lasting = [ErrorKind::WouldBlock, ErrorKind::Interrupted];
        assert_eq!(of(&lasting), (Err(ErrorKind::WouldBlock), 1));
    }
}
