//! What surrounds a test: its process's environment, and who listens to its traces.

use std::io::{self, Write};
use std::process::Command;
use std::sync::{Arc, Mutex, Once};

use tracing::level_filters::LevelFilter;

/// Runs this test again in a process with these variables; true if this is that process.
#[track_caller]
pub(crate) fn with_env(test: &str, variables: &[(&str, &str)]) -> bool {
    if variables.iter().all(|(key, value)| std::env::var(key).is_ok_and(|is| is == *value)) {
        return true;
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    let output = again.args(["--exact", test]).envs(variables.iter().copied()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

/// What is traced on this thread meanwhile.
pub(crate) fn traced<T>(work: impl FnOnce() -> T) -> (T, String) {
    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);
    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let result = tracing::subscriber::with_default(subscriber, work);
    let bytes = buffer.0.lock().unwrap().clone();
    (result, String::from_utf8(bytes).unwrap())
}

/// An event first met on a thread without a subscriber could be off for all threads from then on.
pub(crate) fn trace_everything() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let nowhere = tracing_subscriber::fmt().with_writer(io::sink);
        let nowhere = nowhere.with_max_level(LevelFilter::TRACE).finish();
        tracing::subscriber::set_global_default(nowhere).unwrap();
    });
}
