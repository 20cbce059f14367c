//! Which commands the engine's program is given, to the letter, and what traces tell of them.

use sidecar_bundle::{Addressing, BundleSpec, Error, Product};

use crate::fake::{CONTAINER, Call, Fake, NETWORK, plan};
use crate::owner::Owner;
use crate::surroundings::traced;

/// The value of each label that is drawn at random.
#[track_caller]
fn drawn<'a>(call: &'a Call, key: &str) -> &'a str {
    let start = format!("sidecar-bundle.{key}=");
    let value = call.args.iter().find_map(|arg| arg.strip_prefix(&start)).unwrap();
    let is_hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    assert!(value.len() == 32 && value.chars().all(is_hex), "{key}={value}");
    value
}

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
        fake.things(),
        [(NETWORK.into(), network.clone()), (CONTAINER.into(), container.clone())]
    );
    bundle.close().unwrap();
    fake.assert_nothing_left();

    let calls = fake.calls();
    let (owner, lease_dir) = (drawn(&calls[0], "owner"), drawn(&calls[0], "lease-dir"));
    assert_ne!(owner, lease_dir);
    let stored = std::fs::read_to_string(fake.path("leases").join("id")).unwrap();
    assert_eq!(stored.trim(), lease_dir);

    let labels = format!(
        "--label sidecar-bundle.attempt=0 \
         --label sidecar-bundle.format=1 \
         --label sidecar-bundle.gateway=10.56.132.1 \
         --label sidecar-bundle.ip=10.56.132.2 \
         --label sidecar-bundle.lease-dir={lease_dir} \
         --label sidecar-bundle.owner={owner} \
         --label sidecar-bundle.prefix=claude-bottle \
         --label sidecar-bundle.slug=demo \
         --label sidecar-bundle.subnet=10.56.132.0/24"
    );
    let expected = [
        format!(
            "network create --subnet 10.56.132.0/24 --gateway 10.56.132.1 \
             --ip-range 10.56.132.128/25 {labels} {NETWORK}"
        ),
        format!(
            "run --detach --name {CONTAINER} --network {network} --ip 10.56.132.2 {labels} \
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
fn two_bundles_of_one_process_on_one_engine_have_one_owner() {
    let (fake, other) = (Fake::new(), Fake::new());
    for fake in [&fake, &fake, &other] {
        fake.up().close().unwrap();
    }
    let calls = fake.calls();
    let creates: Vec<_> =
        calls.iter().filter(|call| call.operation() == "network create").collect();
    let [one, again] = creates[..] else { panic!("{creates:?}") };
    assert_eq!(drawn(one, "owner"), drawn(again, "owner"));
    // What it holds on the one is foreign to it on the other.
    let other = &other.calls()[0];
    assert_ne!(drawn(one, "owner"), drawn(other, "owner"));
    assert_ne!(drawn(one, "lease-dir"), drawn(other, "lease-dir"));
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
    let product = Product::new("acme.x").unwrap();
    let spec = BundleSpec::new().daemons(["git-gate", "egress"]);
    plan().with_product(product).launch(&fake.engine(), spec).unwrap().close().unwrap();
    let daemons = "ACME_X_SIDECAR_DAEMONS=egress,git-gate";
    assert_eq!(payload(&fake), ["--env", daemons, "--pull=never", "acme.x-sidecars:latest"]);
    let calls = fake.calls();
    assert_eq!(calls[0].args.last().unwrap(), "acme.x-bundle-demo");
    assert_eq!(calls[1].args[2..4], ["--name", "acme.x-sidecars-demo"]);
    assert!(calls[1].args.contains(&"sidecar-bundle.prefix=acme.x".into()));
}

#[test]
fn every_command_goes_to_the_engine_that_the_environment_named_first() {
    let host = ("DOCKER_HOST", "tcp://192.0.2.1:1");
    let stray = ("DOCKER_CONTEXT", "another");
    let fake = Fake::new();
    let mut owner = Owner::program(&fake.engine_words());
    owner.envs([host, stray]);
    let mut owner = Owner::spawn(owner);
    let up = owner.expect("launch demo", "up");
    let id = up.split(' ').nth(1).unwrap();
    fake.on("network-rm", "exit 1");
    let error = owner.expect("close", "error");
    let program = fake.path("docker");
    let program = program.display();
    assert_eq!(
        error,
        format!(
            "network {NETWORK} may be left; \
             remove it with `{program} --host tcp://192.0.2.1:1 network rm {id}`"
        )
    );
    owner.end();
    for call in fake.calls() {
        assert_eq!(call.env[host.0], host.1);
        // The program prefers the host; with both set it warns.
        assert!(!call.env.contains_key(stray.0));
    }
}

#[test]
fn a_trace_has_a_span_for_each_transition_and_an_event_for_each_command() {
    let fake = Fake::new();
    let ((), trace) = traced(|| fake.up().close().unwrap());
    let program = fake.path("docker");
    let lines: Vec<_> = trace.lines().filter(|line| line.contains("engine command")).collect();
    let expected = [
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
        assert!(line.contains("end=exit status: 0"), "{line}");
        let (_, duration) = line.split_once("duration_ms=").unwrap();
        let (duration, _) = duration.split_once(' ').unwrap();
        assert!(duration.parse::<u64>().unwrap() < 60_000, "{line}");
    }
    assert!(lines[1].contains("--env CLAUDE_BOTTLE_SIDECAR_DAEMONS=***"), "{}", lines[1]);
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

/// An engine in a virtual machine, so that nothing depends on the interfaces of this host.
const ELSEWHERE: &str = r#"echo '{"ServerVersion":"26.1.5","OperatingSystem":"Docker Desktop"}'"#;

#[test]
fn an_engine_that_refuses_every_subnet_for_what_it_does_not_name_is_not_asked_for_ever() {
    let fake = Fake::new();
    fake.on("info", ELSEWHERE);
    fake.on("network-ls", "true");
    fake.on(
        "network-create",
        r#"fail 1 "$daemon Pool overlaps with other one on this address space""#,
    );
    let failed = plan().create_network_in_free_subnet(&fake.engine()).unwrap_err();
    assert!(matches!(failed.error(), Error::SubnetTaken { holder: None, .. }), "{failed:?}");
    let creates = fake.operations().into_iter().filter(|it| it == "network create").count();
    assert_eq!(creates, 8);
    assert_eq!(failed.into_state().addressing().attempt(), 7);
    fake.assert_nothing_left();
}

#[test]
fn a_survey_is_few_commands_and_reads_all_of_a_thousand_networks() {
    let fake = Fake::new();
    fake.on("info", ELSEWHERE);
    let addresses = plan();
    let taken = addresses.subnet();
    fake.on("network-ls", "echo 1");
    // The one that matters comes first, before two million bytes of others.
    let network = r#"{"Id":"%d","Name":"n%d","Driver":"bridge","Labels":{"x":"%01900d"},"IPAM":{"Config":[{"Subnet":"%s"}]}}"#;
    fake.on(
        "network-inspect",
        &format!(
            "awk 'BEGIN {{ printf \"[\"; for (n = 0; n < 1100; n++) printf \"%s{}\", n ? \",\" : \"\", n, n, 0, n ? \"192.0.2.0/30\" : \"{taken}\"; print \"]\" }}'",
            network.replace('"', "\\\"")
        ),
    );
    let engine = fake.engine();
    let moved = addresses.clone().in_free_subnet(&engine).unwrap();
    assert_ne!(moved.subnet(), taken);
    assert_eq!(fake.operations(), ["network ls", "network inspect", "info"]);
    addresses.in_free_subnet(&engine).unwrap();
    assert_eq!(fake.operations()[3..], ["network ls", "network inspect"]);
}

#[test]
fn an_engine_that_nobody_has_chosen_is_named_in_every_command() {
    let fake = Fake::new();
    let mut owner = Owner::program(&fake.engine_words());
    owner.envs([
        ("DOCKER_HOST", ""),
        ("DOCKER_CONTEXT", ""),
        ("DOCKER_CONFIG", "no-such-directory"),
    ]);
    let mut owner = Owner::spawn(owner);
    owner.expect("launch demo", "up");
    owner.expect("close", "closed");
    owner.end();
    let here = std::env::current_dir().unwrap();
    for call in fake.calls() {
        assert_eq!(call.env["DOCKER_CONTEXT"], "default");
        assert_eq!(call.env["DOCKER_CONFIG"], here.join("no-such-directory").to_str().unwrap());
    }
}
