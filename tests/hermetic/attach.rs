//! A kept bundle.

use std::time::Duration;

use serde_json::json;
use sidecar_bundle::{
    BundleSpec, ContainerFile, Daemon, Error, FileProblem, NetworkOptions, Ready, SweptOutcome,
    sweep,
};

use crate::fake::{Fake, NETWORK, plan};
use crate::observe::archive;
use crate::scripted::{Act, Entry, Scripted};
use crate::texts::{NO_CONTAINER, UNKNOWN, refuse};

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
    // It is only asked whether the bundle exists.
    let looks = ["network inspect", "container inspect"];
    assert_eq!(fake.operations()[3..], [looks, looks].concat());
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
    let spec = || BundleSpec::new().stop_grace(Duration::from_secs(1));
    let bundle = plan().launch(&fake.engine(), spec()).unwrap();
    let id = bundle.container_id().to_owned();
    bundle.keep().unwrap();
    // It has gone, and somebody else's has its id as its name.
    std::fs::remove_file(fake.path("container").join(&id)).unwrap();
    let other = "f".repeat(64);
    std::fs::write(fake.path("container").join(&other), format!("name={id}\n")).unwrap();
    let bundle = plan().attach_or_launch(&fake.engine(), spec()).unwrap();
    assert_ne!(bundle.container_id(), other);
    drop(bundle);
    let touched = |it: &crate::fake::Call| it.args[0] != "container" && it.args.contains(&other);
    assert!(!fake.calls().iter().any(touched), "{:?}", fake.calls());
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
    let runs = format!("if [ -e \"$dir/started\" ]; then obey; else {}; fi", was("exited"));
    fake.on("container-inspect", &runs);
    plan().attach(&fake.engine()).unwrap().close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn a_kept_bundle_of_another_plan_is_replaced() {
    let internal = NetworkOptions::new().internal(true);
    for other in [plan().with_options(internal), plan().next_attempt().unwrap()] {
        let engine = Scripted::new(|_, _| Act::Obey);
        let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
        let id = bundle.network_id().to_owned();
        bundle.keep().unwrap();
        let bundle = other.clone().attach_or_launch(&engine.engine(), BundleSpec::new()).unwrap();
        assert_ne!(bundle.network_id(), id, "{other}");
        assert_eq!(bundle.plan().subnet(), other.subnet());
        bundle.close().unwrap();
        assert_eq!(engine.resources(), 0);
    }
}

#[test]
fn a_kept_bundle_that_has_lost_its_address_is_replaced_if_it_runs_and_else_started() {
    for (state, is_replaced) in [("running", true), ("exited", false)] {
        let fake = Fake::new();
        let bundle = fake.up();
        let id = bundle.container_id().to_owned();
        bundle.keep().unwrap();
        fake.on("start", ": >\"$dir/started\"; obey");
        let edit = format!(r#"s/"IPAddress":"10.56.132.2"/"IPAddress":""/; s/running/{state}/"#);
        let is_old = format!("[ -e \"$dir/started\" ] || [ \"${{words# }}\" != {id} ]");
        let inspect = format!("if {is_old}; then obey; else obey | sed '{edit}'; fi");
        fake.on("container-inspect", &inspect);
        let bundle = plan().attach_or_launch(&fake.engine(), BundleSpec::new()).unwrap();
        assert_eq!(bundle.container_id() != id, is_replaced, "{state}");
        bundle.close().unwrap();
        fake.assert_nothing_left();
    }
}

#[test]
fn a_secret_file_that_has_become_too_long_to_compare_is_another() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let longest = "x".repeat(1 << 20);
    let spec = BundleSpec::new().file(ContainerFile::secret("/run/token", longest.clone()));
    let bundle = plan().launch(&engine.engine(), spec.clone()).unwrap();
    engine.put("/run/token", Entry::File(longest.clone()));
    assert!(bundle.is_made_from(&spec).unwrap());
    engine.put("/run/token", Entry::File(longest + "x"));
    assert!(!bundle.is_made_from(&spec).unwrap());
    bundle.close().unwrap();
}

#[test]
fn a_container_that_somebody_removed_meanwhile_is_told_to_be_gone() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let file = ContainerFile::secret("/run/token", "hunter2-one");
    let spec = || BundleSpec::new().file(file.clone());
    let bundle = plan().launch(&engine.engine(), spec()).unwrap();
    let missing = json!({"message": "No such container: x"}).to_string();
    engine.script(move |request, _| {
        if request.contains("/archive") { Act::Answer(404, missing.clone()) } else { Act::Obey }
    });
    let error = bundle.is_made_from(&spec()).unwrap_err();
    assert!(matches!(error, Error::Gone { .. }), "{error:?}");
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn a_bundle_is_made_from_a_specification_if_its_secret_variables_are_the_same() {
    let fake = Fake::new();
    let spec = |token: &str| BundleSpec::new().secret("TOKEN", token);
    let bundle = plan().launch(&fake.engine(), spec("hunter2-one")).unwrap();
    assert!(bundle.is_made_from(&spec("hunter2-one")).unwrap());
    for other in [spec("hunter2-two"), spec("hunter2-one").label("made", "otherwise")] {
        assert!(!bundle.is_made_from(&other).unwrap(), "{other:?}");
    }
    for (says, is_gone) in [(NO_CONTAINER, true), (UNKNOWN, false)] {
        let fails = format!("echo '[]'\n{}", refuse(1, says));
        fake.on(
            "container-inspect",
            &format!("case $format in *Env*)\n{fails}\n;; *) obey ;; esac"),
        );
        let error = bundle.is_made_from(&spec("hunter2-one")).unwrap_err();
        match error {
            Error::Gone { .. } => assert!(is_gone, "{error:?}"),
            Error::Look { .. } => assert!(!is_gone, "{error:?}"),
            _ => panic!("{error:?}"),
        }
    }
    fake.obey("container-inspect");
    bundle.close().unwrap();
}

#[test]
fn a_bundle_is_made_from_a_specification_if_its_secret_files_are_the_same() {
    let file = |contents: &str| {
        BundleSpec::new().file(ContainerFile::secret("/run/key", contents.to_owned()))
    };
    // Empty lines, in which nothing is searched for a secret.
    let longer = "\n".repeat((1 << 20) + 1);
    for (asked, found, is_same) in [
        ("hunter2-one", "hunter2-one", Some(true)),
        ("hunter2-two", "hunter2-one", Some(false)),
        // One that is longer than what can be read is another one, unless the specification's is as long.
        ("hunter2-one", &longer, Some(false)),
        (&longer, &longer, None),
    ] {
        let engine = Scripted::new(|_, _| Act::Obey);
        let bundle = plan().launch(&engine.engine(), file(asked)).unwrap();
        let archive = archive(tar::EntryType::Regular, found);
        engine.script(move |request, _| {
            let is_read = request.starts_with("GET") && request.ends_with("/archive?path=/run/key");
            if is_read { Act::Answer(200, archive.clone()) } else { Act::Obey }
        });
        match (bundle.is_made_from(&file(asked)), is_same) {
            (Ok(same), Some(expected)) => assert_eq!(same, expected),
            (Err(Error::File { problem: FileProblem::TooLong, .. }), None) => {}
            (other, _) => panic!("{other:?} of {} bytes", asked.len()),
        }
        engine.script(|_, _| Act::Obey);
        bundle.close().unwrap();
    }
}

#[test]
fn a_kept_bundle_whose_container_has_lost_its_address_is_not_attached_to() {
    let fake = Fake::new();
    fake.up().keep().unwrap();
    for (edit, problem) in [
        (
            r#"s/"IPAddress":"10.56.132.2"/"IPAddress":"10.56.132.9"/"#,
            "its address is 10.56.132.9, not 10.56.132.2",
        ),
        (r#"s/"NetworkID":"0/"NetworkID":"1/"#, "its container is not on its network"),
    ] {
        fake.on("container-inspect", &format!("obey | sed '{edit}'"));
        let failed = plan().attach(&fake.engine()).unwrap_err();
        let says = format!(
            "the kept bundle of slug demo cannot be attached to: {problem}; discard removes it"
        );
        assert_eq!(fake.chain(&failed), [says]);
    }
    fake.obey("container-inspect");
    plan().attach(&fake.engine()).unwrap().close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn somebody_elses_network_is_no_kept_bundle() {
    let fake = Fake::new();
    fake.foreign_network(NETWORK, &["subnet=10.56.132.0/24", "gateway=10.56.132.1"]);
    let failed = plan().attach(&fake.engine()).unwrap_err();
    assert!(matches!(failed.error(), Error::NotKept { .. }), "{failed:?}");
}

#[test]
fn a_bundle_that_was_attached_to_has_the_readiness_and_the_end_of_its_specification() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let spec = |label: &str| {
        let daemon = Daemon::new("egress").ready(Ready::check("never", || false));
        let spec = BundleSpec::new().daemon(daemon).label("made", label);
        spec.stop_grace(Duration::from_millis(2500))
    };
    plan().launch(&engine.engine(), spec("once")).unwrap().keep().unwrap();
    let bundle = plan().attach_or_launch(&engine.engine(), spec("once")).unwrap();
    let error = bundle.wait_ready(Duration::from_millis(100)).unwrap_err();
    assert!(matches!(error, Error::NotReady { .. }), "{error:?}");
    // The container is asked to end before it is removed: by a close, and where another one replaces it.
    let ends = |doing: &mut dyn FnMut()| {
        let before = engine.requests().len();
        doing();
        let requests = engine.requests().split_off(before);
        let stopped = requests.iter().position(|it| it.ends_with("/stop?t=3"));
        let removed = requests.iter().position(|it| it.starts_with("DELETE /containers/"));
        assert!(stopped.is_some() && stopped < removed, "{requests:?}");
    };
    bundle.keep().unwrap();
    let mut bundle = None;
    ends(&mut || bundle = Some(plan().attach_or_launch(&engine.engine(), spec("again")).unwrap()));
    bundle.take().unwrap().keep().unwrap();
    bundle = Some(plan().attach_or_launch(&engine.engine(), spec("again")).unwrap());
    ends(&mut || bundle.take().unwrap().close().unwrap());
    assert_eq!(engine.resources(), 0);
}
