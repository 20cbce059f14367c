//! Each step failing in each way: the error's text in full, the state before it, what is left.

use std::error::Error as _;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{BundleRunning, BundleSpec, Cause, Error, Pull, Ready};

use crate::fake::{CONTAINER, Fake, NETWORK, plan};
use crate::texts::refuse;

const UNREACHABLE: &str = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?";
const PERMISSION: &str = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get \"http://%2Fvar%2Frun%2Fdocker.sock/v1.48/info\": dial unix /var/run/docker.sock: connect: permission denied";
const OVERLAP: &str = "Error response from daemon: invalid pool request: Pool overlaps with other one on this address space";
const UNKNOWN: &str = "Error response from daemon: the moon is full";

fn both_steps(fake: &Fake) -> Result<BundleRunning, Error> {
    Ok(plan().create_network(&fake.engine())?.start(BundleSpec::new())?)
}

#[test]
fn a_network_that_is_refused_leaves_the_plan_and_nothing_else() {
    for (says, cause, looks) in [
        (UNREACHABLE, Cause::EngineUnreachable, 0),
        (PERMISSION, Cause::PermissionDenied, 0),
        // May have made something all the same.
        (UNKNOWN, Cause::Other, 3),
    ] {
        let fake = Fake::new();
        fake.on("network-create", &refuse(1, says));
        let chain = [
            "network claude-bottle-bundle-demo could not be created".to_owned(),
            format!("docker network create ended with exit status: 1: {says}"),
        ];
        let failed = plan().create_network(&fake.engine()).unwrap_err();
        assert!(
            matches!(failed.error(), Error::CreateNetwork { network, .. } if network == NETWORK)
        );
        assert_eq!(failed.error().cause(), Some(cause));
        assert_eq!(fake.chain(&failed), chain);
        assert_eq!(fake.operations()[1..], vec!["network ls"; looks]);

        // With `?`, the same.
        let error = both_steps(&fake).unwrap_err();
        assert_eq!((error.cause(), fake.chain(&error)), (Some(cause), chain.into()));

        // With `match`, another try.
        fake.obey("network-create");
        let again = failed.into_state();
        assert_eq!(again, plan());
        again.create_network(&fake.engine()).unwrap().close().unwrap();
        fake.assert_nothing_left();
    }
}

#[test]
fn a_subnet_that_is_taken_is_said_with_its_holder() {
    let fake = Fake::new();
    let id = fake.foreign_network("else", &["subnet=10.56.0.0/16", "gateway=10.56.0.1"]);
    fake.on("network-create", &refuse(1, OVERLAP));
    let failed = plan().create_network(&fake.engine()).unwrap_err();
    assert!(matches!(failed.error(), Error::SubnetTaken { .. }), "{failed:?}");
    assert_eq!(failed.error().cause(), Some(Cause::SubnetOverlap));
    assert_eq!(
        fake.chain(&failed),
        [
            "subnet 10.56.132.0/24 is taken by network else (10.56.0.0/16)".to_owned(),
            format!("docker network create ended with exit status: 1: {OVERLAP}"),
        ]
    );
    assert_eq!(fake.operations()[1..], ["network ls", "network inspect"]);
    assert_eq!(fake.things(), [("else".into(), id.clone())]);

    // Where no network holds it, a route may.
    std::fs::remove_file(fake.path("network").join(id)).unwrap();
    let error = both_steps(&fake).unwrap_err();
    assert_eq!(
        error.to_string(),
        "subnet 10.56.132.0/24 is taken by something that the engine does not name"
    );
    fake.assert_nothing_left();
}

#[test]
fn a_survey_that_fails_hands_the_plan_back() {
    let fake = Fake::new();
    fake.on("network-ls", &refuse(1, UNREACHABLE));
    let failed = plan().in_free_subnet(&fake.engine()).unwrap_err();
    assert_eq!(
        fake.chain(&failed),
        [
            "the engine could not be asked for its networks".to_owned(),
            format!("docker network ls ended with exit status: 1: {UNREACHABLE}"),
        ]
    );
    assert_eq!(failed.error().cause(), Some(Cause::EngineUnreachable));
    assert_eq!(failed.into_state(), plan());
}

#[test]
fn a_container_that_is_refused_leaves_the_network_to_try_again() {
    let mut cases = vec![
        (UNREACHABLE.to_owned(), UNREACHABLE, Cause::EngineUnreachable, 0),
        (
            format!("docker: {PERMISSION}\n\nRun 'docker run --help' for more information"),
            "",
            Cause::PermissionDenied,
            0,
        ),
        (format!("docker: {UNKNOWN}.\nSee 'docker run --help'."), "", Cause::Other, 3),
    ];
    for (says, cause, looks) in [
        (
            "docker: Error response from daemon: invalid mount config for type \"bind\": bind source path does not exist: /nope",
            Cause::MountSourceMissing,
            0,
        ),
        (
            "docker: Error response from daemon: Conflict. The container name \"/claude-bottle-sidecars-demo\" is already in use by container \"77\". You have to remove (or rename) that container to be able to reuse that name.",
            Cause::ContainerNameTaken,
            0,
        ),
        (
            "docker: Error response from daemon: failed to set up container networking: Address already in use",
            Cause::AddressTaken,
            3,
        ),
        (
            "docker: Error response from daemon: failed to set up container networking: network 77 not found",
            Cause::NetworkMissing,
            3,
        ),
    ] {
        let whole = format!("{says}\n\nRun 'docker run --help' for more information");
        cases.push((whole, says, cause, looks));
    }
    thread::scope(|scope| {
        for (says, last_word, cause, looks) in cases {
            scope.spawn(move || {
                let last_word = if last_word.is_empty() { says.lines().next().unwrap() } else { last_word };
                let fake = Fake::new();
                fake.on("run", &refuse(125, &says));
                let chain = [
                    "container claude-bottle-sidecars-demo could not be started from image claude-bottle-sidecars:latest".to_owned(),
                    format!("docker run ended with exit status: 125: {last_word}"),
                ];
                let network = plan().create_network(&fake.engine()).unwrap();
                let id = network.network_id().to_owned();
                let failed = network.start(BundleSpec::new()).unwrap_err();
                assert!(matches!(failed.error(), Error::Start { container, .. } if container == CONTAINER));
                assert_eq!(failed.error().cause(), Some(cause), "{says}");
                assert_eq!(fake.chain(&failed), chain);
                assert_eq!(fake.operations()[2..], vec!["ps"; looks], "{says}");

                // With `match`, another try on the same network.
                fake.obey("run");
                let bundle = failed.into_state().start(BundleSpec::new()).unwrap();
                assert_eq!(bundle.network_id(), id);
                bundle.close().unwrap();
                fake.assert_nothing_left();

                // With `?`, the network goes.
                fake.on("run", &refuse(125, &says));
                let error = both_steps(&fake).unwrap_err();
                assert_eq!((error.cause(), fake.chain(&error)), (Some(cause), chain.to_vec()));
                assert_eq!(fake.operations().last().unwrap(), "network rm");
                fake.assert_nothing_left();

                // With `launch`, the network goes and the plan comes back.
                let failed = plan().launch(&fake.engine(), BundleSpec::new()).unwrap_err();
                assert_eq!(fake.chain(&failed), chain);
                fake.assert_nothing_left();
                assert_eq!(failed.into_state(), plan());
            });
        }
    });
}

#[test]
fn a_program_that_is_missing_is_named() {
    let fake = Fake::new();
    let engine = fake.engine().with_program("no-such-program-4711");
    let error = Error::from(plan().create_network(&engine).unwrap_err());
    assert_eq!(error.cause(), Some(Cause::ProgramMissing));
    assert_eq!(
        fake.chain(&error),
        [
            "network claude-bottle-bundle-demo could not be created",
            "no-such-program-4711 was not found; is it installed, and on PATH?",
            "No such file or directory (os error 2)",
        ]
    );
}

#[test]
fn a_program_that_cannot_be_run_is_named() {
    let fake = Fake::new();
    fs::write(fake.path("plain"), "").unwrap();
    let program = fake.path("plain");
    let engine = fake.engine().with_program(&program);
    let error = Error::from(plan().create_network(&engine).unwrap_err());
    assert_eq!(error.cause(), Some(Cause::Other));
    assert_eq!(
        fake.chain(&error),
        [
            "network claude-bottle-bundle-demo could not be created",
            &format!("{} network create could not be run", program.display()),
            "Permission denied (os error 13)",
        ]
    );
}

#[test]
fn a_program_that_goes_missing_between_the_steps_is_named() {
    let fake = Fake::new();
    let network = plan().create_network(&fake.engine()).unwrap();
    fs::rename(fake.path("docker"), fake.path("gone")).unwrap();
    let failed = network.start(BundleSpec::new()).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::ProgramMissing));
    assert_eq!(
        fake.chain(&failed),
        [
            "container claude-bottle-sidecars-demo could not be started from image claude-bottle-sidecars:latest",
            "docker was not found; is it installed, and on PATH?",
            "No such file or directory (os error 2)",
        ]
    );
    fs::rename(fake.path("gone"), fake.path("docker")).unwrap();
    drop(failed);
    fake.assert_nothing_left();
}

#[test]
fn a_network_whose_answer_is_late_is_given_up_and_removed() {
    let fake = Fake::new();
    fake.on("network-create", "obey >/dev/null; echo 'still at it' >&2; exec sleep 60");
    let engine = fake.engine().with_start_deadline(Duration::from_secs(1));
    let failed = plan().create_network(&engine).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::TimedOut));
    assert_eq!(
        fake.chain(&failed),
        [
            "network claude-bottle-bundle-demo could not be created",
            "docker network create was killed at its deadline: still at it",
        ]
    );
    assert_eq!(fake.operations().iter().filter(|op| *op == "network rm").count(), 1);
    fake.assert_nothing_left();
    fake.obey("network-create");
    failed.into_state().create_network(&engine).unwrap().close().unwrap();
}

#[test]
fn a_container_whose_answer_is_late_is_given_up_and_removed() {
    let fake = Fake::new();
    fake.on("run", "obey >/dev/null; exec sleep 60");
    let engine = fake.engine().with_start_deadline(Duration::from_secs(1));
    let failed = plan().create_network(&engine).unwrap().start(BundleSpec::new()).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::TimedOut));
    assert_eq!(
        fake.chain(&failed),
        [
            "container claude-bottle-sidecars-demo could not be started from image claude-bottle-sidecars:latest",
            "docker run was killed at its deadline and printed nothing",
        ]
    );
    let network = failed.into_state();
    assert_eq!(fake.things(), [(NETWORK.into(), network.network_id().into())]);
    network.close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn a_network_that_appears_after_its_command_was_killed_is_removed() {
    let fake = Fake::new();
    fake.on("network-create", "( sleep 1; obey >/dev/null 2>&1 ) & exec sleep 60");
    let engine = fake.engine().with_start_deadline(Duration::from_millis(400));
    let failed = plan().create_network(&engine).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::TimedOut));
    let operations = fake.operations();
    assert_eq!(operations[..2], ["network create", "network ls"], "removed before it appeared");
    assert!(operations.contains(&"network rm".into()), "{operations:?}");
    fake.assert_nothing_left();
}

#[test]
fn an_answer_without_an_id_is_a_failure_and_what_was_made_is_removed() {
    for (answer, ending) in [("echo done", ": done"), ("", " and printed nothing")] {
        let fake = Fake::new();
        fake.on("network-create", &format!("obey >/dev/null; {answer}"));
        let failed = plan().create_network(&fake.engine()).unwrap_err();
        assert_eq!(failed.error().cause(), Some(Cause::Other));
        assert_eq!(
            fake.chain(&failed),
            [
                "network claude-bottle-bundle-demo could not be created".to_owned(),
                format!("docker network create did not print an id{ending}"),
            ]
        );
        fake.assert_nothing_left();
    }
}

#[test]
fn a_container_that_does_not_start_is_removed_by_the_id_it_was_given() {
    let fake = Fake::new();
    fake.on("run", "obey; echo 'docker: Error response from daemon: exec: \"/init\": not found.' >&2; exit 127");
    let network = plan().create_network(&fake.engine()).unwrap();
    let failed = network.start(BundleSpec::new()).unwrap_err();
    let calls = fake.calls();
    assert_eq!(fake.operations(), ["network create", "run", "rm"], "asked for nothing else");
    assert_eq!(calls[2].args, ["rm", "--force", "--volumes", &format!("{:064x}", 2)]);
    assert_eq!(
        fake.text(failed.source().unwrap()),
        "docker run ended with exit status: 127: docker: Error response from daemon: exec: \"/init\": not found."
    );
    let network = failed.into_state();
    assert_eq!(fake.things(), [(NETWORK.into(), network.network_id().into())]);
    fake.obey("run");
    network.start(BundleSpec::new()).unwrap().close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn nothing_connects_to_an_address_that_is_not_on_this_host() {
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
    assert_eq!(fake.operations(), ["network create", "run", "container inspect", "info"]);
    bundle.close().unwrap();
}

/// An engine that has the image only once it was pulled.
const RUN_AFTER_PULL: &str = "[ -e \"$dir/pulled\" ] || fail 125 'docker: Error response from daemon: No such image: x'; obey";

#[test]
fn an_image_that_is_missing_is_pulled_as_a_step_of_its_own() {
    let fake = Fake::new();
    fake.on("run", RUN_AFTER_PULL);
    fake.on("pull", "echo 'Layer 1 of 2'; : >\"$dir/pulled\"");
    let (bundle, trace) = crate::surroundings::traced(|| fake.up());
    assert_eq!(fake.operations(), ["network create", "run", "pull", "run", "container inspect"]);
    assert!(trace.contains("progress=\"Layer 1 of 2\""), "{trace}");
    bundle.close().unwrap();

    let spec = BundleSpec::new().pull(Pull::Always);
    plan().launch(&fake.engine(), spec).unwrap().close().unwrap();
    assert_eq!(fake.operations()[7..10], ["network create", "pull", "run"]);
    fake.assert_nothing_left();
}

#[test]
fn an_image_that_cannot_be_had_is_said() {
    let fake = Fake::new();
    fake.on("run", RUN_AFTER_PULL);
    let says = "Error response from daemon: pull access denied for x";
    fake.on("pull", &refuse(1, says));
    let failed = plan().launch(&fake.engine(), BundleSpec::new()).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::ImageMissing));
    assert_eq!(
        fake.chain(&failed),
        [
            "image claude-bottle-sidecars:latest could not be pulled".to_owned(),
            format!("docker pull claude-bottle-sidecars:latest ended with exit status: 1: {says}"),
        ]
    );
    fake.assert_nothing_left();

    let failed = plan().launch(&fake.engine(), BundleSpec::new().pull(Pull::Never)).unwrap_err();
    assert!(matches!(failed.error(), Error::Start { .. }), "{failed:?}");
    assert_eq!(failed.error().cause(), Some(Cause::ImageMissing));
    fake.assert_nothing_left();
}

#[test]
fn a_pull_has_a_deadline_of_its_own() {
    let fake = Fake::new();
    fake.on("pull", "echo $$ >>\"$dir/pids\"; trap '' TERM; exec sleep 60");
    let engine = fake.engine().with_pull_deadline(Duration::from_millis(300));
    let start = Instant::now();
    let failed = plan().launch(&engine, BundleSpec::new().pull(Pull::Always)).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let chain = fake.chain(&failed);
    assert!(chain[1].contains("was killed at its deadline"), "{chain:?}");
    fake.assert_nothing_left();
}

#[test]
fn a_container_that_is_dead_at_the_look_is_removed_and_its_last_words_are_kept() {
    let fake = Fake::new();
    fake.on(
        "container-inspect",
        r#"echo '[{"Id":"x","State":{"Status":"exited","ExitCode":3,"OOMKilled":false,"FinishedAt":"2026-01-01T00:00:00Z"},"Config":{}}]'"#,
    );
    fake.on(
        "logs",
        "echo '2026-01-01T00:00:00.000000002Z out'; echo '2026-01-01T00:00:00.000000001Z bad token s3cr3t' >&2",
    );
    let spec = BundleSpec::new().secret("TOKEN", "s3cr3t");
    let failed = plan().launch(&fake.engine(), spec).unwrap_err();
    assert_eq!(
        fake.chain(&failed),
        [
            "container claude-bottle-sidecars-demo ended with code 3; its log ends with:\nbad token ***\nout"
        ]
    );
    let Error::Died { exit, .. } = failed.error() else { panic!("{failed:?}") };
    assert_eq!((exit.code, exit.out_of_memory, exit.signal()), (3, false, None));
    fake.assert_nothing_left();
}

#[test]
fn last_words_are_bounded() {
    let fake = Fake::new();
    fake.on(
        "container-inspect",
        r#"echo '[{"Id":"x","State":{"Status":"exited","ExitCode":1,"FinishedAt":"2026-01-01T00:00:00Z"},"Config":{}}]'"#,
    );
    fake.on(
        "logs",
        "printf '2026-01-01T00:00:00.000000001Z '; head -c 100000 /dev/zero | tr '\\0' x; echo the end",
    );
    let failed = plan().launch(&fake.engine(), BundleSpec::new()).unwrap_err();
    let Error::Died { log, .. } = failed.error() else { panic!("{failed:?}") };
    assert!(log.len() == 4096 && log.ends_with("xthe end"), "{} bytes", log.len());
    fake.assert_nothing_left();
}

#[test]
fn a_container_at_another_address_is_removed() {
    for (network, says) in [
        ("\"n\":{\"NetworkID\":\"$id\",\"IPAddress\":\"10.56.132.9\"}", "10.56.132.9"),
        ("", "none"),
    ] {
        let fake = Fake::new();
        let id = format!("{:064x}", 1);
        let network = network.replace("$id", &id);
        fake.on(
            "container-inspect",
            &format!(
                "echo '[{{\"Id\":\"x\",\"State\":{{\"Status\":\"running\"}},\"Config\":{{}},\"NetworkSettings\":{{\"Networks\":{{{network}}}}}}}]'"
            ),
        );
        let failed = plan().launch(&fake.engine(), BundleSpec::new()).unwrap_err();
        assert_eq!(
            fake.chain(&failed),
            [format!(
                "container claude-bottle-sidecars-demo has the address {says}, not 10.56.132.2"
            )]
        );
        fake.assert_nothing_left();
    }
}

#[test]
fn a_container_that_vanished_before_the_look_is_said() {
    let fake = Fake::new();
    fake.once("run", "id=$(obey) && rm \"$dir/container/$id\" && echo \"$id\"");
    let failed = plan().launch(&fake.engine(), BundleSpec::new()).unwrap_err();
    assert_eq!(
        fake.chain(&failed),
        ["container claude-bottle-sidecars-demo does not exist any more"]
    );
    fake.assert_nothing_left();
}

#[test]
fn a_failed_step_in_a_foreign_error_removes_when_that_drops() {
    fn up(fake: &Fake) -> Result<BundleRunning, Box<dyn std::error::Error + Send + Sync>> {
        Ok(plan().create_network(&fake.engine())?.start(BundleSpec::new())?)
    }
    let fake = Fake::new();
    fake.on("run", &refuse(125, "docker: Error response from daemon: Address already in use"));
    let error = up(&fake).unwrap_err();
    assert_eq!(fake.things().len(), 1, "the network lives in the error");
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
fn what_cannot_be_rolled_back_comes_with_the_error() {
    let fake = Fake::new();
    fake.on("run", &refuse(125, "docker: Error response from daemon: Address already in use"));
    fake.on("network-rm", &refuse(1, UNKNOWN));
    let error = both_steps(&fake).unwrap_err();
    assert_eq!(error.cause(), Some(Cause::AddressTaken));
    let id = format!("{:064x}", 1);
    assert_eq!(
        fake.chain(&error),
        [format!(
            "2 errors: container claude-bottle-sidecars-demo could not be started from image claude-bottle-sidecars:latest: \
             docker run ended with exit status: 125: docker: Error response from daemon: Address already in use; \
             network claude-bottle-bundle-demo may be left; remove it with `docker network rm {id}`: \
             docker network rm ended with exit status: 1: {UNKNOWN}"
        )]
    );
}

#[test]
fn a_wrong_specification_asks_the_engine_for_nothing() {
    let fake = Fake::new();
    let wrong = || BundleSpec::new().mount("relative", "/x");
    let failed = plan().launch(&fake.engine(), wrong()).unwrap_err();
    assert_eq!(fake.chain(&failed), ["mount path \"relative\" is relative"]);
    assert!(matches!(failed.error(), Error::Spec(_)));
    assert_eq!(failed.error().cause(), None);
    assert!(fake.calls().is_empty());

    let network = failed.into_state().create_network(&fake.engine()).unwrap();
    let failed = network.start(wrong()).unwrap_err();
    assert_eq!(fake.chain(&failed), ["mount path \"relative\" is relative"]);
    assert_eq!(fake.operations(), ["network create"]);
    failed.into_state().start(BundleSpec::new()).unwrap().close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn without_a_lease_the_engine_is_asked_for_nothing() {
    #[track_caller]
    fn refused(fake: &Fake, state: &Path, path: &Path, why: &str) {
        let failed = plan().create_network(&fake.engine().with_state_dir(state)).unwrap_err();
        assert!(matches!(failed.error(), Error::Lease { path: at, .. } if at == path));
        assert_eq!(failed.error().cause(), None);
        let text = format!("the lease at {} cannot be used", path.display());
        assert_eq!(fake.chain(&failed), [text, why.to_owned()]);
        assert!(fake.calls().is_empty());
    }

    let fake = Fake::new();
    let file = fake.path("file");
    fs::write(&file, "").unwrap();
    refused(&fake, &file, &file, "File exists (os error 17)");
    refused(&fake, &file.join("x"), &file.join("x"), "Not a directory (os error 20)");

    let strange = fake.path("strange");
    fs::create_dir(&strange).unwrap();
    fs::write(strange.join("id"), "nonsense").unwrap();
    refused(&fake, &strange, &strange, "its file \"id\" holds no id");

    // The name of the lease's file is learnt from one that is held.
    let network = plan().create_network(&fake.engine()).unwrap();
    let entries = fs::read_dir(fake.path("leases")).unwrap().map(|entry| entry.unwrap().path());
    let lease = entries.into_iter().find(|path| path.extension().is_some()).unwrap();
    network.close().unwrap();
    assert!(!lease.exists());
    fs::create_dir(&lease).unwrap();
    let other = Fake::new();
    let failed = plan().create_network(&fake.engine()).unwrap_err();
    let text = format!("the lease at {} cannot be used", lease.display());
    assert_eq!(other.chain(&failed), [&text, "Is a directory (os error 21)"]);
    assert_eq!(fake.operations(), ["network create", "network rm"]);
}

#[test]
fn a_lease_directory_that_cannot_be_written_is_an_error_before_the_engine_is_asked() {
    use std::os::unix::fs::PermissionsExt;
    let fake = Fake::new();
    let state = fake.path("read-only");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o555)).unwrap();
    // No permission stops root; the kernel's own directories do.
    let root = fs::write(state.join("probe"), "").is_ok();
    let state = if root { Path::new("/proc/sidecar-bundle") } else { &state };
    let failed = plan().create_network(&fake.engine().with_state_dir(state)).unwrap_err();
    let text = format!("the lease at {} cannot be used", state.display());
    assert_eq!(fake.chain(&failed)[0], text);
    assert_eq!(fake.chain(&failed).len(), 2, "{failed:?}");
    assert!(fake.calls().is_empty());
}
