//! The daemon of a private engine.

use std::path::Path;
use std::process::Command;

use crate::engine::wait_for;

/// Ends the daemon in this room by a signal. It is started again at once, unless the room has a file `away`.
#[track_caller]
pub(crate) fn end_daemon(room: &Path, signal: &str) {
    std::fs::write(room.join("restarts"), "").unwrap();
    let pidfile = format!("--pidfile\0{}\0", room.join("pid").display());
    let pid = std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let cmdline = std::fs::read(entry.path().join("cmdline")).ok()?;
        let cmdline = String::from_utf8_lossy(&cmdline).into_owned();
        let is_it = cmdline.starts_with("dockerd\0") && cmdline.contains(&pidfile);
        is_it.then(|| entry.file_name().into_string().unwrap())
    });
    let pid = pid.unwrap();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    wait_for("the engine's end", || !Path::new("/proc").join(&pid).exists());
}
