//! An engine in this process, which speaks the API on a socket of its own and does as a script says.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use sidecar_bundle::Engine;

/// What happens to a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// It is answered as Docker answers it.
    Obey,
    /// It is carried out and answered when this becomes true.
    ObeyAfter(Arc<AtomicBool>),
    /// It is carried out, and the connection ends before the answer.
    ObeyAndCut,
    /// It is carried out, and somebody else answers.
    ObeyAndAnswer(u16, String),
    /// It is carried out, and only half of the answer comes.
    ObeyHalf,
    /// It is not answered.
    Hang,
    /// It is answered with this status and text.
    Answer(u16, String),
    /// These bytes are sent.
    Bytes(&'static str),
    /// An answer begins with this text, and does not end.
    Begin(&'static str),
}

/// The script: what happens to `METHOD PATH`, with the body.
type Script = Box<dyn Fn(&str, &str) -> Act + Send>;

/// The commands in a container: the exit code and the standard output of each.
type Commands = Box<dyn Fn(&[&str]) -> (i32, String) + Send>;

/// A file in a container, as its engine sees it.
#[derive(Clone)]
pub(crate) enum Entry {
    File(String),
    Directory,
    Link(&'static str),
}

/// The description of an engine whose data is in `root`, and which has this part in a swarm.
pub(crate) fn described(root: &str, swarm: &Value) -> Act {
    let info = json!({
        "ID": "ID", "Name": "one", "DockerRootDir": root, "ServerVersion": "20.10.24",
        "OperatingSystem": "Docker Desktop", "Swarm": swarm,
    });
    Act::Answer(200, info.to_string())
}

/// A manager's part in a swarm; the error is empty while the swarm has a leader.
pub(crate) fn manager(error: &str) -> Value {
    json!({"LocalNodeState": "active", "ControlAvailable": true, "Error": error})
}

/// A worker's part in a swarm.
pub(crate) fn worker() -> Value {
    json!({"LocalNodeState": "active", "ControlAvailable": false, "Error": ""})
}

/// The answer to a look at a guest on this network, if there is one. The engine gives no address to a container that asks for none.
pub(crate) fn guest_on(network: &str, request: &str) -> Option<Act> {
    let id = request.strip_prefix("GET /containers/00").filter(|_| !network.is_empty())?;
    let container = json!({
        "Id": format!("00{}", &id[..62]), "Name": "/n", "Config": {"Labels": {}},
        "State": {"Status": "running", "FinishedAt": "0001-01-01T00:00:00Z"},
        "NetworkSettings": {"Networks": {"n": {"NetworkID": network, "IPAddress": "10.56.132.130"}}},
    });
    Some(Act::Answer(200, container.to_string()))
}

/// The engine. It ends with the process; its socket is removed when this is dropped.
pub(crate) struct Scripted {
    dir: tempfile::TempDir,
    state: Arc<Mutex<State>>,
}

struct State {
    name: String,
    version: String,
    networks: BTreeMap<String, Value>,
    containers: BTreeMap<String, Value>,
    requests: Vec<String>,
    script: Script,
    ids: u32,
    is_podman: bool,
    files: BTreeMap<String, Entry>,
    commands: Commands,
    /// The commands that were run, by their ids.
    ran: BTreeMap<String, (i32, String)>,
    /// The connections whose other end has gone while an answer was awaited.
    hung_up: usize,
}

impl Scripted {
    pub(crate) fn new(script: impl Fn(&str, &str) -> Act + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let state = Arc::new(Mutex::new(State {
            name: "one".into(),
            version: "1.41".into(),
            networks: BTreeMap::new(),
            containers: BTreeMap::new(),
            requests: Vec::new(),
            script: Box::new(script),
            ids: 0,
            is_podman: false,
            files: BTreeMap::new(),
            commands: Box::new(|_| (0, String::new())),
            ran: BTreeMap::new(),
            hung_up: 0,
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for connection in listener.incoming() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(&connection.unwrap(), &state));
            }
        });
        Self { dir, state }
    }

    /// The engine, without a reaper: a shell has no way to it.
    pub(crate) fn engine(&self) -> Engine {
        let address = format!("unix://{}", self.dir.path().join("s").display());
        let engine = Engine::docker().with_host(address).without_reaper();
        engine.with_state_dir(self.dir.path().join("leases"))
    }

    /// A podman whose program leads to this engine: each service of it is a line in the file `starts`, the word that
    /// the file `word` has makes it fail, and it ends when there is a file `idle`.
    pub(crate) fn podman(&self) -> Engine {
        self.state.lock().unwrap().is_podman = true;
        let dir = self.dir.path().display();
        let script = format!(
            r#"#!/bin/sh
if [ "$1 $2 $3" != "system service --time" ]; then exit 9; fi
if [ -e {dir}/word ]; then cat {dir}/word >&2; exit 125; fi
echo $$ >>{dir}/starts
socket=${{5#unix://}}
trap 'rm "$socket"; exit' TERM
ln -s {dir}/s "$socket"
while [ -e {dir}/s ] && ! [ -e {dir}/idle ]; do sleep 0.05; done
rm "$socket"
"#
        );
        let program = self.path("podman");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let engine = Engine::podman().with_program(program).without_reaper();
        engine.with_state_dir(self.path("leases"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Becomes another engine, with nothing on it.
    pub(crate) fn rename(&self, name: &str) {
        self.state.lock().unwrap().name = name.into();
    }

    pub(crate) fn set_version(&self, version: &str) {
        self.state.lock().unwrap().version = version.into();
    }

    /// Replaces the script.
    pub(crate) fn script(&self, script: impl Fn(&str, &str) -> Act + Send + 'static) {
        self.state.lock().unwrap().script = Box::new(script);
    }

    /// Puts a file into each container. Its path is in lower case.
    pub(crate) fn put(&self, path: &str, entry: Entry) {
        self.state.lock().unwrap().files.insert(path.into(), entry);
    }

    /// Replaces the commands in the containers.
    pub(crate) fn commands(&self, commands: impl Fn(&[&str]) -> (i32, String) + Send + 'static) {
        self.state.lock().unwrap().commands = Box::new(commands);
    }

    /// The networks and containers that there are.
    pub(crate) fn resources(&self) -> usize {
        let state = self.state.lock().unwrap();
        state.networks.len() + state.containers.len()
    }

    /// The connections whose other end did not wait for an answer that never came.
    pub(crate) fn hung_up(&self) -> usize {
        self.state.lock().unwrap().hung_up
    }

    /// The requests so far, such as `POST /networks/create`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }
}

fn serve(connection: &UnixStream, shared: &Mutex<State>) {
    let state = shared;
    let mut reader = BufReader::new(connection);
    let mut writer = connection;
    let name = state.lock().unwrap().name.clone();
    loop {
        let Some((request, body)) = read_request(&mut reader) else { return };
        let mut locked = state.lock().unwrap();
        locked.requests.push(request.clone());
        let mut act = (locked.script)(&request, &body);
        if let Act::ObeyAfter(gate) = &act {
            drop(locked);
            for _ in 0..12_000 {
                if gate.load(Ordering::SeqCst) {
                    break;
                }
                thread::sleep(Duration::from_millis(5));
            }
            act = Act::Obey;
            locked = state.lock().unwrap();
        }
        let mut state = locked;
        let (status, text) = match &act {
            Act::Hang | Act::Bytes(_) | Act::Begin(_) | Act::Answer(..) => (0, String::new()),
            _ => state.obey(&name, &request, &body),
        };
        let version = state.version.clone();
        drop(state);
        let is_head = request.starts_with("HEAD ");
        let whole = |status: u16, text: &str| {
            let text = if is_head { "" } else { text };
            format!(
                "HTTP/1.1 {status} X\r\nApi-Version: {version}\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            )
        };
        let answer = match act {
            Act::Obey | Act::ObeyAfter(_) => whole(status, &text),
            Act::Answer(status, text) | Act::ObeyAndAnswer(status, text) => whole(status, &text),
            Act::ObeyAndCut => return,
            Act::ObeyHalf => {
                let whole = whole(status, &text);
                let _gone = writer.write_all(&whole.as_bytes()[..whole.len() - 3]);
                return;
            }
            Act::Hang => {
                connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                if reader.read(&mut [0]).is_ok_and(|length| length == 0) {
                    shared.lock().unwrap().hung_up += 1;
                }
                return;
            }
            Act::Begin(text) => {
                let begun = format!("HTTP/1.1 200 X\r\nApi-Version: {version}\r\n\r\n{text}");
                let _gone = writer.write_all(begun.as_bytes());
                thread::sleep(Duration::from_secs(60));
                return;
            }
            Act::Bytes(bytes) => {
                let _gone = writer.write_all(bytes.as_bytes());
                return;
            }
        };
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A request without the version in its path, and its body.
fn read_request(reader: &mut BufReader<&UnixStream>) -> Option<(String, String)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_lowercase()),
        }
    }
    let length = lines.iter().find_map(|it| it.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let mut words = lines[0].split(' ');
    let (method, path) = (words.next()?.to_uppercase(), decoded(words.next()?));
    let path = path
        .strip_prefix("/v1.")
        .and_then(|it| it.split_once('/'))
        .map_or(path.clone(), |it| format!("/{}", it.1));
    let path = path.strip_prefix("/v4.0.0").unwrap_or(&path);
    Some((format!("{method} {path}"), String::from_utf8(body).unwrap()))
}

/// A path without percent signs.
fn decoded(path: &str) -> String {
    let mut parts = path.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |decoded, part| {
        let byte = u8::from_str_radix(&part[..2], 16).unwrap();
        decoded + &char::from(byte).to_string() + &part[2..]
    })
}

impl State {
    /// Answers as Docker does.
    fn obey(&mut self, name: &str, request: &str, body: &str) -> (u16, String) {
        let (method, path) = request.split_once(' ').unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let words: Vec<_> = path.split('/').skip(1).collect();
        // Podman's own requests.
        let words = words.strip_prefix(&["libpod"]).unwrap_or(&words);
        let license = if self.is_podman { "Apache-2.0" } else { "Community Engine" };
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        if let Some(answer) = self.look_inside(method, words, query, &body) {
            return answer;
        }
        // Another engine has nothing.
        let mut nothing = (BTreeMap::new(), BTreeMap::new());
        let (networks, containers) = match name {
            "one" => (&mut self.networks, &mut self.containers),
            _ => (&mut nothing.0, &mut nothing.1),
        };
        let json = |status: u16, value: Value| (status, value.to_string());
        match (method, words) {
            ("GET", ["_ping"]) => (200, "OK".into()),
            ("GET", ["info"]) => json(
                200,
                json!({
                    "ID": "ID", "Name": name, "DockerRootDir": "/", "ServerVersion": "20.10.24",
                    "OperatingSystem": "Docker Desktop", "ProductLicense": license,
                    "SystemTime": "2026-01-02T03:04:05.000000678Z",
                }),
            ),
            ("GET", ["version"]) => json(200, json!({"ApiVersion": "1.41"})),
            ("POST", ["networks", "create"]) => {
                self.ids += 1;
                let mut network = body;
                let is_of_swarm = network["Driver"] == "overlay";
                let digits = if is_of_swarm { 25 } else { 64 };
                let id = format!("{:0digits$x}", self.ids);
                network["Scope"] = if is_of_swarm { "swarm" } else { "local" }.into();
                // Podman has names of its own for everything.
                for (name, podmans) in [("Name", "name"), ("Labels", "labels")] {
                    let value = [&network[name], &network[podmans]].map(Value::clone);
                    let value = value.into_iter().find(|it| !it.is_null());
                    (network[name], network[podmans]) = (value.clone().into(), value.into());
                }
                network["Created"] = "2026-01-02T05:04:05.5+02:00".into();
                (network["Id"], network["id"]) = (id.clone().into(), id.clone().into());
                networks.insert(id.clone(), network);
                json(201, json!({"Id": id, "id": id}))
            }
            ("POST", ["containers", "create"]) => {
                self.ids += 1;
                let id = format!("{:064x}", self.ids);
                let own = body["Networks"].as_object();
                // One in the network namespace of another container has none of its own.
                let none = (String::new(), json!({}));
                let (network, endpoint) = own
                    .or(body["NetworkingConfig"]["EndpointsConfig"].as_object())
                    .and_then(|all| all.iter().next())
                    .unwrap_or((&none.0, &none.1));
                let address = match own {
                    Some(_) => &endpoint["static_ips"][0],
                    None => &endpoint["IPAMConfig"]["IPv4Address"],
                };
                let name = query.strip_prefix("name=").or(body["name"].as_str()).unwrap();
                let labels = if own.is_some() { &body["labels"] } else { &body["Labels"] };
                let container = json!({
                    "Id": id,
                    "Name": name,
                    "Image": format!("sha256:{:064x}", 1),
                    "Labels": labels,
                    "Created": 1_767_323_046,
                    "Config": {"Labels": labels, "Env": body["Env"]},
                    "State": {"Status": "running", "Running": true, "FinishedAt": "0001-01-01T00:00:00Z"},
                    "NetworkSettings": {"Networks": {"n": {"NetworkID": network, "IPAddress": address}}},
                });
                containers.insert(id.clone(), container);
                json(201, json!({"Id": id}))
            }
            ("POST", ["containers", _, _]) => (204, String::new()),
            ("POST", ["networks", _, "disconnect"]) | ("PUT", ["containers", _, "archive"]) => {
                (200, String::new())
            }
            ("GET", ["networks"] | ["networks", "json"]) => json(200, listed(networks, query)),
            ("GET", ["containers", "json"]) => json(200, listed(containers, query)),
            ("GET", ["networks", key] | ["networks", key, "json"]) => {
                found(networks, key, "network KEY not found")
            }
            ("GET", ["containers", key, "json"]) => {
                found(containers, key, "No such container: KEY")
            }
            ("GET", ["images", _, "json"]) => json(200, json!({"RepoDigests": ["x@sha256:1"]})),
            ("DELETE", ["networks", key]) => match networks.remove(*key) {
                Some(_) => (204, String::new()),
                None => json(404, json!({"message": format!("network {key} not found")})),
            },
            ("DELETE", ["containers", key]) => match containers.remove(*key) {
                Some(_) => (204, String::new()),
                None => json(404, json!({"message": format!("No such container: {key}")})),
            },
            _ => json(404, json!({"message": "page not found"})),
        }
    }

    /// The answers about what is in a container.
    fn look_inside(
        &mut self,
        method: &str,
        words: &[&str],
        query: &str,
        body: &Value,
    ) -> Option<(u16, String)> {
        let json = |status: u16, value: Value| (status, value.to_string());
        Some(match (method, words) {
            ("POST", ["containers", _, "exec"]) => {
                self.ids += 1;
                let id = format!("{:064x}", self.ids);
                let words: Vec<String> = serde_json::from_value(body["Cmd"].clone()).unwrap();
                let words: Vec<_> = words.iter().map(String::as_str).collect();
                self.ran.insert(id.clone(), (self.commands)(&words));
                json(201, json!({"Id": id}))
            }
            ("GET", ["containers", _, "healthcheck"]) => json(200, json!({"Status": "starting"})),
            ("POST", ["exec", id, "start"]) => (200, framed(&self.ran[*id].1)),
            ("GET", ["exec", id, "json"]) => {
                json(200, json!({"Running": false, "ExitCode": self.ran[*id].0, "Pid": 7}))
            }
            ("GET" | "HEAD", ["containers", key, "archive"]) => {
                let path = query.strip_prefix("path=").unwrap();
                let mut entry = self.files.get(path);
                // Podman follows links itself.
                while let (Some(Entry::Link(target)), true) = (entry, self.is_podman) {
                    entry = self.files.get(*target);
                }
                let missing = format!("Could not find the file {path} in container {key}");
                match entry {
                    Some(entry) => (200, archive(entry)),
                    None => json(404, json!({"message": missing})),
                }
            }
            _ => return None,
        })
    }
}

/// An archive of a file. It is text if the file is.
fn archive(entry: &Entry) -> String {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    let (kind, contents) = match entry {
        Entry::File(contents) => (tar::EntryType::Regular, contents.as_str()),
        Entry::Directory => (tar::EntryType::Directory, ""),
        Entry::Link(target) => {
            header.set_link_name(target).unwrap();
            (tar::EntryType::Symlink, "")
        }
    };
    header.set_entry_type(kind);
    header.set_size(contents.len() as u64);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "name", contents.as_bytes()).unwrap();
    String::from_utf8(archive.into_inner().unwrap()).unwrap()
}

/// The frames of a standard output. Their lengths are such that the bytes of these are text, too.
fn framed(mut text: &str) -> String {
    let mut framed = String::new();
    while !text.is_empty() {
        let length = [1 << 16, 100, 1].into_iter().find(|it| *it <= text.len()).unwrap();
        let (data, rest) = text.split_at(length);
        let header = [&[1, 0, 0, 0], &u32::try_from(length).unwrap().to_be_bytes()[..]].concat();
        framed += &(String::from_utf8(header).unwrap() + data);
        text = rest;
    }
    framed
}

fn found(all: &BTreeMap<String, Value>, key: &str, message: &str) -> (u16, String) {
    match all.iter().find(|(id, it)| *id == key || it["Name"] == key) {
        Some((_, found)) => (200, found.to_string()),
        None => (404, json!({"message": message.replace("KEY", key)}).to_string()),
    }
}

/// The resources with the id or the labels of the filters.
fn listed(all: &BTreeMap<String, Value>, query: &str) -> Value {
    let filters = query.split_once("filters=").map_or("{}", |(_, filters)| filters);
    let filters: Value = serde_json::from_str(filters).unwrap();
    let texts = |key: &str| -> Vec<String> {
        serde_json::from_value(filters[key].clone()).unwrap_or_default()
    };
    let fits = |(id, it): &(&String, &Value)| {
        let has = |label: &String| match label.split_once('=') {
            Some((key, value)) => it["Labels"][key] == value,
            None => it["Labels"][label].is_string(),
        };
        texts("id").iter().all(|wanted| wanted == *id) && texts("label").iter().all(has)
    };
    // A list has the word for a container's state alone.
    let item = |it: &Value| {
        let mut item = it.clone();
        if it["State"].is_object() {
            item["State"] = it["State"]["Status"].clone();
        }
        item
    };
    all.iter().filter(fits).map(|(_, it)| item(it)).collect()
}
