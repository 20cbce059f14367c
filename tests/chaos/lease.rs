//! Lease directories that fail.

use std::path::Path;
use std::process::Command;

use sidecar_bundle::{BundleSpec, Error};

use crate::engine::{inspect, is_rootless, required, running, shout, world};
use crate::owner::Owner;

#[test]
fn a_lease_directory_that_is_deleted_meanwhile_hurts_nobody() {
    let Some(world) = world("deleted-dir") else { return };
    let bundle = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
    std::fs::remove_dir_all(world.state.path()).unwrap();
    // Another owner cannot know that the first one lives, and does not touch it all the same.
    let failed = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap_err();
    assert!(matches!(failed.error(), Error::UnknownOwner { .. }), "{failed:?}");
    assert!(running(bundle.container_id()));
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_lease_file_that_is_deleted_meanwhile_hurts_nobody() {
    let Some(world) = world("deleted-lease") else { return };
    let launch = || world.plan().launch(&world.engine(), BundleSpec::new());
    let delete = || {
        let leases = std::fs::read_dir(world.state.path()).unwrap().flatten();
        leases.for_each(|it| std::fs::remove_file(it.path()).unwrap());
    };
    let bundle = launch().unwrap();
    delete();
    let failed = launch().unwrap_err();
    assert!(matches!(failed.error(), Error::UnknownOwner { .. }), "{failed:?}");
    assert!(failed.to_string().ends_with("discard removes it"), "{failed}");
    assert!(sidecar_bundle::sweep(&world.engine()).unwrap().is_empty());
    assert!(running(bundle.container_id()));
    // A mark that nobody would find is refused.
    let failed = bundle.keep().unwrap_err();
    assert!(matches!(failed.error(), Error::Lease { .. }), "{failed:?}");
    drop(failed);
    world.assert_nothing_left();
    // There is a way out once the owner is gone.
    launch().unwrap().keep().unwrap();
    delete();
    let failed = world.plan().attach(&world.engine()).unwrap_err();
    assert!(matches!(failed.error(), Error::UnknownOwner { .. }), "{failed:?}");
    world.plan().discard(&world.engine()).unwrap();
    launch().unwrap().close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_lease_directory_that_moved_is_the_same() {
    let Some(world) = world("moved-dir") else { return };
    world.plan().launch(&world.engine(), BundleSpec::new()).unwrap().keep().unwrap();
    let moved = tempfile::tempdir().unwrap();
    let moved = moved.path().join("moved");
    std::fs::rename(world.state.path(), &moved).unwrap();
    let engine = world.engine().with_state_dir(&moved);
    world.plan().attach(&engine).unwrap().close().unwrap();
    world.assert_nothing_left();
    std::fs::create_dir(world.state.path()).unwrap();
}

#[test]
fn a_symlinked_lease_directory_is_refused() {
    let Some(world) = world("linked-dir") else { return };
    let link = world.state.path().join("link");
    std::os::unix::fs::symlink(world.state.path(), &link).unwrap();
    let engine = world.engine().with_state_dir(&link);
    let failed = world.plan().launch(&engine, BundleSpec::new()).unwrap_err();
    assert!(matches!(failed.error(), Error::Lease { path, .. } if *path == link), "{failed:?}");
    world.assert_nothing_left();
}

#[test]
fn an_unusable_lease_directory_is_an_error_before_anything_is_created() {
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

#[test]
fn a_full_or_read_only_lease_directory_is_an_error_before_anything_is_created() {
    let Some(world) = world("full") else { return };
    if !may_have_namespaces() {
        return;
    }
    let state = world.state.path().display();
    for options in ["nr_inodes=1", "ro"] {
        let owner = Owner::program(&world.engine_words());
        let script = format!("mount -t tmpfs -o {options} none '{state}' && exec \"$@\"");
        let mut unshare = Command::new("unshare");
        unshare.args(["-m", "sh", "-c", &script, "sh"]).arg(owner.get_program());
        unshare.args(owner.get_args());
        let mut owner = Owner::spawn(unshare);
        let answer = owner.ask(&format!("launch {}", world.slug));
        assert_eq!(answer, format!("error the lease at {state} cannot be used"));
        assert!(inspect("network", &world.plan().network_name()).is_none());
        owner.end();
    }
}

/// Namespaces of one's own are root's, on Linux.
fn may_have_namespaces() -> bool {
    let may = Command::new("unshare").args(["-m", "-n", "true"]).status();
    let may = may.is_ok_and(|status| status.success());
    if !may && is_rootless() {
        shout("what takes namespaces of its own is left to root's engines");
        return false;
    }
    assert!(may || !required(), "namespaces are required");
    if !may {
        shout("SKIPPED a test in namespaces of its own: that takes root and Linux");
    }
    may
}
