//! Health checks of podman, against an engine that does as it is told.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sidecar_bundle::{BundleRunning, BundleSpec, Engine, Error, Ready};

use crate::fake::plan;
use crate::scripted::{Act, Scripted};

/// A running container with a check every 20 ms, which nobody has run yet.
fn checked(status: &str) -> Act {
    let interval = 20_000_000;
    let check =
        json!({"Test": ["CMD", "true"], "Interval": interval, "Timeout": 60_000_000_000_u64});
    Act::Answer(
        200,
        json!({
            "Id": "2".repeat(64), "NetworkSettings": {"Networks": {}},
            "Config": {"Labels": {}, "Healthcheck": check},
            "State": {
                "Status": "running", "Running": true, "FinishedAt": "0001-01-01T00:00:00Z",
                "Health": {"Status": status, "Log": []},
            },
        })
        .to_string(),
    )
}

/// A container that is healthy once its check has been run. The check ends when the gate is open.
fn up(engine: &Scripted, podman: &Engine, gate: Arc<AtomicBool>) -> BundleRunning {
    let bundle = plan().launch(podman, BundleSpec::new()).unwrap();
    let is_healthy = AtomicBool::new(false);
    engine.script(move |request, _| match request {
        _ if request.ends_with("/healthcheck") => {
            is_healthy.store(gate.load(Ordering::SeqCst), Ordering::SeqCst);
            Act::ObeyAfter(Arc::clone(&gate))
        }
        _ if request.starts_with("GET /libpod/containers/0") => {
            checked(if is_healthy.load(Ordering::SeqCst) { "healthy" } else { "starting" })
        }
        _ => Act::Obey,
    });
    bundle
}

fn checks(engine: &Scripted) -> usize {
    engine.requests().iter().filter(|it| it.ends_with("/healthcheck")).count()
}

#[track_caller]
fn assert_not_ready(bundle: &BundleRunning, timeout: u64) {
    let waited = bundle.wait_for(&Ready::healthy(), Duration::from_millis(timeout));
    assert!(matches!(waited, Err(Error::NotReady { .. })), "{waited:?}");
}

#[test]
fn a_check_that_no_timer_runs_is_run_here_and_never_beside_itself() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let gate = Arc::new(AtomicBool::new(false));
    let bundle = up(&engine, &engine.podman(), Arc::clone(&gate));
    if Path::new("/run/systemd/system").exists() {
        assert_not_ready(&bundle, 300);
        assert_eq!(checks(&engine), 0, "that is for systemd");
    } else {
        let end = Instant::now() + Duration::from_secs(20);
        while checks(&engine) == 0 {
            assert!(Instant::now() < end, "no check was begun");
            assert_not_ready(&bundle, 100);
        }
        assert_not_ready(&bundle, 300);
        assert_eq!(checks(&engine), 1);
        // When one has ended, the next one is due.
        gate.store(true, Ordering::SeqCst);
        bundle.wait_for(&Ready::healthy(), Duration::from_secs(20)).unwrap();
    }
    engine.script(|_, _| Act::Obey);
    gate.store(true, Ordering::SeqCst);
    bundle.close().unwrap();
}

#[test]
fn a_check_is_left_to_the_timers_of_a_host_that_is_not_known() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let host = format!("unix://{}", engine.path("s").display());
    let gate = Arc::new(AtomicBool::new(true));
    let bundle = up(&engine, &engine.podman().with_host(host), gate);
    assert_not_ready(&bundle, 300);
    assert_eq!(checks(&engine), 0);
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}
