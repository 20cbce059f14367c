//! Removing containers, their volumes and networks.

use std::process::Command;
use std::time::{Duration, Instant};

use sidecar_bundle::BundleSpec;

use crate::engine::{await_print, cli, inspect, program, sh, shout, world};

#[test]
fn a_bundle_takes_its_anonymous_volumes_along() {
    let Some(world) = world("volumes") else { return };
    let build = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stand-in/build");
    assert!(Command::new(build).status().unwrap().success());
    let donor = cli(&["create", "claude-bottle-sidecars:latest"]);
    let import = format!(
        "{0} export {1} | {0} import --change 'VOLUME /data' --change 'CMD [\"sleep\",\"60\"]' - sidecar-bundle-test-volume:1",
        program(),
        donor.trim()
    );
    assert!(Command::new("sh").args(["-c", &import]).status().unwrap().success());
    cli(&["rm", "--volumes", donor.trim()]);
    let spec = BundleSpec::new().image("sidecar-bundle-test-volume:1");
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    let container = inspect("container", bundle.container_id()).unwrap();
    let volume = container["Mounts"][0]["Name"].as_str().unwrap().to_owned();
    assert!(inspect("volume", &volume).is_some());
    bundle.close().unwrap();
    assert!(inspect("volume", &volume).is_none());
    cli(&["image", "rm", "sidecar-bundle-test-volume:1"]);
    world.assert_nothing_left();
}

#[test]
fn a_stop_grace_is_given_and_ends_with_the_container() {
    let Some(world) = world("grace") else { return };
    let closed_after = |spec: BundleSpec| {
        let bundle = world.plan().launch(&world.engine(), spec).unwrap();
        await_print(&bundle, "up");
        let start = Instant::now();
        bundle.close().unwrap();
        world.assert_nothing_left();
        start.elapsed()
    };
    let deaf = "trap '' TERM; echo up; while :; do sleep 0.1; done";
    let polite = "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done";
    let two = Duration::from_secs(2);
    let at_once = closed_after(sh(deaf));
    let given = closed_after(sh(deaf).stop_grace(two));
    let taken = closed_after(sh(polite).stop_grace(Duration::from_secs(30)));
    shout(&format!(
        "closing: at once {at_once:.2?}, a grace of 2 s {given:.2?}, not needed {taken:.2?}"
    ));
    assert!(given >= two && given < two + Duration::from_secs(5), "{given:?}");
    assert!(at_once < two && taken < Duration::from_secs(8), "{at_once:?} {taken:?}");
}
