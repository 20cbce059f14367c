//! Bundles that were kept.

use sidecar_bundle::{BundleSpec, Error, SweptOutcome, sweep};

use crate::engine::{cli, http_body, running, world};
use crate::leave_behind;

#[test]
fn a_kept_bundle_is_attached_to_in_a_later_process() {
    let Some(world) = world("kept") else { return };
    leave_behind(&world, &["launch kept", "keep"]);
    let failed = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap_err();
    assert_eq!(
        failed.error().to_string(),
        "a bundle of slug kept was kept; attach to it, or discard it"
    );
    let swept = sweep(&world.engine()).unwrap();
    assert!(matches!(swept[0].outcome, SweptOutcome::Kept), "{swept:?}");

    let bundle = world.plan().attach(&world.engine()).unwrap();
    assert_eq!(bundle.plan().addressing(), world.plan().addressing());
    assert!(running(bundle.container_id()));
    if bundle.is_reachable() {
        assert_eq!(http_body(bundle.ip(), 8080), "egress");
    }
    let failed = world.plan().attach(&world.engine()).unwrap_err();
    assert!(matches!(failed.error(), Error::Taken { .. }), "{failed:?}");
    bundle.close().unwrap();
    world.assert_nothing_left();
    let failed = world.plan().attach(&world.engine()).unwrap_err();
    assert_eq!(failed.to_string(), "no bundle of slug kept was kept");
}

#[test]
fn a_bundle_kept_twice_is_still_there() {
    let Some(world) = world("kept-twice") else { return };
    let bundle = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
    let id = bundle.container_id().to_owned();
    bundle.keep().unwrap();
    let bundle = world.plan().attach(&world.engine()).unwrap();
    assert_eq!(bundle.container_id(), id);
    bundle.keep().unwrap();
    assert!(running(&id));
    drop(world.plan().attach(&world.engine()).unwrap());
    world.assert_nothing_left();
}

#[test]
fn a_kept_bundle_that_has_changed_is_left_alone() {
    let Some(world) = world("kept-changed") else { return };
    let bundle = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
    let (container, network) = (bundle.container_id().to_owned(), bundle.network_id().to_owned());
    bundle.keep().unwrap();
    let attach = || world.plan().attach(&world.engine());
    drop(cli(&["network", "disconnect", &network, &container]));
    assert_eq!(
        attach().unwrap_err().to_string(),
        "the kept bundle of slug kept-changed cannot be attached to: its container is not on its network; discard removes it"
    );
    cli(&["network", "connect", "--ip", &world.plan().ip().to_string(), &network, &container]);
    attach().unwrap().keep().unwrap();
    cli(&["rm", "--force", "--volumes", &container]);
    assert_eq!(
        attach().unwrap_err().to_string(),
        "the kept bundle of slug kept-changed cannot be attached to: its container does not exist; discard removes it"
    );
    cli(&["network", "rm", &network]);
    assert_eq!(attach().unwrap_err().to_string(), "no bundle of slug kept-changed was kept");
    world.plan().launch(&world.engine(), BundleSpec::new()).unwrap().close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_kept_container_that_has_stopped_is_started_again() {
    let Some(world) = world("kept-stopped") else { return };
    let bundle = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
    let (id, ip) = (bundle.container_id().to_owned(), bundle.ip());
    bundle.keep().unwrap();
    for _ in 0..2 {
        cli(&["stop", "--time", "0", &id]);
        // A sweep does not touch it, and a launch names the ways out.
        assert!(matches!(sweep(&world.engine()).unwrap()[0].outcome, SweptOutcome::Kept));
        let failed = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap_err();
        assert!(failed.to_string().ends_with("attach to it, or discard it"), "{failed}");
        let bundle = world.plan().attach(&world.engine()).unwrap();
        assert_eq!(bundle.container_id(), id);
        assert_eq!(bundle.status().unwrap().address, Some(ip));
        if bundle.is_reachable() {
            assert_eq!(http_body(ip, 8080), "egress");
        }
        bundle.keep().unwrap();
    }
    world.plan().attach(&world.engine()).unwrap().close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn no_number_of_attaches_makes_an_orphan_of_a_stranger() {
    let Some(world) = world("kept-often") else { return };
    world.plan().launch(&world.engine(), BundleSpec::new()).unwrap().keep().unwrap();
    for _ in 0..20 {
        world.plan().attach(&world.engine()).unwrap().keep().unwrap();
    }
    // Its last owner dies without a reaper: sweep and launch know whose it is.
    for by_sweep in [true, false] {
        leave_behind(&world, &["attach kept-often"]);
        if by_sweep {
            let swept = sweep(&world.engine()).unwrap();
            assert!(matches!(swept[0].outcome, SweptOutcome::Removed { .. }), "{swept:?}");
            world.assert_nothing_left();
        }
        let bundle = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
        if by_sweep { drop(bundle.keep().unwrap()) } else { bundle.close().unwrap() }
    }
    world.assert_nothing_left();
}

#[test]
fn a_kept_bundle_that_is_not_wanted_is_discarded() {
    let Some(world) = world("kept-unwanted") else { return };
    let bundle = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
    let failed = world.plan().discard(&world.engine()).unwrap_err();
    assert!(matches!(failed, Error::Taken { .. }), "its owner lives: {failed:?}");
    let ids = [bundle.container_id().to_owned(), bundle.network_id().to_owned()];
    bundle.keep().unwrap();
    let discarded = world.plan().discard(&world.engine()).unwrap();
    assert_eq!([&discarded.containers[..], &discarded.networks[..]].concat(), ids);
    world.assert_nothing_left();
    let again = world.plan().discard(&world.engine()).unwrap();
    assert!(again.containers.is_empty() && again.networks.is_empty());
    assert_eq!(std::fs::read_dir(world.state.path()).unwrap().count(), 0, "no lease is left");
}
