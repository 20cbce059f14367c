//! Resources of previous owners, removed by the next one.

use crate::fake::Fake;
use crate::surroundings::wait_for;
use crate::texts::refuse;

#[test]
fn the_next_launch_removes_what_a_failed_close_left() {
    let fake = Fake::new();
    let bundle = fake.up();
    let id = bundle.network_id().to_owned();
    for operation in ["rm", "network-rm"] {
        fake.once(operation, &refuse(1, "Error response from daemon: the disk is tired"));
    }
    bundle.close().unwrap_err();
    assert_eq!(fake.resources().len(), 2);
    let before = fake.operations().len();
    let bundle = fake.up();
    assert_ne!(bundle.network_id(), id);
    assert_eq!(
        fake.operations()[before..],
        [
            "ps",
            "ps",
            "rm",
            "network ls",
            "network ls",
            "network rm",
            "network create",
            "run",
            "container inspect"
        ]
    );
    bundle.close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn the_next_owner_waits_for_the_last_command_of_a_dead_owner() {
    let fake = Fake::new();
    fake.once("run", ": >\"$dir/asked\"; sleep 1; obey; : >\"$dir/ended\"");
    fake.on("ps", "[ -e \"$dir/ended\" ] || : >\"$dir/early\"; obey");
    let mut owner = fake.owner(&[]);
    owner.tell("launch demo");
    wait_for("the run", || fake.path("asked").exists());
    owner.kill();
    let bundle = fake.up();
    assert!(fake.path("ended").exists() && !fake.path("early").exists());
    bundle.close().unwrap();
    wait_for("the reaper of the dead", || fake.reapers() <= 1);
    fake.assert_nothing_left();
}
