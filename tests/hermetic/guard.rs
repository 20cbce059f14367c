//! Close, drop and panic: the order of removals, and the report of what is left.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{BundleRunning, BundleSpec, Cause, Error, Resource};

use crate::fake::{CONTAINER, Fake, NETWORK, plan};
use crate::scripted::{Act, Scripted};
use crate::surroundings::traced;
use crate::texts::refuse;

const OPERATIONS: [&str; 7] =
    ["network-create", "run", "rm", "network-rm", "ps", "network-ls", "network-inspect"];

#[test]
fn dropping_running_removes_container_then_network() {
    let fake = Fake::new();
    let bundle = fake.up();
    let ids = [bundle.container_id().to_owned(), bundle.network_id().to_owned()];
    drop(bundle);
    let calls = fake.calls();
    assert_eq!(calls[3].args, ["rm", "--force", "--volumes", &ids[0]]);
    assert_eq!(calls[4].args, ["network", "rm", &ids[1]]);
    assert_eq!(calls.len(), 5);
    fake.assert_nothing_left();
}

#[test]
fn dropping_created_removes_the_network() {
    let fake = Fake::new();
    drop(plan().create_network(&fake.engine()).unwrap());
    assert_eq!(fake.operations(), ["network create", "network rm"]);
    fake.assert_nothing_left();
}

#[test]
fn a_panic_in_a_thread_removes_container_then_network() {
    let fake = Fake::new();
    let bundle = fake.up();
    let panicked = thread::spawn(move || {
        let _bundle = bundle;
        panic!("meant to");
    });
    panicked.join().unwrap_err();
    assert_eq!(
        fake.operations(),
        ["network create", "run", "container inspect", "rm", "network rm"]
    );
    fake.assert_nothing_left();
}

#[test]
fn a_panic_while_the_engine_fails_on_everything_leaves_the_process_alive() {
    for snippet in
        ["exit 1", "exec sleep 60", "kill -9 $$", "mv \"$dir/docker\" \"$dir/gone\"; exit 1"]
    {
        let fake = Fake::new();
        let engine = fake.engine().with_remove_deadline(Duration::from_millis(500));
        let bundle = plan().launch(&engine, BundleSpec::new()).unwrap();
        let ids = [bundle.container_id().to_owned(), bundle.network_id().to_owned()];
        for operation in OPERATIONS {
            fake.on(operation, snippet);
        }
        let start = Instant::now();
        let (panicked, trace) = traced(|| {
            catch_unwind(AssertUnwindSafe(|| {
                let _bundle = bundle;
                panic!("meant to");
            }))
        });
        panicked.unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(10), "{snippet}: {:?}", start.elapsed());
        let left = |line: &&str| line.contains(" WARN ") && line.contains("may be left");
        let warnings: Vec<_> = trace.lines().filter(left).collect();
        let [warning] = warnings[..] else { panic!("{snippet}: {trace}") };
        assert!(
            warning.contains("a bundle may be left") && warning.contains("slug=demo"),
            "{trace}"
        );
        for (resource, name, id) in
            [("container", CONTAINER, &ids[0]), ("network", NETWORK, &ids[1])]
        {
            assert!(warning.contains(&format!("{resource} {name} may be left")), "{warning}");
            assert!(warning.contains(id.as_str()), "{warning}");
        }
    }
}

#[test]
fn closing_reports_both_failures() {
    let fake = Fake::new();
    let bundle = fake.up();
    let (container, network) = (bundle.container_id().to_owned(), bundle.network_id().to_owned());
    fake.on("rm", &refuse(1, "Error response from daemon: the disk is tired"));
    let error = bundle.close().unwrap_err();
    assert!(matches!(&error, Error::Several(errors) if errors.as_slice().len() == 2));
    assert_eq!(error.cause(), Some(Cause::Other), "the first one's");
    assert_eq!(
        fake.chain(&error),
        [
            format!(
                "container claude-bottle-sidecars-demo may be left; \
                 remove it with `docker rm --force --volumes {container}`; and \
                 network claude-bottle-bundle-demo may be left; \
                 remove it with `docker network rm {network}`"
            ),
            "docker rm ended with exit status: 1: Error response from daemon: the disk is tired"
                .into(),
        ]
    );
    assert_eq!(fake.resources().len(), 2);
}

#[test]
fn closing_reports_a_single_failure_as_itself() {
    let fake = Fake::new();
    let bundle = fake.up();
    let network = bundle.network_id().to_owned();
    fake.on("network-rm", &refuse(1, "Error response from daemon: the disk is tired"));
    let error = bundle.close().unwrap_err();
    let Error::NotRemoved { resource, name, id, command, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!((*resource, &**name, id.as_ref()), (Resource::Network, NETWORK, Some(&network)));
    assert!(command.ends_with(&format!(" network rm {network}")));
    assert_eq!(
        fake.chain(&error),
        [
            &*format!(
                "network claude-bottle-bundle-demo may be left; \
                 remove it with `docker network rm {network}`"
            ),
            "docker network rm ended with exit status: 1: Error response from daemon: the disk is tired",
        ]
    );
    assert_eq!(fake.resources(), [(NETWORK.into(), network)]);
}

#[test]
fn a_network_that_stays_is_named_with_what_is_on_it() {
    let fake = Fake::new();
    let network = plan().create_network(&fake.engine()).unwrap();
    let describe = r#"obey | sed 's/"Labels"/"Containers":{"1":{"Name":"other"}},"Labels"/'"#;
    fake.on("network-inspect", describe);
    let in_use = "Error response from daemon: error while removing network: network x id y has active endpoints";
    fake.on("network-rm", &refuse(1, in_use));
    let error = network.close().unwrap_err();
    assert_eq!(error.cause(), Some(Cause::NetworkInUse));
    let Error::NotRemoved { attached, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*attached, ["other"]);
}

/// A bundle whose log has one line on each stream, and one that has no end, with its engine.
fn up_with_log(path: &Path) -> (Scripted, BundleRunning) {
    let engine = Scripted::new(|request, _| {
        if request.contains("/logs?") {
            let log =
                "\u{1}\0\0\0\0\0\0\u{4}one\n\u{2}\0\0\0\0\0\0\u{4}two\n\u{1}\0\0\0\0\0\0\u{5}three";
            return Act::Answer(200, log.into());
        }
        Act::Obey
    });
    let spec = BundleSpec::new().save_log(path);
    let bundle = plan().launch(&engine.engine(), spec).unwrap();
    (engine, bundle)
}

#[test]
fn a_log_is_saved_for_the_user_alone_in_place_of_what_was_there() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("log");
    for earlier in [None, Some("what was there, and is longer than the log")] {
        if let Some(earlier) = earlier {
            fs::write(&path, earlier).unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        }
        let (engine, bundle) = up_with_log(&path);
        bundle.close().unwrap();
        assert_eq!(engine.resources(), 0);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_log_is_saved_into_no_link_and_no_pipe_that_has_come_meanwhile() {
    let room = tempfile::tempdir().unwrap();
    let [path, target] = ["log", "target"].map(|name| room.path().join(name));
    fs::write(&target, "of somebody else").unwrap();
    let pipe = || {
        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
    };
    let read_pipe = || {
        pipe();
        Some(fs::File::options().read(true).write(true).open(&path).unwrap())
    };
    let all: [&dyn Fn() -> Option<fs::File>; 4] = [
        &|| {
            symlink(&target, &path).unwrap();
            None
        },
        &|| {
            pipe();
            None
        },
        &read_pipe,
        &|| {
            fs::create_dir(&path).unwrap();
            None
        },
    ];
    for come in all {
        let (engine, bundle) = up_with_log(&path);
        let reader = come();
        let start = Instant::now();
        let ((), trace) = traced(|| bundle.close().unwrap());
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        assert!(trace.contains("a log was not saved"), "{trace}");
        assert_eq!(engine.resources(), 0);
        assert_eq!(fs::read_to_string(&target).unwrap(), "of somebody else");
        drop(reader);
        fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
    }
}

#[test]
fn an_engine_that_takes_no_container_off_its_network_delays_the_removal_by_a_third_of_its_time() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let docker = engine.engine().with_remove_deadline(Duration::from_millis(1200));
    let bundle = plan().launch(&docker, BundleSpec::new()).unwrap();
    engine
        .script(|request, _| if request.ends_with("/disconnect") { Act::Hang } else { Act::Obey });
    let start = Instant::now();
    bundle.close().unwrap();
    assert!(start.elapsed() < Duration::from_millis(2400), "{:?}", start.elapsed());
    assert_eq!(engine.resources(), 0);
}

#[test]
fn the_lease_stays_if_one_of_two_answers_was_lost() {
    for lost in ["POST /networks/create", "POST /containers/create"] {
        let engine =
            Scripted::new(
                move |request, _| {
                    if request.starts_with(lost) { Act::ObeyAndCut } else { Act::Obey }
                },
            );
        let _ = plan().launch(&engine.engine(), BundleSpec::new()).unwrap_err();
        assert_eq!(engine.resources(), 0);
        // The container may be made yet.
        assert_eq!(fs::read_dir(engine.path("leases")).unwrap().count(), 1, "{lost}");
    }
}
