//! Networks with a planned name that are not ours.

use std::fs;

use sidecar_bundle::Error;

use crate::fake::{Fake, NETWORK, plan};

impl Fake {
    /// Changes what is written of the network, labels included.
    #[track_caller]
    fn edit_network(&self, id: &str, edit: impl Fn(&str) -> Option<String>) {
        let path = self.path("network").join(id);
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().filter_map(edit).collect();
        fs::write(path, lines.join("\n") + "\n").unwrap();
    }

    /// Creating it must fail with this text, and leave it alone.
    #[track_caller]
    fn assert_differs(&self, id: &str, difference: &str) {
        let failed = plan().create_network(&self.engine()).unwrap_err();
        assert!(matches!(failed.error(), Error::NetworkDiffers { id: found, .. } if found == id));
        assert_eq!(failed.error().cause(), None);
        let text = format!("network {NETWORK} exists and is not the planned one: {difference}");
        assert_eq!(self.chain(&failed), [text]);
        // `?` does not touch it either.
        drop(Error::from(failed));
        assert!(!self.operations().contains(&"network rm".into()));
        assert_eq!(self.resources(), [(NETWORK.into(), id.into())]);
    }
}

#[test]
fn a_network_of_the_same_name_that_is_not_as_planned_is_left_alone() {
    for (lines, difference) in [
        (
            ["subnet=10.9.8.0/24", "gateway=10.56.132.1"],
            "its subnet is 10.9.8.0/24, not 10.56.132.0/24",
        ),
        (["subnet=", ""], "its subnet is not set, not 10.56.132.0/24"),
        (
            ["subnet=10.56.132.0/24", "gateway=10.56.132.254"],
            "its gateway is 10.56.132.254, not 10.56.132.1",
        ),
        (
            ["subnet=10.56.132.0/24", "gateway=10.56.132.1"],
            "its sidecar-bundle.attempt is not set, not 0",
        ),
    ] {
        let fake = Fake::new();
        let id = fake.foreign_network(NETWORK, &lines);
        fake.assert_differs(&id, difference);
    }
}

#[test]
fn a_network_under_a_lease_that_is_not_here_is_left_alone_until_it_is_discarded() {
    let fake = Fake::new();
    let network = plan().create_network(&fake.engine()).unwrap();
    let id = network.network_id().to_owned();
    let _plan = network.keep().unwrap();
    // The lease is lost, or is another directory's.
    let elsewhere = fake.engine().with_state_dir(fake.path("elsewhere"));
    for engine in [&elsewhere, &fake.engine()] {
        fs::remove_dir_all(fake.path("leases")).unwrap_or_default();
        let failed = plan().create_network(engine).unwrap_err();
        let Error::UnknownOwner { id: found, .. } = failed.error() else { panic!("{failed:?}") };
        assert_eq!(*found, id);
        let text = format!(
            "network {NETWORK} ({}) of slug demo was made on host {} under a lease that cannot be seen from here: by another user, host or state directory, or the lease was lost; if its owner is gone, discard removes it",
            &id[..12],
            nix::unistd::gethostname().unwrap().display()
        );
        assert_eq!(fake.chain(&failed), [text]);
        assert!(matches!(plan().attach(engine).unwrap_err().error(), Error::UnknownOwner { .. }));
        assert!(sidecar_bundle::sweep(engine).unwrap().is_empty());
        assert_eq!(fake.resources(), [(NETWORK.into(), id.clone())]);
    }
    let discarded = plan().discard(&fake.engine()).unwrap();
    assert_eq!((discarded.containers.len(), discarded.networks), (0, vec![id]));
    plan().create_network(&fake.engine()).unwrap().close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn a_kept_network_with_another_label_is_left_alone() {
    let fake = Fake::new();
    let network = plan().create_network(&fake.engine()).unwrap();
    let id = network.network_id().to_owned();
    let _plan = network.keep().unwrap();
    fake.edit_network(&id, |line| Some(line.replace("attempt=0", "attempt=7")));
    fake.assert_differs(&id, "its sidecar-bundle.attempt is 7, not 0");
}
