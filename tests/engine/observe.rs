//! Logs, exits, commands and status.

use std::process::Command;
use std::time::Duration;

use sidecar_bundle::{Cause, Error, LogStream, Ready, State};

use crate::engine::{LONG, backend, cli, sh, world};

#[test]
fn logs_exits_and_commands_are_reported_as_they_are() {
    let Some(world) = world("inside") else { return };
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
    assert_eq!(
        bundle.exec(["/no/such/program"], LONG).unwrap().code & !1,
        126,
        "126 or 127, by the engine's version"
    );
    let error = bundle.exec(["sleep", "5"], Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.to_string(), "sleep could not be run to its end in the container");
    assert_eq!(error.cause(), Some(Cause::TimedOut));

    let status = bundle.status().unwrap();
    assert_eq!((status.state, status.exit, status.health), (State::Running, None, None));
    assert_eq!(status.address, Some(bundle.ip()));
    assert_eq!(bundle.wait_exit(Duration::from_millis(200)).unwrap(), None);

    let mut followed = bundle.follow_logs(1).unwrap();
    assert_eq!(followed.next().unwrap().text, "three");
    bundle.exec(["touch", "/tmp/end"], LONG).unwrap();
    let followed: Vec<_> = followed.map(|line| line.text).collect();
    assert_eq!(followed, ["end"]);
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

#[test]
fn two_hundred_followers_and_commands_come_and_go() {
    let Some(world) = world("crowd") else { return };
    let output = Command::new(env!("CARGO_BIN_EXE_sidecar-bundle-test-followers"))
        .arg(backend())
        .arg(world.state.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world.assert_nothing_left();
}
