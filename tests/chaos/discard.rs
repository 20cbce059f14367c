//! Removing what others have removed, changed or joined.

use sidecar_bundle::{BundleSpec, Cause};

use crate::engine::{cli, is_podman, program, running, world};

#[test]
fn a_container_that_somebody_else_removed_or_disconnected_is_no_trouble() {
    let Some(world) = world("behind-back") else { return };
    let launch = || world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
    let bundle = launch();
    cli(&["rm", "--force", "--volumes", bundle.container_id()]);
    bundle.close().unwrap();
    world.assert_nothing_left();
    let bundle = launch();
    cli(&[
        "network",
        "disconnect",
        "--force",
        bundle.network_id(),
        &bundle.plan().container_name(),
    ]);
    bundle.close().unwrap();
    world.assert_nothing_left();
    let bundle = launch();
    cli(&["rm", "--force", "--volumes", bundle.container_id()]);
    cli(&["network", "rm", bundle.network_id()]);
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_foreign_container_on_our_network_is_named_and_never_removed() {
    let Some(world) = world("foreign-guest") else { return };
    let bundle = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
    let guest = cli(&[
        "run",
        "--detach",
        "--name",
        "sidecar-bundle-test-guest",
        "--network",
        bundle.network_id(),
        "claude-bottle-sidecars:latest",
        "sleep",
        "600",
    ]);
    let id = bundle.network_id().to_owned();
    let error = bundle.close().unwrap_err();
    assert_eq!(error.cause(), Some(Cause::NetworkInUse));
    let message = error.to_string();
    let host = std::env::var("DOCKER_HOST").ok().filter(|_| !is_podman());
    let expected = format!(
        "network claude-bottle-bundle-foreign-guest may be left, in use by sidecar-bundle-test-guest; remove it with `{}{} network rm {id}`",
        program(),
        host.map(|host| format!(" --host {host}")).unwrap_or_default()
    );
    assert_eq!(message, expected);
    assert!(running(guest.trim()));
    cli(&["rm", "--force", "--volumes", guest.trim()]);
    // The slug's next owner finds it, and so does a sweep.
    world.plan().launch(&world.engine(), BundleSpec::new()).unwrap().close().unwrap();
    world.assert_nothing_left();
}
