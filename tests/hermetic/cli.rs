//! The command lines of the engine, to the letter, and their traces.

use std::fs;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use sidecar_bundle::{
    Addressing, BundleSpec, Cause, ContainerFile, Error, Naming, PortMapping, PullPolicy,
    Reachability, RestartPolicy,
};

use crate::fake::{CONTAINER, Fake, NETWORK, plan};
use crate::owner::Owner;
use crate::surroundings::traced;
use crate::texts::{NO_CONTAINER, UNKNOWN, refuse};

/// The arguments of `run` from its first `--env` on.
#[track_caller]
fn payload(fake: &Fake) -> Vec<String> {
    let run = fake.calls().into_iter().find(|call| call.args[0] == "run").unwrap();
    run.args.into_iter().skip_while(|arg| arg != "--env").collect()
}

#[test]
fn up_is_three_commands_and_down_two() {
    let fake = Fake::new();
    let bundle = fake.up();
    let (container, network) = (bundle.container_id().to_owned(), bundle.network_id().to_owned());
    assert_eq!(
        fake.resources(),
        [(NETWORK.into(), network.clone()), (CONTAINER.into(), container.clone())]
    );
    bundle.close().unwrap();
    fake.assert_nothing_left();

    let calls = fake.calls();
    let [engine, lease, owner] = ["engine", "lease", "owner"].map(|key| calls[0].drawn(key));
    let spec = calls[1].drawn("spec");
    assert!(owner != lease && lease != engine && engine != owner);

    let labels = format!(
        "--label sidecar-bundle.attempt=0 \
         --label sidecar-bundle.engine={engine} \
         --label sidecar-bundle.expires=never \
         --label sidecar-bundle.format=2 \
         --label sidecar-bundle.gateway=10.56.132.1 \
         --label sidecar-bundle.host={} \
         --label sidecar-bundle.ip=10.56.132.2 \
         --label sidecar-bundle.lease={lease} \
         --label sidecar-bundle.owner={owner} \
         --label sidecar-bundle.prefix=claude-bottle \
         --label sidecar-bundle.slug=demo \
         --label sidecar-bundle.subnet=10.56.132.0/24",
        nix::unistd::gethostname().unwrap().display()
    );
    let of_spec = format!("--label sidecar-bundle.spec={spec} --label sidecar-bundle.subnet=");
    let container_labels = labels.replace("--label sidecar-bundle.subnet=", &of_spec);
    let expected = [
        format!(
            "network create --subnet 10.56.132.0/24 --gateway 10.56.132.1 \
             --ip-range 10.56.132.128/25 {labels} {NETWORK}"
        ),
        format!(
            "run --detach --name {CONTAINER} --network {network} --ip 10.56.132.2 {container_labels} \
             --env CLAUDE_BOTTLE_SIDECAR_DAEMONS=egress,pipelock --pull=never claude-bottle-sidecars:latest"
        ),
        format!("container inspect {container}"),
        format!("rm --force --volumes {container}"),
        format!("network rm {network}"),
    ];
    // No argument here has a space in it, so splitting gives them exactly.
    let expected = expected.map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(calls.into_iter().map(|call| call.args).collect::<Vec<_>>(), expected);
}

#[test]
fn given_addresses_with_no_room_for_others_have_no_range() {
    let fake = Fake::new();
    let subnet = "192.168.7.8/30".parse().unwrap();
    let given = Addressing::new(subnet, [192, 168, 7, 10].into(), [192, 168, 7, 9].into()).unwrap();
    let network = plan().with_addressing(given).create_network(&fake.engine()).unwrap();
    network.close().unwrap();
    let args = &fake.calls()[0].args;
    assert_eq!(args[2..7], ["--subnet", "192.168.7.8/30", "--gateway", "192.168.7.10", "--label"]);
}

#[test]
fn only_a_literal_variable_has_its_value_on_the_command_line() {
    let fake = Fake::new();
    let spec = BundleSpec::new()
        .variable("LITERAL", "a b=\"c\"\n$HOME")
        .variable("EMPTY", "")
        .secret("SEC.RET-1", "not to be seen");
    plan().launch(&fake.engine(), spec).unwrap().close().unwrap();
    assert_eq!(
        payload(&fake),
        [
            "--env",
            "CLAUDE_BOTTLE_SIDECAR_DAEMONS=egress,pipelock",
            "--env",
            "EMPTY=",
            "--env",
            "LITERAL=a b=\"c\"\n$HOME",
            "--env",
            "SEC.RET-1",
            "--pull=never",
            "claude-bottle-sidecars:latest"
        ]
    );
    for call in fake.calls() {
        let secret = call.env.get("SEC.RET-1").map(String::as_str);
        assert_eq!(secret, (call.operation() == "run").then_some("not to be seen"));
        assert!(!call.env.contains_key("LITERAL"));
    }
}

#[test]
fn an_inherited_variable_has_its_value_in_the_environment_alone() {
    let (name, value) = ("HERMETIC_INHERITED", " taken\nfrom = here\"'$HOME ");
    let fake = Fake::new();
    let mut owner = Owner::program(&fake.engine_words());
    owner.env(name, value);
    let mut owner = Owner::spawn(owner);
    owner.expect("launch demo inherit=HERMETIC_INHERITED", "up");
    owner.expect("close", "closed");
    owner.end();
    assert_eq!(payload(&fake)[2..4], ["--env", name]);
    for call in fake.calls() {
        assert_eq!(call.env[name], value);
        assert!(!call.args.iter().any(|arg| arg.contains("taken")), "{:?}", call.args);
    }
}

#[test]
fn mounts_travel_as_csv() {
    let fake = Fake::new();
    let spec = BundleSpec::new()
        .mount("/plain", "/a/./b/")
        .mount_read_only("/etc/my rules", "/rules")
        .mount("/with,comma", "/c")
        .mount_read_only("/with\"quote", "/d,\"e\"");
    plan().launch(&fake.engine(), spec).unwrap().close().unwrap();
    assert_eq!(
        payload(&fake)[2..],
        [
            "--mount",
            "type=bind,source=/plain,target=/a/b",
            "--mount",
            "type=bind,\"source=/with,comma\",target=/c",
            "--mount",
            "type=bind,\"source=/with\"\"quote\",\"target=/d,\"\"e\"\"\",readonly",
            "--mount",
            "type=bind,source=/etc/my rules,target=/rules,readonly",
            "--pull=never",
            "claude-bottle-sidecars:latest"
        ]
    );
}

#[test]
fn an_empty_list_of_daemons_is_an_empty_variable() {
    let fake = Fake::new();
    let spec = BundleSpec::new().daemons(Vec::<String>::new()).image("own:1");
    plan().launch(&fake.engine(), spec).unwrap().close().unwrap();
    assert_eq!(
        payload(&fake),
        ["--env", "CLAUDE_BOTTLE_SIDECAR_DAEMONS=", "--pull=never", "own:1"]
    );
}

#[test]
fn another_product_has_its_own_names() {
    let fake = Fake::new();
    let product = Naming::new("acme.x").unwrap();
    let spec = BundleSpec::new().daemons(["git-gate", "egress"]);
    plan().with_naming(product).launch(&fake.engine(), spec).unwrap().close().unwrap();
    let daemons = "ACME_X_SIDECAR_DAEMONS=egress,git-gate";
    assert_eq!(payload(&fake), ["--env", daemons, "--pull=never", "acme.x-sidecars:latest"]);
    let calls = fake.calls();
    assert_eq!(calls[0].args.last().unwrap(), "acme.x-bundle-demo");
    assert_eq!(calls[1].args[2..4], ["--name", "acme.x-sidecars-demo"]);
    assert!(calls[1].args.contains(&"sidecar-bundle.prefix=acme.x".into()));
}

#[test]
fn a_trace_has_a_span_for_each_step_and_an_event_for_each_command() {
    let fake = Fake::new();
    let ((), trace) = traced(|| fake.up().close().unwrap());
    let program = fake.path("docker");
    let lines: Vec<_> = trace.lines().filter(|line| line.contains("engine command")).collect();
    let expected = [
        ("create_network{slug=demo subnet=10.56.132.0/24}", "info --format {{json .}}"),
        (
            "create_network{slug=demo subnet=10.56.132.0/24}",
            "network create --subnet 10.56.132.0/24 ",
        ),
        ("start{slug=demo ip=10.56.132.2}", "run --detach --name claude-bottle-sidecars-demo "),
        ("start{slug=demo ip=10.56.132.2}", "container inspect 0"),
        ("close{slug=demo}", "rm --force --volumes 0"),
        ("close{slug=demo}", "network rm 0"),
    ];
    assert_eq!(lines.len(), expected.len(), "{trace}");
    for (line, (span, command)) in lines.iter().zip(expected) {
        assert!(line.contains(&format!("{span}: ")), "{line}");
        assert!(line.contains(&format!("command={} {command}", program.display())), "{line}");
        if command.starts_with("info") {
            continue;
        }
        assert!(line.contains("end=exit status: 0"), "{line}");
        let (_, duration) = line.split_once("duration_ms=").unwrap();
        let (duration, _) = duration.split_once(' ').unwrap();
        assert!(duration.parse::<u64>().unwrap() < 60_000, "{line}");
    }
    assert!(lines[2].contains("--env CLAUDE_BOTTLE_SIDECAR_DAEMONS=***"), "{}", lines[2]);
}

#[test]
fn closing_a_bundle_is_one_span() {
    let fake = Fake::new();
    let bundle = fake.up();
    let ((), trace) = traced(|| bundle.close().unwrap());
    for line in trace.lines() {
        assert_eq!(line.matches("close{slug=demo}").count(), 1, "{line}");
    }
}

#[test]
fn a_missing_program_is_named() {
    let fake = Fake::new();
    let engine = fake.engine().with_program("no-such-program-4711");
    let error = Error::from(plan().create_network(&engine).unwrap_err());
    assert_eq!(error.cause(), Some(Cause::ProgramMissing));
    assert_eq!(
        fake.chain(&error),
        [
            "the engine could not be asked for its identity",
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
            "the engine could not be asked for its identity",
            &format!("{} info could not be run", program.display()),
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
fn an_answer_that_cannot_be_read_is_shown() {
    let fake = Fake::new();
    fake.on(
        "network-create",
        &refuse(1, "Error response from daemon: network with name x already exists"),
    );
    fake.on("network-inspect", "echo '[{\"Name\":\"x\"}]'");
    let failed = plan().create_network(&fake.engine()).unwrap_err();
    let says = "docker network inspect did not answer with a network: {\"Name\":\"x\"}";
    assert_eq!(fake.chain(&failed)[1], says);
}

#[test]
fn a_program_that_leaves_something_behind_is_answered_at_once() {
    let fake = Fake::new();
    for operation in ["network-create", "run", "rm", "network-rm"] {
        fake.on(operation, "sleep 30 & obey");
    }
    let start = Instant::now();
    fake.up().close().unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    fake.assert_nothing_left();
}

#[test]
fn a_directory_for_temporary_files_is_not_needed() {
    let fake = Fake::new();
    let mut owner = Owner::program(&fake.engine_words());
    owner.env("TMPDIR", "/no/such/directory");
    let mut owner = Owner::spawn(owner);
    owner.expect("launch demo", "up");
    owner.expect("close", "closed");
    owner.end();
    fake.assert_nothing_left();
}

#[test]
fn more_than_a_pipe_holds_is_read_while_the_program_runs() {
    let fake = Fake::new();
    fake.on("network-create", "head -c 300000 /dev/zero | tr '\\0' 'x' >&2; obey");
    plan().create_network(&fake.engine()).unwrap().close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn an_exit_status_that_nobody_is_told_is_seen_from_the_answer() {
    let fake = Fake::new();
    let mut owner = Owner::start_deaf(&fake.engine_words());
    owner.expect("launch demo", "up");
    owner.expect("close", "closed");
    fake.assert_nothing_left();
    // An image that is pulled, and one that is not.
    fake.once("run", "fail 125 'docker: Error response from daemon: No such image: x'");
    fake.on("pull", "echo docker.io/x:latest");
    owner.expect("launch demo", "up");
    owner.expect("close", "closed");
    fake.once("run", "fail 125 'docker: Error response from daemon: No such image: x'");
    fake.on("pull", "fail 1 'Error response from daemon: no'");
    owner.expect("launch demo", "error image");
    for (operation, snippet) in [
        ("network-create", "fail 1 'Error response from daemon: no'"),
        ("run", "fail 125 'docker: Error response from daemon: no'"),
        // It was made, and not started.
        ("run", "obey; fail 125 'docker: Error response from daemon: no'"),
        ("container-inspect", "fail 1 'Error response from daemon: no'"),
        ("info", "fail 1 'Error response from daemon: no'"),
    ] {
        fake.on(operation, snippet);
        if snippet.starts_with("obey") {
            fake.once("container-inspect", r#"obey | sed 's/"running"/"created"/'"#);
        }
        owner.expect("launch demo", "error");
        assert!(owner.stderr().trim_end().ends_with("Error response from daemon: no"));
        fake.obey(operation);
        fake.assert_nothing_left();
    }
    owner.end();
}

#[test]
fn a_launcher_that_ignores_the_ends_of_its_children_is_told_of_a_missing_program() {
    let fake = Fake::new();
    for engine in ["docker-cli", "docker", "podman"] {
        let words =
            [engine.to_owned(), "program=no-such-program".into(), fake.engine_words()[2].clone()];
        let more = (engine != "docker-cli").then(|| "host=tcp://127.0.0.1:9".to_owned());
        let words: Vec<_> = words.into_iter().chain(more).collect();
        let mut owner = Owner::start_deaf_to(&words, "error");
        owner.expect("launch demo", "error the engine could not be asked for its identity");
        assert!(owner.stderr().contains("no-such-program was not found"), "{}", owner.stderr());
        owner.end();
    }
}

#[test]
fn the_id_of_a_network_whose_command_fails_is_used() {
    let fake = Fake::new();
    fake.on("network-create", "obey; fail 1 'Cannot connect to the Docker daemon at unix:///x'");
    let failed = plan().create_network(&fake.engine()).unwrap_err();
    assert!(matches!(failed.error(), Error::CreateNetwork { .. }), "{failed:?}");
    assert_eq!(fake.operations(), ["network create", "network rm"]);
    fake.assert_nothing_left();
}

#[test]
fn an_answer_that_was_not_printed_is_no_list_of_nothing() {
    let fake = Fake::new();
    let bundle = fake.up();
    fake.on("rm", "exit 1");
    fake.on("ps", ":");
    let chain = fake.chain(&bundle.close().unwrap_err());
    assert!(chain[0].contains("container claude-bottle-sidecars-demo"), "{chain:?}");
    fake.obey("rm");
    fake.obey("ps");
    plan().launch(&fake.engine(), BundleSpec::new()).unwrap().close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn a_value_that_does_not_arrive_is_an_error_that_names_its_variable() {
    let fake = Fake::new();
    let spec = || BundleSpec::new().variable("A", "1").secret("B", "two").secret("C", "three");
    for arrived in ["[]", "null", r#"["B=two","C=other"]"#] {
        fake.on(
            "container-inspect",
            &format!("case $format in *Env*) echo '{arrived}' ;; *) obey ;; esac"),
        );
        let failed = plan().launch(&fake.engine(), spec()).unwrap_err();
        let variable = if arrived.contains("two") { "C" } else { "B" };
        let chain = fake.chain(&failed);
        assert!(
            chain[1].contains(&format!("value of variable {variable}, or none: ")),
            "{chain:?}"
        );
        drop(failed);
        fake.assert_nothing_left();
    }
    fake.obey("container-inspect");
    plan().launch(&fake.engine(), spec()).unwrap().close().unwrap();
}

#[test]
fn a_container_that_is_gone_has_not_lost_its_variables() {
    let fake = Fake::new();
    let missing = refuse(1, NO_CONTAINER);
    fake.on("container-inspect", &format!("case $format in *Env*) {missing};; *) obey;; esac"));
    let failed = plan().launch(&fake.engine(), BundleSpec::new().secret("A", "one")).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::ContainerMissing), "{failed:?}");
    drop(failed);
    fake.assert_nothing_left();
}

#[test]
fn every_option_is_an_argument_of_run() {
    let fake = Fake::new();
    let spec = BundleSpec::new()
        .image("proxy:7")
        .clear_daemons()
        .mount("/etc", "/a,b")
        .mount_read_only("/etc", "/ro")
        .volume("data", "/data")
        .tmpfs("/tmp", 4096)
        .executable_tmpfs("/run", 8192)
        .entrypoint("/bin/proxy")
        .command(["--port", "80"])
        .user("1000:1001")
        .label("team", "a=b")
        .network_alias("proxy")
        .publish(PortMapping::tcp(80))
        .publish(PortMapping::udp(53).host_port(5353).host_address([0, 0, 0, 0]))
        .publish(PortMapping::tcp(81).host_address(Ipv6Addr::LOCALHOST))
        .extra_host("db", [10, 9, 8, 7])
        .host_gateway("host")
        .dns_server([1, 1, 1, 1])
        .memory(16_777_216)
        .cpus(0.5)
        .pids(64)
        .add_capability("NET_ADMIN")
        .drop_capability("ALL")
        .security_option("apparmor=unconfined")
        .no_new_privileges(true)
        .read_only_root(true)
        .init(true)
        .restart(RestartPolicy::OnFailure(Some(3)))
        .engine_flag("--shm-size=1048576");
    plan().launch(&fake.engine(), spec).unwrap().close().unwrap();
    let run = fake.calls().into_iter().find(|call| call.args[0] == "run").unwrap();
    let arguments: Vec<_> = run.args.iter().skip_while(|arg| *arg != "--mount").collect();
    assert_eq!(
        arguments,
        [
            "--mount",
            r#"type=bind,source=/etc,"target=/a,b""#,
            "--mount",
            "type=volume,source=data,target=/data",
            "--mount",
            "type=bind,source=/etc,target=/ro,readonly",
            "--tmpfs=/run:exec,size=8192",
            "--mount",
            "type=tmpfs,target=/tmp,tmpfs-size=4096",
            "--entrypoint=/bin/proxy",
            "--user=1000:1001",
            "--label=team=a=b",
            "--network-alias=proxy",
            "--publish=127.0.0.1::80/tcp",
            "--publish=0.0.0.0:5353:53/udp",
            "--publish=[::1]::81/tcp",
            "--add-host=db:10.9.8.7",
            "--add-host=host:host-gateway",
            "--dns=1.1.1.1",
            "--memory=16777216b",
            "--memory-swap=16777216b",
            "--cpus=0.5",
            "--pids-limit=64",
            "--cap-add=NET_ADMIN",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            "--security-opt=apparmor=unconfined",
            "--read-only=true",
            "--init=true",
            "--restart=on-failure:3",
            "--shm-size=1048576",
            "--pull=never",
            "proxy:7",
            "--port",
            "80",
        ]
    );
}

#[test]
fn every_restart_policy_is_an_argument_of_run() {
    for (policy, argument) in [
        (RestartPolicy::No, None),
        (RestartPolicy::OnFailure(None), Some("--restart=on-failure")),
        (RestartPolicy::Always, Some("--restart=always")),
        (RestartPolicy::UnlessStopped, Some("--restart=unless-stopped")),
    ] {
        let fake = Fake::new();
        let spec = BundleSpec::new().restart(policy);
        plan().launch(&fake.engine(), spec).unwrap().close().unwrap();
        let payload = payload(&fake);
        let found = payload.iter().find(|it| it.starts_with("--restart")).map(String::as_str);
        assert_eq!(found, argument);
    }
}

#[test]
fn a_signal_and_a_stop_are_one_command_each_and_have_to_name_the_container() {
    let fake = Fake::new();
    fake.on("kill", "echo \"$last\"");
    fake.on("stop", "echo \"$last\"");
    let spec = BundleSpec::new().stop_grace(Duration::from_millis(1500));
    let bundle = plan().launch(&fake.engine(), spec).unwrap();
    let id = bundle.container_id().to_owned();
    bundle.signal("HUP").unwrap();
    fake.once("kill", "echo other");
    let error = bundle.signal("HUP").unwrap_err();
    assert!(matches!(error, Error::Signal { .. }), "{error:?}");
    fake.once("kill", &refuse(1, &format!("Error response from daemon: No such container: {id}")));
    let error = bundle.signal("HUP").unwrap_err();
    assert!(matches!(error, Error::Gone { .. }), "{error:?}");
    bundle.close().unwrap();
    let calls = fake.calls();
    let of = |operation: &str| {
        let found = calls.iter().find(|call| call.args[0] == operation).unwrap();
        found.args.join(" ")
    };
    assert_eq!(of("kill"), format!("kill --signal HUP {id}"));
    // The program takes whole seconds.
    assert_eq!(of("stop"), format!("stop -t 2 {id}"));
    fake.assert_nothing_left();
}

#[test]
fn an_error_inside_of_a_description_is_an_error() {
    let fake = Fake::new();
    let said = "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?";
    fake.on("info", &format!(r#"echo '{{"ServerErrors":["{said}"]}}'"#));
    let error = Error::from(plan().create_network(&fake.engine()).unwrap_err());
    assert_eq!(error.cause(), Some(Cause::EngineUnreachable));
    assert!(fake.chain(&error)[1].contains(said), "{:?}", fake.chain(&error));
}

#[test]
fn the_place_of_a_context_is_asked_for() {
    let fake = Fake::new();
    fake.on("info", r#"echo '{"ServerVersion":"26.1.5","ID":"FAKE","Name":"fake"}'"#);
    fake.on("context", r#"echo '[{"Endpoints":{"docker":{"Host":"ssh://far"}}}]'"#);
    let of = |context: &str| fake.engine().with_context(context).reachability().unwrap();
    assert_eq!(of("far"), Reachability::Remote { endpoint: "ssh://far".into() });
    assert_eq!(fake.calls().pop().unwrap().args, ["context", "inspect", "far"]);
    // The default one is no context that the program knows.
    of("default");
    assert_eq!(fake.calls().iter().filter(|it| it.args[0] == "context").count(), 1);
}

#[test]
fn the_digests_of_an_image_are_those_of_its_description() {
    let fake = Fake::new();
    let bundle = fake.up();
    assert_eq!(bundle.image_digests().unwrap(), ["x@sha256:1"]);
    bundle.close().unwrap();
}

#[test]
fn secrets_are_compared_with_those_of_the_container() {
    let fake = Fake::new();
    let spec = || BundleSpec::new().secret("TOKEN", "not to be seen");
    let bundle = plan().launch(&fake.engine(), spec()).unwrap();
    assert!(bundle.is_made_from(&spec()).unwrap());
    assert!(!bundle.is_made_from(&BundleSpec::new().secret("TOKEN", "another")).unwrap());
    let missing = refuse(1, "Error response from daemon: No such container: x");
    fake.on("container-inspect", &format!("case $format in *Env*) {missing};; *) obey;; esac"));
    let error = bundle.is_made_from(&spec()).unwrap_err();
    assert!(matches!(error, Error::Gone { .. }), "{error:?}");
    fake.on("container-inspect", "case $format in *Env*) fail 1 broken;; *) obey;; esac");
    let error = bundle.is_made_from(&spec()).unwrap_err();
    assert!(matches!(error, Error::Look { .. }), "{error:?}");
    fake.obey("container-inspect");
    bundle.close().unwrap();
}

#[test]
fn the_last_lines_of_a_dead_container_are_in_the_order_of_their_times() {
    let fake = Fake::new();
    let logs = r"
echo '2026-01-02T03:04:05.000000002Z second'
echo 'docker says something of its own'
echo '2026 is no time'
echo 'T is none, either'
echo '2026-01-02T03:04:05.000000001Z first' >&2
";
    fake.on("logs", logs);
    let ended =
        r#"obey | sed 's/"running"/"exited"/; s/"0001/"2026/; s/"ExitCode":0/"ExitCode":3/'"#;
    fake.on("container-inspect", ended);
    let failed = plan().launch(&fake.engine(), BundleSpec::new()).unwrap_err();
    let Error::Died { log, .. } = failed.error() else { panic!("{failed:?}") };
    assert_eq!(log.trim_end(), "first\nsecond");
}

#[test]
fn an_answer_with_too_little_is_no_absence() {
    let fake = Fake::new();
    let bundle = fake.up();
    // The program refuses a missing container with its name.
    fake.on("container-inspect", "echo '[]'");
    let error = bundle.status().unwrap_err();
    assert!(matches!(error, Error::Look { .. }), "{error:?}");
    fake.on("container-inspect", "echo '[]'; fail 1 'the moon is full'");
    let error = bundle.status().unwrap_err();
    assert!(matches!(error, Error::Look { .. }), "{error:?}");
    fake.on("container-inspect", &format!("echo '[]'; {}", refuse(1, NO_CONTAINER)));
    let error = bundle.status().unwrap_err();
    assert!(matches!(error, Error::Gone { .. }), "{error:?}");
    fake.obey("container-inspect");
    bundle.close().unwrap();
}

#[test]
fn what_a_failed_inspect_has_printed_is_in_no_error() {
    let fake = Fake::new();
    let bundle = fake.up();
    fake.on("container-inspect", r#"echo '[{"Config":{"Env":["TOKEN=not to be seen"]}}'; exit 1"#);
    let (error, trace) = traced(|| bundle.status().unwrap_err());
    let said = format!("{:?} {error:?} {trace}", fake.chain(&error));
    assert!(!said.contains("not to be seen"), "{said}");
    fake.obey("container-inspect");
    bundle.close().unwrap();
}

#[test]
fn a_description_beside_a_failure_is_not_believed() {
    let fake = Fake::new();
    let bundle = fake.up();
    fake.on("container-inspect", "obey; fail 1 'the moon is full'");
    let error = bundle.status().unwrap_err();
    assert!(matches!(error, Error::Look { .. }), "{error:?}");
    fake.obey("container-inspect");
    bundle.close().unwrap();
}

#[test]
fn what_commands_cannot_do_is_refused_before_anything_is_made() {
    let fake = Fake::new();
    for spec in [
        BundleSpec::new().file(ContainerFile::new("/etc/x", "x")),
        BundleSpec::new().engine_option("HostConfig.ShmSize", "1048576"),
    ] {
        let failed = plan().launch(&fake.engine(), spec).unwrap_err();
        assert!(matches!(failed.error(), Error::Unsupported(_)), "{failed:?}");
    }
    assert!(fake.operations().is_empty());
}

#[test]
fn the_advice_leads_to_the_same_engine() {
    for (context, words) in [("far", "--context far "), ("default", "")] {
        let fake = Fake::new();
        fake.on("context", r#"echo '[{"Endpoints":{"docker":{"Host":"ssh://far"}}}]'"#);
        let engine = fake.engine().with_context(context);
        let network = plan().create_network(&engine).unwrap();
        fake.on("network-rm", &refuse(1, UNKNOWN));
        let id = network.network_id().to_owned();
        let Error::NotRemoved { command, .. } = network.close().unwrap_err() else { panic!() };
        let program = fake.path("docker");
        assert_eq!(command, format!("{} {words}network rm {id}", program.display()));
    }
}

#[test]
fn a_pull_tells_its_progress_line_by_line() {
    let fake = Fake::new();
    let long = "y".repeat(5000);
    let pull =
        format!("printf '%s\\n' '1: Pulling from x' '' {long}; printf 'half\\rdone\\n'; echo x:1");
    fake.on("pull", &pull);
    let spec = BundleSpec::new().pull(PullPolicy::Always);
    let (bundle, trace) = traced(|| plan().launch(&fake.engine(), spec).unwrap());
    let lines: Vec<_> = trace
        .lines()
        .filter(|line| line.contains("progress"))
        .filter_map(|line| line.split_once("line=").map(|(_, text)| text.to_owned()))
        .collect();
    let short = "y".repeat(1 << 10);
    assert_eq!(lines, ["1: Pulling from x", &short, "half", "done", "x:1"]);
    bundle.close().unwrap();
}

#[test]
fn a_program_that_cannot_be_run_has_made_nothing() {
    let fake = Fake::new();
    let network = plan().create_network(&fake.engine()).unwrap();
    fs::rename(fake.path("docker"), fake.path("away")).unwrap();
    fs::write(fake.path("docker"), "").unwrap();
    let failed = network.start(BundleSpec::new()).unwrap_err();
    assert!(matches!(failed.error(), Error::Start { .. }), "{failed:?}");
    fs::rename(fake.path("away"), fake.path("docker")).unwrap();
    drop(failed);
    fake.assert_nothing_left();
}
