//! Starting the container: its failures, what they hand back, and what is left.

use std::error::Error as _;
use std::time::{Duration, Instant};
use std::{fs, thread};

use sidecar_bundle::{
    BundleSpec, Cause, Daemon, Engine, Error, NetworkOptions, PortMapping, PullPolicy,
};

use crate::fake::{CONTAINER, Fake, NETWORK, plan};
use crate::faults::for_each_fault;
use crate::texts::{NO_CONTAINER, PERMISSION, UNKNOWN, UNREACHABLE, refuse};

#[test]
fn an_invalid_specification_is_an_error_before_the_engine_is_asked() {
    let fake = Fake::new();
    let wrong = || BundleSpec::new().mount("relative", "/x");
    let failed = plan().launch(&fake.engine(), wrong()).unwrap_err();
    assert_eq!(fake.chain(&failed), ["mount path \"relative\" is relative"]);
    assert!(matches!(failed.error(), Error::Invalid(_)));
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
fn a_specification_that_does_not_fit_its_plan_is_an_error_before_the_engine_is_asked() {
    let engine = Engine::docker().with_host("unix:///no/such/socket");
    let internal = || plan().with_options(NetworkOptions::new().internal(true));
    for (plan, spec) in [
        (plan(), BundleSpec::new().also_on("elsewhere")),
        (internal(), BundleSpec::new().also_on(NETWORK)),
        (internal(), BundleSpec::new().publish(PortMapping::tcp(80))),
    ] {
        let failed = plan.launch(&engine, spec).unwrap_err();
        assert!(matches!(failed.error(), Error::Invalid(_)), "{failed:?}");
    }
}

#[test]
fn a_refused_container_leaves_the_network_for_another_try() {
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
                let looks = match cause {
                    // The engine knows no container of the name, which may have gone in the meantime.
                    Cause::ContainerNameTaken => [["container inspect", "run"]; 4].concat(),
                    _ => vec!["ps"; looks],
                };
                let looks = looks.strip_suffix(&["run"]).unwrap_or(&looks);
                assert_eq!(fake.operations()[2..], *looks, "{says}");

                // With `match`, another try on the same network.
                fake.obey("run");
                let bundle = failed.into_state().start(BundleSpec::new()).unwrap();
                assert_eq!(bundle.network_id(), id);
                bundle.close().unwrap();
                fake.assert_nothing_left();

                // With `?`, the network goes.
                fake.on("run", &refuse(125, &says));
                let error = fake.try_up().unwrap_err();
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
fn a_container_of_the_same_name_is_left_alone() {
    let fake = Fake::new();
    let foreign = fake.path("container").join("e".repeat(64));
    fs::write(&foreign, format!("name={CONTAINER}\n")).unwrap();
    let failed = plan().launch(&fake.engine(), BundleSpec::new()).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::ContainerNameTaken));
    assert_eq!(fake.operations(), ["network create", "run", "container inspect", "network rm"]);
    assert!(foreign.exists());
}

#[test]
fn a_container_whose_answer_is_late_is_removed() {
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
    assert_eq!(fake.resources(), [(NETWORK.into(), network.network_id().into())]);
    network.close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn a_container_that_does_not_start_is_removed_by_its_id() {
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
    assert_eq!(fake.resources(), [(NETWORK.into(), network.network_id().into())]);
    fake.obey("run");
    network.start(BundleSpec::new()).unwrap().close().unwrap();
    fake.assert_nothing_left();
}

/// An engine that has the image only once it was pulled.
const RUN_AFTER_PULL: &str = "[ -e \"$dir/pulled\" ] || fail 125 'docker: Error response from daemon: No such image: x'; obey";

#[test]
fn a_missing_image_is_pulled_in_a_step_of_its_own() {
    let fake = Fake::new();
    fake.on("run", RUN_AFTER_PULL);
    fake.on("pull", "echo docker.io/x:latest; : >\"$dir/pulled\"");
    let bundle = fake.up();
    assert_eq!(fake.operations(), ["network create", "run", "pull", "run", "container inspect"]);
    bundle.close().unwrap();

    let spec = BundleSpec::new().pull(PullPolicy::Always);
    plan().launch(&fake.engine(), spec).unwrap().close().unwrap();
    assert_eq!(fake.operations()[7..10], ["network create", "pull", "run"]);
    fake.assert_nothing_left();
}

#[test]
fn a_failed_pull_is_an_error_of_its_own() {
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

    let failed =
        plan().launch(&fake.engine(), BundleSpec::new().pull(PullPolicy::Never)).unwrap_err();
    assert!(matches!(failed.error(), Error::Start { .. }), "{failed:?}");
    assert_eq!(failed.error().cause(), Some(Cause::ImageMissing));
    fake.assert_nothing_left();
}

#[test]
fn a_pull_has_a_timeout_of_its_own() {
    let fake = Fake::new();
    fake.on("pull", "echo $$ >>\"$dir/pids\"; trap '' TERM; exec sleep 60");
    let engine = fake.engine().with_pull_deadline(Duration::from_millis(300));
    let start = Instant::now();
    let failed = plan().launch(&engine, BundleSpec::new().pull(PullPolicy::Always)).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let chain = fake.chain(&failed);
    assert!(chain[1].contains("was killed at its deadline"), "{chain:?}");
    fake.assert_nothing_left();
}

#[test]
fn a_container_that_died_at_once_is_removed_and_its_log_is_in_the_error() {
    let fake = Fake::new();
    fake.on(
        "container-inspect",
        r#"case $format in *Env*) obey && exit ;; esac; echo '[{"Id":"eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee","State":{"Status":"exited","ExitCode":3,"OOMKilled":false,"FinishedAt":"2026-01-01T00:00:00Z"},"Config":{}}]'"#,
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
fn the_log_in_an_error_is_bounded() {
    let fake = Fake::new();
    fake.on(
        "container-inspect",
        r#"case $format in *Env*) obey && exit ;; esac; echo '[{"Id":"eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee","State":{"Status":"exited","ExitCode":1,"FinishedAt":"2026-01-01T00:00:00Z"},"Config":{}}]'"#,
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
        ("\"n\":{\"NetworkID\":\"$id\",\"IPAddress\":\"10.56.132.9\"}", "the address 10.56.132.9"),
        ("", "no address"),
    ] {
        let fake = Fake::new();
        let id = format!("{:064x}", 1);
        let network = network.replace("$id", &id);
        fake.on(
            "container-inspect",
            &format!(
                "echo '[{{\"Id\":\"{id}\",\"State\":{{\"Status\":\"running\"}},\"Config\":{{}},\"NetworkSettings\":{{\"Networks\":{{{network}}}}}}}]'"
            ),
        );
        let failed = plan().launch(&fake.engine(), BundleSpec::new()).unwrap_err();
        assert_eq!(
            fake.chain(&failed),
            [format!("container claude-bottle-sidecars-demo has {says}, not 10.56.132.2")]
        );
        fake.assert_nothing_left();
    }
}

#[test]
fn a_container_at_another_address_of_version_6_is_removed() {
    let fake = Fake::new();
    let edit = r#"s/"GlobalIPv6Address":"[^"]*"/"GlobalIPv6Address":"fd00::9"/"#;
    fake.on("container-inspect", &format!("obey | sed '{edit}'"));
    let plan = plan().with_ipv6();
    let ip = plan.ipv6().unwrap().bundle_ip();
    let failed = plan.launch(&fake.engine(), BundleSpec::new()).unwrap_err();
    let says = format!("container {CONTAINER} has the address fd00::9, not {ip}");
    assert_eq!(fake.chain(&failed), [says]);
    fake.assert_nothing_left();
}

#[test]
fn a_container_that_vanished_after_its_start_is_an_error() {
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
fn a_container_that_another_engine_does_not_have_did_not_vanish() {
    let fake = Fake::new();
    fake.moves();
    let missing = refuse(1, NO_CONTAINER);
    fake.on("container-inspect", &format!(": >\"$dir/moved\"; echo '[]'; {missing}"));
    let network = plan().create_network(&fake.engine()).unwrap();
    fake.on("rm", "rm \"$dir/moved\"; obey");
    let failed = network.start(BundleSpec::new()).unwrap_err();
    assert_eq!(
        fake.chain(&failed),
        [
            "the engine could not be asked for the container's state",
            "another engine answers than before"
        ]
    );
    drop(failed);
    fake.assert_nothing_left();
}

#[test]
fn whatever_happens_to_run_nothing_but_the_network_is_left() {
    for_each_fault("run", |fake, fault| {
        let engine = fake.engine().with_start_deadline(Duration::from_secs(3));
        let network = plan().create_network(&engine).unwrap();
        match network.start(BundleSpec::new()) {
            Ok(bundle) => {
                assert!(fault.succeeds, "{fault:?}");
                bundle.close().unwrap();
            }
            Err(failed) => {
                assert!(!fault.succeeds, "{fault:?}");
                let error = failed.error();
                assert!(matches!(error, Error::Start { .. }), "{fault:?}: {error:?}");
                let network = failed.into_state();
                assert_eq!(fake.resources(), [(NETWORK.into(), network.network_id().into())]);
                network.close().unwrap();
            }
        }
        assert_eq!(fake.operations().contains(&"rm".into()), fault.acts, "{fault:?}");
        fake.assert_nothing_left();
    });
}

#[test]
fn a_lost_answer_does_not_stop_the_next_try() {
    for operation in ["network-create", "run"] {
        let fake = Fake::new();
        fake.once(operation, "obey >/dev/null; echo 'the moon is full' >&2; exit 1");
        let failed = plan().launch(&fake.engine(), BundleSpec::new()).unwrap_err();
        fake.assert_nothing_left();
        failed.into_state().launch(&fake.engine(), BundleSpec::new()).unwrap().close().unwrap();
        fake.assert_nothing_left();
    }
}

#[test]
fn a_name_of_the_engines_host_is_refused_where_the_engine_cannot_give_it() {
    let spec = || BundleSpec::new().host_gateway("host.internal");
    let option = "host.internal, a name of the engine's host,";
    let rootless = r#"{"ServerVersion":"26.1.5","SecurityOptions":["name=rootless"]}"#;
    let podman = r#"{"ServerVersion":"4.3.1","ProductLicense":"Apache-2.0"}"#;
    for (info, refused) in [
        (rootless, Some(("an engine that is not rootless", "Docker 26.1.5"))),
        (podman, Some(("Engine::podman()", "Engine::docker_cli() on Podman 4.3.1"))),
        (r#"{"ServerVersion":"26.1.5","OperatingSystem":"Docker Desktop"}"#, None),
    ] {
        let fake = Fake::new();
        fake.on("info", &format!("echo '{info}'"));
        match (plan().launch(&fake.engine(), spec()), refused) {
            (Ok(bundle), None) => bundle.close().unwrap(),
            (Err(failed), Some((needs, engine))) => {
                let Error::Unsupported(it) = failed.error() else { panic!("{failed:?}") };
                assert_eq!((it.option(), it.needs(), it.engine()), (option, needs, engine));
                assert!(fake.operations().is_empty());
            }
            (other, _) => panic!("{info}: {other:?}"),
        }
    }
    // Without such a name, the same engines start a bundle.
    let fake = Fake::new();
    fake.on("info", &format!("echo '{rootless}'"));
    let given = BundleSpec::new().extra_host("host.internal", [192, 0, 2, 1]);
    plan().launch(&fake.engine(), given).unwrap().close().unwrap();
}

#[test]
fn a_mount_is_refused_where_the_engine_is_on_another_host() {
    let fake = Fake::new();
    fake.on("context", r#"echo '[{"Endpoints":{"docker":{"Host":"ssh://me@far"}}}]'"#);
    let info = r#"{"ServerVersion":"26.1.5","ID":"ID","Name":"n","DockerRootDir":"/"}"#;
    // The API behind `docker system dial-stdio`, of which only the identity is asked.
    let api = format!(
        r#"
while read -r line; do
    [ "$line" = "$(printf '\r')" ] || continue
    printf 'HTTP/1.1 200 OK\r\nApi-Version: 1.44\r\nContent-Length: {}\r\n\r\n%s' '{info}'
done"#,
        info.len()
    );
    fake.on("system", &api);
    let api = Engine::docker().with_program(fake.path("docker"));
    let api = api.with_state_dir(fake.path("leases"));
    let spec = || BundleSpec::new().volume("v", "/v").tmpfs("/t", None);
    let rules = || spec().daemon(Daemon::new("egress").mount_read_only("/srv/rules", "/rules"));
    let (ssh, tcp) = ("ssh://me@builder", "tcp://192.0.2.1:2376");
    for engine in [&api, &fake.engine()] {
        for (engine, at) in [
            (engine.clone().with_host(ssh), ssh),
            (engine.clone().with_host(tcp), tcp),
            (engine.clone().with_context("far"), "ssh://me@far"),
        ] {
            for failed in [
                plan().launch(&engine, rules()).unwrap_err(),
                plan().attach_or_launch(&engine, rules()).unwrap_err(),
            ] {
                let Error::Unsupported(it) = failed.error() else { panic!("{failed:?}") };
                assert_eq!(it.option(), "the mount of /srv/rules at /rules");
                assert_eq!(it.needs(), "an engine on this host, or a ContainerFile in its place");
                assert!(it.engine().ends_with(&format!(" at {at}")), "{it}");
            }
            assert!(fake.resources().is_empty());
        }
    }
    let far = fake.engine().with_host(ssh);
    let network = plan().create_network(&far).unwrap();
    let failed = network.start(rules()).unwrap_err();
    assert!(matches!(failed.error(), Error::Unsupported(_)), "{failed:?}");
    // A specification without a path of this host is not refused.
    failed.into_state().start(spec()).unwrap().close().unwrap();
    fake.on("context", "exit 1");
    let unknown = plan().launch(&fake.engine().with_context("far"), rules()).unwrap_err();
    assert!(matches!(unknown.error(), Error::Look { what: "its address", .. }), "{unknown:?}");
    for here in ["unix:///run/docker.sock", "tcp://127.0.0.1:2375", "ssh://localhost"] {
        plan().launch(&fake.engine().with_host(here), rules()).unwrap().close().unwrap();
    }
    fake.assert_nothing_left();
}

#[test]
fn an_engine_has_a_reaper_unless_it_is_told_otherwise() {
    let fake = Fake::new();
    assert!(fake.engine().has_reaper());
    assert!(!fake.engine().without_reaper().has_reaper());
    // There is nothing to run.
    assert!(!fake.engine().with_program(fake.path("none")).has_reaper());
}
