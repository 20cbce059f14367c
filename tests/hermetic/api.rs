//! The API backend, against an engine that does as it is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use sidecar_bundle::{BundleEvent, BundleSpec, Cause, ContainerFile, Engine, Error, Events, Ready};

use crate::fake::plan;
use crate::scripted::{Act, Scripted};

/// An engine that does this at one request, once for all that begin so, and obeys otherwise.
fn at(request: &'static str, act: Act) -> Scripted {
    Scripted::new(move |made, _| if made.starts_with(request) { act.clone() } else { Act::Obey })
}

const CREATE: &str = "POST /networks/create";
const RUN: &str = "POST /containers/create";

#[test]
fn an_engine_that_refuses_to_describe_itself_tells_the_cause() {
    let words = json!({"message": "permission denied while trying to connect to the engine"});
    let engine = at("GET /info", Act::Answer(403, words.to_string()));
    let error = engine.engine().version().unwrap_err();
    assert_eq!(error.cause(), Cause::PermissionDenied, "{error}");
}

/// The connection on which it was asked is lost, and a new one leads elsewhere.
#[test]
fn a_removal_is_not_asked_again_of_another_engine() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let network = plan().create_network(&engine.engine()).unwrap();
    let is_lost = AtomicBool::new(false);
    engine.script(move |request, _| {
        if request.starts_with("DELETE ") {
            is_lost.store(true, Ordering::SeqCst);
            return Act::Bytes("");
        }
        let other = json!({"ID": "OTHER", "Name": "two", "ServerVersion": "20.10.24"});
        match request {
            "GET /info" if is_lost.load(Ordering::SeqCst) => Act::Answer(200, other.to_string()),
            _ => Act::Obey,
        }
    });
    let error = network.close().unwrap_err();
    assert_eq!(error.cause(), Some(Cause::AnotherEngine), "{error:?}");
    let requests = engine.requests();
    let lost = requests.iter().position(|it| it.starts_with("DELETE ")).unwrap();
    let asked = requests[lost..].iter().skip_while(|it| *it != "GET /info");
    assert!(asked.clone().count() > 0 && asked.clone().all(|it| it == "GET /info"), "{requests:?}");
}

#[test]
fn a_bundle_comes_and_goes() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    assert_eq!(engine.resources(), 2);
    bundle.close().unwrap();
    assert_eq!(engine.resources(), 0);
}

#[test]
fn a_lost_answer_leaves_nothing() {
    for request in [CREATE, RUN, "POST /containers/0"] {
        for act in [Act::ObeyAndCut, Act::ObeyHalf, Act::Bytes("HTTP/1.1 200 OK\r\n\r\n{")] {
            let engine = at(request, act.clone());
            let failed = plan().launch(&engine.engine(), BundleSpec::new());
            // The answer of a start has no body to be cut.
            if let Ok(bundle) = failed {
                bundle.close().unwrap();
            }
            assert_eq!(engine.resources(), 0, "{request} {act:?}");
        }
    }
}

#[test]
fn files_are_copied_before_the_start_and_a_copy_that_fails_leaves_nothing() {
    let spec = || {
        let file = ContainerFile::secret("/run/keys/key", "hunter2hunter2");
        BundleSpec::new().file(file).file(ContainerFile::new("/etc/proxy.yaml", "x"))
    };
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), spec()).unwrap();
    let requests = engine.requests();
    let at = |it: &str| requests.iter().position(|request| request.starts_with(it)).unwrap();
    assert!(at(RUN) < at("PUT /containers/") && at("PUT /containers/") < at("POST /containers/0"));
    bundle.close().unwrap();
    let error = |status, text: &str| Act::Answer(status, json!({"message": text}).to_string());
    for act in [
        Act::ObeyAndCut,
        Act::Hang,
        error(404, "not a directory: hunter2hunter2"),
        error(500, "no space left on device"),
    ] {
        let engine = self::at("PUT /containers/", act.clone());
        let short = engine.engine().with_start_deadline(Duration::from_millis(400));
        let failed = plan().launch(&short, spec()).unwrap_err();
        assert!(matches!(failed.error(), Error::Start { .. }), "{act:?}: {failed:?}");
        assert!(!format!("{failed:?} {:?}", failed.error()).contains("hunter2"), "{failed:?}");
        assert_eq!(engine.resources(), 0, "{act:?}");
        assert!(!engine.requests().iter().any(|it| it.ends_with("/start")), "{act:?}");
    }
}

#[test]
fn a_guest_that_cannot_be_made_leaves_the_bundle_and_nothing_else() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    let spec = || BundleSpec::new().image("agent");
    for act in [Act::ObeyAndCut, Act::ObeyHalf, Act::Answer(500, "{}".into())] {
        let act = std::sync::Mutex::new(act);
        engine.script(move |request, _| {
            if request.starts_with(RUN) { act.lock().unwrap().clone() } else { Act::Obey }
        });
        assert!(matches!(bundle.guest("agent", spec()).unwrap_err(), Error::Start { .. }));
        assert_eq!(engine.resources(), 2);
    }
    engine.script(|_, _| Act::Obey);
    let guest = bundle.guest_in_namespace("agent", spec()).unwrap();
    // A second one of its name is refused before a lost answer could take the first along.
    engine.script(|request, _| if request.starts_with(RUN) { Act::ObeyAndCut } else { Act::Obey });
    assert!(matches!(bundle.guest("agent", spec()).unwrap_err(), Error::Invalid(_)));
    assert_eq!(engine.resources(), 3);
    engine.script(|_, _| Act::Obey);
    drop(guest);
    drop(bundle.guest_in_namespace("agent", spec()).unwrap());
    bundle.close().unwrap();
    assert_eq!(engine.resources(), 0);
}

#[test]
fn a_refused_request_made_nothing_and_nothing_is_looked_for() {
    let page =
        "<html><body><h1>403 Forbidden</h1>\nby\tthe <b>proxy</b>\n</body></html>\n".to_owned();
    let engine = at(CREATE, Act::Answer(403, page));
    let failed = plan().create_network(&engine.engine()).unwrap_err();
    let Error::CreateNetwork { source, .. } = failed.error() else { panic!("{failed:?}") };
    assert_eq!(
        source.to_string(),
        "POST /networks/create was answered with status 403: 403 Forbidden by the proxy"
    );
    let requests = engine.requests();
    let last = requests.iter().rposition(|it| it == CREATE).unwrap();
    assert_eq!(requests[last + 1..], [""; 0]);
}

#[test]
fn what_something_on_the_way_has_refused_may_have_been_made() {
    for status in [408, 425, 429, 499, 502, 504] {
        let engine = at(CREATE, Act::ObeyAndAnswer(status, "<html>no time</html>".into()));
        let failed = plan().create_network(&engine.engine()).unwrap_err();
        assert!(matches!(failed.error(), Error::CreateNetwork { .. }), "{failed:?}");
        assert_eq!(engine.resources(), 0, "{status}");
    }
}

#[test]
fn a_request_is_bounded_by_its_deadline() {
    let engine = at(CREATE, Act::Hang);
    let start = Instant::now();
    let short = engine.engine().with_start_deadline(Duration::from_millis(300));
    let failed = plan().create_network(&short).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::TimedOut), "{failed:?}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(engine.resources(), 0);
}

#[test]
fn an_engine_that_does_not_say_what_it_is_was_sent_nothing_else() {
    const INFO: &str = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nConnection: close\r\n\r\n{\"ServerVersion\": \"20.10.24\", \"ID\": \"ID\"}";
    // The first connection tells it, and ends; the next one does not.
    let asked = AtomicUsize::new(0);
    let engine = Scripted::new(move |request, _| match request {
        "GET /info" if asked.fetch_add(1, Ordering::SeqCst) == 0 => Act::Bytes(INFO),
        "GET /info" => Act::Hang,
        _ => Act::Obey,
    });
    let short = engine.engine().with_start_deadline(Duration::from_millis(300));
    let failed = plan().create_network(&short).unwrap_err();
    let Error::CreateNetwork { source, .. } = failed.error() else { panic!("{failed:?}") };
    assert_eq!(source.cause(), Cause::TimedOut);
    let text = source.to_string();
    assert!(text.contains("the engine at /") && text.contains("did not say what it is"), "{text}");
    // Nothing was made, and nothing is looked for.
    assert_eq!(engine.requests(), ["GET /info", "GET /info"]);
}

#[test]
fn a_program_that_prints_much_does_not_wait_for_ever() {
    let room = tempfile::tempdir().unwrap();
    let program = room.path().join("docker");
    let info = json!({"ServerVersion": "20.10.24", "ID": "ID", "Name": "n", "DockerRootDir": "/"});
    let script = format!(
        r#"#!/bin/sh
info='{info}'
warn() {{ head -c 1000000 /dev/zero | tr '\0' w >&2; }}
warn
while read -r line; do
    [ "$line" = "$(printf '\r')" ] || continue
    warn
    printf 'HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: %d\r\n\r\n%s' ${{#info}} "$info"
done
"#
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let engine = Engine::docker().with_program(program).with_host("ssh://nobody@host");
    for _ in 0..3 {
        assert_eq!(engine.version().unwrap(), "Docker 20.10.24");
    }
}

#[test]
fn no_deadline_is_too_long() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let endless = engine.engine().with_start_deadline(Duration::MAX);
    let endless = endless.with_remove_deadline(Duration::MAX);
    plan().launch(&endless, BundleSpec::new()).unwrap().close().unwrap();
    assert_eq!(engine.resources(), 0);
}

#[test]
fn an_absence_on_another_engine_is_not_believed() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    // Every connection ends with its answer, and another engine is behind the next.
    engine.script(|_, _| Act::ObeyAndCut);
    let _ = bundle.status();
    engine.rename("two");
    engine.script(|_, _| Act::Obey);
    let error = bundle.status().unwrap_err();
    assert_eq!(error.cause(), Some(Cause::AnotherEngine), "{error:?}");
    let error = bundle.close().unwrap_err();
    assert_eq!(error.cause(), Some(Cause::AnotherEngine), "{error:?}");
    assert_eq!(engine.resources(), 2);
    // The engine is back, and the slug's next owner removes what was left.
    engine.rename("one");
    plan().launch(&engine.engine(), BundleSpec::new()).unwrap().close().unwrap();
    assert_eq!(engine.resources(), 0);
}

#[test]
fn what_is_repeatable_is_asked_again_where_a_kept_connection_had_ended() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    for act in [Act::ObeyAndCut, Act::ObeyHalf, Act::Bytes("")] {
        let cuts = AtomicUsize::new(0);
        engine.script(move |request, _| {
            let is_first =
                request.starts_with("GET /containers/") && cuts.fetch_add(1, Ordering::SeqCst) == 0;
            if is_first { act.clone() } else { Act::Obey }
        });
        bundle.status().unwrap();
    }
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    // Once: an engine that cuts every connection is an error.
    engine.script(|request, _| {
        if request.starts_with("GET /containers/") { Act::ObeyAndCut } else { Act::Obey }
    });
    assert_eq!(bundle.status().unwrap_err().cause(), Some(Cause::EngineUnreachable));
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
    // The connection ends at the first removal, done or not.
    for act in [Act::ObeyAndCut, Act::Bytes("")] {
        let cuts = AtomicUsize::new(0);
        engine.script(move |request, _| {
            let is_first =
                request.starts_with("DELETE") && cuts.fetch_add(1, Ordering::SeqCst) == 0;
            if is_first { act.clone() } else { Act::Obey }
        });
        plan().launch(&engine.engine(), BundleSpec::new()).unwrap().close().unwrap();
        assert_eq!(engine.resources(), 0);
    }
}

#[test]
fn a_start_is_not_sent_twice() {
    let engine = at("POST /containers/0", Act::ObeyAndCut);
    let failed = plan().launch(&engine.engine(), BundleSpec::new()).unwrap_err();
    assert!(matches!(failed.error(), Error::Start { .. }), "{failed:?}");
    let starts = engine.requests().into_iter().filter(|it| it.ends_with("/start"));
    assert_eq!(starts.count(), 1);
    assert_eq!(engine.resources(), 0);
}

#[test]
fn a_proxy_may_keep_the_version_of_the_api_to_itself() {
    let engine = Scripted::new(|_, _| Act::Obey);
    engine.set_version("");
    plan().launch(&engine.engine(), BundleSpec::new()).unwrap().close().unwrap();
    assert!(engine.requests().contains(&"GET /version".into()));
}

/// A frame of a log, on standard output.
pub(crate) fn frame(text: &str) -> String {
    format!("\u{1}\0\0\0\0\0\0{}{text}", char::from(u8::try_from(text.len()).unwrap()))
}

/// Answers to requests that begin so, each once, and the last again and again.
pub(crate) fn answers(
    request: &'static str,
    acts: impl IntoIterator<Item = Act>,
) -> impl Fn(&str) -> Option<Act> + Send {
    let acts: Vec<_> = acts.into_iter().collect();
    let next = AtomicUsize::new(0);
    move |made| {
        let path = made.split('?').next().unwrap();
        let is_it = path.starts_with("GET ") && path.ends_with(request);
        is_it.then(|| acts[next.fetch_add(1, Ordering::SeqCst).min(acts.len() - 1)].clone())
    }
}

/// The description of a container in this state.
pub(crate) fn container(running: bool, code: i32) -> Act {
    let (status, finished) = if running { ("running", "0001") } else { ("exited", "2026") };
    Act::Answer(
        200,
        json!({
            "Id": "2".repeat(64), "Config": {"Labels": {}}, "NetworkSettings": {"Networks": {}},
            "State": {
                "Status": status, "Running": running, "ExitCode": code,
                "StartedAt": "2026-01-01T00:00:00Z",
                "FinishedAt": format!("{finished}-01-01T00:00:01Z"),
            },
        })
        .to_string(),
    )
}

fn not_found() -> Act {
    Act::Answer(404, r#"{"message": "No such container: x"}"#.into())
}

#[test]
fn a_wait_is_bounded_where_what_it_follows_is_never_answered() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    engine.script(|request, _| match request {
        _ if request.contains("/logs") || request.contains("/wait") => Act::Hang,
        _ if request.contains("/events") => Act::Answer(200, String::new()),
        _ => Act::Obey,
    });
    let start = Instant::now();
    let short = Duration::from_millis(300);
    let error = bundle.wait_for(&Ready::log("never"), short).unwrap_err();
    assert!(matches!(error, Error::NotReady { .. }), "{error:?}");
    assert_eq!(bundle.wait_exit(short).unwrap(), None);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    let stopper = bundle.stopper();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(short);
        stopper.stop();
    });
    let start = Instant::now();
    assert!(matches!(bundle.wait_exit(Duration::MAX), Err(Error::Stopped)));
    let told: Vec<_> = bundle.events().unwrap().take(2).collect();
    assert!(matches!(told[..], [Err(Error::Stopped)]), "{told:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    thread.join().unwrap();
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn an_end_that_nobody_told_is_seen_at_the_deadline() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    let dead = answers("/json", [container(false, 3)]);
    engine.script(move |request, _| match request {
        _ if request.contains("/wait") => Act::Hang,
        _ => dead(request).unwrap_or(Act::Obey),
    });
    // However short the wait is: it was not granted.
    for timeout in [0, 1, 100, 1200] {
        let exit = bundle.wait_exit(Duration::from_millis(timeout)).unwrap();
        assert_eq!(exit.map(|exit| exit.code), Some(3), "{timeout}");
    }
    let error = bundle.wait_for(&Ready::any([]), Duration::ZERO).unwrap_err();
    assert!(matches!(error, Error::Died { .. }), "{error:?}");
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn a_container_that_somebody_removed_is_gone_whatever_is_asked() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    engine.script(|request, _| {
        if request.contains("/containers/") && !request.starts_with("DELETE") {
            not_found()
        } else {
            Act::Obey
        }
    });
    let short = Duration::from_secs(1);
    for error in [
        bundle.status().map(drop),
        bundle.logs(None).map(drop),
        bundle.follow_logs(None).map(drop),
        bundle.wait_exit(short).map(drop),
        bundle.wait_exit(Duration::ZERO).map(drop),
        bundle.wait_for(&Ready::any([]), short),
        bundle.wait_for(&Ready::log("x"), short),
        bundle.exec(["true"], short).map(drop),
    ] {
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Gone { .. }), "{error:?}");
    }
    assert!(matches!(bundle.exec([""; 0], short), Err(Error::Invalid(_))));
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn the_last_lines_are_read_until_an_answer_is_whole() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    let [a, b] = ["1 a\n", "2 b\n"]
        .map(|it| frame(&format!("2026-01-02T03:04:05.00000000{it}").replacen(' ', "Z ", 1)));
    let logs = answers(
        "/logs",
        [
            Act::Answer(200, a.clone()),
            Act::Answer(502, "Bad Gateway".into()),
            Act::ObeyHalf,
            Act::Answer(200, a + &b),
        ],
    );
    // Neither a page of somebody else's nor one of another service is an end.
    let states = answers(
        "/json",
        [
            Act::Answer(404, "404 page not found".into()),
            Act::Answer(200, "{}".into()),
            container(false, 0),
        ],
    );
    engine.script(move |request, _| logs(request).or_else(|| states(request)).unwrap_or(Act::Obey));
    let lines: Vec<_> = bundle.follow_logs(None).unwrap().map(|it| it.text).collect();
    assert_eq!(lines, ["a", "b"]);
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn an_engine_that_cannot_read_a_log_further_says_so() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    let words = "Error grabbing logs: invalid character\n";
    let length = char::from(u8::try_from(words.len()).unwrap());
    let broken =
        |time: &str| frame(&format!("{time}good\n")) + &format!("\u{3}\0\0\0\0\0\0{length}{words}");
    let (plain, timed) = (broken(""), broken("2026-01-02T03:04:05.000000001Z "));
    engine.script(move |request, _| match request {
        _ if !request.contains("/logs") => Act::Obey,
        _ if request.contains("timestamps") => Act::Answer(200, timed.clone()),
        _ => Act::Answer(200, plain.clone()),
    });
    let says = "did not answer with all of it: Error grabbing logs: invalid character";
    let error = bundle.logs(None).unwrap_err();
    let Error::Look { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().ends_with(says), "{source}");
    assert_eq!(error.cause(), Some(Cause::Other));
    let start = Instant::now();
    let lines: Vec<_> = bundle.follow_logs(None).unwrap().map(|it| it.text).collect();
    assert_eq!(lines, ["good"]);
    let error = bundle.wait_for(&Ready::log("never"), Duration::from_secs(20)).unwrap_err();
    assert!(
        matches!(&error, Error::Look { source, .. } if source.to_string().ends_with(says)),
        "{error:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    // The words that there are.
    let error = bundle.wait_for(&Ready::any([]), Duration::ZERO).unwrap_err();
    assert!(matches!(&error, Error::NotReady { log, .. } if log == "good"), "{error:?}");
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn a_slow_condition_and_a_chatty_log_do_not_keep_each_other_waiting() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    let line = |number: u32| frame(&format!("2026-01-02T03:04:05.{number:09}Z line\n"));
    let log: String = (0..100_000).map(line).collect();
    let log = log + &frame("2026-01-02T03:04:06.000000000Z READY\n");
    engine.script(move |request, _| match request {
        _ if request.contains("/logs") => Act::Answer(200, log.clone()),
        _ if request.contains("/wait") => Act::Hang,
        _ => Act::Obey,
    });
    let slow = Ready::check("slow", || {
        std::thread::sleep(Duration::from_millis(300));
        false
    });
    // A thousand lines after each look would take 30 s.
    bundle.wait_for(&Ready::any([slow, Ready::log("READY")]), Duration::from_secs(20)).unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let quick = Ready::check("quick", move || counted.fetch_add(1, Ordering::SeqCst) == usize::MAX);
    let start = Instant::now();
    bundle.wait_for(&Ready::any([quick, Ready::log("READY")]), Duration::from_secs(20)).unwrap();
    let most = 3 + start.elapsed().as_millis() / 50;
    let calls = calls.load(Ordering::SeqCst);
    assert!(u128::try_from(calls).unwrap() <= most, "{calls} of {most}");
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn a_log_that_cannot_be_followed_is_an_error_at_once() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    let message = r#"{"message": "configured logging driver does not support reading"}"#;
    let logs = answers("/logs", [Act::Answer(501, message.into())]);
    engine.script(move |request, _| logs(request).unwrap_or(Act::Obey));
    for error in [
        bundle.follow_logs(None).unwrap_err(),
        bundle.wait_for(&Ready::log("x"), Duration::from_secs(60)).unwrap_err(),
    ] {
        let Error::Look { source, .. } = error else { panic!("{error:?}") };
        assert!(source.message().contains("does not support reading"), "{source}");
    }
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn a_command_whose_output_was_cut_is_an_error_whatever_its_exit_code() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    let exec = |start: Act| {
        engine.script(move |request, _| match request {
            _ if request.ends_with("/exec") => Act::Answer(201, r#"{"Id": "e"}"#.into()),
            "POST /exec/e/start" => start.clone(),
            "GET /exec/e/json" => Act::Answer(200, r#"{"Running": false, "ExitCode": 127}"#.into()),
            _ => Act::Obey,
        });
        bundle.exec(["x"], Duration::from_secs(20))
    };
    // Half a frame, and no frame at all.
    let half = &frame("output")[..10];
    for cut in [Act::Answer(200, half.into()), Act::Answer(200, "hello, world".into())] {
        assert!(matches!(exec(cut), Err(Error::Exec { .. })));
    }
    let refused = r#"{"message": "OCI runtime exec failed: no such file"}"#;
    let output = exec(Act::Answer(400, refused.into())).unwrap();
    assert_eq!((output.code, &*output.stderr), (127, "OCI runtime exec failed: no such file"));
    assert_eq!(exec(Act::Answer(200, frame("hi"))).unwrap().stdout, "hi");
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn a_command_that_was_not_started_has_no_output() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    // As Docker answers: before it starts the command, whose output its error then is.
    let exec = |words: &'static str| {
        engine.script(move |request, _| match request {
            _ if request.ends_with("/exec") => Act::Answer(201, r#"{"Id": "e"}"#.into()),
            "POST /exec/e/start" => Act::Answer(200, frame(words)),
            "GET /exec/e/json" => {
                Act::Answer(200, r#"{"Running": false, "ExitCode": 126, "Pid": 0}"#.into())
            }
            _ => Act::Obey,
        });
        bundle.exec(["x"], Duration::from_secs(20))
    };
    let missing = "OCI runtime exec failed: exec: \"x\": executable file not found in $PATH";
    let output = exec(missing).unwrap();
    assert_eq!((output.code, &*output.stdout, &*output.stderr), (126, "", missing));
    let error = exec("OCI runtime exec failed: cannot fork: resource unavailable\r\n").unwrap_err();
    let Error::Exec { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().ends_with("cannot fork: resource unavailable"), "{source}");
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn no_event_is_lost_where_a_look_fails() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    let die = r#"{"Action": "die", "Actor": {"Attributes": {"exitCode": "3"}}, "timeNano": 5}"#;
    let events = answers("/events", [Act::Answer(200, die.into()), Act::Hang]);
    let states = answers(
        "/json",
        [container(true, 0), Act::Answer(503, "later".into()), container(false, 3), not_found()],
    );
    engine
        .script(move |request, _| events(request).or_else(|| states(request)).unwrap_or(Act::Obey));
    let mut events = bundle.events().unwrap();
    let next = |events: &mut Events<'_>| events.next_timeout(Duration::from_secs(20));
    assert_eq!(next(&mut events).unwrap(), Some(BundleEvent::Started));
    assert!(matches!(next(&mut events), Err(Error::Look { .. })));
    let died = next(&mut events).unwrap();
    assert!(matches!(&died, Some(BundleEvent::Died { exit, .. }) if exit.code == 3), "{died:?}");
    drop(events);
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn a_death_is_told_before_the_container_is_gone() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    let die = r#"{"Action": "die", "Actor": {"Attributes": {"exitCode": "137"}}, "timeNano": 5}"#;
    let events = answers("/events", [Act::Answer(200, die.into()), Act::Hang]);
    let states = answers("/json", [container(true, 0), not_found()]);
    engine
        .script(move |request, _| events(request).or_else(|| states(request)).unwrap_or(Act::Obey));
    let told: Vec<_> = bundle.events().unwrap().map(Result::unwrap).collect();
    let [BundleEvent::Started, BundleEvent::Died { exit, .. }, BundleEvent::Gone] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(exit.code, 137);
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn a_network_whose_containers_are_not_told_is_not_removed_from_under_them() {
    let podman = r#"{"ServerVersion": "4.3.1", "Name": "one", "DockerRootDir": "/", "ProductLicense": "Apache-2.0", "OperatingSystem": "Docker Desktop"}"#;
    let info = answers("/info", [Act::Answer(200, podman.into())]);
    let engine = Scripted::new(move |request, _| info(request).unwrap_or(Act::Obey));
    let network = plan().create_network(&engine.engine()).unwrap();
    let id = network.network_id().to_owned();
    let info = answers("/info", [Act::Answer(200, podman.into())]);
    engine.script(move |request, _| match request {
        _ if request == format!("GET /networks/{id}") => Act::Answer(200, "{}".into()),
        _ => info(request).unwrap_or(Act::Obey),
    });
    assert!(matches!(network.close(), Err(Error::NotRemoved { .. })));
    assert!(!engine.requests().iter().any(|it| it.starts_with("DELETE")));
}

#[test]
fn what_is_no_engine_or_too_old_is_said() {
    let engine = Scripted::new(|_, _| Act::Obey);
    engine.set_version("1.40");
    let said = |engine: &Scripted| engine.engine().version().unwrap_err().to_string();
    assert_eq!(
        said(&engine),
        "the engine speaks version 1.40 of its API, and this library 1.41 to 1.51"
    );
    for (act, text) in [
        (Act::Answer(200, "{}".into()), "what answers is no engine"),
        (Act::Answer(200, "hello".into()), "what answers is no engine"),
        (Act::Bytes("SSH-2.0-OpenSSH_9.2\r\n"), "GET /info was not sent"),
        (Act::Answer(503, "later".into()), "GET /info was answered with status 503: later"),
    ] {
        let engine = at("GET /info", act);
        assert!(said(&engine).starts_with(text), "{}", said(&engine));
    }
}

#[test]
fn a_secret_is_in_the_request_alone() {
    let engine = Scripted::new(|request, body| match request {
        _ if request.starts_with(RUN) => {
            Act::Answer(400, format!("{{\"message\": \"bad: {}\"}}", body.replace('"', "'")))
        }
        _ => Act::Obey,
    });
    crate::surroundings::trace_everything();
    let spec = BundleSpec::new().secret("TOKEN", "hunter2-is-secret");
    let failed = plan().launch(&engine.engine(), spec).unwrap_err();
    let shown = format!("{} {failed:?}", failed.error());
    assert!(shown.contains("TOKEN=***") && !shown.contains("hunter2"), "{shown}");
    assert_eq!(engine.resources(), 0);
}

#[test]
fn a_secret_is_not_in_the_reason_of_an_exit() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let spec = BundleSpec::new().secret("TOKEN", "hunter2-is-secret");
    let bundle = plan().launch(&engine.engine(), spec).unwrap();
    let Act::Answer(_, state) = container(false, 3) else { panic!() };
    let state =
        state.replace("\"ExitCode\"", "\"Error\":\"exec hunter2-is-secret: no\",\"ExitCode\"");
    let states = answers("/json", [Act::Answer(200, state)]);
    engine.script(move |request, _| states(request).unwrap_or(Act::Obey));
    let exit = bundle.status().unwrap().exit.unwrap();
    assert_eq!(exit.error, "exec ***: no");
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn a_profile_is_read_before_anything_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile.json");
    let option = format!("seccomp={}", path.display());
    let spec = || BundleSpec::new().security_option(&option);
    let gone = path.clone();
    let engine = Scripted::new(move |request, body| {
        let sent = body.contains(r#""seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}""#);
        match request {
            CREATE => drop(std::fs::remove_file(&gone)),
            _ if request.starts_with(RUN) && !sent => return Act::Answer(400, body.to_owned()),
            _ => {}
        }
        Act::Obey
    });
    let failed = plan().launch(&engine.engine(), spec()).unwrap_err();
    assert!(matches!(failed.error(), Error::Invalid(_)), "{failed:?}");
    std::fs::write(&path, "{").unwrap();
    let failed = plan().launch(&engine.engine(), spec()).unwrap_err();
    assert!(matches!(failed.error(), Error::Invalid(_)), "{failed:?}");
    let requests = engine.requests();
    assert!(requests.iter().all(|it| it == "GET /info"), "{requests:?}");
    std::fs::write(&path, r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#).unwrap();
    let bundle = plan().launch(&engine.engine(), spec()).unwrap();
    assert!(!path.exists());
    bundle.close().unwrap();
}

#[test]
fn options_of_the_other_backend_are_refused_before_anything() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let spec = BundleSpec::new().engine_flag("--shm-size=1g");
    let failed = plan().launch(&engine.engine(), spec).unwrap_err();
    assert!(matches!(failed.error(), Error::Unsupported(_)), "{failed:?}");
    let requests = engine.requests();
    assert!(requests.iter().all(|it| it == "GET /info"), "{requests:?}");
}

/// The requests of something, each without the ids in it, in alphabetical order.
fn asked(engine: &Scripted, doing: impl FnOnce()) -> Vec<String> {
    let before = engine.requests().len();
    doing();
    let without_ids = |request: String| {
        let path = request.split('?').next().unwrap();
        let words = path.split('/').map(|word| if word.len() == 64 { "ID" } else { word });
        words.collect::<Vec<_>>().join("/")
    };
    let mut asked: Vec<_> =
        engine.requests().split_off(before).into_iter().map(without_ids).collect();
    asked.sort();
    asked
}

#[test]
fn a_launch_takes_five_requests_and_a_close_three() {
    // It removes slowly enough that two connections are used side by side, and kept from then on.
    let engine = Scripted::new(|request, _| {
        if request.starts_with("DELETE ") {
            thread::sleep(Duration::from_millis(100));
        }
        Act::Obey
    });
    let one = engine.engine();
    plan().launch(&one, BundleSpec::new()).unwrap().close().unwrap();
    engine.script(|_, _| Act::Obey);
    for _ in 0..2 {
        let mut bundle = None;
        let up = asked(&engine, || bundle = Some(plan().launch(&one, BundleSpec::new()).unwrap()));
        assert_eq!(
            up,
            [
                "GET /_ping",
                "GET /containers/ID/json",
                "POST /containers/ID/start",
                "POST /containers/create",
                "POST /networks/create",
            ]
        );
        let down = asked(&engine, || bundle.unwrap().close().unwrap());
        assert_eq!(
            down,
            ["DELETE /containers/ID", "DELETE /networks/ID", "POST /networks/ID/disconnect"]
        );
    }
}

#[test]
fn what_is_left_of_a_container_comes_with_the_error_of_its_network_or_start() {
    let refusals: [(&str, u16, &str); 2] = [
        (CREATE, 403, r#"{"message": "Pool overlaps with other one on this address space"}"#),
        (
            "POST /containers/0",
            404,
            r#"{"message": "network claude-bottle-bundle-demo not found"}"#,
        ),
    ];
    for (request, status, words) in refusals {
        let engine = Scripted::new(move |made, _| match made {
            _ if made.starts_with(request) => Act::Answer(status, words.to_owned()),
            _ if made.starts_with("DELETE /containers") => Act::Answer(500, "{}".into()),
            _ => Act::Obey,
        });
        let failed = plan().launch(&engine.engine(), BundleSpec::new()).unwrap_err();
        let [first, left] = failed.error().each() else { panic!("{failed:?}") };
        let is_first = match first {
            Error::SubnetTaken { .. } => request == CREATE,
            Error::Start { .. } => request != CREATE,
            _ => false,
        };
        assert!(is_first && matches!(left, Error::NotRemoved { .. }), "{failed:?}");
        assert_eq!(engine.resources(), 1);
    }
}

#[test]
fn a_network_that_is_in_use_while_its_container_goes_is_asked_again() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    let asked = AtomicUsize::new(0);
    engine.script(move |request, _| {
        let is_first =
            request.starts_with("DELETE /networks") && asked.fetch_add(1, Ordering::SeqCst) == 0;
        let words = r#"{"message": "network demo has active endpoints"}"#;
        if is_first { Act::Answer(403, words.into()) } else { Act::Obey }
    });
    bundle.close().unwrap();
    assert_eq!(engine.resources(), 0);
    // Nothing is left, and so no lease.
    assert_eq!(fs::read_dir(engine.path("leases")).unwrap().count(), 0);
}

#[test]
fn a_kept_connection_on_which_something_else_answers_is_not_believed() {
    let engine = Scripted::new(|_, _| Act::Obey);
    plan().launch(&engine.engine(), BundleSpec::new()).unwrap().close().unwrap();
    let docker = engine.engine();
    plan().launch(&docker, BundleSpec::new()).unwrap().close().unwrap();
    engine.script(|_, _| Act::Answer(502, "<html>no engine</html>".into()));
    let failed = plan().launch(&docker, BundleSpec::new()).unwrap_err();
    assert!(matches!(failed.error(), Error::Look { what: "its identity", .. }), "{failed:?}");
    assert!(!engine.requests().iter().rev().take(3).any(|it| it.starts_with("POST")));
}

/// Podman refuses it in the moment in which a container ends by itself.
#[test]
fn a_removal_of_a_container_that_is_refused_for_a_moment_is_tried_again() {
    for refusals in [1, 2] {
        let engine = Scripted::new(|_, _| Act::Obey);
        let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
        let asked = AtomicUsize::new(0);
        engine.script(move |request, _| {
            let is_refused = request.starts_with("DELETE /containers")
                && asked.fetch_add(1, Ordering::SeqCst) < refusals;
            let words = r#"{"message": "could not be stopped: container state improper"}"#;
            if is_refused { Act::Answer(500, words.into()) } else { Act::Obey }
        });
        bundle.close().unwrap();
        assert_eq!(engine.resources(), 0);
    }
}

#[test]
fn a_container_goes_whose_network_was_refused() {
    let overlap = r#"{"message": "Pool overlaps with other one on this address space"}"#;
    let engine = Scripted::new(move |request, _| match request {
        "POST /networks/create" => Act::Answer(403, overlap.to_owned()),
        _ => Act::Obey,
    });
    let failed = plan().launch(&engine.engine(), BundleSpec::new()).unwrap_err();
    assert!(matches!(failed.error(), Error::SubnetTaken { .. }), "{failed:?}");
    assert_eq!(engine.resources(), 0);
    assert!(!engine.requests().iter().any(|it| it.ends_with("/start")), "it never runs");
}

#[test]
fn a_container_that_could_not_be_created_beside_its_network_is_created_after_it() {
    for act in [
        Act::Answer(500, r#"{"message": "the disk is tired"}"#.to_owned()),
        Act::ObeyAndCut,
        Act::Bytes(""),
    ] {
        let creates = AtomicUsize::new(0);
        let engine = Scripted::new(move |request, _| {
            let is_first = request.starts_with("POST /containers/create")
                && creates.fetch_add(1, Ordering::SeqCst) == 0;
            if is_first { act.clone() } else { Act::Obey }
        });
        let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
        assert_eq!(engine.resources(), 2);
        bundle.close().unwrap();
        assert_eq!(engine.resources(), 0);
    }
}

#[test]
fn a_container_whose_network_is_not_found_by_its_name_is_created_by_its_id() {
    for message in ["network x not found", "network x is ambiguous (2 matches found on name)"] {
        let starts = AtomicUsize::new(0);
        let answer = json!({"message": message}).to_string();
        let engine = Scripted::new(move |request, _| {
            let is_first =
                request.ends_with("/start") && starts.fetch_add(1, Ordering::SeqCst) == 0;
            if is_first { Act::Answer(404, answer.clone()) } else { Act::Obey }
        });
        let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
        let requests = engine.requests();
        let creates = requests.iter().filter(|it| it.starts_with("POST /containers/create"));
        assert_eq!((creates.count(), engine.resources()), (2, 2));
        bundle.close().unwrap();
        assert_eq!(engine.resources(), 0);
    }
}

#[test]
fn a_container_that_stays_on_its_network_goes_before_it() {
    let (engine, gate) = (Scripted::new(|_, _| Act::Obey), Arc::new(AtomicBool::new(false)));
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    let its = Arc::clone(&gate);
    engine.script(move |request, _| match request {
        _ if request.ends_with("/disconnect") => {
            Act::Answer(500, r#"{"message": "it stays"}"#.to_owned())
        }
        _ if request.starts_with("DELETE /containers/") => Act::ObeyAfter(Arc::clone(&its)),
        _ => Act::Obey,
    });
    let closing = std::thread::spawn(move || bundle.close());
    let asked = |what: &str| engine.requests().iter().any(|it| it.starts_with(what));
    while !asked("DELETE /containers/") {
        assert!(!closing.is_finished());
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(100));
    assert!(!asked("DELETE /networks/"), "{:?}", engine.requests());
    gate.store(true, Ordering::SeqCst);
    closing.join().unwrap().unwrap();
    assert_eq!(engine.resources(), 0);
}

#[test]
fn the_removal_of_one_does_not_depend_on_that_of_the_other() {
    for stays in ["DELETE /containers/", "DELETE /networks/"] {
        let engine = Scripted::new(move |request, _| {
            if request.starts_with(stays) {
                Act::Answer(500, r#"{"message": "it stays"}"#.to_owned())
            } else {
                Act::Obey
            }
        });
        let short = engine.engine().with_remove_deadline(Duration::from_secs(2));
        let bundle = plan().launch(&short, BundleSpec::new()).unwrap();
        let error = bundle.close().unwrap_err();
        assert!(matches!(error, Error::NotRemoved { .. }), "{error:?}");
        assert_eq!(engine.resources(), 1);
        let bundle = {
            engine.script(|_, _| Act::Obey);
            plan().launch(&engine.engine(), BundleSpec::new()).unwrap()
        };
        // A drop does the same.
        drop(bundle);
        assert_eq!(engine.resources(), 0);
    }
}
