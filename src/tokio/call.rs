//! Calls of the blocking library as futures.

use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio::task;
use tracing::dispatcher::{get_default, with_default};

use crate::error::{Error, StepError};
use crate::ownership::calls::{self, Call, Work};
use crate::plan::NetworkPlanned;

/// The engines and the plan of what a call uses, if that exists already.
pub(super) type Used = Option<(Vec<String>, NetworkPlanned)>;

thread_local! {
    static DROPS: Cell<bool> = const { Cell::new(false) };
}

/// Drops the result of an abandoned call on its thread. A teardown in the background would have its turn after that of the
/// bundle, which may wait for it.
fn drop_here<T>(unwanted: T) {
    DROPS.set(true);
    drop(unwanted);
    DROPS.set(false);
}

/// Returns true while this thread drops the result of an abandoned call, and may wait for that.
pub(super) fn drops() -> bool {
    DROPS.get()
}

/// Abandons a call when it is dropped.
struct Caller(Arc<Call>);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Does the work on a thread for blocking work; `None` if the runtime is shut down and does not begin it.
pub(super) async fn run<T: Send + 'static>(
    used: Used,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (call, its) = Work::new(used);
    let (sender, receiver) = oneshot::channel();
    let (log, span) = (get_default(Clone::clone), tracing::Span::current());
    let on_its_thread = move || {
        its.run(|| {
            if let Err(unwanted) = sender.send(work()) {
                drop_here(unwanted);
            }
        });
    };
    let task = task::spawn_blocking(move || with_default(&log, || span.in_scope(on_its_thread)));
    let _caller = Caller(call);
    if let Ok(done) = receiver.await {
        return Some(done);
    }
    match task.await.map_err(task::JoinError::try_into_panic) {
        Err(Ok(panic)) => resume_unwind(panic),
        Ok(()) | Err(Err(_)) => None,
    }
}

/// The same for work that may fail.
pub(super) async fn call<T: Send + 'static>(
    used: Used,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    run(used, work).await.unwrap_or(Err(Error::Stopped))
}

/// Does a step. The state is handed back whether the step fails or is never begun.
pub(super) async fn step<S: Send + 'static, T: Send + 'static>(
    used: Used,
    state: S,
    step: impl FnOnce(S) -> Result<T, StepError<S>> + Send + 'static,
) -> Result<T, StepError<S>> {
    fn take<S>(slot: &Mutex<Option<S>>) -> S {
        match slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(state) => state,
            None => unreachable!("it is taken once, by the step or without it"),
        }
    }
    let slot = Arc::new(Mutex::new(Some(state)));
    let its = Arc::clone(&slot);
    let done = run(used, move || {
        step(take(&its)).inspect_err(|failed| {
            if calls::is_abandoned() {
                tracing::info!(error = %failed.error().chain(), "an abandoned step has ended");
            }
        })
    });
    done.await.unwrap_or_else(|| Err(StepError::new(Error::Stopped, take(&slot))))
}
