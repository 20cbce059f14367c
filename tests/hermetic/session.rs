//! The owner of the bundles of one process.

use crate::fake::Fake;

#[test]
fn two_bundles_of_one_process_on_one_engine_have_one_owner() {
    let (fake, other) = (Fake::new(), Fake::new());
    for fake in [&fake, &fake, &other] {
        fake.up().close().unwrap();
    }
    let calls = fake.calls();
    let creates: Vec<_> =
        calls.iter().filter(|call| call.operation() == "network create").collect();
    let [one, again] = creates[..] else { panic!("{creates:?}") };
    assert_eq!(one.drawn("owner"), again.drawn("owner"));
    // On another engine it is another owner.
    let other = &other.calls()[0];
    assert_ne!(one.drawn("owner"), other.drawn("owner"));
    assert_ne!(one.drawn("lease-dir"), other.drawn("lease-dir"));
}
