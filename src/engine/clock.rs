//! The time by which deadlines are measured, and the times that engines print.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

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

/// Returns true from this time on.
pub(crate) fn has_passed(deadline: Instant) -> bool {
    deadline.saturating_duration_since(Instant::now()).is_zero()
}

/// The whole seconds that a grace lasts, at least, as many as an engine counts in 32 bits.
pub(crate) fn whole_seconds(grace: Duration) -> u64 {
    let seconds = grace.as_secs().saturating_add(u64::from(grace.subsec_nanos() > 0));
    seconds.min(i32::MAX.unsigned_abs().into())
}

/// A time that an engine prints, in its own time zone or in UTC.
pub(super) fn parse_time(time: &str) -> Option<SystemTime> {
    let utc = |time| humantime::parse_rfc3339_weak(time).ok();
    if time.ends_with('Z') {
        return utc(time);
    }
    let (local, zone) = time.split_at_checked(time.len().checked_sub(6)?)?;
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes) = (hours.parse::<u16>().ok()?, minutes.parse::<u16>().ok()?);
    let offset = Duration::from_secs(60 * (60 * u64::from(hours) + u64::from(minutes)));
    if zone.starts_with('-') {
        utc(local)?.checked_add(offset)
    } else {
        utc(local)?.checked_sub(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_of_any_form_is_no_panic() {
        for zone in ["+9999:", "-9999:", "+999:9", "+:9999", "++9:+9"] {
            let _ = parse_time(&format!("2026-01-02T03:04:05{zone}"));
        }
        assert_eq!(parse_time("2026-01-02T03:04:05+9999:"), None);
    }

    #[test]
    fn a_pause_of_this_machine_lasts_as_long_as_it_is_to() {
        let end = SystemClock.now() + Duration::from_millis(20);
        assert!(!has_passed(end));
        SystemClock.pause(Duration::from_millis(20));
        assert!(has_passed(end));
    }

    #[test]
    fn a_timeout_without_end_is_a_far_deadline() {
        let now = Instant::now();
        assert!(deadline(now, Duration::MAX) > now + Duration::from_secs(1 << 29));
        assert_eq!(deadline(now, Duration::from_secs(1)), now + Duration::from_secs(1));
    }

    #[test]
    fn a_grace_period_is_rounded_up_to_whole_seconds_and_fits_in_32_bits() {
        for (grace, seconds) in [
            (Duration::ZERO, 0),
            (Duration::from_nanos(1), 1),
            (Duration::from_secs(2), 2),
            (Duration::from_millis(2500), 3),
            (Duration::MAX, 2_147_483_647),
        ] {
            assert_eq!(whole_seconds(grace), seconds, "{grace:?}");
        }
    }
}
