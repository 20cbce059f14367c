//! Bundles with a lifetime, on an engine that no other test uses meanwhile: a sweep removes what has expired, whoever made
//! it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/engine.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod engine;

use std::thread;
use std::time::{Duration, SystemTime};

use sidecar_bundle::{BundleSpec, Error, Slug, Swept, SweptOutcome, bundles, sweep, sweep_dry_run};

use engine::{engine, plan_apart, world};

/// Whatever else is on the engine is none of this test's.
fn of_this_test(slug: &Slug) -> bool {
    slug.as_str().starts_with("expired")
}

#[test]
fn a_sweep_from_anywhere_removes_what_has_expired_and_nothing_else() {
    let Some(world) = world("expired") else { return };
    let here = world.engine();
    let elsewhere_state = tempfile::tempdir().unwrap();
    let elsewhere = engine().with_state_dir(elsewhere_state.path());
    let short = Duration::from_secs(1);
    let image = "claude-bottle-sidecars:latest";

    // One that lives, one that is kept, and one without an end.
    let living = world.plan().with_lifetime(short).launch(&here, BundleSpec::new()).unwrap();
    let guest = living.guest("vm", BundleSpec::new().image(image)).unwrap();
    let kept = plan_apart("expired-kept", 66, 0).with_lifetime(short);
    let kept_plan = kept.launch(&here, BundleSpec::new()).unwrap().keep().unwrap();
    let endless = plan_apart("expired-never", 66, 1).launch(&here, BundleSpec::new()).unwrap();
    let day = Duration::from_secs(86_400);
    let day = plan_apart("expired-day", 66, 2).with_lifetime(day);
    let day = day.launch(&here, BundleSpec::new()).unwrap();
    thread::sleep(Duration::from_millis(2100));
    let listed = || {
        let all = bundles(&elsewhere).unwrap().into_iter();
        all.filter(|it| of_this_test(&it.slug)).count()
    };
    assert_eq!(listed(), 4);

    let failed = kept_plan.clone().attach(&here).unwrap_err();
    assert!(matches!(failed.error(), Error::Changed { .. }), "{failed:?}");
    let expired = ["expired", "expired-kept"].map(|it| Slug::new(it).unwrap());
    let swept =
        |all: Vec<Swept>| all.into_iter().filter(|it| of_this_test(&it.slug)).collect::<Vec<_>>();
    assert_eq!(swept(sweep_dry_run(&elsewhere).unwrap()).len(), 2);
    let mut swept = swept(sweep(&elsewhere).unwrap());
    swept.sort_by(|a, b| a.slug.cmp(&b.slug));
    assert_eq!(swept.iter().map(|it| &it.slug).collect::<Vec<_>>(), expired.each_ref());
    for (swept, containers) in swept.iter().zip([2, 1]) {
        let SweptOutcome::Removed { containers: ids, networks, .. } = &swept.outcome else {
            panic!("{swept:?}")
        };
        assert_eq!((ids.len(), networks.len()), (containers, 1), "{swept:?}");
        assert!(swept.expired.unwrap() <= SystemTime::now());
    }
    world.assert_nothing_left();
    assert_eq!(listed(), 2);

    // Its guards find that it has gone, and the slug of the kept one is free.
    guest.close().unwrap();
    living.close().unwrap();
    kept_plan.launch(&here, BundleSpec::new()).unwrap().close().unwrap();
    endless.close().unwrap();
    day.close().unwrap();
    assert_eq!(listed(), 0);
}
