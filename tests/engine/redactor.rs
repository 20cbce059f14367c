//! Secret values.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sidecar_bundle::BundleSpec;

use crate::engine::{LONG, inside, is_api, never, sh, world};

#[test]
fn a_secret_is_nowhere_but_in_the_container() {
    let Some(world) = world("secret") else { return };
    let start = SystemTime::now();
    // This file has it nowhere as a whole.
    let secret = &*format!("hunter2-{}-is-not-to-be-seen", std::process::id());
    let spec = sh("echo my token is $TOKEN; exit 3").secret("TOKEN", secret);
    let error = match world.plan().launch(&world.engine(), spec) {
        Err(failed) => failed.into_parts().0,
        Ok(bundle) => bundle.wait_for(&never(), LONG).unwrap_err(),
    };
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("my token is ***") && !shown.contains(secret), "{shown}");

    let spec = BundleSpec::new().secret("TOKEN", secret);
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    assert_eq!(inside(&bundle, &["sh", "-c", "echo $TOKEN"]).1.trim(), secret);
    assert_eq!(holders(secret), [""; 0]);
    let shown = format!("{bundle:?}");
    assert!(!shown.contains(secret), "{shown}");
    bundle.close().unwrap();
    world.assert_nothing_left();
    assert_eq!(holders(secret), [""; 0]);
    // An owner's reaper and helpers live as long as the owner.
    drop(world);
    for directory in [std::env::temp_dir(), "/dev/shm".into()] {
        assert_eq!(files(&directory, secret, start, 4), [""; 0]);
    }
}

#[test]
fn a_secret_that_a_wrapper_keeps_back_is_an_error() {
    let Some(world) = world("forgetful").filter(|_| !is_api()) else { return };
    let wrapper = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/helpers/forgetful");
    let engine = world.engine().with_program(wrapper);
    let plain = BundleSpec::new().variable("TOKEN", "not secret");
    world.plan().launch(&engine, plain).unwrap().close().unwrap();
    let secret = BundleSpec::new().secret("TOKEN", "s3cr3t");
    let failed = world.plan().launch(&engine, secret).unwrap_err();
    let text = format!("{:?}", failed.error());
    assert!(
        text.contains("value of variable TOKEN, or none: ") && !text.contains("s3cr3t"),
        "{text}"
    );
    drop(failed);
    world.assert_nothing_left();
}

/// The processes outside of containers that have it in their arguments or environment.
fn holders(secret: &str) -> Vec<String> {
    let namespace = |process: &Path| fs::read_link(process.join("ns/pid")).ok();
    let own = namespace(Path::new("/proc/self"));
    // Of another user's it cannot be read.
    let is_known = |it: &PathBuf| namespace(it).is_none_or(|it| Some(it) == own);
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|it| it.path()).filter(is_known);
    let parts = processes.flat_map(|it| [it.join("cmdline"), it.join("environ")]);
    parts.filter(|it| has(it, secret)).map(|it| it.display().to_string()).collect()
}

/// The files below a directory, so many levels deep and written since then, that have it in them; the engine's own
/// room apart.
fn files(directory: &Path, secret: &str, since: SystemTime, levels: usize) -> Vec<String> {
    let room = std::env::var_os("SIDECAR_BUNDLE_ENGINE_ROOM").map(PathBuf::from);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() && levels > 0 && Some(&path) != room.as_ref() {
            found.extend(files(&path, secret, since, levels - 1));
            continue;
        }
        let modified = entry.metadata().and_then(|it| it.modified());
        if kind.is_file() && modified.is_ok_and(|it| it >= since) && has(&path, secret) {
            found.push(path.display().to_string());
        }
    }
    found
}

fn has(file: &Path, secret: &str) -> bool {
    let Ok(file) = File::open(file) else { return false };
    let mut text = Vec::new();
    // It may be written meanwhile, and be large.
    let _ = file.take(16 << 20).read_to_end(&mut text);
    text.windows(secret.len()).any(|it| it == secret.as_bytes())
}
