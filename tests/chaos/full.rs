//! Directories that fail.

use std::process::Command;

use crate::owner::Owner;
use crate::support::{inspect, is_rootless, required, shout, world};

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

#[test]
fn a_directory_that_is_full_or_read_only_is_said_before_anything_is_created() {
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
