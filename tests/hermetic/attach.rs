//! A kept bundle.

use sidecar_bundle::BundleSpec;

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
