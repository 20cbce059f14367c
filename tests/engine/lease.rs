//! A slug has one owner at a time.

use sidecar_bundle::{BundleSpec, Error};

use crate::engine::{inspect, world};

#[test]
fn a_second_launcher_of_a_slug_is_refused_and_the_first_lives_on() {
    let Some(world) = world("second") else { return };
    let first = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
    let failed = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap_err();
    assert!(
        matches!(failed.error(), Error::Taken { pid: Some(pid), since: Some(_), .. } if *pid == std::process::id()),
        "{failed:?}"
    );
    let container = inspect("container", first.container_id()).unwrap();
    assert_eq!(container["State"]["Running"], true);
    first.close().unwrap();
    world.plan().launch(&world.engine(), BundleSpec::new()).unwrap().close().unwrap();
    world.assert_nothing_left();
}
