//! Work that is done for several things at the same time, some at a time.

use std::sync::{Mutex, PoisonError};
use std::thread;

use tracing::dispatcher::{get_default, with_default};

/// Does the work for each item, for so many at a time, and returns the results in the order of the items.
///
/// The work is in the caller's span and has its log. If it panics, so does this.
pub(crate) fn in_turns<I: Send, T: Send>(
    items: Vec<I>,
    at_a_time: usize,
    work: impl Fn(I) -> T + Sync,
) -> Vec<T> {
    let threads = at_a_time.min(items.len());
    let results = Mutex::new(Vec::new());
    let waiting = Mutex::new(items.into_iter().enumerate());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let span = tracing::Span::current();
    let take_turns = || {
        let _entered = span.enter();
        while let Some((number, item)) = next() {
            let result = work(item);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // Without room for a thread, the others take its turns.
            let log = get_default(Clone::clone);
            let turns = move || with_default(&log, take_turns);
            let _ = thread::Builder::new().spawn_scoped(scope, turns);
        }
        take_turns();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
