//! The time by which deadlines are measured.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

/// The clock of an engine value; another one in the model.
pub(crate) trait Clock: fmt::Debug + Send + Sync {
    fn now(&self) -> Instant;

    fn pause(&self, duration: Duration);
}

/// The clock of this machine.
#[derive(Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn pause(&self, duration: Duration) {
        thread::sleep(duration);
    }
}

/// The instant at which a timeout ends; the far future for one that no clock can count, such as
/// [`Duration::MAX`].
pub(crate) fn deadline(now: Instant, timeout: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    now + timeout.min(FAR)
}

/// The whole seconds that a grace lasts, at least, as many as an engine counts in 32 bits.
pub(crate) fn whole_seconds(grace: Duration) -> u64 {
    let seconds = grace.as_secs().saturating_add(u64::from(grace.subsec_nanos() > 0));
    seconds.min(i32::MAX.unsigned_abs().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_without_end_is_a_far_deadline() {
        let now = Instant::now();
        assert!(deadline(now, Duration::MAX) > now + Duration::from_secs(1 << 29));
        assert_eq!(deadline(now, Duration::from_secs(1)), now + Duration::from_secs(1));
    }
}
