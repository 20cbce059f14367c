//! A panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sidecar_bundle::BundleSpec;

use crate::engine::world;

#[test]
fn a_panic_in_a_scope_that_holds_a_bundle_leaves_nothing() {
    let Some(world) = world("panic") else { return };
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _bundle = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    world.assert_nothing_left();
}
