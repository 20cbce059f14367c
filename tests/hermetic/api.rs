//! The API backend, against an engine that does as it is told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sidecar_bundle::{BundleSpec, Cause, Error};

use crate::fake::plan;
use crate::scripted::{Act, Scripted};

/// An engine that does this at one request, once for all that begin so, and obeys otherwise.
fn at(request: &'static str, act: Act) -> Scripted {
    Scripted::new(move |made, _| if made.starts_with(request) { act.clone() } else { Act::Obey })
}

const CREATE: &str = "POST /networks/create";
const RUN: &str = "POST /containers/create";

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
fn a_refused_request_made_nothing_and_nothing_is_looked_for() {
    let page = "<html><body>Forbidden by the proxy</body></html>".to_owned();
    let engine = at(CREATE, Act::Answer(403, page));
    let failed = plan().create_network(&engine.engine()).unwrap_err();
    let Error::CreateNetwork { source, .. } = failed.error() else { panic!("{failed:?}") };
    assert_eq!(
        source.to_string(),
        "POST /networks/create was answered with status 403: <html><body>Forbidden by the proxy</body></html>"
    );
    let requests = engine.requests();
    let last = requests.iter().rposition(|it| it == CREATE).unwrap();
    assert!(!requests[last..].iter().any(|it| it.starts_with("DELETE")), "{requests:?}");
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
    let spec = BundleSpec::new().engine_flag("--dns=1.1.1.1");
    let failed = plan().launch(&engine.engine(), spec).unwrap_err();
    assert!(matches!(failed.error(), Error::Unsupported(_)), "{failed:?}");
    let requests = engine.requests();
    assert!(requests.iter().all(|it| it == "GET /info"), "{requests:?}");
}
