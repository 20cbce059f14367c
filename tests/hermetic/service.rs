//! The service that is run for podman, against a program that leads to an engine that does as it is told.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{BundleSpec, Cause};

use crate::fake::plan;
use crate::owner::Owner;
use crate::scripted::{Act, Scripted};

fn scripted() -> Scripted {
    Scripted::new(|_, _| Act::Obey)
}

/// The process ids of the services so far.
fn services(engine: &Scripted) -> Vec<String> {
    let starts = fs::read_to_string(engine.path("starts")).unwrap_or_default();
    starts.lines().map(str::to_owned).collect()
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Returns true unless the process has ended, waited for or not.
pub(crate) fn is_alive(pid: &str) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(pid).join("status"));
    status.is_ok_and(|it| !it.contains("State:\tZ"))
}

/// The directories of sockets below this one.
fn directories(parent: &Path) -> usize {
    let names = fs::read_dir(parent).unwrap().map(|it| it.unwrap().file_name());
    names.filter(|it| it.to_string_lossy().starts_with("sidecar-bundle-")).count()
}

#[test]
fn one_service_is_for_all_values() {
    let engine = scripted();
    let (one, other) = (engine.podman(), engine.podman());
    plan().launch(&one, BundleSpec::new()).unwrap().close().unwrap();
    plan().launch(&other, BundleSpec::new()).unwrap().close().unwrap();
    assert_eq!(engine.resources(), 0);
    let started = services(&engine);
    assert_eq!(started.len(), 1);
    assert!(is_alive(&started[0]));
    // It is described once.
    let described = engine.requests().iter().filter(|it| *it == "GET /info").count();
    assert_eq!(described, 1, "{:?}", engine.requests());
}

#[test]
fn a_service_that_has_ended_is_started_again_and_is_the_same_engine_or_not() {
    let engine = scripted();
    let podman = engine.podman();
    let end = |pid: &str| {
        Command::new("kill").arg(pid).status().unwrap();
        wait_for("the service does not end", || !is_alive(pid));
    };
    let network = plan().create_network(&podman).unwrap();
    end(&services(&engine)[0]);
    // Its connections end with it.
    let cut = || {
        let is_new = AtomicBool::new(false);
        move |request: &str, _: &str| {
            let was_new = is_new.fetch_or(request == "GET /info", SeqCst);
            let is_asked_first = ["GET /info", "GET /_ping"].contains(&request);
            if was_new || is_asked_first { Act::Obey } else { Act::Bytes("") }
        }
    };
    engine.script(cut());
    network.close().unwrap();
    assert_eq!(engine.resources(), 0);
    let network = plan().create_network(&podman).unwrap();
    end(services(&engine).last().unwrap());
    engine.script(cut());
    engine.rename("two");
    let error = network.close().unwrap_err();
    assert_eq!(error.cause(), Some(Cause::AnotherEngine), "{error:?}");
}

#[test]
fn a_service_that_does_not_start_is_one_error_at_once() {
    let engine = scripted();
    let podman = engine.podman();
    fs::write(engine.path("word"), "Error: no space left on device\n").unwrap();
    let start = Instant::now();
    let error = podman.version().unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(error.cause(), Cause::EngineUnreachable);
    let program = engine.path("podman");
    assert_eq!(
        error.to_string(),
        format!(
            "GET /info was not sent: {} system service: Error: no space left on device",
            program.display()
        )
    );
    fs::remove_file(engine.path("word")).unwrap();
    podman.version().unwrap();
}

/// The words of an owner on this podman.
fn words(engine: &Scripted) -> [String; 4] {
    let [program, state] = ["podman", "leases"].map(|name| engine.path(name).display().to_string());
    let [program, state] = [format!("program={program}"), format!("state={state}")];
    ["podman".into(), program, state, "reaper=false".into()]
}

#[test]
fn nothing_of_a_service_stays_though_its_process_was_killed() {
    let engine = scripted();
    let _podman = engine.podman();
    let words = words(&engine);
    let room = tempfile::tempdir_in("/tmp").unwrap();
    let mut owner = Owner::program(&words);
    owner.env("XDG_RUNTIME_DIR", room.path()).env("API_TOKEN", "s3cret");
    let mut owner = Owner::spawn(owner);
    owner.expect("launch demo", "up");
    assert_eq!(directories(room.path()), 1);
    let service = services(&engine).remove(0);
    let env = fs::read(Path::new("/proc").join(&service).join("environ")).unwrap();
    assert!(!String::from_utf8_lossy(&env).contains("s3cret"));
    assert!(is_alive(&service));
    owner.child.kill().unwrap();
    owner.child.wait().unwrap();
    // Podman ends by itself when nobody is connected.
    assert!(is_alive(&service));
    fs::write(engine.path("idle"), "").unwrap();
    wait_for("the service stays", || !is_alive(&service));
    wait_for("its directory stays", || directories(room.path()) == 0);
}

/// An address has no place for other characters, nor for long names.
#[test]
fn a_service_has_its_directory_where_its_path_is_short_and_plain() {
    let engine = scripted();
    let _podman = engine.podman();
    let words = words(&engine);
    let room = tempfile::tempdir_in("/tmp").unwrap();
    for (name, takes_it) in
        [("run.d", true), ("run d", false), ("run%20d", false), (&*"d".repeat(64), false)]
    {
        let [runtime, other] = [name, "other"].map(|name| room.path().join(name));
        fs::create_dir_all(&runtime).unwrap();
        fs::create_dir_all(&other).unwrap();
        let mut owner = Owner::program(&words);
        owner.env("XDG_RUNTIME_DIR", &runtime).env("TMPDIR", &other);
        let mut owner = Owner::spawn(owner);
        owner.expect("version", "version Podman");
        let found = (directories(&runtime), directories(&other));
        assert_eq!(found, if takes_it { (1, 0) } else { (0, 1) }, "{name}");
        fs::write(engine.path("idle"), "").unwrap();
        wait_for("its directory stays", || directories(&runtime) + directories(&other) == 0);
        fs::remove_file(engine.path("idle")).unwrap();
        owner.end();
    }
}

#[test]
fn a_container_whose_process_has_just_ended_is_asked_for_again() {
    let engine = scripted();
    let podman = engine.podman();
    let bundle = plan().launch(&podman, BundleSpec::new()).unwrap();
    let refused = AtomicUsize::new(0);
    let times = 3;
    engine.script(move |request, _| {
        if request.starts_with("GET /libpod/containers/0") && refused.fetch_add(1, SeqCst) < times {
            let says = r#"{"message": "read /proc/30183/cgroup: no such process"}"#;
            return Act::Answer(500, says.to_owned());
        }
        Act::Obey
    });
    let before = engine.requests().len();
    bundle.status().unwrap();
    let asked = engine.requests().split_off(before);
    let inspects = asked.iter().filter(|it| it.starts_with("GET /libpod/containers/0"));
    assert_eq!(inspects.count(), times + 1, "{asked:?}");
    bundle.close().unwrap();
    assert_eq!(engine.resources(), 0);
}
