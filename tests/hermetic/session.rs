//! The sessions of one process.

use sidecar_bundle::{BundleSpec, NetworkPlanned, Slug};

use crate::fake::Fake;
use crate::surroundings::wait_for;

#[test]
fn each_bundle_has_an_owner_and_a_lease_of_its_own() {
    let fake = Fake::new();
    fake.up().close().unwrap();
    fake.up().close().unwrap();
    let calls = fake.calls();
    let creates: Vec<_> =
        calls.iter().filter(|call| call.operation() == "network create").collect();
    let [one, again] = creates[..] else { panic!("{creates:?}") };
    for key in ["owner", "lease"] {
        assert_ne!(one.drawn(key), again.drawn(key));
    }
    assert_eq!(one.drawn("engine"), again.drawn("engine"));
}

#[test]
fn an_engine_is_asked_for_its_identity_once_for_each_session() {
    let fake = Fake::new();
    let bundle = fake.up();
    assert_eq!(fake.infos(), 1);
    bundle.close().unwrap();
    assert_eq!(fake.infos(), 1, "no absence had to be believed");
    let plan = NetworkPlanned::new(Slug::new("other").unwrap());
    let bundle = plan.launch(&fake.engine(), BundleSpec::new()).unwrap();
    assert_eq!(fake.infos(), 2);
    for (_, id) in fake.resources() {
        for kind in ["network", "container"] {
            let _ = std::fs::remove_file(fake.path(kind).join(&id));
        }
    }
    bundle.close().unwrap();
    assert_eq!(fake.infos(), 6, "each absence is the same engine's, before and after");
}

#[test]
fn what_appears_after_the_last_look_for_it_is_removed_at_the_end_of_the_process() {
    let fake = Fake::new();
    let late = "(until [ -e \"$dir/now\" ]; do sleep 0.05; done; obey) >/dev/null 2>&1";
    fake.once("network-create", &format!("{late} & sleep 0.1; exit 1"));
    let mut owner = fake.owner(&[]);
    owner.expect("launch demo", "error network claude-bottle-bundle-demo could not be created");
    std::fs::write(fake.path("now"), "").unwrap();
    wait_for("the network", || fake.resources().len() == 1);
    assert_eq!(fake.reapers(), 1);
    owner.end();
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
}

#[test]
fn what_may_appear_yet_is_awaited_though_the_next_bundle_of_the_slug_was_closed() {
    let fake = Fake::new();
    let late = "(until [ -e \"$dir/now\" ]; do sleep 0.05; done; obey) >/dev/null 2>&1";
    fake.once("network-create", &format!("{late} & sleep 0.1; exit 1"));
    let mut owner = fake.owner(&[]);
    owner.expect("launch demo", "error network claude-bottle-bundle-demo could not be created");
    owner.expect("launch demo", "up");
    owner.expect("close", "closed");
    std::fs::write(fake.path("now"), "").unwrap();
    wait_for("the network", || fake.resources().len() == 1);
    owner.end();
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();
}
