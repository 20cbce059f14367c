//! The time and the processor time of a bundle, launched and closed, by this library and by its peers, in turns. The
//! README has the command.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

#[path = "../../../tests/support/engine.rs"]
#[expect(dead_code, reason = "tests use the rest")]
mod engine;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::{Value, json};
use sidecar_bundle::{BundleSpec, Engine};
use testcontainers::runners::SyncRunner;
use testcontainers::{GenericImage, ImageExt};

use engine::{World, cli, is_podman, world};

const ROUNDS: usize = 24;

/// A way to make and remove a bundle.
type Way = (&'static str, fn(&World));

const WAYS: [Way; 6] = [
    ("the plain API", plain_api),
    ("the best order", best_order),
    ("Engine::docker()", |world| bundle(world, &Engine::docker())),
    ("docker's commands", commands),
    ("Engine::docker_cli()", |world| bundle(world, &Engine::docker_cli())),
    ("testcontainers", test_container),
];

fn main() {
    let Some(world) = world("bundle-cost") else { return };
    assert!(!is_podman(), "the plain API is Docker's");
    let mut taken = [(); WAYS.len()].map(|()| Vec::new());
    for _ in 0..ROUNDS {
        for ((_, way), taken) in WAYS.iter().zip(&mut taken) {
            let (start, before) = (Instant::now(), processor_time());
            way(&world);
            taken.push((start.elapsed(), processor_time().saturating_sub(before)));
        }
    }
    let median = |mut all: Vec<Duration>| {
        all.sort();
        all[all.len() / 2]
    };
    let medians: Vec<_> = taken
        .iter()
        .map(|taken| {
            let (wall, processor) = taken.iter().copied().unzip();
            (median(wall), median(processor))
        })
        .collect();
    for ((name, _), (wall, processor)) in WAYS.iter().zip(&medians) {
        let ratio = wall.as_secs_f64() / medians[0].0.as_secs_f64();
        println!(
            "{name:<22} {wall:>10.1?}  {ratio:.3} of the plain API, {processor:>8.1?} of processor time"
        );
    }
    for (a, b) in [(2, 1), (2, 5), (4, 3)] {
        let ratio = medians[a].0.as_secs_f64() / medians[b].0.as_secs_f64();
        println!("{} is {ratio:.3} of {}", WAYS[a].0, WAYS[b].0);
    }
    world.assert_nothing_left();
}

/// The processor time of this process and of the children that it has waited for.
fn processor_time() -> Duration {
    let of = |who| {
        let usage = getrusage(who).unwrap();
        let time = usage.user_time() + usage.system_time();
        Duration::from_micros(time.num_microseconds().try_into().unwrap())
    };
    of(UsageWho::RUSAGE_SELF) + of(UsageWho::RUSAGE_CHILDREN)
}

fn bundle(world: &World, engine: &Engine) {
    let engine = engine.clone().with_state_dir(world.state.path());
    world.plan().launch(&engine, BundleSpec::new()).unwrap().close().unwrap();
}

/// The requests of a bundle in plain order, by hand.
fn plain_api(world: &World) {
    let (network, container) = bodies(world);
    let network = id(&request("POST", "/networks/create", Some(network)));
    let container = id(&request("POST", &create(world), Some(container)));
    request("POST", &format!("/containers/{container}/start"), None);
    request("GET", &format!("/containers/{container}/json"), None);
    request("DELETE", &format!("/containers/{container}?force=1&v=1"), None);
    request("DELETE", &format!("/networks/{network}"), None);
}

/// The same, with what the engine can do at the same time.
fn best_order(world: &World) {
    let (network, container) = bodies(world);
    let (network, container) = thread::scope(|scope| {
        let network = scope.spawn(|| id(&request("POST", "/networks/create", Some(network))));
        let container = id(&request("POST", &create(world), Some(container)));
        (network.join().unwrap(), container)
    });
    request("POST", &format!("/containers/{container}/start"), None);
    request("GET", &format!("/containers/{container}/json"), None);
    let body = json!({"Container": container, "Force": true});
    request("POST", &format!("/networks/{network}/disconnect"), Some(body));
    thread::scope(|scope| {
        scope.spawn(|| request("DELETE", &format!("/networks/{network}"), None));
        request("DELETE", &format!("/containers/{container}?force=1&v=1"), None);
    });
}

fn create(world: &World) -> String {
    format!("/containers/create?name={}", world.plan().container_name())
}

fn id(answer: &Value) -> String {
    answer["Id"].as_str().unwrap().to_owned()
}

/// The bodies that create a network, and a container in it by its name.
fn bodies(world: &World) -> (Value, Value) {
    let plan = world.plan();
    let network = json!({
        "Name": plan.network_name(), "Driver": "bridge", "CheckDuplicate": true,
        "IPAM": {"Config": [{"Subnet": plan.subnet().to_string(), "Gateway": plan.gateway()}]},
    });
    let name = plan.network_name();
    let address = json!({"IPAMConfig": {"IPv4Address": plan.ip()}});
    let container = json!({
        "Image": "claude-bottle-sidecars:latest",
        "HostConfig": {"NetworkMode": name},
        "NetworkingConfig": {"EndpointsConfig": {name: address}},
    });
    (network, container)
}

fn request(method: &str, path: &str, body: Option<Value>) -> Value {
    let host =
        std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".into());
    let mut engine = UnixStream::connect(host.strip_prefix("unix://").unwrap()).unwrap();
    let body = body.map(|it| it.to_string()).unwrap_or_default();
    write!(
        engine,
        "{method} {path} HTTP/1.0\r\nHost: engine\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    engine.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 20"), "{answer}");
    serde_json::from_str(body).unwrap_or_default()
}

/// A container on a network of its own, at whatever address it gets.
fn test_container(world: &World) {
    let plan = world.plan();
    let image = GenericImage::new("claude-bottle-sidecars", "latest");
    let container = image
        .with_container_name(plan.container_name())
        .with_network(plan.network_name())
        .start()
        .unwrap();
    container.get_bridge_ip_address().unwrap();
    container.rm().unwrap();
}

/// The commands of a bundle in plain order.
fn commands(world: &World) {
    let plan = world.plan();
    let (subnet, gateway, ip) =
        (plan.subnet().to_string(), plan.gateway().to_string(), plan.ip().to_string());
    let (network, container) = (plan.network_name(), plan.container_name());
    cli(&["network", "create", "--subnet", &subnet, "--gateway", &gateway, &network]);
    let image = "claude-bottle-sidecars:latest";
    cli(&["run", "--detach", "--name", &container, "--network", &network, "--ip", &ip, image]);
    cli(&["inspect", &container]);
    cli(&["rm", "--force", "--volumes", &container]);
    cli(&["network", "rm", &network]);
}
