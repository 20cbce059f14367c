//! The list of the bundles on an engine.

use std::time::Duration;

use sidecar_bundle::{
    BundleInfo, BundleOwner, BundleSpec, Engine, Error, NetworkOptions, State, bundles, sweep,
};

use crate::engine::{World, await_print, cli, engine, is_api, sh, wait_for, world};
use crate::owner::Owner;

/// The entry of the world's slug; other tests have bundles on the engine, too.
#[track_caller]
fn entry(engine: &Engine, world: &World) -> Option<BundleInfo> {
    let mut all = bundles(engine).unwrap().into_iter().filter(|it| it.slug.as_str() == world.slug);
    let entry = all.next();
    assert_eq!(all.next(), None);
    entry
}

/// The entry of a bundle that was just made.
#[track_caller]
fn checked(world: &World) -> BundleInfo {
    let it = entry(&world.engine(), world).unwrap();
    assert_eq!(it.prefix, "claude-bottle");
    assert_eq!(it.addressing, Some(*world.plan().addressing()));
    assert!(it.age().unwrap() < Duration::from_secs(300), "{it:?}");
    it
}

#[test]
fn a_bundle_is_listed_from_its_network_to_its_end() {
    let Some(world) = world("list-alive") else { return };
    assert_eq!(entry(&world.engine(), &world), None);
    // A value that a list of labels cannot tell from several.
    let options = NetworkOptions::new().label("acme.role", "a,sidecar-bundle.slug=b");
    let network = world.plan().with_options(options).create_network(&world.engine()).unwrap();
    let alone = checked(&world);
    assert_eq!(alone.network_id.as_deref(), Some(network.network_id()));
    assert_eq!((alone.container_id, alone.state), (None, None));

    let bundle = network.start(BundleSpec::new()).unwrap();
    let mut running = checked(&world);
    let BundleOwner::Alive { pid, .. } = running.owner else { panic!("{running:?}") };
    assert_eq!(pid, std::process::id());
    assert_eq!(running.network_id.as_deref(), Some(bundle.network_id()));
    assert_eq!(running.container_id.as_deref(), Some(bundle.container_id()));
    assert_eq!((running.state, &*running.guests), (Some(State::Running), &[][..]));
    assert_eq!((running.ipv6, running.created), (None, alone.created));

    let labels = ["prefix=claude-bottle", "slug=list-alive", "guest=vm"];
    let labels = labels.map(|label| format!("--label=sidecar-bundle.{label}"));
    let image = ["claude-bottle-sidecars:latest", "sleep", "600"];
    let run =
        [&["run", "--detach", "--network=none"][..], &labels.each_ref().map(|it| &**it), &image];
    let guest = cli(&run.concat());
    running.guests = vec!["vm".into()];
    assert_eq!(checked(&world), running);
    cli(&["rm", "--force", "--volumes", guest.trim()]);

    bundle.close().unwrap();
    assert_eq!(entry(&world.engine(), &world), None);
    world.assert_nothing_left();
}

#[test]
fn a_kept_bundle_is_nobodys_until_it_is_attached_to() {
    let Some(world) = world("list-kept") else { return };
    let bundle = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
    let id = bundle.container_id().to_owned();
    bundle.keep().unwrap();
    let kept = checked(&world);
    assert_eq!((kept.owner, kept.state), (BundleOwner::Kept, Some(State::Running)));
    cli(&["kill", &id]);
    wait_for("the container's end", || checked(&world).state == Some(State::Exited));
    let bundle = world.plan().attach(&world.engine()).unwrap();
    assert!(matches!(checked(&world).owner, BundleOwner::Alive { .. }));
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn the_bundle_of_a_killed_owner_is_an_orphan() {
    let Some(world) = world("list-orphan") else { return };
    let mut owner = Owner::program(&world.engine_words());
    owner.arg("reaper=false");
    let mut owner = Owner::spawn(owner);
    owner.expect("launch list-orphan", "up");
    let pid = owner.child.id();
    let mut listed = checked(&world);
    assert!(matches!(listed.owner, BundleOwner::Alive { pid: theirs, .. } if theirs == pid));
    owner.kill();
    listed.owner = BundleOwner::Dead;
    assert_eq!(checked(&world), listed);
    assert_eq!(checked(&world), listed, "a list changes nothing");
    sweep(&world.engine()).unwrap();
    assert_eq!(entry(&world.engine(), &world), None);
    world.assert_nothing_left();
}

#[test]
fn a_bundle_under_another_directory_is_somebody_elses() {
    let Some(world) = world("list-elsewhere") else { return };
    let plan = world.plan().with_ipv6();
    let ipv6 = plan.ipv6();
    let bundle = plan.launch(&world.engine(), BundleSpec::new()).unwrap();
    let other = tempfile::tempdir().unwrap();
    let theirs = entry(&engine().with_state_dir(other.path()), &world).unwrap();
    let mut ours = checked(&world);
    assert!(matches!(ours.owner, BundleOwner::Alive { .. }));
    ours.owner = BundleOwner::Elsewhere;
    assert_eq!(theirs, ours);
    assert_eq!(theirs.ipv6, ipv6);
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn anybodys_log_is_read_until_the_container_has_gone() {
    let Some(world) = world("list-log").filter(|_| is_api()) else { return };
    let spec = sh("echo one; echo two; exec sleep 600");
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    await_print(&bundle, "two");
    let other = tempfile::tempdir().unwrap();
    let other = engine().with_state_dir(other.path());
    let theirs = entry(&other, &world).unwrap();
    assert_eq!(theirs.owner, BundleOwner::Elsewhere);
    let texts = |last| -> Vec<_> {
        theirs.logs(&other, last).unwrap().into_iter().map(|it| it.text).collect()
    };
    assert_eq!(
        (texts(None), texts(Some(1))),
        (vec!["one".into(), "two".into()], vec!["two".into()])
    );
    cli(&["kill", bundle.container_id()]);
    wait_for("the container's end", || checked(&world).state == Some(State::Exited));
    assert_eq!(texts(Some(1)), ["two"]);
    bundle.close().unwrap();
    let error = theirs.logs(&other, None).unwrap_err();
    assert!(matches!(error, Error::Gone { .. }), "{error:?}");
    world.assert_nothing_left();
}
