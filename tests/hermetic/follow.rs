//! Logs and events, each followed on a connection of its own, against an engine that does as it is told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use sidecar_bundle::{Error, Ready};

use crate::api::{answers, container, frame};
use crate::operations::{refusal, scripted, up};
use crate::scripted::Act;
use crate::surroundings::wait_for;

const LONG: Duration = Duration::from_secs(20);

/// A frame of a log with times, at this second.
fn line(second: u8, text: &str) -> String {
    frame(&format!("2026-01-02T03:04:{second:02}Z {text}\n"))
}

/// The engine takes more time than none.
fn slowly(act: Act) -> Act {
    thread::sleep(Duration::from_millis(20));
    act
}

#[test]
fn an_end_is_known_as_soon_as_it_is_told() {
    let engine = scripted();
    let bundle = up(&engine.engine());
    let dead = answers("/json", [container(false, 3)]);
    engine.script(move |request, _| dead(request).map_or(Act::Obey, slowly));
    let start = Instant::now();
    let exit = bundle.wait_exit(LONG).unwrap();
    assert_eq!(exit.map(|it| it.code), Some(3));
    assert!(start.elapsed() < LONG / 2, "{:?}", start.elapsed());
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn a_log_that_could_not_be_read_on_for_once_is_read_on() {
    let engine = scripted();
    let bundle = up(&engine.engine());
    let broken = line(5, "a") + "\u{3}\0\0\0\0\0\0\u{2}no";
    let logs = [Act::Answer(200, broken), Act::Answer(200, line(5, "a") + &line(6, "b"))];
    let logs = answers("/logs", logs);
    let states = answers("/json", [container(true, 0), container(false, 0)]);
    engine.script(move |request, _| logs(request).or_else(|| states(request)).unwrap_or(Act::Obey));
    let lines: Vec<_> = bundle.follow_logs(None).unwrap().map(|it| it.text).collect();
    assert_eq!(lines, ["a", "b"]);
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn the_log_of_a_container_that_is_restarted_goes_on_to_its_last_line() {
    let engine = scripted();
    let bundle = up(&engine.engine());
    let first = || Act::Answer(200, line(5, "a"));
    let last = frame("2026-01-02T03:04:06Z b");
    let logs = [first(), first(), Act::Answer(200, line(5, "a") + &last)];
    let logs = answers("/logs", logs);
    let restarting = json!({"State": {"Running": false, "Restarting": true}});
    let restarting = Act::Answer(200, restarting.to_string());
    let states = answers("/json", [restarting, container(false, 0)]);
    engine.script(move |request, _| logs(request).or_else(|| states(request)).unwrap_or(Act::Obey));
    let start = Instant::now();
    let lines: Vec<_> = bundle.follow_logs(None).unwrap().map(|it| it.text).collect();
    assert_eq!(lines, ["a", "b"]);
    assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn the_log_of_a_container_that_is_gone_ends() {
    let engine = scripted();
    let bundle = up(&engine.engine());
    engine.script(|request, _| match request {
        _ if request.contains("/logs") => Act::Answer(200, line(5, "a")),
        _ if request.starts_with("GET /containers/") => refusal(404, "No such container: x"),
        _ => Act::Obey,
    });
    let start = Instant::now();
    let lines: Vec<_> = bundle.follow_logs(None).unwrap().map(|it| it.text).collect();
    assert_eq!(lines, ["a"]);
    assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn an_engine_that_tells_nothing_is_asked_ever_less_often() {
    let engine = scripted();
    let bundle = up(&engine.engine());
    engine.script(|request, _| {
        if request.contains("/logs") { Act::Answer(200, String::new()) } else { Act::Obey }
    });
    let asked = || engine.requests().iter().filter(|it| it.contains("/logs")).count();
    let log = bundle.follow_logs(None).unwrap();
    wait_for("the second connection", || asked() > 1);
    // After 200, 600 and 1400 ms more.
    let start = Instant::now();
    thread::sleep(Duration::from_millis(1100));
    let asked = asked();
    assert!(asked <= 5 || start.elapsed() > Duration::from_millis(1400), "{asked}");
    drop(log);
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

/// Something may have happened before the engine began to tell what happens.
#[test]
fn what_is_followed_begins_at_the_engines_time() {
    let engine = scripted();
    let bundle = up(&engine.engine());
    engine.script(|request, _| {
        let is_followed = request.contains("/logs") || request.contains("/events");
        if is_followed { Act::Answer(200, String::new()) } else { Act::Obey }
    });
    let (events, log) = (bundle.events().unwrap(), bundle.follow_logs(0).unwrap());
    for path in ["/events?", "/logs?"] {
        wait_for("the time", || {
            let requests = engine.requests();
            requests.iter().any(|it| it.contains(path) && it.contains("since=1767323045.000000678"))
        });
    }
    drop((events, log));
    // Nothing else is told.
    let requests = engine.requests();
    let asked = requests.iter().find(|it| it.contains("/events?")).unwrap();
    for word in [bundle.container_id(), r#""event":["start","die""#, r#""type":["container"]"#] {
        assert!(asked.contains(word), "{word} in {asked}");
    }
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

/// Podman begins to answer with the first line.
#[test]
fn a_log_that_podman_cannot_read_is_an_error_at_once() {
    let engine = scripted();
    let bundle = up(&engine.podman());
    engine.script(|request, _| match request {
        _ if request.contains("/logs") && request.contains("tail=0") => {
            slowly(refusal(500, "this container is using the `none` log driver, cannot read logs"))
        }
        _ if request.contains("/logs") => Act::Hang,
        _ => Act::Obey,
    });
    let error = bundle.follow_logs(None).unwrap_err();
    let Error::Look { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("cannot read logs"), "{source}");
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn the_last_lines_of_podmans_log_are_told_and_then_those_that_come() {
    let engine = scripted();
    let bundle = up(&engine.podman());
    let log = |end: u8| (1..=end).map(|it| line(it, &it.to_string())).collect::<String>();
    let (before, after) = (log(3), log(5));
    let states = answers("/json", [container(true, 0), container(false, 0)]);
    engine.script(move |request, _| match request {
        _ if request.contains("follow=1") => Act::Answer(200, after.clone()),
        _ if request.contains("/logs") => slowly(Act::Answer(200, before.clone())),
        _ => states(request).unwrap_or(Act::Obey),
    });
    let lines: Vec<_> = bundle.follow_logs(2).unwrap().map(|it| it.text).collect();
    assert_eq!(lines, ["2", "3", "4", "5"]);
    engine.script(|request, _| {
        if request.contains("/logs") { refusal(500, "the disk is tired") } else { Act::Obey }
    });
    assert!(matches!(bundle.follow_logs(2), Err(Error::Look { .. })));
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

/// Podman answers with the first line, and what it follows has begun before.
#[test]
fn a_connection_that_ends_before_podman_answers_is_made_again_and_a_refusal_is_an_error() {
    let engine = scripted();
    let bundle = up(&engine.podman());
    let asked = AtomicUsize::new(0);
    let ready = line(5, "READY");
    engine.script(move |request, _| match request {
        _ if request.contains("follow=1") && asked.fetch_add(1, Ordering::SeqCst) == 0 => {
            Act::Bytes("")
        }
        _ if request.contains("/logs") => Act::Answer(200, ready.clone()),
        _ => Act::Obey,
    });
    bundle.wait_for(&Ready::log("READY"), LONG).unwrap();
    engine.script(|request, _| match request {
        _ if request.contains("follow=1") => refusal(500, "the disk is tired"),
        _ if request.contains("/logs") => Act::Answer(200, String::new()),
        _ => Act::Obey,
    });
    let error = bundle.wait_for(&Ready::log("READY"), LONG).unwrap_err();
    let Error::Look { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("the disk is tired"), "{source}");
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn a_connection_is_ended_where_nobody_follows_it_any_more() {
    let engine = scripted();
    let bundle = up(&engine.podman());
    engine.script(|request, _| match request {
        _ if request.contains("follow=1") => Act::Hang,
        _ if request.contains("/logs") => Act::Answer(200, String::new()),
        _ => Act::Obey,
    });
    let log = bundle.follow_logs(None).unwrap();
    let follows = || engine.requests().iter().filter(|it| it.contains("follow=1")).count();
    wait_for("the request", || follows() == 1);
    assert_eq!(engine.hung_up(), 0);
    drop(log);
    wait_for("the end of the connection", || engine.hung_up() == 1);
    // And none is made again, after 100 ms.
    let asked = engine.requests().len();
    thread::sleep(Duration::from_millis(400));
    assert_eq!((follows(), engine.requests().len()), (1, asked));
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}
