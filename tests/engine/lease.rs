//! A slug has one owner at a time.

use std::sync::Barrier;
use std::thread;

use sidecar_bundle::{BundleSpec, Error};

use crate::engine::{engine, inspect, world};

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

/// The leases of two hosts do not meet, and neither do those of two directories.
#[test]
fn of_hosts_that_race_for_a_slug_exactly_one_gets_it_and_the_others_are_told_where_it_is() {
    const HOSTS: usize = 3;
    const ROUNDS: usize = 8;
    let Some(world) = world("hosts") else { return };
    let hosts: Vec<_> = (0..HOSTS).map(|_| tempfile::tempdir().unwrap()).collect();
    let here = nix::unistd::gethostname().unwrap().into_string().unwrap();
    for round in 0..ROUNDS {
        let start = Barrier::new(HOSTS);
        let race = |number: usize, host: &tempfile::TempDir| {
            // In every second round, all that is the same is the names.
            let pool = format!("10.{}.0.0/16:/24", 72 + number).parse().unwrap();
            let plan = match round % 2 {
                0 => world.plan(),
                _ => world.plan().with_pool(pool),
            };
            let engine = engine().with_state_dir(host.path());
            start.wait();
            plan.launch(&engine, BundleSpec::new())
        };
        let mut won = Vec::new();
        thread::scope(|scope| {
            let race = &race;
            let racers: Vec<_> = hosts
                .iter()
                .enumerate()
                .map(|(number, host)| scope.spawn(move || race(number, host)))
                .collect();
            for racer in racers {
                match racer.join().unwrap() {
                    Ok(bundle) => won.push(bundle),
                    Err(failed) => match failed.error() {
                        Error::UnknownOwner { host, .. } => assert_eq!(host.as_ref(), Some(&here)),
                        error => panic!("round {round}: {error:?}"),
                    },
                }
            }
        });
        assert_eq!(won.len(), 1, "round {round}");
        let bundle = won.remove(0);
        assert_eq!(bundle.status().unwrap().address, Some(bundle.ip()), "round {round}");
        bundle.close().unwrap();
        world.assert_nothing_left();
    }
}
