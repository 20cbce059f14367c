//! Kept bundles, and the specifications of those who attach.

use std::sync::atomic::{AtomicUsize, Ordering};

use sidecar_bundle::{
    BundleRunning, BundleSpec, ContainerFile, Daemon, Error, NetworkOptions, NetworkPlanned, Ready,
};

use crate::engine::{
    LONG, World, await_print, cli, inspect, is_api, is_rootless, running, sh, world,
};

/// The number of times that a bundle was ready.
static READY: AtomicUsize = AtomicUsize::new(0);

fn spec(token: &str) -> BundleSpec {
    let ready = Ready::check("a count", || {
        READY.fetch_add(1, Ordering::SeqCst);
        true
    });
    BundleSpec::new().daemon(Daemon::new("egress").secret("TOKEN", token).ready(ready))
}

#[track_caller]
fn up(world: &World, plan: NetworkPlanned, spec: BundleSpec) -> BundleRunning {
    let bundle = plan.attach_or_launch(&world.engine(), spec).unwrap();
    let before = READY.load(Ordering::SeqCst);
    bundle.wait_ready(LONG).unwrap();
    assert!(READY.load(Ordering::SeqCst) > before, "its conditions are those that were given");
    bundle
}

#[test]
fn what_was_kept_is_attached_to_if_it_is_what_is_asked_for() {
    let Some(world) = world("as-asked") else { return };
    let bundle = up(&world, world.plan(), spec("one"));
    let id = bundle.container_id().to_owned();
    assert!(bundle.is_made_from(&spec("one")).unwrap());
    assert!(!bundle.is_made_from(&spec("two")).unwrap());
    assert!(!bundle.is_made_from(&spec("one").label("a", "b")).unwrap());
    let taken = world.plan().attach_or_launch(&world.engine(), spec("one")).unwrap_err();
    assert!(matches!(taken.error(), Error::Taken { .. }), "{taken:?}");
    bundle.keep().unwrap();
    let bundle = up(&world, world.plan(), spec("one"));
    assert_eq!(bundle.container_id(), id);
    bundle.keep().unwrap();
    // A stopped one is started again.
    cli(&["stop", "--time", "0", &id]);
    let bundle = up(&world, world.plan(), spec("one"));
    assert_eq!(bundle.container_id(), id);
    assert!(running(&id));
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn what_was_kept_and_differs_is_replaced() {
    let Some(world) = world("not-as-asked") else { return };
    let replaces = |plan: NetworkPlanned, old: BundleSpec, new: BundleSpec| {
        let bundle = up(&world, world.plan(), old);
        let ids = [bundle.container_id().to_owned(), bundle.network_id().to_owned()];
        bundle.keep().unwrap();
        let bundle = up(&world, plan, new.clone());
        assert!(ids[0] != bundle.container_id() && ids[1] != bundle.network_id());
        assert!(inspect("container", &ids[0]).is_none() && inspect("network", &ids[1]).is_none());
        assert!(bundle.is_made_from(&new).unwrap());
        bundle.close().unwrap();
        world.assert_nothing_left();
    };
    replaces(world.plan(), spec("one"), spec("two"));
    replaces(world.plan(), spec("one"), spec("one").variable("A", "1"));
    let options = NetworkOptions::new().internal(true);
    replaces(world.plan().with_options(options), spec("one"), spec("one"));
    if is_api() {
        let file = |contents: &str| spec("one").file(ContainerFile::secret("/key", contents));
        replaces(world.plan(), file("hunter2"), file("hunter3"));
        // The same contents are the same.
        up(&world, world.plan(), file("hunter2")).keep().unwrap();
        let bundle = up(&world, world.plan(), file("hunter2"));
        bundle.exec(["sh", "-c", "echo hunter4 >/key"], LONG).unwrap();
        assert!(!bundle.is_made_from(&file("hunter2")).unwrap());
        bundle.close().unwrap();
    }
    // So is one that was changed. A network that was kept alone is taken back.
    let bundle = up(&world, world.plan(), spec("one"));
    let id = bundle.container_id().to_owned();
    bundle.keep().unwrap();
    cli(&["rm", "--force", "--volumes", &id]);
    up(&world, world.plan(), spec("one")).close().unwrap();
    let network = world.plan().create_network(&world.engine()).unwrap();
    let id = network.network_id().to_owned();
    network.keep().unwrap();
    let bundle = up(&world, world.plan(), spec("one"));
    assert_eq!(bundle.network_id(), id);
    bundle.close().unwrap();
    world.assert_nothing_left();
}

/// The source of a mount may be gone by then.
#[test]
fn what_was_kept_and_cannot_be_started_is_replaced_if_it_differs() {
    let Some(world) = world("no-restart") else { return };
    let folder = tempfile::tempdir().unwrap();
    let spec = || spec("one").mount(folder.path().join("conf"), "/conf");
    std::fs::create_dir(folder.path().join("conf")).unwrap();
    let bundle = up(&world, world.plan(), spec());
    let id = bundle.container_id().to_owned();
    bundle.keep().unwrap();
    cli(&["stop", "--time", "0", &id]);
    std::fs::remove_dir(folder.path().join("conf")).unwrap();
    let failed = world.plan().attach_or_launch(&world.engine(), spec()).unwrap_err();
    assert!(matches!(failed.error(), Error::Restart { .. }), "{failed:?}");
    assert!(inspect("container", &id).is_some());
    let bundle = up(&world, world.plan(), self::spec("two"));
    assert!(inspect("container", &id).is_none());
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn what_was_kept_and_is_paused_is_left_alone_unless_it_differs() {
    let Some(world) = world("kept-paused") else { return };
    if is_rootless() {
        // Without a cgroup of its own, nothing is paused.
        return;
    }
    let bundle = up(&world, world.plan(), spec("one"));
    let id = bundle.container_id().to_owned();
    bundle.keep().unwrap();
    cli(&["pause", &id]);
    let failed = world.plan().attach_or_launch(&world.engine(), spec("one")).unwrap_err();
    assert!(matches!(failed.error(), Error::Changed { .. }), "{failed:?}");
    assert!(inspect("container", &id).is_some());
    let bundle = up(&world, world.plan(), spec("two"));
    assert!(inspect("container", &id).is_none());
    bundle.close().unwrap();
    world.assert_nothing_left();
}

/// Its secrets are not known any more, and it is no log of the one that is asked for.
#[test]
fn the_log_of_what_is_replaced_is_not_saved() {
    let Some(world) = world("old-log").filter(|_| is_api()) else { return };
    let log = world.state.path().join("log");
    let spec = |token: &str| {
        BundleSpec::new().command(["sh", "-c", "echo $TOKEN; sleep 60"]).secret("TOKEN", token)
    };
    let bundle = world.plan().launch(&world.engine(), spec("hunter2")).unwrap();
    bundle.wait_for(&Ready::log("hunter2"), LONG).unwrap();
    bundle.keep().unwrap();
    let next = spec("hunter3").save_log(&log);
    let bundle = world.plan().attach_or_launch(&world.engine(), next).unwrap();
    assert!(!log.exists());
    bundle.wait_for(&Ready::log("hunter3"), LONG).unwrap();
    bundle.close().unwrap();
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "***\n");
    world.assert_nothing_left();
}

#[test]
fn a_wrong_specification_leaves_what_was_kept_alone() {
    let Some(world) = world("kept-alone") else { return };
    let bundle = up(&world, world.plan(), spec("one"));
    let id = bundle.container_id().to_owned();
    bundle.keep().unwrap();
    cli(&["stop", "--time", "0", &id]);
    let attempt = |spec| world.plan().attach_or_launch(&world.engine(), spec).unwrap_err();
    let failed = attempt(BundleSpec::new().image("-x"));
    assert!(matches!(failed.error(), Error::Invalid(_)), "{failed:?}");
    let failed = attempt(BundleSpec::new().also_on("elsewhere"));
    assert!(matches!(failed.error(), Error::Invalid(_)), "{failed:?}");
    let options = NetworkOptions::new().mtu(1);
    let wrong = world.plan().with_options(options);
    let failed = wrong.attach_or_launch(&world.engine(), spec("two")).unwrap_err();
    assert!(matches!(failed.error(), Error::Invalid(_)), "{failed:?}");
    // The other way's.
    let failed = attempt(if is_api() {
        BundleSpec::new().engine_flag("--shm-size=1m")
    } else {
        BundleSpec::new().engine_option("HostConfig.ShmSize", "1048576")
    });
    assert!(matches!(failed.error(), Error::Unsupported(_)), "{failed:?}");
    assert!(!running(&id));
    let bundle = up(&world, world.plan(), spec("one"));
    assert_eq!(bundle.container_id(), id);
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn what_is_replaced_has_its_time_to_end() {
    let Some(world) = world("kept-grace") else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = "trap 'touch /here/ended; exit' TERM; echo up; while :; do sleep 0.1; done";
    let spec = || sh(script).mount(folder.path(), "/here");
    let bundle = world.plan().launch(&world.engine(), spec()).unwrap();
    await_print(&bundle, "up");
    bundle.keep().unwrap();
    let next = spec().label("a", "b").stop_grace(LONG);
    let bundle = world.plan().attach_or_launch(&world.engine(), next).unwrap();
    assert!(folder.path().join("ended").exists());
    bundle.close().unwrap();
    world.assert_nothing_left();
}
