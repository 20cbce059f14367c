//! The deaths of owners whose bundles have guests, files and a second network.

use std::hash::{BuildHasher, RandomState};
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{BundleSpec, SweptOutcome};

use crate::engine::{World, cli, foreign_network, is_api, is_podman, plan_apart, shout, world};
use crate::owner::Owner;
use crate::{PATIENCE, is_reaping, own_program};

/// The number of deaths, eight side by side.
const DEATHS: usize = 32;

#[test]
fn what_an_owner_with_guests_leaves_is_removed_whenever_it_dies() {
    let Some(world) = world("chaos-guests") else { return };
    let out = is_api().then(|| foreign_network("10.166.0.0/24", &[], "out-of-chaos"));
    thread::scope(|scope| {
        for side in 0..8 {
            let world = &world;
            scope.spawn(move || (side..DEATHS).step_by(8).for_each(|number| die(world, number)));
        }
    });
    let names = cli(&["ps", "--all", "--format", "{{.Names}}"])
        + &cli(&["network", "ls", "--format", "{{.Name}}"]);
    let left: Vec<_> = names.lines().filter(|name| name.contains("-chaos-guests-")).collect();
    assert!(left.is_empty(), "{left:?}");
    if let Some(id) = out {
        cli(&["network", "rm", &id]);
    }
    shout(&format!("{DEATHS} owners with guests have died"));
}

/// An owner dies at some moment of the life of its bundle with two guests.
fn die(world: &World, number: usize) {
    let slug = format!("chaos-guests-{number}");
    let subnet = plan_apart(&slug, 40, number).subnet();
    let more = if is_api() { "file=/etc/new/file also-on=out-of-chaos" } else { "" };
    let program = own_program(world.state.path(), &slug);
    let [backend, state] = world.engine_words();
    let mut owner = Owner::start(&[backend, state, format!("program={}", program.display())]);
    let guest =
        format!("launch {slug} subnet={subnet} daemons=egress {more}\nguest one\nguest-ns two");
    owner.tell(&format!("{guest}\nclose\nguest three"));
    // Three of four die while guests come and go, which takes two seconds or three, and the others at any moment.
    if !number.is_multiple_of(4) {
        let answer = owner.answer();
        assert!(answer.starts_with("up "), "{slug}: {answer}");
    }
    let longest = if is_podman() { 4000 } else { 3000 };
    thread::sleep(Duration::from_millis(RandomState::new().hash_one(number) % longest));
    owner.kill();
    // It ends when it has found nothing three times over, whatever the engine still did for the owner.
    let deadline = Instant::now() + PATIENCE;
    while is_reaping(&program) {
        assert!(Instant::now() < deadline, "the reaper of {slug} does not end");
        thread::sleep(Duration::from_millis(50));
    }
    let label = format!("label=sidecar-bundle.slug={slug}");
    let left = cli(&["ps", "--all", "--quiet", "--filter", &label])
        + &cli(&["network", "ls", "--quiet", "--filter", &label]);
    assert_eq!(left, "", "left by {slug}");
}

#[test]
fn the_next_owner_and_a_sweep_remove_guests_too() {
    let Some(world) = world("guest-orphans") else { return };
    let dies = || {
        let words = [&world.engine_words()[..], &["reaper=false".to_owned()]].concat();
        let mut owner = Owner::start(&words);
        owner.expect("launch guest-orphans", "up");
        owner.expect("guest-ns one", "guest");
        owner.expect("guest two", "guest");
        owner.kill();
    };
    dies();
    let [swept] = &sidecar_bundle::sweep(&world.engine()).unwrap()[..] else { panic!("one slug") };
    let SweptOutcome::Removed { containers, networks, .. } = &swept.outcome else {
        panic!("{swept:?}")
    };
    assert_eq!((containers.len(), networks.len()), (3, 1));
    world.assert_nothing_left();
    dies();
    world.plan().launch(&world.engine(), BundleSpec::new()).unwrap().close().unwrap();
    world.assert_nothing_left();
    dies();
    assert_eq!(world.plan().discard(&world.engine()).unwrap().containers.len(), 3);
    world.assert_nothing_left();
}
