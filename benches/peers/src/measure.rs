//! Medians, and ratios with their bounds.

use std::fmt;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

pub(crate) fn median(all: &[Duration]) -> Duration {
    sorted(all)[all.len() / 2]
}

pub(crate) fn ninetieth(all: &[Duration]) -> Duration {
    sorted(all)[all.len() * 9 / 10]
}

fn sorted(all: &[Duration]) -> Vec<Duration> {
    let mut all = all.to_vec();
    all.sort();
    all
}

/// The median of a ratio, and the bounds that it is within with a confidence of 95 %.
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) bounds: [f64; 2],
}

/// The ratio of what was measured in the same rounds. The bounds are order statistics, by the normal approximation of the
/// sign test.
pub(crate) fn ratio(these: &[Duration], those: &[Duration]) -> Ratio {
    let mut all: Vec<_> =
        these.iter().zip(those).map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
    all.sort_by(f64::total_cmp);
    let count = all.len() as f64;
    let rank = ((count - 1.96 * count.sqrt()) / 2.0).floor().max(0.0) as usize;
    Ratio { median: all[all.len() / 2], bounds: [all[rank], all[all.len() - 1 - rank]] }
}

/// Prints `0.86 (0.84 to 0.87)`.
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high] = self.bounds;
        write!(f, "{:.3} ({low:.3} to {high:.3})", self.median)
    }
}

/// The processor time of this process and of the children that it has waited for.
pub(crate) fn processor_time() -> Duration {
    let of = |who| {
        let usage = getrusage(who).unwrap();
        let time = usage.user_time() + usage.system_time();
        Duration::from_micros(time.num_microseconds().try_into().unwrap())
    };
    of(UsageWho::RUSAGE_SELF) + of(UsageWho::RUSAGE_CHILDREN)
}

/// The most memory that this process has had, in KiB.
pub(crate) fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
