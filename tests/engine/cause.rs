//! The messages of this very engine lead to their causes.

use std::fmt::Write as _;
use std::process::Command;

use sidecar_bundle::Cause;

use crate::engine::{World, cli, inspect, is_podman, program, shout, world};

/// Everything here is in a range of its own.
const SUBNET: &str = "10.47.1.0/24";

const IMAGE: &str = "claude-bottle-sidecars:latest";

const PREFIX: &str = "sidecar-bundle-test-texts";

#[test]
fn each_message_of_this_engine_leads_to_its_cause() {
    let Some(world) = world("texts") else { return };
    let _cleanup = Cleanup;
    let mut said: Vec<(Cause, String)> = networks();
    said.extend(containers());
    said.extend(unreachable_engines());
    let version = world.engine().version().unwrap();
    let mut collected = String::new();
    for (cause, text) in &said {
        writeln!(collected, "== {cause:?} | {version}\n{text}").unwrap();
    }
    if let Some(file) = std::env::var_os("SIDECAR_BUNDLE_ENGINE_TEXTS") {
        std::fs::write(file, &collected).unwrap();
    }
    for (cause, text) in &said {
        assert_eq!(Cause::of(text), *cause, "{version}: {text}");
    }
    shout(&format!("{} texts of {version} lead to their causes", said.len()));
    the_library_says_the_same(&world);
}

/// Removes the resources of this test, whatever happens.
struct Cleanup;

impl Drop for Cleanup {
    fn drop(&mut self) {
        let names = |arguments: &[&str]| {
            let filter = format!("name={PREFIX}");
            let listed =
                Command::new(program()).args(arguments).args(["--filter", &filter]).output();
            let listed = listed.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
            listed.unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let remove = |arguments: &[&str], name: &str| {
            let _gone_already = Command::new(program()).args(arguments).arg(name).output();
        };
        for name in names(&["ps", "--all", "--format", "{{.Names}}"]) {
            remove(&["rm", "--force", "--volumes"], &name);
        }
        for name in names(&["network", "ls", "--format", "{{.Name}}"]) {
            remove(&["network", "rm"], &name);
        }
    }
}

/// The standard error of a command that has to fail.
#[track_caller]
fn refused(arguments: &[&str]) -> String {
    let output = Command::new(program()).args(arguments).output().unwrap();
    assert!(!output.status.success(), "{arguments:?} did not fail");
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

fn name(what: &str) -> String {
    format!("{PREFIX}-{what}")
}

fn networks() -> Vec<(Cause, String)> {
    let (one, other, nobody) = (name("one"), name("other"), name("nobody"));
    cli(&["network", "create", "--subnet", SUBNET, &one]);
    let create = |subnet: &str, more: &[&str]| {
        refused(&[&["network", "create", "--subnet", subnet], more, &[&other]].concat())
    };
    let id = inspect("network", &one).unwrap()["Id"].as_str().unwrap().to_owned();
    cli(&["run", "--detach", "--name", &name("in"), "--network", &one, IMAGE, "sleep", "60"]);
    let mut said = vec![
        (Cause::NetworkExists, refused(&["network", "create", "--subnet", "10.47.2.0/24", &one])),
        (Cause::NetworkMissing, refused(&["network", "rm", &nobody])),
        (Cause::NetworkMissing, refused(&["network", "inspect", &nobody])),
        (Cause::NetworkMissing, refused(&["run", "--rm", "--network", &nobody, IMAGE, "true"])),
        (Cause::NetworkInUse, refused(&["network", "rm", &one])),
        (Cause::SubnetOverlap, create(SUBNET, &[])),
        (Cause::SubnetOverlap, create("10.47.1.128/25", &[])),
        (Cause::GatewayOutsideSubnet, create("10.47.3.0/24", &["--gateway", "10.47.4.1"])),
        (Cause::UnknownOption, create("10.47.3.0/24", &["--no-such-option"])),
        (
            Cause::NetworkPredefined,
            refused(&["network", "rm", if is_podman() { "podman" } else { "bridge" }]),
        ),
    ];
    if is_podman() {
        let option = "com.docker.network.driver.mtu=1400";
        said.push((Cause::UnknownOption, create("10.47.3.0/24", &["--opt", option])));
    } else {
        // By its id, an engine's daemon refuses it too; podman removes it.
        said.push((Cause::NetworkInUse, refused(&["network", "rm", &id])));
    }
    // Docker before 25, and podman, take a subnet with host bits for the one that it is in.
    let bits = ["network", "create", "--subnet", "10.47.5.7/24", &other];
    let output = Command::new(program()).args(bits).output().unwrap();
    if output.status.success() {
        cli(&["network", "rm", &other]);
    } else {
        said.push((Cause::HostBits, String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    said
}

fn containers() -> Vec<(Cause, String)> {
    let (one, small, nobody) = (name("one"), name("small"), name("nobody"));
    let run = |more: &[&str], command: &[&str]| {
        refused(&[&["run", "--detach", "--pull=never"], more, command].concat())
    };
    cli(&["run", "--detach", "--name", &name("c"), "--network", &one, "--ip", "10.47.1.9", IMAGE]);
    // Network, gateway, one container and broadcast: nothing is left.
    cli(&["network", "create", "--subnet", "10.47.6.0/30", &small]);
    cli(&["run", "--detach", "--name", &name("s"), "--network", &small, IMAGE]);
    let port = ["--publish", "127.0.0.1:18081:80"];
    cli(&[&["run", "--detach", "--name", &name("p")], &port[..], &[IMAGE]].concat());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("127.0.0.1:{}:80", free.local_addr().unwrap().port());
    let ip = |ip: &str| run(&["--network", &one, "--ip", ip, "--name", &name("x")], &[IMAGE]);
    let again = || cli(&["rm", "--force", "--volumes", &name("x")]);

    let mut said = vec![(Cause::AddressTaken, ip("10.47.1.9"))];
    again();
    said.push((Cause::AddressOutsideSubnet, ip("10.47.9.9")));
    if inspect("container", &name("x")).is_some() {
        again();
    }
    said.extend([
        (Cause::ContainerNameTaken, run(&["--name", &name("c")], &[IMAGE])),
        (Cause::NoAddressLeft, run(&["--network", &small, "--name", &name("w")], &[IMAGE])),
        (Cause::ContainerMissing, refused(&["rm", &nobody])),
        (Cause::ContainerMissing, refused(&["container", "inspect", &nobody])),
        (Cause::ContainerMissing, refused(&["exec", &nobody, "true"])),
        (Cause::ImageMissing, run(&[], &["sidecar-bundle-test-no-such-image:1"])),
        (
            Cause::MountSourceMissing,
            run(&["--mount", "type=bind,source=/no/such/path,target=/x"], &[IMAGE]),
        ),
        (Cause::CommandNotRun, run(&["--name", &name("y")], &[IMAGE, "/no/such/program"])),
        (Cause::CommandNotRun, run(&["--name", &name("z")], &[IMAGE, "no-such-program"])),
        (Cause::PortTaken, run(&[&["--name", &name("q")], &port[..]].concat(), &[IMAGE])),
        (Cause::PortTaken, run(&["--name", &name("r"), "--publish", &taken], &[IMAGE])),
        (Cause::UnknownOption, run(&["--no-such-option"], &[IMAGE])),
    ]);
    said
}

/// The messages of the program about an engine that is not there.
fn unreachable_engines() -> Vec<(Cause, String)> {
    let at = |address: &str| {
        let variable = if is_podman() { "CONTAINER_HOST" } else { "DOCKER_HOST" };
        let output = Command::new(program())
            .arg("ps")
            .env(variable, address)
            .env_remove("DOCKER_CONTEXT")
            .output()
            .unwrap();
        assert!(!output.status.success());
        (Cause::EngineUnreachable, String::from_utf8_lossy(&output.stderr).trim().to_owned())
    };
    vec![at("unix:///no/such/socket"), at("tcp://127.0.0.1:9")]
}

/// The same table behind an error of the library's.
fn the_library_says_the_same(world: &World) {
    let plan = world.plan().with_pool("10.47.1.0/24:/24".parse().unwrap());
    let failed = plan.create_network(&world.engine()).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::SubnetOverlap), "{failed:?}");
}
