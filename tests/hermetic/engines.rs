//! The engines of many hosts, and one question to all of them.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{
    BundleSpec, Cause, Engine, Engines, Error, NetworkPlanned, Slug, SweptOutcome, bundles, sweep,
    sweep_dry_run,
};

use crate::fake::{Fake, plan};
use crate::scripted::{Act, Scripted};

/// The deadline of an engine that does not answer, and a time that is too short for two of them.
const DEADLINE: Duration = Duration::from_secs(2);
const TOO_LONG: Duration = Duration::from_secs(4);

#[test]
fn an_unreachable_engine_is_its_error_in_its_place_and_nobody_waits_for_it() {
    let good = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&good.engine(), BundleSpec::new()).unwrap();
    let silent = Scripted::new(|_, _| Act::Hang);
    // It accepts no connection; the kernel holds those that wait.
    let deaf = UnixListener::bind(good.path("deaf")).unwrap();
    let slow = good.path("slow");
    std::fs::write(&slow, "#!/bin/sh\nexec sleep 60\n").unwrap();
    std::fs::set_permissions(&slow, std::fs::Permissions::from_mode(0o755)).unwrap();
    let state = |engine: Engine| {
        engine.with_state_dir(good.path("leases")).with_remove_deadline(DEADLINE).without_reaper()
    };
    let far = |engine: Engine| state(engine.with_program(&slow).with_host("ssh://me@builder"));
    let at = |name: &str| format!("unix://{}", good.path(name).display());
    let engines = Engines::new([
        ("silent", state(silent.engine())),
        ("deaf", state(Engine::docker().with_host(at("deaf")))),
        ("good", state(good.engine())),
        ("none", state(Engine::docker().with_host(at("none")))),
        ("ssh", far(Engine::docker())),
        ("commands", far(Engine::docker_cli())),
    ])
    .unwrap();
    let causes = [
        ("silent", Some(Cause::TimedOut)),
        ("deaf", Some(Cause::TimedOut)),
        ("good", None),
        ("none", Some(Cause::EngineUnreachable)),
        ("ssh", Some(Cause::TimedOut)),
        ("commands", Some(Cause::TimedOut)),
    ];
    let start = Instant::now();
    let listed = engines.each(|_, engine| bundles(engine));
    let took = start.elapsed();
    assert!(took < TOO_LONG, "{took:?}");
    let found = listed.iter().map(|(name, it)| (*name, it.as_ref().err().and_then(Error::cause)));
    assert!(found.eq(causes), "{listed:?}");
    let (_, Ok(of_good)) = &listed[2] else { panic!("{listed:?}") };
    assert_eq!(of_good[0].slug, *bundle.plan().slug());

    let start = Instant::now();
    let swept = engines.each(|_, engine| sweep(engine));
    let took = start.elapsed();
    assert!(took < TOO_LONG, "{took:?}");
    let found = swept.iter().map(|(name, it)| (*name, it.as_ref().err().and_then(Error::cause)));
    assert!(found.eq(causes), "{swept:?}");
    let (_, Ok(of_good)) = &swept[2] else { panic!("{swept:?}") };
    assert!(matches!(of_good[0].outcome, SweptOutcome::Held { .. }));
    drop(deaf);
    bundle.close().unwrap();
}

#[test]
fn each_engine_is_asked_once_and_at_most_32_at_a_time() {
    let engines = Engines::new((0..100).map(|it| (it.to_string(), Engine::docker()))).unwrap();
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let answers = engines.each(|name, _| {
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(20));
        now.fetch_sub(1, Ordering::SeqCst);
        (name.to_owned(), thread::current().id())
    });
    let names: Vec<_> = answers.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names, (0..100).map(|it| it.to_string()).collect::<Vec<_>>());
    assert!(answers.iter().all(|(name, (asked, _))| name == asked));
    let threads: BTreeSet<_> = answers.iter().map(|(_, (_, id))| format!("{id:?}")).collect();
    assert!((2..=32).contains(&most.into_inner()) && threads.len() <= 32);
}

#[test]
fn placing_asks_no_engine() {
    let scripted = Scripted::new(|_, _| Act::Obey);
    let engines = Engines::new([("a", scripted.engine()), ("b", scripted.engine())]).unwrap();
    let names: BTreeSet<_> =
        (0..100).map(|it| engines.place(&Slug::new(format!("s{it}")).unwrap()).0).collect();
    assert_eq!(names, BTreeSet::from(["a", "b"]));
    assert_eq!(engines.ranked(plan().slug()).len(), 2);
    assert!(scripted.requests().is_empty());
}

#[test]
fn a_sweep_ends_at_the_slug_at_which_another_engine_answers() {
    let fake = Fake::new();
    let mut owner = fake.owner(&["reaper=false"]);
    for slug in ["a", "b", "c"] {
        owner.expect(&format!("launch {slug}"), "up");
    }
    owner.kill();
    assert_eq!(fake.resources().len(), 6);
    // Lists for orphans are those of a lease.
    let of_a_lease = |does: &str| {
        fake.on(
            "ps",
            &format!("case \"$filters\" in *sidecar-bundle.lease=*) {does};; *) obey;; esac"),
        );
    };
    of_a_lease(": >\"$dir/moved\"; exit 1");
    fake.moves();
    let swept = sweep_dry_run(&fake.engine()).unwrap();
    let [swept] = &swept[..] else { panic!("{swept:?}") };
    assert_eq!(swept.slug.as_str(), "a");
    assert!(matches!(swept.outcome, SweptOutcome::Failed(_)), "{swept:?}");
    fake.moves_back();
    // A slug that fails by itself keeps no other from being swept.
    of_a_lease("exit 1");
    assert_eq!(sweep_dry_run(&fake.engine()).unwrap().len(), 3);
    fake.obey("ps");
    let removed = sweep(&fake.engine()).unwrap();
    assert!(removed.iter().all(|it| matches!(it.outcome, SweptOutcome::Removed { .. })));
    assert_eq!(removed.len(), 3);
    fake.assert_nothing_left();
}

#[test]
fn a_sweep_of_an_engine_that_falls_silent_takes_two_deadlines_whatever_is_left() {
    let scripted = Scripted::new(|_, _| Act::Obey);
    let engine = scripted.engine();
    for number in 0..8 {
        let plan = NetworkPlanned::new(Slug::new(format!("s{number}")).unwrap());
        plan.launch(&engine, BundleSpec::new()).unwrap().keep().unwrap();
    }
    let asked = AtomicUsize::new(0);
    scripted.script(move |_, _| match asked.fetch_add(1, Ordering::SeqCst) {
        // Its identity, and the lists for what has expired.
        ..=3 => Act::Obey,
        _ => Act::Hang,
    });
    let start = Instant::now();
    let swept = sweep(&engine.with_remove_deadline(DEADLINE)).unwrap();
    let took = start.elapsed();
    let [swept] = &swept[..] else { panic!("{swept:?}") };
    let SweptOutcome::Failed(error) = &swept.outcome else { panic!("{swept:?}") };
    assert_eq!(error.cause(), Some(Cause::TimedOut));
    assert!(took < 3 * DEADLINE, "{took:?}");
}

#[test]
fn what_has_expired_on_an_engine_that_falls_silent_is_given_up_at_once() {
    let scripted = Scripted::new(|_, _| Act::Obey);
    let engine = scripted.engine();
    let elsewhere = scripted.engine().with_state_dir(scripted.path("elsewhere"));
    for number in 0..8 {
        let plan = NetworkPlanned::new(Slug::new(format!("s{number}")).unwrap());
        // The last ones have not expired.
        let lifetime =
            if number < 4 { Duration::from_millis(1) } else { Duration::from_secs(3600) };
        let plan = plan.with_lifetime(lifetime);
        plan.launch(&elsewhere, BundleSpec::new()).unwrap().keep().unwrap();
    }
    thread::sleep(Duration::from_millis(1100));
    let asked = AtomicUsize::new(0);
    scripted.script(move |_, _| match asked.fetch_add(1, Ordering::SeqCst) {
        ..=3 => Act::Obey,
        _ => Act::Hang,
    });
    let start = Instant::now();
    let swept = sweep(&engine.with_remove_deadline(DEADLINE)).unwrap();
    let took = start.elapsed();
    let [swept] = &swept[..] else { panic!("{swept:?}") };
    assert!(matches!(swept.outcome, SweptOutcome::Failed(_)), "{swept:?}");
    assert!(took < 4 * DEADLINE, "{took:?}");
}

#[test]
fn the_requests_of_each_step_are_as_many_as_the_guide_says() {
    let scripted = Scripted::new(|_, _| Act::Obey);
    let engine = scripted.engine();
    let asked = |step: &mut dyn FnMut()| {
        let before = scripted.requests().len();
        step();
        // A new connection asks the engine for its identity, and a launch may take a second one.
        scripted.requests()[before..].iter().filter(|it| *it != "GET /info").count()
    };
    // The first connection.
    engine.version().unwrap();
    let mut running = Vec::new();
    let mut launched = |slug: &str| {
        let plan = NetworkPlanned::new(Slug::new(slug).unwrap());
        asked(&mut || running.push(plan.clone().launch(&engine, BundleSpec::new()).unwrap()))
    };
    assert_eq!([launched("a"), launched("b")], [5, 5]);
    assert_eq!(asked(&mut || assert_eq!(bundles(&engine).unwrap().len(), 2)), 4);
    // The lists for what has expired. Of the leases of living owners, the files alone tell.
    assert_eq!(asked(&mut || assert_eq!(sweep(&engine).unwrap().len(), 2)), 4);
    for bundle in running.drain(1..) {
        let mut bundle = Some(bundle);
        assert_eq!(asked(&mut || bundle.take().unwrap().close().unwrap()), 3);
    }
    running.pop().unwrap().keep().unwrap();
    assert_eq!(asked(&mut || assert_eq!(sweep(&engine).unwrap().len(), 1)), 11);
}
