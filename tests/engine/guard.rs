//! A panic, and a launcher with habits of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sidecar_bundle::BundleSpec;

use crate::engine::world;
use crate::owner::Owner;

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

#[test]
fn a_launcher_may_ignore_the_ends_of_its_children() {
    let Some(world) = world("deaf") else { return };
    let launch = format!("launch {}", world.slug);
    let mut owner = Owner::start_deaf(&world.engine_words());
    owner.expect(&launch, "up");
    owner.expect("close", "closed");
    owner.expect(&launch, "up");
    owner.end();
    world.assert_nothing_left();
    let mut owner = Owner::start_deaf(&world.engine_words());
    owner.expect(&launch, "up");
    owner.kill();
    world.await_nothing_left();
}
