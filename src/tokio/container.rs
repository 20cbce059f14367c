//! A running container, in async code.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::call;
use super::held::{Containing, Loan};
use super::log::LogFollower;
use crate::container::Ready;
use crate::error::Error;
use crate::running::Stopper;
use crate::status::Exit;

/// A running container in async code: that of a [`BundleRunning`](super::BundleRunning) or of a [`Guest`](super::Guest),
/// which dereference to this.
///
/// Dropping the future of a wait ends that wait, and no other.
pub struct Container(pub(super) Loan<Containing>);

impl Container {
    /// The address of the container in the bundle's network.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        self.0.ip()
    }

    /// The container's id: 64 hexadecimal digits.
    #[must_use]
    pub fn container_id(&self) -> &str {
        self.0.container_id()
    }

    /// The container's name.
    #[must_use]
    pub fn container_name(&self) -> &str {
        self.0.container_name()
    }

    /// Returns a handle that stops the waits for this container from anywhere.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.0.stopper()
    }

    /// Waits until the readiness conditions of the specification's daemons are met; see
    /// [`wait_ready`](crate::Container::wait_ready).
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use sidecar_bundle::{Error, tokio::BundleRunning};
    /// # async fn run(bundle: &BundleRunning) -> Result<(), Error> {
    /// bundle.wait_ready(Duration::from_secs(10)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`wait_for`](crate::Container::wait_for). The bundle is as it was.
    pub async fn wait_ready(&self, timeout: Duration) -> Result<(), Error> {
        self.spawn_blocking(move |it| it.wait_ready(timeout)).await
    }

    /// Waits until a condition is met; see [`wait_for`](crate::Container::wait_for).
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use sidecar_bundle::{Error, Ready, tokio::BundleRunning};
    /// # async fn run(bundle: &BundleRunning) -> Result<(), Error> {
    /// let (up, healthy) = (Ready::tcp(8080), Ready::http(8080, "/healthz", 200));
    /// let timeout = Duration::from_secs(10);
    /// tokio::try_join!(bundle.wait_for(&up, timeout), bundle.wait_for(&healthy, timeout))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`wait_for`](crate::Container::wait_for). The bundle is as it was.
    pub async fn wait_for(&self, condition: &Ready, timeout: Duration) -> Result<(), Error> {
        let condition = condition.clone();
        self.spawn_blocking(move |it| it.wait_for(&condition, timeout)).await
    }

    /// Waits until the container has ended; `None` if it has not ended within this time. See
    /// [`wait_exit`](crate::Container::wait_exit).
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use sidecar_bundle::{Error, tokio::BundleRunning};
    /// # async fn ctrl_c() {}
    /// # async fn run(bundle: &BundleRunning) -> Result<(), Error> {
    /// tokio::select! {
    ///     exit = bundle.wait_exit(Duration::MAX) => println!("it ended: {:?}", exit?),
    ///     () = ctrl_c() => println!("Ctrl-C"), // for one, of `tokio::signal`
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`wait_exit`](crate::Container::wait_exit). The bundle is as it was.
    pub async fn wait_exit(&self, timeout: Duration) -> Result<Option<Exit>, Error> {
        self.spawn_blocking(move |it| it.wait_exit(timeout)).await
    }

    /// Returns the log as it comes, from its last lines on, or from its start; see
    /// [`follow_logs`](crate::Container::follow_logs).
    ///
    /// ```no_run
    /// # use sidecar_bundle::{Error, tokio::BundleRunning};
    /// # async fn run(bundle: &BundleRunning) -> Result<(), Error> {
    /// let mut log = bundle.follow_logs(None).await?;
    /// while let Some(line) = log.next_line().await {
    ///     println!("{}", line.text);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`follow_logs`](crate::Container::follow_logs), and [`Error::Look`] when no thread can be started for it. The
    /// bundle is as it was.
    pub async fn follow_logs(&self, last: impl Into<Option<usize>>) -> Result<LogFollower, Error> {
        let last = last.into();
        self.spawn_blocking(move |it| it.follow_logs(last)).await.and_then(LogFollower::of)
    }

    /// Calls the blocking library on a thread for blocking work: for what has no future here, such as
    /// [`exec`](crate::Container::exec).
    ///
    /// If the future is dropped, the waits and commands of the closure end with [`Error::Stopped`], and its other code runs to
    /// its end. A close of the bundle waits for that.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use sidecar_bundle::{Error, tokio::BundleRunning};
    /// # async fn run(bundle: &BundleRunning) -> Result<(), Error> {
    /// let timeout = Duration::from_secs(5);
    /// let output = bundle.spawn_blocking(move |it| it.exec(["date"], timeout)).await?;
    /// println!("{}", output.stdout);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// That of the closure.
    pub async fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&crate::Container) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let container = self.0.clone();
        call::call(None, move || work(&container)).await
    }
}

/// Prints name, address and id.
impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self.0).fmt(f)
    }
}
