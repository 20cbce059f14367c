//! Teardown in the background, and of many.

use sidecar_bundle::{
    BundleRunning, BundleSpec, Error, NetworkPlanned, PortMapping, RunningBundles, close_all,
    launch_all,
};

use crate::engine::{has_bridge, inspect, plan_apart, wait_for, world};
use crate::owner::Owner;

/// Plans of their own subnets, by the number of the test.
fn plans(test: usize, count: usize) -> impl Iterator<Item = (NetworkPlanned, BundleSpec)> {
    (0..count).map(move |number| {
        let slug = format!("many-{test}-{number}");
        (plan_apart(&slug, 22 + test, number), BundleSpec::new())
    })
}

fn addresses(bundles: &[BundleRunning]) -> Vec<String> {
    bundles.iter().map(|it| it.ip().to_string()).collect()
}

#[test]
fn many_are_launched_and_closed_a_few_at_a_time() {
    let Some(world) = world("many") else { return };
    let bundles = launch_all(&world.engine(), plans(0, 6)).unwrap();
    let expected: Vec<_> = plans(0, 6).map(|(plan, _)| plan.ip().to_string()).collect();
    assert_eq!(addresses(&bundles), expected);
    // One of them has its subnet already: the others run.
    let (taken, _) = plans(0, 1).next().unwrap();
    let other = plan_apart("many-other", 23, 0).with_addressing(*taken.addressing());
    let more = plans(1, 3).chain([(other, BundleSpec::new())]);
    let failed = launch_all(&world.engine(), more).unwrap_err();
    let Error::Bundle(error) = failed.error() else { panic!("{failed:?}") };
    assert_eq!(error.plan().slug().as_str(), "many-other");
    assert!(matches!(error.error(), Error::SubnetTaken { .. }), "{error:?}");
    let mut all: RunningBundles = bundles.into_iter().collect();
    all.extend(failed.into_state());
    assert_eq!(all.len(), 9);
    drop(all);
    world.assert_nothing_left();
    close_all(launch_all(&world.engine(), plans(2, 2)).unwrap()).unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_suite_goes_on_while_its_bundles_are_torn_down() {
    let Some(world) = world("suite") else { return };
    let engine = world.engine().with_background_drop();
    let port = PortMapping::tcp(8080).host_address(world.plan().loopback()).host_port(8080);
    for round in 0..3 {
        // The same slug, the same subnet, and the same port, each while the one before is torn down.
        let first = world.plan().launch(&engine, BundleSpec::new().publish(port)).unwrap();
        let ip = first.ip();
        drop(first);
        let same = plan_apart("suite-other", 26, 0).with_addressing(*world.plan().addressing());
        let second = same.launch(&engine, BundleSpec::new().publish(port)).unwrap();
        assert_eq!(second.ip(), ip, "{round}");
        let closing = second.close_in_background();
        let third = plan_apart("suite-third", 26, 1).launch(&engine, BundleSpec::new()).unwrap();
        closing.wait().unwrap();
        drop(third);
        let free = world.plan().in_free_subnet(&engine).unwrap();
        assert_eq!(free.ip(), ip, "{round}");
    }
    world.await_nothing_left();
}

/// The end of a program does not wait for its teardowns, and leaves nothing.
#[test]
fn a_process_that_ends_meanwhile_leaves_nothing() {
    let Some(world) = world("suite-end") else { return };
    let ends = |number| plan_apart(&format!("suite-end-{number}"), 27, number);
    for ending in ["exit", "abort"] {
        let mut owner = Owner::start(&world.engine_words());
        for number in 0..6 {
            let plan = ends(number);
            owner.expect(&format!("launch {} subnet={}", plan.slug(), plan.subnet()), "up");
        }
        for _ in 0..6 {
            assert_eq!(owner.ask("close-background"), "closing");
        }
        owner.tell(ending);
        owner.child.wait().unwrap();
        for number in 0..6 {
            let plan = ends(number);
            let has = |kind: &str, name: &str| inspect(kind, name).is_some();
            wait_for("the end of a bundle", || {
                !has("container", &plan.container_name()) && !has("network", &plan.network_name())
            });
            wait_for("the end of its bridge", || !has_bridge(&plan));
        }
    }
}
