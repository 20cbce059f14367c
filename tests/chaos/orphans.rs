//! Resources of a dead owner, and the next one.

use sidecar_bundle::BundleSpec;

use crate::engine::{inspect, running, world};
use crate::leave_behind;

#[test]
fn the_next_launch_replaces_what_a_dead_owner_left() {
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
