//! Teardown in the background, and of many, against an engine that answers when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{
    BundleRunning, BundleSpec, Engine, Error, NetworkOptions, NetworkPlanned, PortMapping,
    RunningBundles, Slug, close_all, launch_all, wait_for_teardowns,
};

use crate::scripted::{Act, Scripted};
use crate::surroundings::{trace_everything, traced};

fn plan(slug: &str) -> NetworkPlanned {
    NetworkPlanned::new(Slug::new(slug).unwrap())
}

/// An engine whose removals of containers wait for the gate.
fn gated() -> (Scripted, Arc<AtomicBool>) {
    let (engine, gate) = (Scripted::new(|_, _| Act::Obey), Arc::new(AtomicBool::new(false)));
    let its = Arc::clone(&gate);
    engine.script(move |request, _| {
        if request.starts_with("DELETE /containers") {
            Act::ObeyAfter(Arc::clone(&its))
        } else {
            Act::Obey
        }
    });
    (engine, gate)
}

/// The engine with a reaper, which does nothing at the end of the tests.
fn with_reaper(engine: &Scripted) -> Engine {
    let address = format!("unix://{}", engine.path("s").display());
    let engine_value = Engine::docker().with_host(address).with_program("true");
    engine_value.with_state_dir(engine.path("leases"))
}

fn up(engine: &Engine, plan: NetworkPlanned) -> BundleRunning {
    plan.launch(engine, BundleSpec::new()).unwrap()
}

#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_would_collide_with_a_teardown_waits_for_its_end_and_nothing_else_does() {
    let bridge = |slug| plan(slug).with_options(NetworkOptions::new().bridge_name("br-x"));
    let published = || BundleSpec::new().publish(PortMapping::tcp(80).host_port(8080));
    let first = plan("first");
    let colliding = [
        (plan("first"), plan("first").next_attempt().unwrap(), BundleSpec::new()),
        (first.clone(), plan("other").with_addressing(*first.addressing()), BundleSpec::new()),
        (bridge("first"), bridge("other"), BundleSpec::new()),
        (plan("first"), plan("other"), published()),
    ];
    for (first, second, spec) in colliding {
        let (engine, gate) = gated();
        let docker = with_reaper(&engine);
        let closing = up(&docker, first).close_in_background();
        // One that has nothing to do with it comes and stays.
        let any_port = BundleSpec::new().publish(PortMapping::tcp(80));
        let third = plan("third").launch(&docker, any_port).unwrap();
        let waited = second.to_string();
        let its = docker.clone();
        let launch = thread::spawn(move || second.launch(&its, spec).map_err(Error::from));
        thread::sleep(Duration::from_millis(150));
        assert!(!launch.is_finished() && !closing.is_finished(), "{waited}");
        gate.store(true, Ordering::SeqCst);
        let second = launch.join().unwrap().unwrap();
        assert!(closing.is_finished(), "{waited}");
        closing.wait().unwrap();
        assert_eq!(engine.resources(), 4, "{waited}");
        close_all([second, third]).unwrap();
        assert_eq!(engine.resources(), 0, "{waited}");
    }
}

#[test]
fn attach_discard_and_a_look_for_a_free_subnet_wait_too() {
    let steps: [fn(&Engine); 3] = [
        |engine| drop(plan("demo").attach(engine).unwrap_err()),
        |engine| drop(plan("demo").discard(engine).unwrap()),
        |engine| {
            let free = plan("other").with_addressing(*plan("demo").addressing());
            assert_eq!(free.in_free_subnet(engine).unwrap().ip(), plan("demo").ip());
        },
    ];
    for (number, step) in steps.into_iter().enumerate() {
        let (engine, gate) = gated();
        let docker = with_reaper(&engine);
        let closing = up(&docker, plan("demo")).close_in_background();
        let its = docker.clone();
        let stepping = thread::spawn(move || step(&its));
        thread::sleep(Duration::from_millis(150));
        assert!(!stepping.is_finished(), "{number}");
        gate.store(true, Ordering::SeqCst);
        stepping.join().unwrap();
        closing.wait().unwrap();
        assert_eq!(engine.resources(), 0);
    }
}

#[test]
fn a_kept_bundle_is_free_at_once_whatever_is_torn_down_meanwhile() {
    let (engine, gate) = gated();
    let docker = with_reaper(&engine).with_background_drop();
    let kept = up(&docker, plan("kept"));
    for number in 0..4 {
        drop(up(&docker, plan(&format!("s-{number}"))));
    }
    let plan = kept.keep().unwrap();
    let attached = plan.attach(&docker).unwrap();
    gate.store(true, Ordering::SeqCst);
    attached.close().unwrap();
    wait_for_teardowns();
    assert_eq!(engine.resources(), 0);
}

#[test]
fn four_are_torn_down_at_the_same_time() {
    let (engine, gate) = gated();
    let docker = with_reaper(&engine);
    let slugs: Vec<_> = (0..7).map(|number| format!("s-{number}")).collect();
    let bundles: Vec<_> = slugs.iter().map(|slug| up(&docker, plan(slug))).collect();
    let closings: Vec<_> = bundles.into_iter().map(BundleRunning::close_in_background).collect();
    let begun =
        || engine.requests().iter().filter(|it| it.starts_with("DELETE /containers")).count();
    wait_until("four begin", || begun() == 4);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(begun(), 4);
    gate.store(true, Ordering::SeqCst);
    for closing in closings {
        closing.wait().unwrap();
    }
    assert_eq!((begun(), engine.resources()), (7, 0));
}

#[test]
fn bundles_of_a_list_that_is_dropped_are_torn_down_at_the_same_time() {
    let (engine, gate) = gated();
    let docker = engine.engine();
    let bundles: RunningBundles =
        ["one", "two"].map(|slug| up(&docker, plan(slug))).into_iter().collect();
    let dropping = thread::spawn(move || drop(bundles));
    let begun =
        || engine.requests().iter().filter(|it| it.starts_with("DELETE /containers")).count();
    let end = Instant::now() + Duration::from_secs(2);
    while begun() < 2 && Instant::now() < end {
        thread::sleep(Duration::from_millis(5));
    }
    let both = begun();
    gate.store(true, Ordering::SeqCst);
    dropping.join().unwrap();
    assert_eq!((both, engine.resources()), (2, 0));
}

#[test]
fn a_failure_comes_from_the_wait_and_the_next_launch_removes_what_was_left() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let docker = with_reaper(&engine);
    let bundle = up(&docker, plan("demo"));
    engine.script(|request, _| match request {
        _ if request.starts_with("DELETE /containers") => Act::Answer(500, "{}".into()),
        _ => Act::Obey,
    });
    let error = bundle.close_in_background().wait().unwrap_err();
    assert!(matches!(error, Error::NotRemoved { .. }), "{error:?}");
    engine.script(|_, _| Act::Obey);
    up(&docker, plan("demo")).close().unwrap();
    assert_eq!(engine.resources(), 0);
}

#[test]
fn without_a_reaper_nothing_is_left_to_the_background() {
    let engine = Scripted::new(|_, _| Act::Obey);
    for docker in [engine.engine(), engine.engine().with_background_drop()] {
        let closing = up(&docker, plan("demo")).close_in_background();
        assert!(closing.is_finished());
        assert_eq!(engine.resources(), 0);
        drop(up(&docker, plan("demo")));
        assert_eq!(engine.resources(), 0);
    }
}

#[test]
fn a_drop_goes_on_in_the_background_where_the_engine_value_says_so() {
    let (engine, gate) = gated();
    let docker = with_reaper(&engine).with_background_drop();
    drop(up(&docker, plan("demo")));
    drop(RunningBundles::from_iter([up(&docker, plan("one")), up(&docker, plan("two"))]));
    // The networks may have gone.
    assert!(engine.resources() >= 3, "{:?}", engine.requests());
    gate.store(true, Ordering::SeqCst);
    // It waits for the first.
    up(&docker, plan("demo")).close().unwrap();
    wait_for_teardowns();
    assert_eq!(engine.resources(), 0);
}

#[test]
fn of_many_that_are_launched_each_failure_has_its_slug_and_the_others_run() {
    let engine = Scripted::new(|_, _| Act::Obey);
    engine.script(|request, _| match request {
        _ if request.contains("-bad") => Act::Answer(500, "{}".into()),
        _ => Act::Obey,
    });
    let spec = |slug: &str| match slug {
        "bad-spec" => BundleSpec::new().image(""),
        _ => BundleSpec::new(),
    };
    let slugs = ["a", "bad-engine", "b", "bad-spec", "c", "d", "e", "f"];
    let plans = || slugs.map(|slug| (plan(slug), spec(slug)));
    let failed = launch_all(&engine.engine(), plans()).unwrap_err();
    let Error::Several(errors) = failed.error() else { panic!("{failed:?}") };
    let failures: Vec<_> = errors.as_slice().iter().map(slug_of).collect();
    assert_eq!(failures, ["bad-engine", "bad-spec"]);
    assert_eq!(failed.error().each().len(), 2);
    assert!(failed.to_string().contains("bundle bad-spec: "), "{failed}");
    let running = failed.into_state();
    let slugs: Vec<_> = running.iter().map(|it| it.plan().slug().as_str()).collect();
    assert_eq!(slugs, ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(engine.resources(), 12);
    running.close().unwrap();
    assert_eq!(engine.resources(), 0);
    // With a question mark, the others are closed.
    let given_up =
        || -> Result<RunningBundles, Error> { Ok(launch_all(&engine.engine(), plans())?) };
    given_up().unwrap_err();
    assert_eq!(engine.resources(), 0);
    assert!(launch_all(&engine.engine(), []).unwrap().is_empty());
}

/// From whatever thread, for the subscriber of the caller.
#[test]
fn each_of_many_is_an_event_with_its_slug_and_without_a_secret() {
    trace_everything();
    let engine = Scripted::new(|_, _| Act::Obey);
    engine.script(|request, _| match request {
        _ if request.contains("-bad") => Act::Answer(500, "{}".into()),
        _ => Act::Obey,
    });
    let spec = || BundleSpec::new().secret("TOKEN", "hunter2hunter2");
    let slugs = ["a", "bad", "b", "c", "d", "e"];
    let ((), trace) = traced(|| {
        let failed = launch_all(&engine.engine(), slugs.map(|slug| (plan(slug), spec())));
        failed.unwrap_err().into_state().close().unwrap();
        up(&with_reaper(&engine), plan("f")).close_in_background().wait().unwrap();
    });
    let told = |slug: &str, words: &str| {
        let slug = format!("slug={slug}");
        trace
            .lines()
            .filter(|it| it.contains(" INFO ") && it.contains(words) && it.contains(&slug))
            .count()
    };
    for slug in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(
            (told(slug, "the bundle runs"), told(slug, "the bundle is closed")),
            (1, 1),
            "{trace}"
        );
    }
    assert_eq!(
        (told("bad", "a bundle does not run"), told("bad", "the bundle runs")),
        (1, 0),
        "{trace}"
    );
    assert!(!trace.contains("hunter2"), "{trace}");
}

fn slug_of(error: &Error) -> &str {
    let Error::Bundle(failed) = error else { panic!("{error:?}") };
    failed.plan().slug().as_str()
}

#[test]
fn of_many_that_are_closed_each_failure_has_its_slug_and_the_others_are_gone() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let plans = (0..6).map(|number| (plan(&format!("s-{number}")), BundleSpec::new()));
    let bundles = launch_all(&engine.engine(), plans).unwrap();
    let bad = format!("DELETE /containers/{}", bundles[4].container_id());
    engine.script(move |request, _| {
        if request.starts_with(&bad) { Act::Answer(500, "{}".into()) } else { Act::Obey }
    });
    let error = bundles.close().unwrap_err();
    assert_eq!(slug_of(&error), "s-4");
    assert_eq!(engine.resources(), 1, "{:?}", engine.requests());
}

#[test]
fn no_more_than_four_are_launched_at_the_same_time() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let (gate, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (its, count) = (Arc::clone(&gate), Arc::clone(&begun));
    engine.script(move |request, _| match request {
        "POST /networks/create" => {
            count.fetch_add(1, Ordering::SeqCst);
            Act::ObeyAfter(Arc::clone(&its))
        }
        _ => Act::Obey,
    });
    let docker = engine.engine();
    let plans = (0..9).map(|number| (plan(&format!("s-{number}")), BundleSpec::new()));
    let plans: Vec<_> = plans.collect();
    let launch = thread::spawn(move || launch_all(&docker, plans).map_err(Error::from));
    wait_until("four begin", || begun.load(Ordering::SeqCst) == 4);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(begun.load(Ordering::SeqCst), 4);
    gate.store(true, Ordering::SeqCst);
    assert_eq!(launch.join().unwrap().unwrap().len(), 9);
    assert_eq!(engine.resources(), 0);
}

#[test]
fn the_end_of_all_teardowns_is_waited_for() {
    let (engine, gate) = gated();
    let closing = up(&with_reaper(&engine), plan("demo")).close_in_background();
    let opened = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        gate.store(true, Ordering::SeqCst);
    });
    wait_for_teardowns();
    assert!(closing.is_finished());
    opened.join().unwrap();
    closing.wait().unwrap();
    assert_eq!(engine.resources(), 0);
}
