//! Removing orphans on request, and nothing else.

use std::time::Duration;

use sidecar_bundle::{BundleSpec, Error, SweptOutcome, sweep, sweep_dry_run};

use crate::engine::{engine, inspect, program, running, world};
use crate::leave_behind;

#[test]
fn a_sweep_removes_what_its_dry_run_lists() {
    let Some(world) = world("sweep") else { return };
    leave_behind(&world, &["launch sweep"]);
    let container = inspect("container", &world.plan().container_name()).unwrap();
    for dry in [true, false] {
        let swept = if dry { sweep_dry_run(&world.engine()) } else { sweep(&world.engine()) };
        let swept = swept.unwrap();
        assert_eq!((swept[0].prefix.as_str(), swept[0].slug.as_str()), ("claude-bottle", "sweep"));
        assert!(swept[0].since.unwrap().elapsed().unwrap() < Duration::from_secs(600));
        let (containers, networks) = match &swept[0].outcome {
            SweptOutcome::WouldRemove { containers, networks, .. } if dry => (containers, networks),
            SweptOutcome::Removed { containers, networks, .. } if !dry => (containers, networks),
            other => panic!("{other:?}"),
        };
        assert_eq!(container["Id"], *containers[0]);
        assert_eq!(networks.len(), 1);
        assert_eq!(inspect("container", &containers[0]).is_some(), dry);
    }
    world.assert_nothing_left();
}

#[test]
fn a_sweep_leaves_the_living_and_other_directories_alone() {
    let Some(world) = world("sweep-others") else { return };
    let network = world.plan().create_network(&world.engine()).unwrap();
    let swept = sweep(&world.engine()).unwrap();
    assert!(
        matches!(swept[0].outcome, SweptOutcome::Held { pid, .. } if pid == std::process::id()),
        "{swept:?}"
    );
    assert!(inspect("network", network.network_id()).is_some());
    network.close().unwrap();

    leave_behind(&world, &["launch sweep-others"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let other = engine().with_state_dir(elsewhere.path());
    assert!(sweep(&other).unwrap().is_empty());
    let failed = world.plan().launch(&other, BundleSpec::new()).unwrap_err();
    assert!(matches!(failed.error(), Error::UnknownOwner { .. }), "{failed:?}");
    assert!(running(&world.plan().container_name()));
    // By another way to the same engine, the lease is the same.
    let other = world.engine().with_program(program_path());
    let swept = sweep(&other).unwrap();
    assert!(matches!(swept[0].outcome, SweptOutcome::Removed { .. }), "{swept:?}");
    world.assert_nothing_left();
}

fn program_path() -> std::path::PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|it| it.join(program())).find(|it| it.exists()).unwrap()
}
