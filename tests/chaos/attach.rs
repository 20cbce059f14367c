//! Bundles that were kept.

use sidecar_bundle::{BundleRunning, BundleSpec, Error, Slug, SweptOutcome, sweep};

use crate::engine::{World, cli, http_body, running, world};
use crate::leave_behind;

fn slug(world: &World) -> Slug {
    Slug::new(world.slug).unwrap()
}

#[test]
fn a_kept_bundle_is_attached_to_in_a_later_process() {
    let Some(world) = world("kept") else { return };
    leave_behind(&world, &["launch kept", "keep"]);
    let failed = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap_err();
    assert_eq!(failed.error().to_string(), "a bundle of slug kept was kept; attach to it");
    let swept = sweep(&world.engine()).unwrap();
    assert!(matches!(swept[0].outcome, SweptOutcome::Kept), "{swept:?}");

    let bundle = BundleRunning::attach(slug(&world), &world.engine()).unwrap();
    assert_eq!(bundle.plan().addressing(), world.plan().addressing());
    assert!(running(bundle.container_id()));
    if bundle.is_reachable() {
        assert_eq!(http_body(bundle.ip(), 8080), "egress");
    }
    let error = BundleRunning::attach(slug(&world), &world.engine()).unwrap_err();
    assert!(matches!(error, Error::Taken { .. }), "{error:?}");
    bundle.close().unwrap();
    world.assert_nothing_left();
    let error = BundleRunning::attach(slug(&world), &world.engine()).unwrap_err();
    assert_eq!(error.to_string(), "no bundle of slug kept was kept");
}

#[test]
fn a_bundle_kept_twice_is_still_there() {
    let Some(world) = world("kept-twice") else { return };
    let bundle = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
    let id = bundle.container_id().to_owned();
    bundle.keep().unwrap();
    let bundle = BundleRunning::attach(slug(&world), &world.engine()).unwrap();
    assert_eq!(bundle.container_id(), id);
    bundle.keep().unwrap();
    assert!(running(&id));
    drop(BundleRunning::attach(slug(&world), &world.engine()).unwrap());
    world.assert_nothing_left();
}

#[test]
fn a_kept_bundle_that_has_changed_is_left_alone() {
    let Some(world) = world("kept-changed") else { return };
    let bundle = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
    let (container, network) = (bundle.container_id().to_owned(), bundle.network_id().to_owned());
    bundle.keep().unwrap();
    let attach = || BundleRunning::attach(slug(&world), &world.engine());
    cli(&["stop", "--time", "0", &container]);
    assert_eq!(
        attach().unwrap_err().to_string(),
        "the kept bundle of slug kept-changed cannot be attached to: its container does not run"
    );
    cli(&["start", &container]);
    drop(cli(&["network", "disconnect", &network, &container]));
    assert_eq!(
        attach().unwrap_err().to_string(),
        "the kept bundle of slug kept-changed cannot be attached to: its container is not on its network"
    );
    cli(&["network", "connect", "--ip", &world.plan().ip().to_string(), &network, &container]);
    attach().unwrap().keep().unwrap();
    cli(&["rm", "--force", "--volumes", &container]);
    assert_eq!(
        attach().unwrap_err().to_string(),
        "the kept bundle of slug kept-changed cannot be attached to: its container does not exist"
    );
    cli(&["network", "rm", &network]);
    assert_eq!(attach().unwrap_err().to_string(), "no bundle of slug kept-changed was kept");
    world.plan().launch(&world.engine(), BundleSpec::new()).unwrap().close().unwrap();
    world.assert_nothing_left();
}
