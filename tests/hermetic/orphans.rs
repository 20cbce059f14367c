//! Resources of previous owners, removed by the next one.

use sidecar_bundle::{BundleSpec, Cause, Error, NetworkPlanned, Slug};

use crate::fake::{Fake, NETWORK};
use crate::surroundings::wait_for;
use crate::texts::refuse;

#[test]
fn the_next_launch_removes_what_a_failed_close_left() {
    let fake = Fake::new();
    let bundle = fake.up();
    let id = bundle.network_id().to_owned();
    for operation in ["rm", "network-rm"] {
        fake.on(operation, &refuse(1, "Error response from daemon: the disk is tired"));
    }
    bundle.close().unwrap_err();
    assert_eq!(fake.resources().len(), 2);
    for operation in ["rm", "network-rm"] {
        fake.obey(operation);
    }
    let before = fake.operations().len();
    let bundle = fake.up();
    assert_ne!(bundle.network_id(), id);
    assert_eq!(
        fake.operations()[before..],
        [
            "ps",
            "ps",
            "rm",
            "network ls",
            "network ls",
            "network rm",
            "network create",
            "run",
            "container inspect"
        ]
    );
    bundle.close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn the_next_owner_waits_for_the_last_command_of_a_dead_owner() {
    let fake = Fake::new();
    fake.once("run", ": >\"$dir/asked\"; sleep 1; id=$(obey); : >\"$dir/ended\"; echo \"$id\"");
    fake.on("ps", "[ -e \"$dir/ended\" ] || : >\"$dir/early\"; obey");
    let mut owner = fake.owner(&[]);
    owner.tell("launch demo");
    wait_for("the run", || fake.path("asked").exists());
    owner.kill();
    let bundle = fake.up();
    assert!(fake.path("ended").exists() && !fake.path("early").exists());
    bundle.close().unwrap();
    wait_for("the reaper of the dead", || fake.reapers() <= 1);
    fake.assert_nothing_left();
}

#[test]
fn advice_about_orphans_names_ids_or_labels_and_never_a_phrase() {
    let fake = Fake::new();
    let mut owner = fake.owner(&["reaper=false"]);
    let slug = "postgres";
    owner.expect("launch postgres", "up");
    owner.kill();
    let plan = NetworkPlanned::new(Slug::new(slug).unwrap());
    let forbidden = "<html><body>403 Forbidden</body></html>";
    fake.on("ps", &refuse(1, forbidden));
    let failed = plan.clone().launch(&fake.engine(), BundleSpec::new()).unwrap_err();
    let said = fake.chain(&failed).join(": ");
    assert!(said.starts_with("the engine could not be asked for orphans: "), "{said}");
    assert!(!said.contains(" of slug") && !said.contains("--force"), "{said}");
    // A removal by labels, and one by id.
    // Whatever `DOCKER_HOST` says, the command needs no address.
    fake.once("ps", "obey");
    let error = plan.discard(&fake.engine().with_context("default")).unwrap_err();
    let Error::NotRemoved { id: None, command, .. } = &error else { panic!("{error:?}") };
    let words: Vec<_> = command.split(' ').skip(1).collect();
    assert_eq!(
        words,
        [
            "ps",
            "--all",
            "--no-trunc",
            "--quiet",
            "--filter",
            "label=sidecar-bundle.prefix=claude-bottle",
            "--filter",
            "label=sidecar-bundle.slug=postgres",
        ]
    );
    fake.obey("ps");
    fake.on("rm", &refuse(1, forbidden));
    let failed = plan.clone().launch(&fake.engine(), BundleSpec::new()).unwrap_err();
    let Error::NotRemoved { id: Some(id), command, .. } = failed.error() else {
        panic!("{failed:?}")
    };
    assert!(command.ends_with(&format!(" rm --force --volumes {id}")) && id.len() == 64);
    assert!(failed.to_string().contains("container of slug postgres may be left"), "{failed}");
    fake.obey("rm");
    plan.launch(&fake.engine(), BundleSpec::new()).unwrap().close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn no_number_of_deaths_or_failed_launches_makes_orphans_unknown() {
    let fake = Fake::new();
    for death in 0..20 {
        let mut owner = fake.owner(&["reaper=false"]);
        // The orphans of the last one are in the way of some.
        if death % 3 == 1 {
            fake.once("ps", &refuse(1, "Cannot connect to the Docker daemon"));
        }
        owner.ask("launch demo");
        owner.kill();
    }
    for _ in 0..20 {
        fake.once("ps", &refuse(1, "Cannot connect to the Docker daemon"));
        fake.try_up().unwrap_err();
    }
    assert_eq!(fake.resources().len(), 2);
    let swept = sidecar_bundle::sweep(&fake.engine()).unwrap();
    assert!(matches!(&swept[0].outcome, sidecar_bundle::SweptOutcome::Removed { .. }), "{swept:?}");
    fake.assert_nothing_left();
    fake.up().close().unwrap();
}

#[test]
fn an_absence_on_another_engine_is_not_believed() {
    let fake = Fake::new();
    let bundle = fake.up();
    let id = bundle.container_id().to_owned();
    let missing = "Error response from daemon: No such container: x";
    fake.on("rm", &refuse(0, missing));
    fake.on("network-rm", &refuse(1, "Error response from daemon: network x not found"));
    fake.on("ps", "none");
    fake.on("network-ls", "none");
    fake.on("info", "echo '{\"ServerVersion\":\"28.0.0\",\"ID\":\"OTHER\"}'");
    let error = bundle.close().unwrap_err();
    assert_eq!(error.cause(), Some(Cause::AnotherEngine));
    assert!(error.to_string().contains(&id), "{error}");
    for operation in ["rm", "network-rm", "ps", "network-ls", "info"] {
        fake.obey(operation);
    }
    assert_eq!(fake.resources().len(), 2);
    fake.up().close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn an_absence_on_an_engine_that_answered_meanwhile_is_not_believed() {
    let fake = Fake::new();
    let bundle = fake.up();
    let missing = refuse(1, "Error response from daemon: No such container: x");
    // The right one is back before its identity is asked for.
    fake.once("container-inspect", &format!("echo '[]'; {missing}"));
    assert_eq!(bundle.status().unwrap().address, Some(bundle.ip()));

    fake.on("rm", &missing);
    fake.on("ps", ": >\"$dir/asked\"; none");
    let other = "echo '{\"ServerVersion\":\"28.0.0\",\"ID\":\"OTHER\"}'";
    fake.on("info", &format!("if [ -e \"$dir/asked\" ]; then obey; else {other}; fi"));
    let error = bundle.close().unwrap_err();
    assert_eq!(error.cause(), Some(Cause::AnotherEngine));
    for operation in ["rm", "ps", "info"] {
        fake.obey(operation);
    }
    fake.up().close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn an_absence_of_networks_is_not_believed_on_another_engine_where_a_container_was_removed() {
    let fake = Fake::new();
    let mut owner = fake.owner(&["reaper=false"]);
    owner.expect("launch demo", "up");
    owner.kill();
    fake.moves();
    fake.on("rm", ": >\"$dir/moved\"; obey");
    fake.on("network-ls", "if [ -e \"$dir/moved\" ]; then none; else obey; fi");
    let swept = sidecar_bundle::sweep(&fake.engine()).unwrap();
    let sidecar_bundle::SweptOutcome::Failed(error) = &swept[0].outcome else {
        panic!("{swept:?}")
    };
    assert_eq!(
        fake.chain(error),
        ["the engine could not be asked for orphans", "another engine answers than before"]
    );
    fake.moves_back();
    let left = fake.resources();
    assert!(matches!(&left[..], [(name, _)] if name == NETWORK), "{left:?}");
    sidecar_bundle::sweep(&fake.engine()).unwrap();
    fake.assert_nothing_left();
}

/// Podman removes no container before the guests in its network namespace.
#[test]
fn a_container_that_has_to_wait_for_another_is_removed_and_counted_once() {
    let fake = Fake::new();
    let mut owner = fake.owner(&["reaper=false"]);
    let up = owner.expect("launch demo", "up");
    let main = up.split(' ').next().unwrap();
    let guest = owner.expect("guest agent", "guest");
    owner.kill();
    let has_guest = format!("[ -e \"$dir/container/{guest}\" ]");
    let refusal = refuse(1, "Error response from daemon: container has dependent containers");
    fake.on("rm", &format!("if [ \"$last\" = {main} ] && {has_guest}; then\n{refusal}\nfi; obey"));
    // The one that has gone is listed for a moment yet.
    let lists = format!("obey; case $filters in label=*) {has_guest} || echo {guest} ;; esac");
    fake.on("ps", &lists);
    let swept = sidecar_bundle::sweep(&fake.engine()).unwrap();
    let sidecar_bundle::SweptOutcome::Removed { containers, networks, .. } = &swept[0].outcome
    else {
        panic!("{swept:?}")
    };
    assert_eq!((containers, networks.len()), (&vec![guest, main.to_owned()], 1));
    fake.assert_nothing_left();
}

#[test]
fn a_refused_removal_is_tried_four_times_for_a_container_and_once_for_a_network() {
    let fake = Fake::new();
    let bundle = fake.up();
    let before = fake.operations().len();
    for operation in ["rm", "network-rm"] {
        fake.on(operation, &refuse(1, "Error response from daemon: the disk is tired"));
    }
    // The refusal is the cause, whether the look for what is left failed or not.
    fake.on("network-ls", &refuse(1, "Error response from daemon: the moon is full"));
    let error = bundle.close().unwrap_err();
    let Error::Several(errors) = &error else { panic!("{error:?}") };
    for error in errors.as_slice() {
        let chain = fake.chain(error);
        assert!(chain.last().unwrap().ends_with("the disk is tired"), "{chain:?}");
    }
    let operations = fake.operations().split_off(before);
    let count = |operation: &str| operations.iter().filter(|it| *it == operation).count();
    assert_eq!((count("rm"), count("network rm")), (4, 1), "{operations:?}");
    assert_eq!(count("network inspect"), 0, "no network was in use: {operations:?}");
}
