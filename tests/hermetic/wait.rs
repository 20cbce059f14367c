//! Waiting for a bundle.

use std::time::Duration;

use sidecar_bundle::Ready;

use crate::fake::Fake;

#[test]
fn a_wait_never_connects_to_an_address_that_is_not_on_this_host() {
    let fake = Fake::new();
    let bundle = fake.up();
    for condition in
        [Ready::tcp(80), Ready::all([Ready::log("x"), Ready::any([Ready::http(80, "/", 200)])])]
    {
        let error = bundle.wait_for(&condition, Duration::from_secs(60)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "address 10.56.132.2 cannot be reached from here: the engine is in a virtual machine (Docker Desktop); publish ports, or run this program in it"
        );
    }
    // And of the engine it is asked only where it is, once.
    assert_eq!(fake.operations(), ["network create", "run", "container inspect"]);
    assert_eq!(fake.infos(), 2);
    bundle.close().unwrap();
}
