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
