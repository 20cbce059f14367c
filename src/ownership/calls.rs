//! Calls whose caller may go before they end, as by dropping a future.

use std::cell::RefCell;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::engine::connection::Connection;
use crate::error::Error;
use crate::plan::NetworkPlanned;

/// The plans that calls are at work for, by process, since a fork has none of their threads, and by engine.
static CLAIMS: Mutex<Vec<Claim>> = Mutex::new(Vec::new());
static ENDED: Condvar = Condvar::new();

thread_local! {
    static CURRENT: RefCell<Option<Arc<Call>>> = const { RefCell::new(None) };
}

/// A call that ends at its next request, or at the next look of its wait, once it is abandoned.
#[derive(Debug, Default)]
pub(crate) struct Call {
    is_abandoned: AtomicBool,
    has_begun: AtomicBool,
}

struct Claim {
    key: (u32, String),
    plan: NetworkPlanned,
    call: Arc<Call>,
}

impl Call {
    fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::SeqCst)
    }

    /// A call whose work waits for a thread may wait for that of the caller.
    fn is_at_work(&self) -> bool {
        self.has_begun.load(Ordering::SeqCst)
    }
}

#[cfg(feature = "tokio")]
impl Call {
    /// Notes that nobody waits for it any more.
    pub(crate) fn abandon(&self) {
        // A call that claims a slug has done so before this, or fails.
        let _claims = claims();
        self.is_abandoned.store(true, Ordering::SeqCst);
    }
}

/// The work of a call. The call ends when this is dropped.
#[cfg(feature = "tokio")]
pub(crate) struct Work(Arc<Call>);

#[cfg(feature = "tokio")]
impl Work {
    /// The work of a call that uses what was made for a plan on engines, if it uses anything.
    pub(crate) fn new(used: Option<(Vec<String>, NetworkPlanned)>) -> (Arc<Call>, Self) {
        let call = Arc::new(Call::default());
        if let Some((engines, plan)) = used {
            claims().extend(engines.into_iter().map(|engine| {
                let key = (process::id(), engine);
                Claim { key, plan: plan.clone(), call: Arc::clone(&call) }
            }));
        }
        (Arc::clone(&call), Self(call))
    }

    /// Does it on this thread.
    pub(crate) fn run<T>(self, work: impl FnOnce() -> T) -> T {
        self.0.has_begun.store(true, Ordering::SeqCst);
        CURRENT.set(Some(Arc::clone(&self.0)));
        work()
    }
}

#[cfg(feature = "tokio")]
impl Drop for Work {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|it| it.take_if(|it| Arc::ptr_eq(it, &self.0)));
        claims().retain(|it| !Arc::ptr_eq(&it.call, &self.0));
        ENDED.notify_all();
    }
}

/// Returns true in a call.
pub(super) fn is_one() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// Returns true in a call that is abandoned.
pub(crate) fn is_abandoned() -> bool {
    CURRENT.with_borrow(|it| it.as_ref().is_some_and(|it| it.is_abandoned()))
}

/// An error in a call that is abandoned.
pub(crate) fn go_on() -> Result<(), Error> {
    if is_abandoned() { Err(Error::Stopped) } else { Ok(()) }
}

/// Notes that the call of this thread, if it is one, is about to make something for a plan.
pub(crate) fn claim(connection: &Connection, plan: &NetworkPlanned) -> Result<(), Error> {
    let Some(call) = CURRENT.with_borrow(Clone::clone) else { return Ok(()) };
    let key = (process::id(), connection.info().identity.digest());
    let mut claims = claims();
    go_on()?;
    claims.push(Claim { key, plan: plan.clone(), call });
    Ok(())
}

/// Waits for the end of abandoned calls, unless this one is abandoned.
pub(super) fn join(is_meant: impl Fn(&(u32, String), &NetworkPlanned) -> bool) {
    let mut claims = claims();
    let is_awaited =
        |it: &Claim| it.call.is_abandoned() && it.call.is_at_work() && is_meant(&it.key, &it.plan);
    while !is_abandoned() && claims.iter().any(is_awaited) {
        let waited = ENDED.wait_timeout(claims, Duration::from_millis(50));
        claims = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn claims() -> MutexGuard<'static, Vec<Claim>> {
    CLAIMS.lock().unwrap_or_else(PoisonError::into_inner)
}
