//! The ways to bring a bundle up and down.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, RemoveContainerOptions, StartContainerOptions,
};
use futures::future::join_all;
use serde_json::{Value, json};
use sidecar_bundle::{BundleSpec, Engine, NetworkPlanned, launch_all};
use testcontainers::runners::{AsyncRunner, SyncRunner};
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt};
use tokio::runtime::Runtime;

use crate::engine::{cli, is_podman};
use crate::measure::{memory, processor_time};
use crate::plans;

const IMAGE: &str = "claude-bottle-sidecars";

/// The engine values of one process.
pub(crate) struct Site {
    state: PathBuf,
    engine: Engine,
    commands: Engine,
}

impl Site {
    pub(crate) fn new(state: &Path) -> Self {
        let engine = if is_podman() { Engine::podman() } else { Engine::docker() };
        let (engine, commands) =
            (engine.with_state_dir(state), Engine::docker_cli().with_state_dir(state));
        Self { state: state.to_owned(), engine, commands }
    }
}

/// Takes down what was brought up.
type Down = Box<dyn FnOnce() + Send>;

pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) up: fn(&Site, &NetworkPlanned) -> Down,
}

/// All ways on this engine. The others are in ratios to the first.
pub(crate) fn all() -> Vec<Way> {
    let way = |name, up| Way { name, up };
    if is_podman() {
        return vec![
            way("podman's commands", commands),
            way("podman's API", podmans_api),
            way("launch", launch),
            way("create_network, start", steps),
        ];
    }
    vec![
        way("the plain API", plain_api),
        way("the best order", best_order),
        way("launch", launch),
        way("create_network, start", steps),
        way("testcontainers", test_container),
        way("testcontainers, blocking", blocking_test_container),
        way("bollard", bollard),
        way("docker's commands", commands),
        way("launch, by docker's commands", launch_by_commands),
        way("create_network, start, by commands", steps_by_commands),
        way("docker compose", compose),
    ]
}

/// The pairs whose ratio is told.
pub(crate) const BARS: [(&str, &str); 6] = [
    ("launch", "the best order"),
    ("launch", "testcontainers"),
    ("launch", "testcontainers, blocking"),
    ("launch, by docker's commands", "docker's commands"),
    ("launch", "podman's commands"),
    ("launch", "podman's API"),
];

pub(crate) fn named(name: &str) -> Way {
    all().into_iter().find(|way| way.name == name).unwrap()
}

impl Way {
    pub(crate) fn is_there(&self) -> bool {
        let has_compose = || Command::new("docker").args(["compose", "version"]).output();
        self.name != "docker compose" || has_compose().is_ok_and(|it| it.status.success())
    }
}

fn launch(site: &Site, plan: &NetworkPlanned) -> Down {
    let bundle = plan.clone().launch(&site.engine, BundleSpec::new()).unwrap();
    Box::new(|| bundle.close().unwrap())
}

fn steps(site: &Site, plan: &NetworkPlanned) -> Down {
    up_in_steps(&site.engine, plan)
}

fn launch_by_commands(site: &Site, plan: &NetworkPlanned) -> Down {
    let bundle = plan.clone().launch(&site.commands, BundleSpec::new()).unwrap();
    Box::new(|| bundle.close().unwrap())
}

fn steps_by_commands(site: &Site, plan: &NetworkPlanned) -> Down {
    up_in_steps(&site.commands, plan)
}

fn up_in_steps(engine: &Engine, plan: &NetworkPlanned) -> Down {
    let network = plan.clone().create_network(engine).unwrap();
    let bundle = network.start(BundleSpec::new()).unwrap();
    Box::new(|| bundle.close().unwrap())
}

/// The requests of a bundle in plain order, by hand.
fn plain_api(_: &Site, plan: &NetworkPlanned) -> Down {
    let (network, container) = bodies(plan);
    let network = id(&request("POST", "/networks/create", Some(network)));
    let container = id(&request("POST", &create(plan), Some(container)));
    request("POST", &format!("/containers/{container}/start"), None);
    request("GET", &format!("/containers/{container}/json"), None);
    Box::new(move || {
        request("DELETE", &format!("/containers/{container}?force=1&v=1"), None);
        request("DELETE", &format!("/networks/{network}"), None);
    })
}

/// The same, with what the engine can do at the same time.
fn best_order(_: &Site, plan: &NetworkPlanned) -> Down {
    let (network, container) = bodies(plan);
    let (network, container) = thread::scope(|scope| {
        let network = scope.spawn(|| id(&request("POST", "/networks/create", Some(network))));
        let container = id(&request("POST", &create(plan), Some(container)));
        (network.join().unwrap(), container)
    });
    request("POST", &format!("/containers/{container}/start"), None);
    request("GET", &format!("/containers/{container}/json"), None);
    Box::new(move || {
        let body = json!({"Container": container, "Force": true});
        request("POST", &format!("/networks/{network}/disconnect"), Some(body));
        thread::scope(|scope| {
            scope.spawn(|| request("DELETE", &format!("/networks/{network}"), None));
            request("DELETE", &format!("/containers/{container}?force=1&v=1"), None);
        });
    })
}

fn create(plan: &NetworkPlanned) -> String {
    format!("/containers/create?name={}", plan.container_name())
}

fn id(answer: &Value) -> String {
    answer["Id"].as_str().unwrap().to_owned()
}

/// The bodies that create a network, and a container in it by its name.
fn bodies(plan: &NetworkPlanned) -> (Value, Value) {
    let name = plan.network_name();
    let network = json!({
        "Name": name, "Driver": "bridge", "CheckDuplicate": true,
        "IPAM": {"Config": [{"Subnet": plan.subnet().to_string(), "Gateway": plan.gateway()}]},
    });
    let address = json!({"IPAMConfig": {"IPv4Address": plan.ip()}});
    let container = json!({
        "Image": format!("{IMAGE}:latest"),
        "HostConfig": {"NetworkMode": name},
        "NetworkingConfig": {"EndpointsConfig": {name: address}},
    });
    (network, container)
}

/// The requests of a bundle in plain order to podman's own API, by hand.
fn podmans_api(_: &Site, plan: &NetworkPlanned) -> Down {
    const API: &str = "/v4.0.0/libpod";
    let (subnet, gateway, ip) = (plan.subnet().to_string(), plan.gateway(), plan.ip());
    let name = plan.network_name();
    let network = json!({
        "name": name, "driver": "bridge", "dns_enabled": true,
        "subnets": [{"subnet": subnet, "gateway": gateway}],
    });
    let container = json!({
        "name": plan.container_name(), "image": format!("{IMAGE}:latest"),
        "netns": {"nsmode": "bridge"}, "Networks": {&name: {"static_ips": [ip]}},
    });
    request("POST", &format!("{API}/networks/create"), Some(network));
    let container = id(&request("POST", &format!("{API}/containers/create"), Some(container)));
    let container = format!("{API}/containers/{container}");
    request("POST", &format!("{container}/start"), None);
    request("GET", &format!("{container}/json"), None);
    Box::new(move || {
        request("DELETE", &format!("{container}?force=true&v=true&timeout=0"), None);
        request("DELETE", &format!("{API}/networks/{name}"), None);
    })
}

/// The socket of the engine: of podman, a service of this process, which ends a while after the last request.
fn socket() -> &'static str {
    static SOCKET: OnceLock<String> = OnceLock::new();
    SOCKET.get_or_init(|| {
        if !is_podman() {
            let host = std::env::var("DOCKER_HOST");
            let host = host.unwrap_or_else(|_| "unix:///var/run/docker.sock".into());
            return host.strip_prefix("unix://").unwrap().to_owned();
        }
        let path = format!("/tmp/peers-{}.sock", std::process::id());
        let address = format!("unix://{path}");
        let mut service = Command::new("podman");
        service.args(["system", "service", "--time", "10", &address]).stderr(Stdio::null());
        let mut service = service.spawn().unwrap();
        thread::spawn(move || service.wait());
        let is_there = |_: &usize| {
            thread::sleep(Duration::from_millis(20));
            UnixStream::connect(&path).is_ok()
        };
        (0..500).find(is_there).unwrap();
        path
    })
}

fn request(method: &str, path: &str, body: Option<Value>) -> Value {
    let mut engine = UnixStream::connect(socket()).unwrap();
    let body = body.map(|it| it.to_string()).unwrap_or_default();
    write!(
        engine,
        "{method} {path} HTTP/1.0\r\nHost: engine\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    engine.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    engine.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 20"), "{answer}");
    serde_json::from_str(body).unwrap_or_default()
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap())
}

/// The client of one process.
fn client() -> &'static Docker {
    static CLIENT: OnceLock<Docker> = OnceLock::new();
    CLIENT.get_or_init(|| Docker::connect_with_unix_defaults().unwrap())
}

/// The ids of network and container.
async fn up_by_bollard(plan: NetworkPlanned) -> (String, String) {
    let (network, container) = bodies(&plan);
    let network: bollard::models::NetworkCreateRequest = serde_json::from_value(network).unwrap();
    let container: bollard::models::ContainerCreateBody =
        serde_json::from_value(container).unwrap();
    let network = client().create_network(network).await.unwrap().id;
    let options =
        CreateContainerOptions { name: Some(plan.container_name()), ..Default::default() };
    let container = client().create_container(Some(options), container).await.unwrap().id;
    client().start_container(&container, None::<StartContainerOptions>).await.unwrap();
    client().inspect_container(&container, None::<InspectContainerOptions>).await.unwrap();
    (network, container)
}

async fn down_by_bollard((network, container): (String, String)) {
    let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
    client().remove_container(&container, Some(options)).await.unwrap();
    client().remove_network(&network).await.unwrap();
}

fn bollard(_: &Site, plan: &NetworkPlanned) -> Down {
    let ids = runtime().block_on(up_by_bollard(plan.clone()));
    Box::new(move || runtime().block_on(down_by_bollard(ids)))
}

/// A container on a network of its own, at whatever address it gets.
fn wanted(plan: &NetworkPlanned) -> ContainerRequest<GenericImage> {
    let image = GenericImage::new(IMAGE, "latest");
    image.with_container_name(plan.container_name()).with_network(plan.network_name())
}

/// `None` if it did not start.
async fn up_by_testcontainers(plan: NetworkPlanned) -> Option<ContainerAsync<GenericImage>> {
    let container = AsyncRunner::start(wanted(&plan)).await.ok()?;
    container.get_bridge_ip_address().await.ok()?;
    Some(container)
}

fn test_container(_: &Site, plan: &NetworkPlanned) -> Down {
    let container = runtime().block_on(up_by_testcontainers(plan.clone())).unwrap();
    Box::new(move || runtime().block_on(container.rm()).unwrap())
}

fn blocking_test_container(_: &Site, plan: &NetworkPlanned) -> Down {
    let container = SyncRunner::start(wanted(plan)).unwrap();
    container.get_bridge_ip_address().unwrap();
    Box::new(move || container.rm().unwrap())
}

/// The commands of a bundle in plain order.
fn commands(_: &Site, plan: &NetworkPlanned) -> Down {
    let (subnet, gateway, ip) =
        (plan.subnet().to_string(), plan.gateway().to_string(), plan.ip().to_string());
    let (network, container) = (plan.network_name(), plan.container_name());
    cli(&["network", "create", "--subnet", &subnet, "--gateway", &gateway, &network]);
    let image = format!("{IMAGE}:latest");
    cli(&["run", "--detach", "--name", &container, "--network", &network, "--ip", &ip, &image]);
    cli(&["inspect", &container]);
    Box::new(move || {
        // Podman would wait for the container to end by itself.
        let now: &[&str] = if is_podman() { &["--time", "0"] } else { &[] };
        cli(&[&["rm", "--force", "--volumes", &container], now].concat());
        cli(&["network", "rm", &network]);
    })
}

fn compose(site: &Site, plan: &NetworkPlanned) -> Down {
    let file = site.state.join("compose.yaml");
    let text = json!({
        "services": {"sidecar": {
            "image": format!("{IMAGE}:latest"),
            "networks": {"bundle": {"ipv4_address": plan.ip()}},
        }},
        "networks": {"bundle": {"ipam": {"config": [
            {"subnet": plan.subnet().to_string(), "gateway": plan.gateway()},
        ]}}},
    });
    std::fs::write(&file, text.to_string()).unwrap();
    let file = file.to_str().unwrap().to_owned();
    cli(&["compose", "--file", &file, "up", "--detach"]);
    Box::new(move || drop(cli(&["compose", "--file", &file, "down", "--timeout", "0"])))
}

/// The ways of which many come and go side by side.
pub(crate) const MANY: [&str; 4] =
    ["launch_all, close_all", "testcontainers", "bollard", "docker's commands"];

/// Brings many up and down, in this process. It prints the time of the first and the failures, and then that of the second,
/// the processor time, and the most memory: in microseconds and KiB.
pub(crate) fn child(way: &str, count: usize) {
    let start = Instant::now();
    let room = tempfile::tempdir().unwrap();
    let (failed, down): (usize, Down) = match way {
        "launch_all, close_all" => {
            let site = Site::new(room.path());
            let plans = plans(count).map(|plan| (plan, BundleSpec::new()));
            let bundles = launch_all(&site.engine, plans).unwrap();
            (0, Box::new(|| bundles.close().unwrap()))
        }
        "testcontainers" => {
            let all =
                join_all(plans(count).map(|plan| runtime().spawn(up_by_testcontainers(plan))));
            let all = runtime().block_on(all);
            let up: Vec<_> = all.into_iter().filter_map(Result::unwrap).collect();
            let failed = count - up.len();
            let rm = async |it: ContainerAsync<GenericImage>| it.rm().await.unwrap();
            let down = move || {
                let all = up.into_iter().map(|it| runtime().spawn(rm(it)));
                runtime().block_on(join_all(all)).into_iter().for_each(|it| it.unwrap());
            };
            (failed, Box::new(down))
        }
        "bollard" => {
            let all = join_all(plans(count).map(|plan| runtime().spawn(up_by_bollard(plan))));
            let up: Vec<_> = runtime().block_on(all).into_iter().map(Result::unwrap).collect();
            let down = move || {
                let all = up.into_iter().map(|ids| runtime().spawn(down_by_bollard(ids)));
                runtime().block_on(join_all(all)).into_iter().for_each(|it| it.unwrap());
            };
            (0, Box::new(down))
        }
        _ => {
            let site = Site::new(room.path());
            let up = |plan: NetworkPlanned| commands(&site, &plan);
            let downs: Vec<_> = thread::scope(|scope| {
                let all: Vec<_> = plans(count).map(|plan| scope.spawn(move || up(plan))).collect();
                all.into_iter().map(|it| it.join().unwrap()).collect()
            });
            let down = || {
                let all: Vec<_> = downs.into_iter().map(thread::spawn).collect();
                all.into_iter().for_each(|it| it.join().unwrap());
            };
            (0, Box::new(down))
        }
    };
    println!("{} {failed}", start.elapsed().as_micros());
    let start = Instant::now();
    down();
    println!("{} {} {}", start.elapsed().as_micros(), processor_time().as_micros(), memory());
}

/// A suite of tests, each with a bundle of its own.
type Suite = (&'static str, fn(&Site));

pub(crate) const SUITES: [Suite; 4] = [
    ("testcontainers", |site| one_by_one(site, test_container)),
    ("the best order", |site| one_by_one(site, best_order)),
    ("launch, close", |site| one_by_one(site, launch)),
    ("launch, close_in_background, all waited for", |site| {
        let closings: Vec<_> = plans(8)
            .map(|plan| plan.launch(&site.engine, BundleSpec::new()).unwrap().close_in_background())
            .collect();
        closings.into_iter().for_each(|it| it.wait().unwrap());
    }),
];

fn one_by_one(site: &Site, way: fn(&Site, &NetworkPlanned) -> Down) {
    plans(8).for_each(|plan| way(site, &plan)());
}
