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
