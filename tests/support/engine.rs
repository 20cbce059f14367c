//! A real engine: finds it, asks it by its own program, and checks that nothing is left on it.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidecar_bundle::ipnet::Ipv4Net;
use sidecar_bundle::{BundleRunning, BundleSpec, Engine, NetworkPlanned, Ready, Slug};

/// A timeout that nothing reaches.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// The engine, a slug and a lease directory of one test.
pub(crate) struct World {
    pub(crate) slug: &'static str,
    pub(crate) state: tempfile::TempDir,
}

/// Prints a notice and returns `None` where there is no engine, and panics where one is required.
#[track_caller]
pub(crate) fn world(slug: &'static str) -> Option<World> {
    static ENGINE: OnceLock<Result<String, String>> = OnceLock::new();
    match ENGINE.get_or_init(find_engine) {
        Ok(_) => {
            let world = World { slug, state: tempfile::tempdir().unwrap() };
            world.assert_nothing_left();
            Some(world)
        }
        Err(missing) => {
            assert!(!required(), "an engine is required: {missing}");
            shout(&format!("SKIPPED {slug}: {missing}; try tests/with-docker cargo test"));
            None
        }
    }
}

/// Returns true if a test fails, and is not skipped, for a lack of something.
pub(crate) fn required() -> bool {
    std::env::var_os("SIDECAR_BUNDLE_ENGINE_TESTS").is_some()
}

impl World {
    pub(crate) fn engine(&self) -> Engine {
        engine().with_state_dir(self.state.path())
    }

    /// The same engine, in the words of an owner that is another process.
    pub(crate) fn engine_words(&self) -> [String; 2] {
        [backend().into(), format!("state={}", self.state.path().display())]
    }

    pub(crate) fn plan(&self) -> NetworkPlanned {
        NetworkPlanned::new(Slug::new(self.slug).unwrap())
    }

    /// Nothing with this slug's label, nothing by its names, and no bridge with its gateway.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        self.assert_nothing_of_ours();
        assert!(!has_bridge(&self.plan()), "the bridge of {} is left", self.slug);
    }

    /// Waits for what somebody else removes. Docker 20.10 hides a network first, and then removes its bridge.
    #[track_caller]
    pub(crate) fn await_nothing_left(&self) {
        let what = format!("the end of all that is of {}", self.slug);
        wait_for(&what, || self.left().is_empty() && !has_bridge(&self.plan()));
    }

    #[track_caller]
    pub(crate) fn assert_nothing_of_ours(&self) {
        assert_eq!(self.left(), "", "left by {}", self.slug);
    }

    /// The resources with this slug's label or names.
    #[track_caller]
    pub(crate) fn left(&self) -> String {
        let plan = self.plan();
        let label = format!("label=sidecar-bundle.slug={}", self.slug);
        let mut left = cli(&["ps", "--all", "--quiet", "--filter", &label]);
        left += &cli(&["network", "ls", "--quiet", "--filter", &label]);
        for (kind, name) in [("container", plan.container_name()), ("network", plan.network_name())]
        {
            if inspect(kind, &name).is_some() {
                writeln!(left, "{kind} {name}").unwrap();
            }
        }
        left
    }
}

/// A plan in a subnet of its own, 10.`block`.`number`.0/24: slugs of many tests that run side by side would
/// now and then be derived to the same one.
pub(crate) fn plan_apart(slug: &str, block: usize, number: usize) -> NetworkPlanned {
    let block = u8::try_from(block + number / 256).unwrap();
    let number = u8::try_from(number % 256).unwrap();
    let host = |host: u8| std::net::Ipv4Addr::new(10, block, number, host);
    let subnet = Ipv4Net::new(host(0), 24).unwrap();
    let addressing = sidecar_bundle::Addressing::new(subnet, host(1), host(2)).unwrap();
    NetworkPlanned::new(Slug::new(slug).unwrap()).with_addressing(addressing)
}

/// Returns true if an interface of this host has the plan's gateway as its address, and its subnet. No packet is
/// sent.
pub(crate) fn has_bridge(plan: &NetworkPlanned) -> bool {
    let source = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect((plan.ip(), 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == plan.gateway())
}

/// The program that the tests drive: `docker`, or `podman` where the variable says so.
pub(crate) fn program() -> &'static str {
    match std::env::var("SIDECAR_BUNDLE_ENGINE_PROGRAM").as_deref() {
        Ok("podman") => "podman",
        _ => "docker",
    }
}

pub(crate) fn is_podman() -> bool {
    program() == "podman"
}

/// Returns true if the engine is a user's without privileges: its bridges are in a network namespace of their own.
pub(crate) fn is_rootless() -> bool {
    std::env::var("SIDECAR_BUNDLE_ENGINE").is_ok_and(|engine| engine.contains("rootless"))
}

/// The backend that the tests drive, in the words of an owner: `docker-cli` where the variable says so.
pub(crate) fn backend() -> &'static str {
    let cli = std::env::var("SIDECAR_BUNDLE_ENGINE_BACKEND").is_ok_and(|it| it == "cli");
    if cli && !is_podman() { "docker-cli" } else { program() }
}

/// The engine that the tests run on.
pub(crate) fn engine() -> Engine {
    match backend() {
        "podman" => Engine::podman(),
        "docker-cli" => Engine::docker_cli(),
        _ => Engine::docker(),
    }
}

/// Runs the engine's program behind the library's back; it must succeed.
#[track_caller]
pub(crate) fn cli(arguments: &[&str]) -> String {
    let output = Command::new(program()).args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {arguments:?}: {stderr}", program());
    String::from_utf8(output.stdout).unwrap()
}

/// Returns true if the engine bounds memory and processes: rootless, it does not with cgroups of version 1.
pub(crate) fn has_limits() -> bool {
    !is_rootless() || Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// The specification with an option that has no method: a field of the API, or else a flag of the program.
pub(crate) fn with_option(
    spec: BundleSpec,
    (field, json): (&str, &str),
    flags: &[&str],
) -> BundleSpec {
    if is_api() {
        return spec.engine_option(field, json);
    }
    flags.iter().fold(spec, |spec, flag| spec.engine_flag(*flag))
}

/// Returns true if the engine is asked by its API, and not by commands.
pub(crate) fn is_api() -> bool {
    backend() != "docker-cli"
}

/// A bundle that runs a script.
pub(crate) fn sh(script: &str) -> BundleSpec {
    BundleSpec::new().command(["sh", "-c", script])
}

/// Returns true if a container runs.
pub(crate) fn running(id: &str) -> bool {
    inspect("container", id).is_some_and(|container| container["State"]["Running"] == true)
}

/// Waits until the container has printed this.
#[track_caller]
pub(crate) fn await_print(bundle: &BundleRunning, text: &str) {
    if is_api() {
        return bundle.wait_for(&Ready::log(text), LONG).unwrap();
    }
    wait_for(text, || {
        let logs = Command::new(program()).args(["logs", bundle.container_id()]).output().unwrap();
        [logs.stdout, logs.stderr].iter().any(|it| String::from_utf8_lossy(it).contains(text))
    });
}

/// Runs a command in the container, and returns its exit code and standard output.
#[track_caller]
pub(crate) fn inside(bundle: &BundleRunning, words: &[&str]) -> (i32, String) {
    if is_api() {
        let output = bundle.exec(words.iter().copied(), LONG).unwrap();
        return (output.code, output.stdout);
    }
    let output = Command::new(program()).args(["exec", bundle.container_id()]).args(words).output();
    let output = output.unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// A condition that is never met.
pub(crate) fn never() -> Ready {
    Ready::check("what never comes", || false)
}

#[track_caller]
pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what} took more than a minute");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A foreign network, by its id: podman prints its name.
#[track_caller]
pub(crate) fn foreign_network(subnet: &str, arguments: &[&str], name: &str) -> String {
    cli(&[&["network", "create", "--subnet", subnet], arguments, &[name]].concat());
    inspect("network", name).unwrap()["Id"].as_str().unwrap().to_owned()
}

/// Inspects a resource, with docker's names for everything.
#[track_caller]
pub(crate) fn inspect(kind: &str, name: &str) -> Option<Value> {
    let output = Command::new(program()).args([kind, "inspect", name]).output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = found.get(0)?;
    Some(if kind == "network" && is_podman() { like_docker(found) } else { found.clone() })
}

fn like_docker(network: &Value) -> Value {
    let config = |subnet: &Value| {
        let address = |key: &str| subnet["lease_range"][key].as_str()?.parse().ok();
        let range = address("start_ip").zip(address("end_ip"));
        let range = range.and_then(|(start, end): (Ipv4Addr, Ipv4Addr)| {
            // Podman leaves the network's own address out of a range.
            (8..=32)
                .filter_map(|prefix| Ipv4Net::new(start, prefix).ok())
                .find(|it| it.broadcast() == end && it.hosts().next() == Some(start))
        });
        let range = range.map(|it| it.trunc().to_string());
        json!({"Subnet": subnet["subnet"], "Gateway": subnet["gateway"], "IPRange": range})
    };
    json!({
        "Id": network["id"],
        "Name": network["name"],
        "Driver": network["driver"],
        "Internal": network["internal"],
        "Labels": network["labels"],
        "Options": network["options"],
        "IPAM": {"Config": network["subnets"].as_array().unwrap().iter().map(config).collect::<Vec<_>>()},
    })
}

/// The body that a daemon of the bundle answers with, as soon as it does.
///
/// For addresses only that the library says are reachable: what is not on this host is never asked.
#[track_caller]
pub(crate) fn http_body(ip: Ipv4Addr, port: u16) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match try_http_body(ip, port) {
            Ok(body) => return body,
            Err(error) => assert!(Instant::now() < deadline, "http://{ip}:{port}/: {error}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn try_http_body(ip: Ipv4Addr, port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&(ip, port).into(), Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(65_536).read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.trim().to_owned());
    body.ok_or_else(|| std::io::Error::other("no body"))
}

/// Past the capturing of tests' output.
pub(crate) fn shout(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn find_engine() -> Result<String, String> {
    let format = if is_podman() {
        "podman {{.Client.Version}}"
    } else {
        "docker engine {{.Server.Version}}, client {{.Client.Version}}"
    };
    let version = Command::new(program())
        .args(["version", "--format", format])
        .output()
        .map_err(|error| format!("{} cannot be run: {error}", program()))?;
    if !version.status.success() {
        return Err(String::from_utf8_lossy(&version.stderr).trim().to_owned());
    }
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    // The manifest may be that of a crate in this repository.
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let build = folders.map(|it| it.join("tests/stand-in/build")).find(|it| it.exists());
    let image = Command::new(build.unwrap()).output();
    let image = image.map_err(|error| error.to_string())?;
    if !image.status.success() {
        return Err(String::from_utf8_lossy(&image.stderr).trim().to_owned());
    }
    shout(&format!("engine tests run against {version}"));
    Ok(version)
}
