//! Waiting for a bundle.

use std::fmt;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use sidecar_bundle::{BundleRunning, BundleSpec, Daemon, Error, Reachability, Ready, Stopper};

use crate::fake::{Fake, plan};
use crate::scripted::{Act, Scripted};

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

/// The engine may be on this host, and the bridge of its network is not.
#[test]
#[cfg(target_os = "linux")]
fn a_wait_tells_why_an_address_of_an_engine_that_may_be_here_cannot_be_reached() {
    let info = json!({"ID": "ID", "Name": "other", "ServerVersion": "20.10.24"}).to_string();
    let missing = json!({"message": "network bridge not found"}).to_string();
    let engine = Scripted::new(move |request, _| match request {
        "GET /info" => Act::Answer(200, info.clone()),
        "GET /networks/bridge" => Act::Answer(404, missing.clone()),
        // Its networks prove nothing.
        "GET /networks" => Act::Answer(200, "[]".into()),
        _ => Act::Obey,
    });
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    let error = bundle.wait_for(&Ready::tcp(80), Duration::from_secs(60)).unwrap_err();
    let Error::Unreachable { reachability, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*reachability, Reachability::OtherNamespace);
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

/// A port of loopback at which this is done with each connection.
fn serve(with: impl Fn(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().for_each(|stream| with(stream.unwrap())));
    port
}

/// Closes with data unread, which is a reset.
fn reset(stream: &TcpStream) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::Linger, &linger).unwrap();
}

/// A running container with ports published at these ones of loopback, as it is inspected.
fn published(ports: &[(u16, u16)]) -> Act {
    let port = |&(port, at): &(u16, u16)| {
        (format!("{port}/tcp"), json!([{"HostIp": "127.0.0.1", "HostPort": at.to_string()}]))
    };
    let ports: serde_json::Map<_, _> = ports.iter().map(port).collect();
    let container = json!({
        "Id": "2".repeat(64), "Config": {"Labels": {}}, "NetworkSettings": {"Ports": ports},
        "State": {"Status": "running", "FinishedAt": "0001-01-01T00:00:00Z"},
    });
    Act::Answer(200, container.to_string())
}

/// A bundle, on an engine in a virtual machine, whose container is inspected so.
fn inspected(act: impl Fn() -> Act + Send + 'static) -> (Scripted, BundleRunning) {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    engine.script(move |request, _| match request {
        _ if request.contains("/wait") => Act::Begin(""),
        _ if request.starts_with("GET /containers/") && request.ends_with("/json") => act(),
        _ => Act::Obey,
    });
    (engine, bundle)
}

#[test]
fn a_published_port_is_ready_if_a_connection_to_it_is_not_closed_at_once() {
    let kept = Mutex::new(Vec::new());
    let quiet = serve(move |stream| kept.lock().unwrap().push(stream));
    let greets = serve(|mut stream| stream.write_all(b"220 hello\r\n").unwrap());
    let (closes, resets) = (serve(drop), serve(|stream| reset(&stream)));
    for (at, is_ready) in [(quiet, true), (greets, true), (closes, false), (resets, false)] {
        // Another port is of no matter.
        let (engine, bundle) =
            inspected(move || published(&[(79, closes), (80, at), (81, closes)]));
        let timeout = Duration::from_millis(if is_ready { 20_000 } else { 300 });
        match bundle.wait_for(&Ready::tcp(80), timeout) {
            Ok(()) => assert!(is_ready),
            Err(Error::NotReady { seen, .. }) => {
                assert!(!is_ready && seen.starts_with("TCP port 80: "), "{seen}");
            }
            Err(error) => panic!("{error:?}"),
        }
        engine.script(|_, _| Act::Obey);
        bundle.close().unwrap();
    }
}

#[test]
fn the_ports_of_a_container_that_was_restarted_are_found_again_and_not_asked_for_all_the_time() {
    let kept = Mutex::new(Vec::new());
    let (before, after) = (serve(drop), serve(move |stream| kept.lock().unwrap().push(stream)));
    let start = Instant::now();
    let (engine, bundle) = inspected(move || {
        let is_again = start.elapsed() > Duration::from_millis(700);
        published(&[(80, if is_again { after } else { before })])
    });
    let looks = || engine.requests().iter().filter(|it| it.ends_with("/json")).count();
    let (looked, start) = (looks(), Instant::now());
    bundle.wait_for(&Ready::tcp(80), Duration::from_secs(20)).unwrap();
    // Once a second, and at both ends.
    let most = 2 + usize::try_from(start.elapsed().as_secs()).unwrap();
    assert!(looks() - looked <= most, "{} looks in {:?}", looks() - looked, start.elapsed());
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn an_end_that_the_engine_tells_is_seen_at_once() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    engine.script(|request, _| match request {
        _ if request.contains("/wait") => Act::Answer(200, r#"{"StatusCode": 3}"#.into()),
        _ if request.contains("/logs") && request.contains("follow=1") => Act::Begin(""),
        _ if request.starts_with("GET /containers/") && request.ends_with("/json") => {
            let container = json!({
                "Id": "2".repeat(64), "Config": {"Labels": {}}, "NetworkSettings": {},
                "State": {
                    "Status": "exited", "Running": false, "ExitCode": 3,
                    "FinishedAt": "2026-01-01T00:00:00Z",
                },
            });
            Act::Answer(200, container.to_string())
        }
        _ => Act::Obey,
    });
    let start = Instant::now();
    for condition in [never(), Ready::log("never")] {
        let error = bundle.wait_for(&condition, Duration::from_secs(60)).unwrap_err();
        assert!(matches!(&error, Error::Died { exit, .. } if exit.code == 3), "{error:?}");
    }
    let exit = bundle.wait_exit(Duration::from_secs(60)).unwrap();
    assert_eq!(exit.map(|exit| exit.code), Some(3));
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

/// Of an engine that tells no end, the end of the log is one.
#[test]
fn the_end_of_a_log_leads_to_a_look_at_the_container() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    engine.script(|request, _| match request {
        _ if request.contains("/wait") => Act::Begin(""),
        _ if request.contains("/logs") => Act::Answer(200, String::new()),
        _ if request.starts_with("GET /containers/") && request.ends_with("/json") => {
            let container = json!({
                "Id": "2".repeat(64), "Config": {"Labels": {}}, "NetworkSettings": {},
                "State": {
                    "Status": "exited", "Running": false, "ExitCode": 3,
                    "FinishedAt": "2026-01-01T00:00:00Z",
                },
            });
            Act::Answer(200, container.to_string())
        }
        _ => Act::Obey,
    });
    let (start, timeout) = (Instant::now(), Duration::from_secs(4));
    let error = bundle.wait_for(&Ready::log("never"), timeout).unwrap_err();
    assert!(matches!(&error, Error::Died { exit, .. } if exit.code == 3), "{error:?}");
    assert!(start.elapsed() < timeout, "{:?}", start.elapsed());
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn a_short_wait_that_the_engine_has_granted_asks_for_nothing() {
    let (engine, bundle) = inspected(|| published(&[]));
    let asks_nothing = || {
        let looks = || engine.requests().iter().filter(|it| it.ends_with("/json")).count();
        let before = looks();
        assert_eq!(bundle.wait_exit(Duration::from_millis(400)).unwrap(), None);
        looks() == before
    };
    // On a busy host, one may be granted too late.
    assert!((0..20).any(|_| asks_nothing()));
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

/// An engine on which each command in the container is answered so, the last way again and again.
fn commands(bundle_of: &Scripted, codes: Vec<Result<i32, Act>>) {
    let next = Mutex::new(0);
    let code = Mutex::new(0);
    bundle_of.script(move |request, _| match request {
        _ if request.ends_with("/exec") => {
            let mut next = next.lock().unwrap();
            let now = codes[*next].clone();
            *next = (*next + 1).min(codes.len() - 1);
            match now {
                Ok(it) => {
                    *code.lock().unwrap() = it;
                    Act::Answer(201, r#"{"Id": "e"}"#.into())
                }
                Err(act) => act,
            }
        }
        "POST /exec/e/start" => Act::Answer(200, String::new()),
        "GET /exec/e/json" => {
            let ended = json!({"Running": false, "ExitCode": *code.lock().unwrap(), "Pid": 7});
            Act::Answer(200, ended.to_string())
        }
        _ => Act::Obey,
    });
}

#[test]
fn a_command_is_run_ever_less_often_until_it_succeeds() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    let ready = || Ready::exec(["pg_isready"]);
    let runs = || engine.requests().iter().filter(|it| it.ends_with("/exec")).count();
    commands(&engine, vec![Ok(2)]);
    let error = bundle.wait_for(&ready(), Duration::from_millis(900)).unwrap_err();
    let Error::NotReady { seen, .. } = &error else { panic!("{error:?}") };
    assert_eq!(seen, "exit code 2 of command \"pg_isready\"");
    // After about 0, 50, 150, 350 and 750 ms.
    assert!((1..=6).contains(&runs()), "{}", runs());
    commands(&engine, vec![Ok(2), Ok(0)]);
    let start = Instant::now();
    bundle.wait_for(&ready(), LONG).unwrap();
    assert!(start.elapsed() < LONG / 2, "{:?}", start.elapsed());
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn what_a_wait_has_seen_last_is_told_and_not_that_its_deadline_cut_it() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    let busy = || Act::Answer(503, r#"{"message": "the engine is busy"}"#.into());
    for (codes, told) in [
        (vec![Err(busy())], "the engine is busy"),
        (vec![Ok(2), Err(Act::Hang)], "exit code 2"),
        (vec![Ok(2), Err(busy())], "the engine is busy"),
    ] {
        commands(&engine, codes.clone());
        let condition = Ready::exec(["pg_isready"]);
        let error = bundle.wait_for(&condition, Duration::from_millis(400)).unwrap_err();
        let Error::NotReady { seen, .. } = &error else { panic!("{error:?}") };
        assert!(seen.contains(told), "{codes:?}: {seen}");
    }
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

/// An engine on which no command in the container ends.
fn endless(engine: &Scripted) {
    engine.script(|request, _| match request {
        _ if request.ends_with("/exec") => Act::Answer(201, r#"{"Id": "e"}"#.into()),
        "POST /exec/e/start" => Act::Begin(""),
        _ => Act::Obey,
    });
}

#[test]
fn a_command_that_is_waited_for_is_given_up_at_a_stop() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    endless(&engine);
    let (stopper, start) = (bundle.stopper(), Instant::now());
    let stop = thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        stopper.stop();
    });
    let error = bundle.wait_for(&Ready::exec(["sleep", "3600"]), Duration::MAX).unwrap_err();
    assert!(matches!(error, Error::Stopped), "{error:?}");
    stop.join().unwrap();
    assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}
