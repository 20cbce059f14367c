//! What is not ours stays; what was kept is found again; a slug has one owner at a time.

use std::fs;

use sidecar_bundle::{BundleSpec, Cause, Error};

use crate::fake::{CONTAINER, Fake, NETWORK, plan};
use crate::texts::refuse;

impl Fake {
    /// A network that somebody else has made, and its id.
    #[track_caller]
    pub(crate) fn foreign_network(&self, name: &str, lines: &[&str]) -> String {
        let id = "f".repeat(64);
        let text = format!("name={name}\n{}\n", lines.join("\n"));
        fs::write(self.path("network").join(&id), text).unwrap();
        id
    }

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
        assert_eq!(self.things(), [(NETWORK.into(), id.into())]);
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
fn a_kept_network_is_taken_over() {
    let fake = Fake::new();
    let network = plan().create_network(&fake.engine()).unwrap();
    let id = network.network_id().to_owned();
    let plan = network.keep().unwrap();
    assert_eq!(fake.operations(), ["network create"]);

    let network = plan.create_network(&fake.engine()).unwrap();
    assert_eq!(network.network_id(), id);
    assert_eq!(fake.operations()[1..], ["network inspect"]);
    let bundle = network.start(BundleSpec::new()).unwrap();
    assert_eq!(bundle.network_id(), id);
    bundle.close().unwrap();
    assert_eq!(fake.calls().last().unwrap().args, ["network", "rm", &id]);
    fake.assert_nothing_left();
}

#[test]
fn a_network_of_an_owner_that_the_lease_does_not_know_is_left_alone() {
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

#[test]
fn what_could_not_be_removed_is_made_anew_by_the_next_try() {
    let fake = Fake::new();
    let bundle = fake.up();
    let id = bundle.network_id().to_owned();
    for operation in ["rm", "network-rm"] {
        fake.once(operation, &refuse(1, "Error response from daemon: the disk is tired"));
    }
    bundle.close().unwrap_err();
    assert_eq!(fake.things().len(), 2);
    let before = fake.operations().len();
    let bundle = fake.up();
    assert_ne!(bundle.network_id(), id);
    assert_eq!(
        fake.operations()[before..],
        ["ps", "rm", "network ls", "network rm", "network create", "run", "container inspect"]
    );
    bundle.close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn a_kept_bundle_stays() {
    let fake = Fake::new();
    let before = {
        let bundle = fake.up();
        let things = fake.things();
        let _plan = bundle.keep().unwrap();
        things
    };
    assert_eq!(fake.things(), before);
    assert_eq!(fake.operations(), ["network create", "run", "container inspect"]);
    for _ in 0..2 {
        let failed = plan().launch(&fake.engine(), BundleSpec::new()).unwrap_err();
        assert_eq!(fake.chain(&failed), ["a bundle of slug demo was kept; attach to it"]);
    }
    assert_eq!(fake.operations().len(), 3, "and the engine is not asked");
    assert_eq!(fake.things(), before);
}

#[test]
fn a_container_of_the_same_name_is_left_alone() {
    let fake = Fake::new();
    let foreign = fake.path("container").join("e".repeat(64));
    fs::write(&foreign, format!("name={CONTAINER}\n")).unwrap();
    let failed = plan().launch(&fake.engine(), BundleSpec::new()).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::ContainerNameTaken));
    assert_eq!(fake.operations(), ["network create", "run", "network rm"]);
    assert!(foreign.exists());
}

#[test]
fn a_lost_answer_never_removes_what_has_the_name_alone() {
    let fake = Fake::new();
    let id = fake.foreign_network(NETWORK, &["subnet=10.56.132.0/24", "gateway=10.56.132.1"]);
    fake.on("network-create", "kill -9 $$");
    let failed = plan().create_network(&fake.engine()).unwrap_err();
    assert_eq!(
        fake.chain(&failed)[1],
        "docker network create ended with signal: 9 (SIGKILL) and printed nothing"
    );
    assert_eq!(fake.things(), [(NETWORK.into(), id)]);
}

#[test]
fn a_second_launcher_is_told_who_has_the_slug_before_the_engine_is_asked() {
    let fake = Fake::new();
    let first = plan().create_network(&fake.engine()).unwrap();
    let failed = plan().launch(&fake.engine(), BundleSpec::new()).unwrap_err();
    let Error::Taken { slug, pid, since, .. } = failed.error() else { panic!("{failed:?}") };
    assert_eq!((slug.as_str(), *pid), ("demo", Some(std::process::id())));
    assert!(since.unwrap().elapsed().unwrap().as_secs() < 600);
    let text = format!("slug demo is taken by pid {} since then", std::process::id());
    assert_eq!(fake.chain(&failed), [text]);
    assert_eq!(failed.error().cause(), None);
    assert_eq!(fake.operations(), ["network create"], "of the first one");

    first.close().unwrap();
    failed.into_state().create_network(&fake.engine()).unwrap().close().unwrap();
    fake.assert_nothing_left();
}
