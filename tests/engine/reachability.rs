//! Reachability of a bundle's address from here.

use std::process::Command;

use sidecar_bundle::{BundleSpec, Reachability};

use crate::engine::{is_podman, is_rootless, required, world};
use crate::owner::Owner;

#[test]
fn an_address_is_reachable_only_while_its_bridge_is_here() {
    let Some(world) = world("reachable") else { return };
    let network = world.plan().create_network(&world.engine()).unwrap();
    let bridge_is_here = std::path::Path::new("/sys/class/net")
        .join(format!("br-{}", &network.network_id()[..12]))
        .exists();
    // /sys may show another namespace than the one we are in; the engine tests in CI are in the right one.
    let bridge_is_here = bridge_is_here || required() && !is_rootless();
    let bundle = network.start(BundleSpec::new().clear_daemons()).unwrap();
    assert_eq!(bundle.is_reachable(), bridge_is_here);
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn an_engine_knows_beforehand_whether_its_bundles_can_be_reached() {
    let Some(world) = world("net-reach") else { return };
    let reachability = world.engine().reachability().unwrap();
    let bundle = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
    assert_eq!(reachability.is_here(), bundle.is_reachable(), "{reachability}");
    assert_eq!(reachability == Reachability::Rootless, is_rootless(), "{reachability}");
    bundle.close().unwrap();
    world.assert_nothing_left();
    if is_podman() || is_rootless() || !required() {
        // Podman's bridges are where its program is run.
        return;
    }
    let owner = Owner::program(&world.engine_words());
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--"]).arg(owner.get_program()).args(owner.get_args());
    let mut owner = Owner::spawn(unshare);
    let elsewhere = Reachability::OtherNamespace.to_string();
    assert_eq!(owner.ask("reachability"), format!("reachability {elsewhere}"));
    owner.expect("launch net-reach", "up");
    assert_eq!(owner.ask("reachable"), "reachable false");
    assert_eq!(
        owner.ask("wait-tcp 8080"),
        format!("error address {} cannot be reached from here: {elsewhere}", world.plan().ip())
    );
    owner.expect("close", "closed");
    owner.end();
    world.assert_nothing_left();
}

#[test]
fn the_example_of_a_launcher_of_micro_vms_runs() {
    let Some(world) = world("microvm") else { return };
    // An engine without a bridge, behind a proxy of the test's own, need not be here.
    let known = world.engine().reachability().unwrap();
    match crate::microvm::run(&world.engine(), world.plan()) {
        Ok(()) => assert!(known.is_here() || matches!(known, Reachability::Rootless), "{known}"),
        Err(error) => assert_eq!(known, Reachability::Unknown, "{error}"),
    }
    world.assert_nothing_left();
}
