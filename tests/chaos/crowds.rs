//! Many processes at once.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{SweptOutcome, sweep};

use crate::engine::{World, cli, inspect, shout, world};
use crate::owner::Owner;

/// Far more subnets than slugs, away from those of other tests; and no daemons.
fn launch(slug: &str) -> String {
    format!("launch {slug} pool=10.24.0.0/13:/29 daemons=")
}

fn owners(world: &World, count: usize) -> Vec<Owner> {
    (0..count).map(|_| Owner::start(&world.engine_words())).collect()
}

#[test]
fn of_sixteen_processes_that_race_for_a_slug_exactly_one_gets_it() {
    let Some(world) = world("race") else { return };
    let mut owners = owners(&world, 16);
    for round in 0..25 {
        for owner in &mut owners {
            owner.tell(&launch("race"));
        }
        let answers: Vec<_> = owners.iter_mut().map(Owner::answer).collect();
        let winners: Vec<_> = (0..16).filter(|&i| answers[i].starts_with("up ")).collect();
        let losers = answers.iter().filter(|answer| *answer == "taken").count();
        assert_eq!((winners.len(), losers), (1, 15), "round {round}: {answers:#?}");
        let ids: Vec<_> = answers[winners[0]].split_whitespace().skip(1).collect();
        assert_eq!(inspect("container", ids[0]).unwrap()["State"]["Running"], true);
        assert!(inspect("network", ids[1]).is_some());
        owners[winners[0]].tell("close");
        assert_eq!(owners[winners[0]].answer(), "closed");
    }
    owners.into_iter().for_each(Owner::end);
    world.assert_nothing_left();
}

#[test]
fn twenty_four_processes_all_get_a_subnet_of_a_pool_of_thirty_two() {
    let Some(world) = world("pool") else { return };
    let pool = "10.46.0.0/19:/24";
    let mut owners = owners(&world, 24);
    for (number, owner) in owners.iter_mut().enumerate() {
        owner.tell(&format!("free pool-{number} pool={pool} daemons="));
    }
    let answers: Vec<_> = owners.iter_mut().map(Owner::answer).collect();
    let subnets = answers.iter().filter_map(|it| it.strip_prefix("up ")?.split(' ').nth(2));
    let subnets: BTreeSet<_> = subnets.collect();
    assert_eq!(subnets.len(), 24, "{answers:#?}");
    assert!(subnets.iter().all(|subnet| subnet.starts_with("10.46.")), "{answers:#?}");
    for owner in &mut owners {
        owner.tell("close");
    }
    for owner in &mut owners {
        assert_eq!(owner.answer(), "closed");
    }
    owners.into_iter().for_each(Owner::end);
    let left = cli(&["network", "ls", "--format", "{{.Name}}"]);
    assert!(!left.contains("bundle-pool-"), "{left}");
}

#[test]
fn eight_sweepers_never_harm_a_living_bundle_of_eight_launchers() {
    let Some(world) = world("sweepers") else { return };
    let words = [&world.engine_words()[..], &["reaper=false".into()]].concat();
    let end = Instant::now() + Duration::from_secs(60);
    let harmed = Mutex::new(Vec::new());
    let (launches, deaths, swept) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let count = |counter: &AtomicUsize| counter.fetch_add(1, Ordering::SeqCst);
    thread::scope(|scope| {
        for number in 0..8_usize {
            let (harmed, launches, deaths, words) = (&harmed, &launches, &deaths, &words);
            scope.spawn(move || {
                let mut turn = number;
                while Instant::now() < end {
                    // Two launchers for each slug, and more slugs than can be taken up again at once.
                    let slug = format!("sweepers-{}-{}", number / 2, turn % 5);
                    let mut owner = Owner::start(words);
                    owner.tell(&launch(&slug));
                    let answer = owner.answer();
                    let harm = |harm: &str| {
                        harmed.lock().unwrap().push(format!("{slug}: {harm}: {answer}"));
                    };
                    if answer == "taken" {
                        turn += 1;
                        thread::sleep(Duration::from_millis(50));
                        continue;
                    }
                    let ids: Vec<_> = answer.split_whitespace().skip(1).collect();
                    if !answer.starts_with("up ") {
                        harm("not launched");
                        continue;
                    }
                    count(launches);
                    thread::sleep(Duration::from_millis(300));
                    let container = inspect("container", ids[0]);
                    if !container.is_some_and(|it| it["State"]["Running"] == true)
                        || inspect("network", ids[1]).is_none()
                    {
                        harm("gone while it lived");
                    }
                    turn += 1;
                    if turn % 2 == 0 {
                        owner.tell("close");
                        if owner.answer() != "closed" {
                            harm("not closed");
                        }
                    } else {
                        owner.tell("exit");
                        count(deaths);
                    }
                    owner.end();
                }
            });
        }
        for number in 0..8_u64 {
            let swept = &swept;
            let engine = world.engine();
            scope.spawn(move || {
                while Instant::now() < end {
                    for outcome in sweep(&engine).unwrap() {
                        match outcome.outcome {
                            SweptOutcome::Removed { containers, .. } if !containers.is_empty() => {
                                count(swept);
                            }
                            SweptOutcome::Failed(error) => panic!("{error:?}"),
                            _ => {}
                        }
                    }
                    thread::sleep(Duration::from_millis(200 + 70 * number));
                }
            });
        }
    });
    let harmed = harmed.into_inner().unwrap();
    let [launches, deaths, swept] = [launches, deaths, swept].map(AtomicUsize::into_inner);
    shout(&format!(
        "sweepers: {launches} launches, {deaths} deaths, {swept} bundles swept, {} harmed",
        harmed.len()
    ));
    assert!(harmed.is_empty(), "{harmed:#?}");
    assert!(deaths > 10 && swept > 0, "{deaths} deaths, {swept} swept");
    sweep(&world.engine()).unwrap();
    let left = cli(&["network", "ls", "--format", "{{.Name}}"]);
    assert!(!left.contains("bundle-sweepers-"), "{left}");
}
