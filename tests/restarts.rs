//! An engine that goes away and comes back: with no other test beside it, which would need that engine.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/engine.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod engine;

use std::path::PathBuf;
use std::process::Command;

use sidecar_bundle::{BundleSpec, Cause};

use daemon::end_daemon;
use engine::{cli, inspect, is_podman, is_rootless, required, shout, wait_for, world};

/// The private engine that `with-docker` has started for these tests.
struct Daemon(PathBuf);

impl Daemon {
    fn stop(&self, away: bool) {
        if away {
            std::fs::write(self.0.join("away"), "").unwrap();
        }
        end_daemon(&self.0, "-TERM");
    }

    fn start(&self) {
        let _ = std::fs::remove_file(self.0.join("away"));
        wait_for("the engine", || {
            Command::new("docker").arg("version").output().unwrap().status.success()
        });
        // From here on, its end is its end again.
        std::fs::remove_file(self.0.join("restarts")).unwrap();
    }
}

#[test]
fn an_engine_may_restart_and_be_away() {
    let Some(world) = world("restart") else { return };
    if is_podman() {
        shout("there is nothing to restart: podman has no engine process");
        return;
    }
    if is_rootless() {
        shout("restarts are left to root's engines");
        return;
    }
    let Some(room) = std::env::var_os("SIDECAR_BUNDLE_ENGINE_ROOM") else {
        assert!(!required(), "a private engine is required");
        shout("SKIPPED restarts: that takes a private engine; try tests/with-docker cargo test");
        return;
    };
    let daemon = Daemon(room.into());
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
    assert!(message.starts_with("container ") && message.contains(&network), "{message}");
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
