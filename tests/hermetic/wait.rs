//! Waiting for a bundle.

use std::fmt;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{BundleRunning, BundleSpec, Daemon, Error, Ready, Stopper};

use crate::fake::{Fake, plan};

const LONG: Duration = Duration::from_secs(20);

/// A container that has ended with code 3 once there is a file `dead`.
const MORTAL: &str = r#"if [ -e "$dir/dead" ]; then obey | sed 's/"running"/"exited"/; s/"0001/"2026/; s/"ExitCode":0/"ExitCode":3/'; else obey; fi"#;

fn never() -> Ready {
    Ready::check("never", || false)
}

#[test]
fn a_wait_never_connects_to_an_address_that_is_not_on_this_host() {
    let fake = Fake::new();
    let bundle = fake.up();
    for condition in
        [Ready::tcp(80), Ready::all([Ready::log("x"), Ready::any([Ready::http(80, "/", 200)])])]
    {
        let error = bundle.wait_for(&condition, Duration::from_secs(60)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "address 10.56.132.2 cannot be reached from here: the engine is in a virtual machine (Docker Desktop); publish ports, or run this program in it"
        );
    }
    // And of the engine it is asked only where it is, once, for published ports, and whether the container still runs.
    let looks = ["container inspect"; 5];
    assert_eq!(fake.operations(), [&["network create", "run"], &looks[..]].concat());
    assert_eq!(fake.infos(), 2);
    bundle.close().unwrap();
}

#[test]
fn an_engine_that_is_driven_by_commands_is_asked_for_the_end_less_and_less_often() {
    let fake = Fake::new();
    let bundle = fake.up();
    fake.on("container-inspect", MORTAL);
    fake.on("logs", ":");
    let looks = || fake.operations().iter().filter(|it| *it == "container inspect").count();
    // After about 0, 400 and 1200 ms; the next time would be 2800 ms. And at the end.
    let timeout = Duration::from_millis(2500);
    let dies = || {
        thread::sleep(Duration::from_millis(1900));
        fs::write(fake.path("dead"), "").unwrap();
    };
    let before = looks();
    let exit = thread::scope(|scope| {
        scope.spawn(dies);
        bundle.wait_exit(timeout).unwrap()
    });
    assert_eq!(exit.map(|exit| exit.code), Some(3));
    assert!(looks() - before <= 4, "{}", looks() - before);

    fs::remove_file(fake.path("dead")).unwrap();
    let error = thread::scope(|scope| {
        scope.spawn(dies);
        bundle.wait_for(&never(), timeout).unwrap_err()
    });
    assert!(matches!(&error, Error::Died { exit, .. } if exit.code == 3), "{error:?}");
    // However short a wait is.
    for timeout in [Duration::ZERO, Duration::from_millis(1)] {
        assert_eq!(bundle.wait_exit(timeout).unwrap().unwrap().code, 3);
    }
    bundle.close().unwrap();
}

/// Runs a wait that is stopped after a while.
fn stopped<T: fmt::Debug>(bundle: &BundleRunning, wait: impl FnOnce() -> Result<T, Error>) {
    let stopper = bundle.stopper();
    let stop = thread::spawn(move || {
        thread::sleep(Duration::from_millis(400));
        stopper.stop();
        Instant::now()
    });
    let error = wait().unwrap_err();
    let returned = Instant::now();
    assert!(matches!(error, Error::Stopped), "{error:?}");
    let late = returned.saturating_duration_since(stop.join().unwrap());
    assert!(late < Duration::from_secs(2), "{late:?}");
    assert!(bundle.stopper().is_stopped());
    bundle.stopper().resume();
}

#[test]
fn every_wait_is_stopped_from_another_thread() {
    let fake = Fake::new();
    let spec = BundleSpec::new().daemon(Daemon::new("egress").ready(never()));
    let bundle = plan().launch(&fake.engine(), spec).unwrap();
    stopped(&bundle, || bundle.wait_ready(LONG));
    stopped(&bundle, || bundle.wait_ready(Duration::MAX));
    stopped(&bundle, || bundle.wait_for(&Ready::any([never(), never()]), LONG));
    stopped(&bundle, || bundle.wait_exit(LONG));
    stopped(&bundle, || bundle.wait_exit(Duration::MAX));
    bundle.close().unwrap();
}

#[test]
fn a_stop_between_two_waits_is_not_lost() {
    let fake = Fake::new();
    let bundle = fake.up();
    let asked = fake.operations();
    bundle.stopper().stop();
    for error in [
        bundle.wait_ready(LONG).unwrap_err(),
        bundle.wait_for(&Ready::all([]), LONG).unwrap_err(),
        bundle.wait_exit(LONG).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Stopped), "{error:?}");
    }
    assert_eq!(fake.operations(), asked);
    bundle.stopper().resume();
    bundle.wait_ready(LONG).unwrap();
    bundle.close().unwrap();
}

#[test]
fn a_stopper_is_for_any_thread() {
    fn is<T: Send + Sync + Clone + 'static>() {}
    is::<Stopper>();
}

#[test]
fn a_path_that_cannot_be_sent_is_refused_before_anything_is_asked() {
    let fake = Fake::new();
    for path in ["a b", "/a#b", "/ä", "/a\r\nHost: b"] {
        let daemon = Daemon::new("egress").ready(Ready::any([Ready::http(80, path, 200)]));
        let failed = plan().launch(&fake.engine(), BundleSpec::new().daemon(daemon)).unwrap_err();
        assert!(matches!(failed.error(), Error::Invalid(_)), "{path}: {failed:?}");
    }
    assert!(fake.operations().is_empty());
    let bundle = fake.up();
    let asked = fake.operations();
    let error = bundle.wait_for(&Ready::http(80, "a b", 200), LONG).unwrap_err();
    assert_eq!(error.to_string(), "\"/a b\" is not an HTTP path; percent-encode it");
    assert_eq!(fake.operations(), asked);
    bundle.close().unwrap();
    assert_eq!(Ready::http(80, "healthz", 200), Ready::http(80, "/healthz", 200));
    assert_eq!(Ready::http(80, "", 200), Ready::http(80, "/", 200));
}
