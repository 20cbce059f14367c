//! Secret values.

use sidecar_bundle::{BundleSpec, Ready};

use crate::engine::{LONG, sh, world};

#[test]
fn a_secret_is_nowhere_but_in_the_container() {
    let Some(world) = world("secret") else { return };
    let secret = "hunter2-is-not-to-be-seen";
    let spec = sh("echo my token is $TOKEN; exit 3").secret("TOKEN", secret);
    let error = match world.plan().launch(&world.engine(), spec) {
        Err(failed) => failed.into_parts().0,
        Ok(bundle) => bundle.wait_for(&Ready::log("never"), LONG).unwrap_err(),
    };
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("my token is ***") && !shown.contains(secret), "{shown}");

    let spec = BundleSpec::new().secret("TOKEN", secret);
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    let env = bundle.exec(["sh", "-c", "echo $TOKEN"], LONG).unwrap();
    assert_eq!(env.stdout.trim(), secret);
    let found: Vec<_> = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|it| std::fs::read_to_string(it.path().join("cmdline")).ok())
        .filter(|cmdline| cmdline.contains(secret))
        .collect();
    assert!(found.is_empty(), "{found:?}");
    let shown = format!("{bundle:?}");
    assert!(!shown.contains(secret), "{shown}");
    bundle.close().unwrap();
    world.assert_nothing_left();
}
