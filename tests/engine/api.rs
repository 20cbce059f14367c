//! The API backend: what is followed goes on, commands and logs are told as they were.

use std::path::Path;
use std::time::{Duration, Instant};

use sidecar_bundle::{BundleRunning, BundleSpec, Cause, Engine, Error, LogStream, Ready};

use crate::engine::{LONG, World, engine, is_api, is_podman, required, sh, shout, world};
use crate::owner::Owner;
use crate::relay::{Relay, Treatment};

/// The slug's world, where the engine is asked by its API.
fn api_world(slug: &'static str) -> Option<World> {
    world(slug).filter(|_| is_api())
}

/// A bundle that is reached by a relay that cuts a connection on which nothing passes for this long.
fn behind_a_relay(world: &World, idle: Duration, spec: BundleSpec) -> (Relay, BundleRunning) {
    let treatment = Treatment { cut_idle: Some(idle), ..Treatment::default() };
    let relay = Relay::start(&world.state.path().join("relay"), &treatment);
    let engine = world.engine().with_host(relay.address());
    (relay, world.plan().launch(&engine, spec).unwrap())
}

/// Longer than any request of a launch takes.
const IDLE: Duration = Duration::from_millis(1500);

#[test]
fn a_log_that_is_cut_when_it_is_idle_is_followed_to_its_end() {
    let Some(world) = api_world("cut-log") else { return };
    let spec =
        sh("i=0; while [ $i -lt 4 ]; do i=$((i+1)); echo line $i; echo err $i >&2; sleep 2; done");
    let (_relay, bundle) = behind_a_relay(&world, IDLE, spec);
    let lines: Vec<_> = bundle.follow_logs(None).unwrap().collect();
    for (stream, word) in [(LogStream::Stdout, "line"), (LogStream::Stderr, "err")] {
        let of: Vec<_> =
            lines.iter().filter(|it| it.stream == stream).map(|it| &*it.text).collect();
        assert_eq!(of, [1, 2, 3, 4].map(|number| format!("{word} {number}")));
    }
    assert_eq!(lines.len(), 8);
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn an_end_is_waited_for_over_connections_that_are_cut() {
    let Some(world) = api_world("cut-wait") else { return };
    let (_relay, bundle) = behind_a_relay(&world, IDLE, sh("sleep 4; echo late; sleep 4; exit 3"));
    bundle.wait_for(&Ready::log("late"), LONG).unwrap();
    let start = Instant::now();
    assert_eq!(bundle.wait_exit(Duration::from_millis(100)).unwrap(), None);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(bundle.wait_exit(LONG).unwrap().unwrap().code, 3);
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_command_whose_connection_is_cut_is_an_error() {
    let Some(world) = api_world("cut-exec") else { return };
    let (_relay, bundle) = behind_a_relay(&world, IDLE, sh("sleep 60"));
    let error = bundle.exec(["sh", "-c", "echo begun; sleep 5"], LONG).unwrap_err();
    assert!(matches!(error, Error::Exec { .. }), "{error:?}");
    // Other connections are not affected.
    assert_eq!(bundle.exec(["echo", "hi"], LONG).unwrap().stdout, "hi\n");
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_command_fails_by_its_exit_code_whatever_it_prints() {
    let Some(world) = api_world("exec-words") else { return };
    let bundle = world.plan().launch(&world.engine(), sh("sleep 60")).unwrap();
    for words in [
        "Error response from daemon: No such image: x",
        "Error: No such container: x",
        "Cannot connect to database",
    ] {
        let script = format!("echo '{words}' >&2; exit 3");
        let output = bundle.exec(["sh", "-c", &script], LONG).unwrap();
        assert_eq!((output.code, output.stderr.trim()), (3, words));
    }
    let output = bundle.exec(["sh", "-c", "exit 255"], LONG).unwrap();
    assert_eq!((output.code, &*output.stdout, &*output.stderr), (255, "", ""));
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn much_output_is_kept_at_its_end_only() {
    let Some(world) = api_world("much-output") else { return };
    let bundle = world.plan().launch(&world.engine(), sh("sleep 60")).unwrap();
    let script = "yes | head -c 30000000; echo end";
    let output = bundle.exec(["sh", "-c", script], LONG).unwrap();
    assert_eq!((output.code, output.stdout.len()), (0, 1 << 20));
    assert!(output.stdout.ends_with("y\nend\n"));
    let start = Instant::now();
    let error = bundle.exec(["yes"], Duration::from_secs(1)).unwrap_err();
    assert_eq!(error.cause(), Some(Cause::TimedOut), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_long_line_is_one_line() {
    let Some(world) = api_world("long-line") else { return };
    let script = "head -c 200000 /dev/zero | tr '\\0' x; echo; echo end; sleep 60";
    let bundle = world.plan().launch(&world.engine(), sh(script)).unwrap();
    bundle.wait_for(&Ready::log("end"), LONG).unwrap();
    let whole = "x".repeat(200_000);
    let followed: Vec<_> = bundle.follow_logs(None).unwrap().take(2).map(|it| it.text).collect();
    assert!(followed[0] == whole && followed[1] == "end", "{}", followed[0].len());
    let read: Vec<_> = bundle.logs(None).unwrap().into_iter().map(|it| it.text).collect();
    assert!(read == followed);
    assert_eq!(bundle.logs(1).unwrap().len(), 1);
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_log_that_cannot_be_read_is_an_error_at_once() {
    let Some(world) = api_world("no-log") else { return };
    let spec = sh("echo listening; sleep 60");
    let spec = spec.engine_option("HostConfig.LogConfig", r#"{"Type": "none"}"#);
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    let start = Instant::now();
    for word in ["listening", "driver"] {
        let error = bundle.wait_for(&Ready::log(word), LONG).unwrap_err();
        assert!(matches!(error, Error::Look { .. }), "{error:?}");
    }
    assert!(matches!(bundle.logs(None), Err(Error::Look { .. })));
    assert!(start.elapsed() < LONG / 2, "{:?}", start.elapsed());
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_directory_for_temporary_files_is_not_needed() {
    // Podman itself needs one.
    let Some(world) = api_world("no-tmpdir").filter(|_| !is_podman()) else { return };
    let mut owner = Owner::program(&world.engine_words());
    owner.env("TMPDIR", "/no/such/directory");
    let mut owner = Owner::spawn(owner);
    owner.expect("launch no-tmpdir", "up");
    owner.expect("close", "closed");
    owner.end();
    world.assert_nothing_left();
}

#[test]
fn an_engine_that_was_never_reached_is_one_error_at_once() {
    let Some(world) = api_world("never") else { return };
    for host in ["garbage", "foo://bar", "tcp://127.0.0.1:9", "unix:///no/such/socket", "unix://"] {
        let engine = engine().with_host(host).with_state_dir(world.state.path());
        let start = Instant::now();
        let failed = world.plan().launch(&engine, BundleSpec::new()).unwrap_err();
        assert!(start.elapsed() < LONG / 2, "{host}: {:?}", start.elapsed());
        let Error::Look { source, .. } = failed.error() else { panic!("{host}: {failed:?}") };
        assert_eq!(source.cause(), Cause::EngineUnreachable, "{host}: {source:?}");
        assert!(source.to_string().starts_with("GET /info was not sent: "), "{source}");
    }
    assert_eq!(std::fs::read_dir(world.state.path()).unwrap().count(), 0);
}

#[test]
fn a_reaper_without_dockers_program_removes_by_curl() {
    let Some(world) = api_world("by-curl").filter(|_| !is_podman()) else { return };
    let tools = world.state.path().join("tools");
    let names = ["bash", "sh", "cat", "curl", "date", "head", "sed", "sleep", "timeout", "tr"];
    if let Some(missing) = link_tools(&tools, &names) {
        assert!(!required(), "{missing} is required");
        shout(&format!("SKIPPED by-curl: there is no {missing}"));
        return;
    }
    let mut owner = Owner::program(&world.engine_words());
    owner.env("PATH", &tools);
    let mut owner = Owner::spawn(owner);
    owner.expect("launch by-curl", "up");
    owner.kill();
    world.await_nothing_left();
    assert!(world.engine().has_reaper());
    let nowhere = Engine::docker_cli().with_program("/no/such/docker");
    assert!(!nowhere.has_reaper() && !world.engine().without_reaper().has_reaper());
}

/// Makes a directory with links to these programs, and returns the first that is missing.
fn link_tools(directory: &Path, names: &[&'static str]) -> Option<&'static str> {
    std::fs::create_dir(directory).unwrap();
    names.iter().copied().find(|name| {
        let path = std::env::var_os("PATH").unwrap();
        let mut paths = std::env::split_paths(&path).map(|it| it.join(name));
        let found = paths.find(|it| it.exists());
        found.is_none_or(|it| std::os::unix::fs::symlink(it, directory.join(name)).is_err())
    })
}
