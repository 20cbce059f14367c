//! States of the blocking library in async code.

use std::fmt;
use std::ops::Deref;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use super::call;
use crate::error::Error;
use crate::ownership::guard::without_a_second_panic;
use crate::ownership::teardown::Teardown;
use crate::plan::NetworkPlanned;

/// A state that is closed.
pub(super) trait State: Send + Sync + 'static {
    /// Its plan, and the engines on which this process holds the slug for it.
    fn place(&self) -> (&NetworkPlanned, Vec<String>);

    fn close(self) -> Result<(), Error>;
}

/// A state that is lent to calls, and is closed in the background when it is dropped.
pub(super) struct Held<T: State>(Option<Lender<T>>);

struct Lender<T> {
    loan: Loan<T>,
    ended: Mutex<Receiver<()>>,
}

/// A state while a call uses it.
pub(super) struct Loan<T: ?Sized> {
    // Let go of before the end is told.
    state: Arc<T>,
    end: Sender<()>,
}

impl<T: State> Held<T> {
    pub(super) fn new(state: T) -> Self {
        let (end, ended) = mpsc::channel();
        let loan = Loan { state: Arc::new(state), end };
        Self(Some(Lender { loan, ended: Mutex::new(ended) }))
    }

    fn lender(&self) -> &Lender<T> {
        match &self.0 {
            Some(lender) => lender,
            None => unreachable!("it is taken by what consumes a state"),
        }
    }

    pub(super) fn lend(&self) -> Loan<T> {
        let Loan { state, end } = &self.lender().loan;
        Loan { state: Arc::clone(state), end: end.clone() }
    }

    /// Takes the state, and waits until no call uses it.
    pub(super) fn into_inner(mut self) -> T {
        match self.0.take().and_then(Lender::end) {
            Some(state) => state,
            None => unreachable!("a loan lets go of it before it ends"),
        }
    }

    pub(super) async fn close(self) -> Result<(), Error> {
        call::call(Some(self.used()), move || close(self.into_inner())).await
    }

    /// The engines and the plan for which a call that may change this state is at work.
    pub(super) fn used(&self) -> (Vec<String>, NetworkPlanned) {
        let (plan, engines) = self.place();
        (engines, plan.clone())
    }
}

impl<T> Lender<T> {
    fn end(self) -> Option<T> {
        let Loan { state, end } = self.loan;
        drop(end);
        // Nothing is ever sent: this is the end of the last sender.
        let _ = self.ended.into_inner().unwrap_or_else(PoisonError::into_inner).recv();
        Arc::into_inner(state)
    }
}

fn close<T: State>(state: T) -> Result<(), Error> {
    let slug = state.place().0.slug().clone();
    state.close().inspect_err(|error| {
        let (cause, error) = (error.cause(), error.chain());
        tracing::warn!(%slug, ?cause, %error, "something of a bundle may be left");
    })
}

impl<T: State> Drop for Held<T> {
    fn drop(&mut self) {
        let Some(lender) = self.0.take() else { return };
        without_a_second_panic(|| {
            let (plan, engines) = lender.loan.place();
            let plan = plan.clone();
            let work = move || lender.end().map_or(Ok(()), close);
            if call::drops() {
                // It is logged.
                let _ = work();
            } else {
                drop(Teardown::begin(engines, plan, work));
            }
        });
    }
}

impl<T: State> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.lender().loan
    }
}

impl<T: State + fmt::Debug> fmt::Debug for Held<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T: Deref<Target = crate::Container> + Send + Sync + 'static> Loan<T> {
    /// The same, of whatever has a container.
    pub(super) fn of_container(self) -> Loan<Containing> {
        Loan { state: self.state, end: self.end }
    }
}

/// A bundle or a guest.
pub(super) type Containing = dyn Deref<Target = crate::Container> + Send + Sync;

impl<T: ?Sized> Clone for Loan<T> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), end: self.end.clone() }
    }
}

impl<T: ?Sized> Deref for Loan<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.state
    }
}
