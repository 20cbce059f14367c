//! A kept bundle.

use sidecar_bundle::{BundleSpec, Error, SweptOutcome, sweep};

use crate::fake::{Fake, plan};
use crate::texts::{NO_CONTAINER, refuse};

#[test]
fn a_kept_bundle_stays_and_is_never_launched_over() {
    let fake = Fake::new();
    let before = {
        let bundle = fake.up();
        let resources = fake.resources();
        let _plan = bundle.keep().unwrap();
        resources
    };
    assert_eq!(fake.resources(), before);
    assert_eq!(fake.operations(), ["network create", "run", "container inspect"]);
    for _ in 0..2 {
        let failed = plan().launch(&fake.engine(), BundleSpec::new()).unwrap_err();
        assert_eq!(
            fake.chain(&failed),
            ["a bundle of slug demo was kept; attach to it, or discard it"]
        );
    }
    assert_eq!(fake.operations().len(), 3, "and the engine is not asked");
    assert_eq!(fake.resources(), before);
}

#[test]
fn an_attach_on_another_engine_misses_nothing() {
    let fake = Fake::new();
    fake.up().keep().unwrap();
    fake.moves();
    let missing = refuse(1, NO_CONTAINER);
    fake.on("container-inspect", &format!(": >\"$dir/moved\"; echo '[]'; {missing}"));
    let failed = plan().attach(&fake.engine()).unwrap_err();
    assert_eq!(
        fake.chain(&failed),
        [
            "the engine could not be asked for the kept container",
            "another engine answers than before"
        ]
    );
    fake.moves_back();
    fake.obey("container-inspect");
    plan().attach(&fake.engine()).unwrap().close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn what_cannot_be_looked_at_is_never_replaced() {
    let fake = Fake::new();
    fake.up().keep().unwrap();
    let before = fake.resources();
    let other = || BundleSpec::new().label("made", "otherwise");
    for operation in ["network-inspect", "container-inspect"] {
        fake.on(operation, &refuse(1, "Error response from daemon: the disk is tired"));
        let failed = plan().attach_or_launch(&fake.engine(), other()).unwrap_err();
        assert!(matches!(failed.error(), Error::Look { .. }), "{failed:?}");
        fake.obey(operation);
    }
    assert_eq!(fake.resources(), before);
    assert!(matches!(sweep(&fake.engine()).unwrap()[0].outcome, SweptOutcome::Kept));
    plan().attach_or_launch(&fake.engine(), BundleSpec::new()).unwrap().keep().unwrap();
    assert_eq!(fake.resources(), before, "it is the same one");
    plan().attach_or_launch(&fake.engine(), other()).unwrap().close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn what_is_replaced_is_ours() {
    let fake = Fake::new();
    let bundle = fake.up();
    let id = bundle.container_id().to_owned();
    bundle.keep().unwrap();
    // It has gone, and somebody else's has its id as its name.
    std::fs::remove_file(fake.path("container").join(&id)).unwrap();
    let other = "f".repeat(64);
    std::fs::write(fake.path("container").join(&other), format!("name={id}\n")).unwrap();
    let bundle = plan().attach_or_launch(&fake.engine(), BundleSpec::new()).unwrap();
    assert_ne!(bundle.container_id(), other);
    bundle.close().unwrap();
    assert_eq!(fake.resources(), [(id, other)]);
}

#[test]
fn a_container_that_was_started_again_is_told_as_it_is_then() {
    let fake = Fake::new();
    fake.up().keep().unwrap();
    fake.on("start", ": >\"$dir/started\"; obey");
    let was = |state: &str| format!("obey | sed 's/running/{state}/'");
    let gone = format!("echo '[]'; {}", refuse(1, NO_CONTAINER));
    for (then, problem) in [
        (was("exited"), "its container was started again, and is exited"),
        (was("paused"), "its container was started again, and is paused"),
        (gone, "its container does not exist"),
    ] {
        fake.on(
            "container-inspect",
            &format!("if [ -e \"$dir/started\" ]; then\n{then}\nelse {}; fi", was("exited")),
        );
        let failed = plan().attach(&fake.engine()).unwrap_err();
        let says = format!(
            "the kept bundle of slug demo cannot be attached to: {problem}; discard removes it"
        );
        assert_eq!(fake.chain(&failed), [says]);
        std::fs::remove_file(fake.path("started")).unwrap();
    }
    fake.obey("container-inspect");
    plan().attach(&fake.engine()).unwrap().close().unwrap();
    fake.assert_nothing_left();
}
