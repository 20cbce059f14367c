//! The traces of a test, and patience.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;

/// Returns the traces of this thread meanwhile.
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

#[track_caller]
pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what} took more than a minute");
        thread::sleep(Duration::from_millis(10));
    }
}
