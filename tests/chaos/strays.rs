//! What happens behind a bundle's back, and what is found later.

use std::path::Path;
use std::time::Duration;

use sidecar_bundle::{
    BundleRunning, BundleSpec, Cause, Error, NetworkPlanned, Slug, SweptOutcome, sweep,
    sweep_dry_run,
};

use crate::owner::Owner;
use crate::support::{
    World, cli, engine, foreign_network, http_body, inspect, is_podman, program, world,
};

fn slug(world: &World) -> Slug {
    Slug::new(world.slug).unwrap()
}

fn running(id: &str) -> bool {
    inspect("container", id).is_some_and(|container| container["State"]["Running"] == true)
}

/// What an owner leaves that dies without a reaper, by the commands that it is told.
fn leave_behind(world: &World, commands: &[&str]) {
    let mut owner = Owner::program(&world.engine_words());
    owner.arg("reaper=false");
    let mut owner = Owner::spawn(owner);
    for command in commands {
        let answer = owner.ask(command);
        assert!(!answer.starts_with("error"), "{answer}");
    }
    owner.tell("exit");
    owner.end();
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

#[test]
fn what_a_dead_owner_left_is_made_anew_by_the_next_launch() {
    let Some(world) = world("anew") else { return };
    for command in ["create anew", "launch anew"] {
        leave_behind(&world, &[command]);
        let old = inspect("network", &world.plan().network_name()).unwrap();
        let bundle = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
        assert_ne!(old["Id"], bundle.network_id());
        assert!(running(bundle.container_id()));
        bundle.close().unwrap();
        world.assert_nothing_left();
    }
}

#[test]
fn a_sweep_removes_what_a_dead_owner_left_and_says_so_before() {
    let Some(world) = world("sweep") else { return };
    leave_behind(&world, &["launch sweep"]);
    let container = inspect("container", &world.plan().container_name()).unwrap();
    for dry in [true, false] {
        let swept = if dry { sweep_dry_run(&world.engine()) } else { sweep(&world.engine()) };
        let swept = swept.unwrap();
        assert_eq!((swept[0].prefix.as_str(), swept[0].slug.as_str()), ("claude-bottle", "sweep"));
        assert!(swept[0].since.elapsed().unwrap() < Duration::from_secs(600));
        let SweptOutcome::Removed { containers, networks } = &swept[0].outcome else {
            panic!("{swept:?}")
        };
        assert_eq!(container["Id"], *containers[0]);
        assert_eq!(networks.len(), 1);
        assert_eq!(inspect("container", &containers[0]).is_some(), dry);
    }
    world.assert_nothing_left();
}

#[test]
fn a_sweep_leaves_the_living_and_other_directories_alone() {
    let Some(world) = world("sweep-others") else { return };
    let network = world.plan().create_network(&world.engine()).unwrap();
    let swept = sweep(&world.engine()).unwrap();
    assert!(
        matches!(swept[0].outcome, SweptOutcome::Held { pid } if pid == std::process::id()),
        "{swept:?}"
    );
    assert!(inspect("network", network.network_id()).is_some());
    network.close().unwrap();

    leave_behind(&world, &["launch sweep-others"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = engine().with_state_dir(elsewhere.path());
    assert!(sweep(&stranger).unwrap().is_empty());
    let failed = world.plan().launch(&stranger, BundleSpec::new()).unwrap_err();
    assert!(matches!(failed.error(), Error::NetworkDiffers { .. }), "{failed:?}");
    assert!(running(&world.plan().container_name()));
    // Nor does another endpoint of the same directory know that the owner is dead.
    let other = world.engine().with_program(program_path());
    assert!(sweep(&other).unwrap().is_empty());
    let failed = world.plan().launch(&other, BundleSpec::new()).unwrap_err();
    assert!(matches!(failed.error(), Error::NetworkDiffers { .. }), "{failed:?}");
    assert!(running(&world.plan().container_name()));
    sweep(&world.engine()).unwrap();
    world.assert_nothing_left();
}

fn program_path() -> std::path::PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|it| it.join(program())).find(|it| it.exists()).unwrap()
}

#[test]
fn a_free_subnet_is_planned_and_a_full_pool_is_said() {
    let Some(world) = world("free-subnet") else { return };
    let plan = world.plan().with_pool("10.44.0.0/23:/24".parse().unwrap());
    let first = plan.subnet().to_string();
    let foreign = foreign_network(&first, &[], "sidecar-bundle-test-free-1");
    let failed = plan.clone().create_network(&world.engine()).unwrap_err();
    assert_eq!(
        failed.error().to_string(),
        format!("subnet {first} is taken by network sidecar-bundle-test-free-1 ({first})")
    );
    let free = plan.clone().in_free_subnet(&world.engine()).unwrap();
    assert_eq!(free.addressing().attempt(), 1);
    let network = plan.clone().create_network_in_free_subnet(&world.engine()).unwrap();
    assert_eq!(network.plan(), &free);
    // The slug's own network is in another's way alone.
    assert_eq!(plan.in_free_subnet(&world.engine()).unwrap(), free);
    let other = NetworkPlanned::new(Slug::new("free-subnet-other").unwrap());
    let other = other.with_pool("10.44.0.0/23:/24".parse().unwrap());
    let failed = other.in_free_subnet(&world.engine()).unwrap_err();
    assert_eq!(
        failed.error().to_string(),
        format!(
            "none of the 2 subnets of pool 10.44.0.0/23:/24 is free; held by network sidecar-bundle-test-free-1 ({first}), network claude-bottle-bundle-free-subnet ({})",
            free.subnet()
        )
    );
    // Kept, it is found again where it is, whatever has become free meanwhile.
    let id = network.network_id().to_owned();
    network.keep().unwrap();
    cli(&["network", "rm", &foreign]);
    let plan = world.plan().with_pool("10.44.0.0/23:/24".parse().unwrap());
    let again = plan.create_network_in_free_subnet(&world.engine()).unwrap();
    assert_eq!((again.network_id(), again.plan()), (&*id, &free));
    again.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_container_removed_or_disconnected_behind_our_back_is_no_trouble() {
    let Some(world) = world("behind-back") else { return };
    let launch = || world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
    let bundle = launch();
    cli(&["rm", "--force", "--volumes", bundle.container_id()]);
    bundle.close().unwrap();
    world.assert_nothing_left();
    let bundle = launch();
    cli(&[
        "network",
        "disconnect",
        "--force",
        bundle.network_id(),
        &bundle.plan().container_name(),
    ]);
    bundle.close().unwrap();
    world.assert_nothing_left();
    let bundle = launch();
    cli(&["rm", "--force", "--volumes", bundle.container_id()]);
    cli(&["network", "rm", bundle.network_id()]);
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_foreign_container_on_our_network_is_named_and_never_removed() {
    let Some(world) = world("foreign-guest") else { return };
    let bundle = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
    let guest = cli(&[
        "run",
        "--detach",
        "--name",
        "sidecar-bundle-test-guest",
        "--network",
        bundle.network_id(),
        "claude-bottle-sidecars:latest",
        "sleep",
        "600",
    ]);
    let id = bundle.network_id().to_owned();
    let error = bundle.close().unwrap_err();
    assert_eq!(error.cause(), Some(Cause::NetworkInUse));
    let message = error.to_string();
    let host = std::env::var("DOCKER_HOST").ok().filter(|_| !is_podman());
    let expected = format!(
        "network claude-bottle-bundle-foreign-guest may be left, in use by sidecar-bundle-test-guest; remove it with `{}{} network rm {id}`",
        program(),
        host.map(|host| format!(" --host {host}")).unwrap_or_default()
    );
    assert_eq!(message, expected);
    assert!(running(guest.trim()));
    cli(&["rm", "--force", "--volumes", guest.trim()]);
    // The slug's next owner finds it, and so does a sweep.
    world.plan().launch(&world.engine(), BundleSpec::new()).unwrap().close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_lease_directory_that_is_deleted_meanwhile_hurts_nobody() {
    let Some(world) = world("deleted-dir") else { return };
    let bundle = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
    std::fs::remove_dir_all(world.state.path()).unwrap();
    // Another owner cannot know that the first one lives, and does not touch it all the same.
    let failed = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap_err();
    assert!(matches!(failed.error(), Error::NetworkDiffers { .. }), "{failed:?}");
    assert!(running(bundle.container_id()));
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_lease_directory_that_cannot_be_used_is_said_before_anything_is_created() {
    let Some(world) = world("no-dir") else { return };
    let file = world.state.path().join("file");
    std::fs::write(&file, "").unwrap();
    // Root may write anywhere but where the system itself says no.
    for directory in [file.join("below"), Path::new("/proc/sidecar-bundle").to_owned()] {
        let engine = world.engine().with_state_dir(&directory);
        let failed = world.plan().launch(&engine, BundleSpec::new()).unwrap_err();
        assert_eq!(
            failed.error().to_string(),
            format!("the lease at {} cannot be used", directory.display())
        );
        world.assert_nothing_left();
    }
}
