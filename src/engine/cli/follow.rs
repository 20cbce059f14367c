//! A command of an engine's program that goes on until what it watches ends.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

/// A command that goes on until it ends or this is dropped.
#[derive(Debug)]
pub(super) struct Followed(duct::Handle);

impl Followed {
    /// Starts it, with a thread that waits for its end.
    pub(super) fn start(
        expression: &duct::Expression,
        ended: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let (mut stdout, its_stdout) = io::pipe()?;
        let command = expression.stdout_file(its_stdout).stderr_null().unchecked();
        let followed = Self(command.start()?);
        // It keeps a copy of the pipe.
        drop(command);
        thread::Builder::new().name("sidecar-bundle-follow".into()).spawn(move || {
            let mut piece = [0; 64];
            while matches!(stdout.read(&mut piece), Ok(1..)) {}
            ended();
        })?;
        Ok(followed)
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        // A killed process needs a moment until it can be waited for, so that it is no zombie.
        for _ in 0..100 {
            match self.0.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(2)),
                Ok(Some(_)) | Err(_) => break,
            }
        }
    }
}
