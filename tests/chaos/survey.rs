//! Looking for a free subnet.

use sidecar_bundle::{NetworkPlanned, Slug};

use crate::engine::{cli, foreign_network, world};

#[test]
fn a_free_subnet_is_planned_and_a_full_pool_is_an_error() {
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
