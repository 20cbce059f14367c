//! Logs, exits, commands and status.

use std::process::Command;
use std::time::Duration;

use sidecar_bundle::{BundleSpec, Cause, Daemon, Error, LogStream, PortMapping, Ready, State};

use crate::engine::{LONG, cli, is_api, is_rootless, never, program, sh, world};

#[test]
fn logs_exits_and_commands_are_reported_as_they_are() {
    let Some(world) = world("inside").filter(|_| is_api()) else { return };
    let spec = sh(
        "echo one; sleep 0.05; echo two >&2; sleep 0.05; echo three; while ! [ -e /tmp/end ]; do sleep 0.05; done; echo end; exit 9",
    );
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    bundle.wait_for(&Ready::log("three"), LONG).unwrap();
    let line = |line: &sidecar_bundle::LogLine| (line.stream, line.text.clone());
    let told: Vec<_> = bundle.logs(None).unwrap().iter().map(line).collect();
    assert_eq!(
        told,
        [
            (LogStream::Stdout, "one".into()),
            (LogStream::Stderr, "two".into()),
            (LogStream::Stdout, "three".into())
        ]
    );
    assert_eq!(bundle.logs(1).unwrap().iter().map(line).collect::<Vec<_>>(), told[2..]);

    let output = bundle.exec(["sh", "-c", "echo hi; echo ho >&2; exit 7"], LONG).unwrap();
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (7, "hi\n", "ho\n"));
    let output = bundle.exec(["/no/such/program"], LONG).unwrap();
    assert_eq!(output.code & !1, 126, "126 or 127, by the engine's version");
    assert_eq!(output.stdout, "");
    assert!(output.stderr.to_lowercase().contains("no such file"), "{}", output.stderr);
    let error = bundle.exec(["sleep", "5"], Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.to_string(), "sleep could not be run to its end in the container");
    assert_eq!(error.cause(), Some(Cause::TimedOut));

    let status = bundle.status().unwrap();
    assert_eq!((status.state, status.exit, status.health), (State::Running, None, None));
    assert_eq!(status.address, Some(bundle.ip()));
    assert_eq!(bundle.wait_exit(Duration::from_millis(200)).unwrap(), None);

    let further = bundle.follow_logs(0).unwrap();
    let mut followed = bundle.follow_logs(1).unwrap();
    assert_eq!(followed.next().unwrap().text, "three");
    bundle.exec(["touch", "/tmp/end"], LONG).unwrap();
    let followed: Vec<_> = followed.map(|line| line.text).collect();
    assert_eq!(followed, ["end"]);
    assert_eq!(further.map(|line| line.text).collect::<Vec<_>>(), ["end"]);
    assert_eq!(bundle.wait_exit(LONG).unwrap().unwrap().code, 9);
    let error = bundle.exec(["true"], LONG).unwrap_err();
    assert!(matches!(error, Error::Exec { .. }), "{error:?}");
    cli(&["rm", "--force", "--volumes", bundle.container_id()]);
    let error = bundle.status().unwrap_err();
    assert_eq!(
        error.to_string(),
        "container claude-bottle-sidecars-inside does not exist any more"
    );
    bundle.close().unwrap();
    world.assert_nothing_left();
}

/// Of a command that is cut off, docker's program says that it has succeeded.
#[test]
fn what_commands_cannot_know_is_unsupported() {
    let Some(world) = world("unknowable").filter(|_| !is_api()) else { return };
    let ready = Daemon::new("egress").ready(Ready::any([never(), Ready::log("egress")]));
    let failed = world.plan().launch(&world.engine(), BundleSpec::new().daemon(ready)).unwrap_err();
    assert!(matches!(failed.error(), Error::Unsupported(_)), "{failed:?}");
    drop(failed);
    world.assert_nothing_left();
    let bundle = world.plan().launch(&world.engine(), sh("sleep 1; exit 3")).unwrap();
    for unsupported in [
        bundle.exec(["true"], LONG).map(drop),
        bundle.logs(None).map(drop),
        bundle.follow_logs(None).map(drop),
        bundle.events().map(drop),
        bundle.wait_for(&Ready::all([Ready::log("x")]), LONG),
    ] {
        let error = unsupported.unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{error:?}");
    }
    assert_eq!(bundle.wait_exit(LONG).unwrap().unwrap().code, 3);
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn two_hundred_followers_and_commands_come_and_go() {
    let Some(world) = world("crowd").filter(|_| is_api()) else { return };
    let output = Command::new(env!("CARGO_BIN_EXE_sidecar-bundle-test-followers"))
        .arg(program())
        .arg(world.state.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world.assert_nothing_left();
}

#[test]
fn a_signal_reaches_the_first_process() {
    let Some(world) = world("signal") else { return };
    let spec = sh("trap 'echo reloaded' HUP; echo begun; while :; do sleep 0.1; done");
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    if is_api() {
        bundle.wait_for(&Ready::log("begun"), LONG).unwrap();
        bundle.signal("HUP").unwrap();
        bundle.wait_for(&Ready::log("reloaded"), LONG).unwrap();
    }
    for wrong in ["", "-9", "HUP KILL", "H\0", "NONE", "0", "65", "+1", "RTMIN+16", "RTMIN++1"] {
        assert!(matches!(bundle.signal(wrong).unwrap_err(), Error::Invalid(_)), "{wrong:?}");
    }
    for fine in ["SIGCONT", "cont", "18", "RTMAX-14"] {
        bundle.signal(fine).unwrap();
    }
    bundle.signal("KILL").unwrap();
    assert_eq!(bundle.wait_exit(LONG).unwrap().unwrap().code, 137);
    assert!(matches!(bundle.signal("HUP").unwrap_err(), Error::Signal { .. }));
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_published_port_is_told_and_another_is_an_error() {
    let Some(world) = world("published") else { return };
    let spec = BundleSpec::new()
        .publish(PortMapping::tcp(8080).host_address([127, 0, 0, 1]))
        .publish(PortMapping::tcp(4444))
        .publish(PortMapping::udp(53).host_address([127, 0, 0, 1]));
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    let at = bundle.published(8080).unwrap();
    assert!(at.ip().is_loopback() && at.port() != 0, "{at}");
    assert!(bundle.published_udp(53).unwrap().ip().is_loopback());
    let error = bundle.published(8081).unwrap_err();
    assert_eq!(
        error.to_string(),
        "port 8081/tcp of container claude-bottle-sidecars-published is not published"
    );
    // The published port is asked if the address is not reachable.
    bundle.wait_for(&Ready::http(8080, "/", 200), LONG).unwrap();
    // The forwarder of a port accepts, though nothing listens behind it.
    let error = bundle.wait_for(&Ready::tcp(4444), Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error, Error::NotReady { .. }), "{error:?}");
    if is_rootless() {
        let error = bundle.wait_for(&Ready::tcp(8081), LONG).unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    }
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn the_log_outlives_the_bundle() {
    use std::os::unix::fs::PermissionsExt;
    let Some(world) = world("save-log").filter(|_| is_api()) else { return };
    let room = tempfile::tempdir().unwrap();
    let log = room.path().join("log");
    let read = || std::fs::read_to_string(&log).unwrap();
    let spec = |script: &str| sh(script).secret("TOKEN", "hunter2hunter2").save_log(&log);
    let ended = "trap 'echo bye; exit' TERM; echo my token is $TOKEN; while :; do sleep 0.1; done";
    let spec_with_grace = spec(ended).stop_grace(Duration::from_secs(10));
    let bundle = world.plan().launch(&world.engine(), spec_with_grace).unwrap();
    bundle.wait_for(&Ready::log("token"), LONG).unwrap();
    bundle.close().unwrap();
    assert_eq!(read(), "my token is ***\nbye\n");
    assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    // A drop replaces it, a death at once too.
    std::fs::set_permissions(&log, PermissionsExt::from_mode(0o644)).unwrap();
    let bundle = world.plan().launch(&world.engine(), spec("echo two; exec sleep 1000")).unwrap();
    bundle.wait_for(&Ready::log("two"), LONG).unwrap();
    drop(bundle);
    assert_eq!(read(), "two\n");
    assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    if let Ok(bundle) = world.plan().launch(&world.engine(), spec("echo three; exit 1")) {
        bundle.wait_exit(LONG).unwrap();
    }
    assert_eq!(read(), "three\n");
    // A link is not followed, and a failure is no hindrance.
    std::fs::remove_file(&log).unwrap();
    let bundle = world.plan().launch(&world.engine(), spec("exec sleep 1000")).unwrap();
    std::os::unix::fs::symlink(room.path().join("other"), &log).unwrap();
    bundle.close().unwrap();
    assert!(!room.path().join("other").exists());
    // A pipe that nobody reads is no reason to wait.
    let pipe = room.path().join("pipe");
    let piped = sh("exec sleep 1000").save_log(&pipe);
    let bundle = world.plan().launch(&world.engine(), piped).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    bundle.close().unwrap();
    let nowhere = BundleSpec::new().save_log(room.path().join("no/log"));
    let failed = world.plan().launch(&world.engine(), nowhere).unwrap_err();
    assert!(matches!(failed.error(), Error::Invalid(_)), "{failed:?}");
    world.assert_nothing_left();
}
