//! An engine that goes away and comes back, on one of the test's own; and directories that fail.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{BundleSpec, Cause, NetworkPlanned, Slug};

use crate::support::{cli, engine, inspect, is_podman, is_rootless, required, shout, world};

/// Runs another test of this program, as a command's last arguments.
fn run_child(command: &mut Command, test: &str) {
    let output = command
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", test, "--nocapture"])
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Namespaces of one's own are root's, on Linux.
fn may_have_namespaces() -> bool {
    let may = Command::new("unshare").args(["-m", "-n", "true"]).status();
    let may = may.is_ok_and(|status| status.success());
    if !may && is_rootless() {
        shout("what takes namespaces of its own is left to root's engines");
        return false;
    }
    assert!(may || !required(), "namespaces are required");
    if !may {
        shout("SKIPPED a test in namespaces of its own: that takes root and Linux");
    }
    may
}

#[test]
fn an_engine_may_restart_and_be_away() {
    let Some(_world) = world("restart-outer") else { return };
    if is_podman() {
        shout("there is nothing to restart: podman has no engine process");
        return;
    }
    if may_have_namespaces() {
        let with_docker = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/with-docker");
        let mut command = Command::new(with_docker);
        let kind = std::env::var("SIDECAR_BUNDLE_ENGINE").ok();
        run_child(
            command.env("SIDECAR_BUNDLE_ENGINE", kind.as_deref().unwrap_or("private")),
            "restarts::lives_through_restarts",
        );
    }
}

/// The private engine that `with-docker` has started for this process.
struct Daemon(PathBuf);

impl Daemon {
    fn stop(&self, away: bool) {
        std::fs::write(self.0.join("restarts"), "").unwrap();
        if away {
            std::fs::write(self.0.join("away"), "").unwrap();
        }
        let pidfile = format!("--pidfile\0{}\0", self.0.join("pid").display());
        let pid = std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
            let cmdline = std::fs::read(entry.path().join("cmdline")).ok()?;
            let cmdline = String::from_utf8_lossy(&cmdline).into_owned();
            let is_it = cmdline.starts_with("dockerd\0") && cmdline.contains(&pidfile);
            is_it.then(|| entry.file_name().into_string().unwrap())
        });
        let pid = pid.unwrap();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        wait_for("the engine's end", || !Path::new("/proc").join(&pid).exists());
    }

    fn start(&self) {
        let _ = std::fs::remove_file(self.0.join("away"));
        wait_for("the engine", || {
            Command::new("docker").arg("version").output().unwrap().status.success()
        });
    }
}

#[track_caller]
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "run with an engine of its own by the test of restarts"]
fn lives_through_restarts() {
    let world = world("restart").unwrap();
    let daemon = Daemon(std::env::var_os("SIDECAR_BUNDLE_ENGINE_ROOM").unwrap().into());
    let launch = || world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();

    let bundle = launch();
    daemon.stop(false);
    daemon.start();
    bundle.close().unwrap();
    world.assert_nothing_left();

    let bundle = launch();
    let network = bundle.network_id().to_owned();
    daemon.stop(true);
    let error = bundle.close().unwrap_err();
    assert_eq!(error.cause(), Some(Cause::EngineUnreachable));
    let message = error.to_string();
    assert!(message.starts_with("2 errors: container ") && message.contains(&network), "{message}");
    let failed = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::EngineUnreachable));
    daemon.start();
    assert!(inspect("network", &network).is_some());
    launch().close().unwrap();
    world.assert_nothing_left();

    let bundle = launch();
    daemon.stop(true);
    drop(bundle);
    daemon.start();
    assert_eq!(sidecar_bundle::sweep(&world.engine()).unwrap().len(), 1);
    world.assert_nothing_left();
    cli(&["version"]);
}

#[test]
fn a_directory_that_is_full_or_read_only_is_said_before_anything_is_created() {
    let Some(world) = world("full-outer") else { return };
    if !may_have_namespaces() {
        return;
    }
    for options in ["nr_inodes=1", "ro"] {
        let script = format!(
            "mount -t tmpfs -o {options} none '{}' && exec \"$@\"",
            world.state.path().display()
        );
        let mut unshare = Command::new("unshare");
        unshare.args(["-m", "sh", "-c", &script, "sh"]).env("FULL_STATE", world.state.path());
        run_child(&mut unshare, "restarts::meets_a_full_directory");
    }
}

#[test]
#[ignore = "run with a full directory by another test"]
fn meets_a_full_directory() {
    let state = PathBuf::from(std::env::var_os("FULL_STATE").unwrap());
    let engine = engine().with_state_dir(&state);
    let plan = NetworkPlanned::new(Slug::new("full").unwrap());
    let failed = plan.launch(&engine, BundleSpec::new()).unwrap_err();
    assert_eq!(
        failed.error().to_string(),
        format!("the lease at {} cannot be used", state.display())
    );
    assert!(inspect("network", &failed.into_state().network_name()).is_none());
}
