//! Errors as values: boxed, returned, and of several causes.

use sidecar_bundle::{
    BundleRunning, BundleSpec, Cause, Error, NetworkCreated, NetworkPlanned, StepError,
};

use crate::fake::{Fake, plan};
use crate::texts::{UNKNOWN, refuse};

#[test]
fn a_failed_step_in_a_boxed_error_cleans_up_when_that_drops() {
    fn up(fake: &Fake) -> Result<BundleRunning, Box<dyn std::error::Error + Send + Sync>> {
        Ok(plan().create_network(&fake.engine())?.start(BundleSpec::new())?)
    }
    let fake = Fake::new();
    fake.on("run", &refuse(125, "docker: Error response from daemon: Address already in use"));
    let error = up(&fake).unwrap_err();
    assert_eq!(fake.resources().len(), 1, "the network lives in the error");
    assert_eq!(
        fake.chain(&*error),
        [
            "container claude-bottle-sidecars-demo could not be started from image claude-bottle-sidecars:latest",
            "docker run ended with exit status: 125: docker: Error response from daemon: Address already in use",
        ]
    );
    drop(error);
    fake.assert_nothing_left();
}

#[test]
fn a_failed_rollback_is_part_of_the_error() {
    let fake = Fake::new();
    fake.on("run", &refuse(125, "docker: Error response from daemon: Address already in use"));
    fake.on("network-rm", &refuse(1, UNKNOWN));
    let error = fake.try_up().unwrap_err();
    assert_eq!(error.cause(), Some(Cause::AddressTaken));
    let id = format!("{:064x}", 1);
    assert_eq!(
        fake.chain(&error),
        [
            format!(
                "container claude-bottle-sidecars-demo could not be started from image claude-bottle-sidecars:latest; and \
                 network claude-bottle-bundle-demo may be left; remove it with `docker network rm {id}`"
            ),
            "docker run ended with exit status: 125: docker: Error response from daemon: Address already in use".into(),
        ]
    );
}

#[test]
fn an_error_is_small_enough_to_be_returned() {
    assert!(size_of::<Error>() <= 128, "{}", size_of::<Error>());
    assert!(size_of::<StepError<NetworkCreated>>() <= 16);
    assert!(size_of::<StepError<NetworkPlanned>>() <= 16);
}
