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
        let text = format!("network {NETWORK} exists, and is not the planned one: {difference}");
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
fn a_network_of_another_lease_directory_is_left_alone() {
    let fake = Fake::new();
    let network = plan().create_network(&fake.engine()).unwrap();
    let id = network.network_id().to_owned();
    let _plan = network.keep().unwrap();
    let (start, foreign) = ("label=sidecar-bundle.lease-dir=", "0".repeat(32));
    fake.edit_network(&id, |line| match line.strip_prefix(start) {
        Some(_) => Some(format!("{start}{foreign}")),
        None => Some(line.into()),
    });
    let ours = fs::read_to_string(fake.path("leases").join("id")).unwrap();
    let ours = ours.trim();
    fake.assert_differs(&id, &format!("its sidecar-bundle.lease-dir is {foreign}, not {ours}"));
}

#[test]
fn a_network_of_an_owner_unknown_to_the_lease_is_left_alone() {
    let fake = Fake::new();
    let network = plan().create_network(&fake.engine()).unwrap();
    let (id, ours) = (network.network_id().to_owned(), fake.calls()[0].args.clone());
    let _plan = network.keep().unwrap();
    let (start, foreign) = ("label=sidecar-bundle.owner=", "1".repeat(32));
    fake.edit_network(&id, |line| match line.strip_prefix(start) {
        Some(_) => Some(format!("{start}{foreign}")),
        None => Some(line.into()),
    });
    let ours = ours.iter().find_map(|arg| arg.strip_prefix("sidecar-bundle.owner=")).unwrap();
    fake.assert_differs(&id, &format!("its sidecar-bundle.owner is {foreign}, not {ours}"));
}
