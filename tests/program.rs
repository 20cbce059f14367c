//! The program for operators, against a fake `docker`, an engine that does as a script says, and a real engine.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sidecar_bundle::{AddressPool, BundleSpec, Naming, NetworkPlanned, Slug};

use crate::engine::{await_print, backend, is_api, sh, world};
use crate::fake::{Fake, plan};
use crate::owner::Owner;
use crate::scripted::{Act, Scripted};
use crate::surroundings::wait_for;
use crate::texts::refuse;

#[path = "support/engine.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod engine;
#[path = "support/fake.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod fake;
#[path = "support/owner.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod owner;
#[path = "support/scripted.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod scripted;
#[path = "support/surroundings.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod surroundings;
#[path = "support/texts.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod texts;

const README: &str = include_str!("../README.md");

/// The row of the README's tables of JSON for this output or field.
#[track_caller]
fn row(of: &str) -> &'static str {
    let tables = README.split_once("| output | JSON |").unwrap().1;
    let rows = tables.split("| exit code |").next().unwrap().lines();
    let cells = rows.filter_map(|row| row.strip_prefix("| ")?.split_once(" | "));
    cells.into_iter().find(|(name, _)| name.trim_matches('`') == of).unwrap().1
}

/// Fails unless the README lists just the fields that the object has.
#[track_caller]
fn assert_documented(of: &str, object: &Value) {
    let fields: BTreeSet<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    let documented: BTreeSet<_> = row(of).split('`').skip(1).step_by(2).collect();
    assert_eq!(documented, fields, "{of}: {object}");
}

/// A run of the program that has ended.
#[derive(Debug)]
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

fn program(arguments: &[impl AsRef<OsStr>]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sidecar-bundle"));
    program.args(arguments).stdin(Stdio::null());
    program
}

#[track_caller]
fn ran(mut program: Command) -> Ran {
    let output = program.output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
    Ran { code: output.status.code().unwrap(), stdout, stderr }
}

/// A directory of leases, which is there as after a launch.
fn leases(path: PathBuf) -> PathBuf {
    fs::create_dir_all(&path).unwrap();
    path
}

impl Fake {
    /// The program's arguments for this engine, and further ones.
    fn arguments(&self, more: &[&str]) -> Vec<OsString> {
        let mut arguments = vec!["--engine=docker-cli".into(), "--program".into()];
        arguments.push(self.path("docker").into());
        arguments.extend(["--state-dir".into(), leases(self.path("leases")).into()]);
        arguments.extend(more.iter().map(Into::into));
        arguments
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ran {
        ran(program(&self.arguments(arguments)))
    }

    #[track_caller]
    fn orphan(&self) {
        let mut owner = self.owner(&["reaper=false"]);
        owner.expect("launch demo", "up");
        owner.kill();
    }
}

impl Scripted {
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ran {
        let address = format!("--host=unix://{}", self.path("s").display());
        let state = format!("--state-dir={}", leases(self.path("leases")).display());
        ran(program(&[&["--engine=docker", &address, &state][..], arguments].concat()))
    }
}

impl Ran {
    /// Its output, where it has done what it was told.
    #[track_caller]
    fn done(self) -> String {
        assert_eq!((self.code, &*self.stderr), (0, ""), "{self:?}");
        self.stdout
    }

    /// Its output in JSON, where it has done what it was told.
    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.done()).unwrap()
    }

    /// Its one line of an error, where it has failed with this code.
    #[track_caller]
    fn failed(self, code: i32) -> String {
        assert_eq!((self.code, &*self.stdout), (code, ""), "{self:?}");
        let lines: Vec<_> = self.stderr.lines().collect();
        let [line] = lines[..] else { panic!("{self:?}") };
        line.to_owned()
    }
}

#[test]
fn a_plan_is_printed_and_no_engine_is_asked() {
    let run = |arguments: &[&str]| {
        let mut program = program(arguments);
        program.env_clear();
        ran(program)
    };
    assert_eq!(
        run(&["plan", "demo"]).done(),
        "\
slug                 demo
prefix               claude-bottle
network              claude-bottle-bundle-demo
container            claude-bottle-sidecars-demo
image                claude-bottle-sidecars:latest
daemons variable     CLAUDE_BOTTLE_SIDECAR_DAEMONS
derived bridge name  sbn4fgj3qt2ggwp
attempt              0
subnet               10.56.132.0/24
gateway              10.56.132.1
address              10.56.132.2
allowlist            10.56.132.2/32
loopback             127.27.92.187
"
    );
    let pool: AddressPool = "10.0.0.0/8:/28".parse().unwrap();
    let slug = Slug::new("demo").unwrap();
    let addressing = pool.addressing(&slug, 7).unwrap();
    let plan = NetworkPlanned::new(slug).with_addressing(addressing).with_ipv6();
    let plan = plan.with_naming(Naming::new("acme").unwrap());
    let options = ["demo", "--prefix=acme", "--attempt=7", "--pool=10.0.0.0/8:/28", "--ipv6"];
    let all = [&["plan"], &options[..]].concat();
    assert!(run(&all).done().contains("  fd55:b21e:d138:"));
    let json = run(&[&["--json"], &all[..]].concat()).json();
    assert_eq!(json, serde_json::to_value(&plan).unwrap());
    assert_eq!(json["allowlist"], plan.allowlist().to_string());
    assert_documented("plan", &json);
    assert_documented("addressing", &json["addressing"]);
    assert_documented("ipv6", &json["ipv6"]);
}

#[test]
fn the_readme_names_each_value_of_a_json_field() {
    let sections = include_str!("vectors/json.txt").split("\n# ");
    for section in sections {
        let (name, lines) = section.split_once('\n').unwrap();
        let field = match name {
            "State" => "state",
            "BundleOwner" => "owner",
            "Swept" => "outcome",
            _ => continue,
        };
        for line in lines.lines().filter(|line| !line.is_empty()) {
            let value: Value = serde_json::from_str(line).unwrap();
            let value = value.get("outcome").unwrap_or(&value);
            let key = || value.as_object()?.keys().next().map(String::as_str);
            let word = value.as_str().or_else(key).unwrap();
            assert!(row(field).contains(&format!("\"{word}\"")), "{field}: {value}");
        }
    }
}

#[test]
fn wrong_arguments_have_a_code_of_their_own_and_touch_nothing() {
    let fake = Fake::new();
    for arguments in [
        &[][..],
        &["plan"],
        &["plan", "Not A Slug"],
        &["plan", "-x"],
        &["plan", "--", "-x"],
        &["plan", "demo", "--attempt=4096"],
        &["plan", "demo", "--pool=10.0.0.0/8"],
        &["remove", "demo", "--prefix=A"],
        &["remove", "demo", "demo"],
        &["remove", "demo", "--dry-run"],
        &["logs", "demo", "--tail=-1"],
        &["list", "--engine=lxc"],
        &["sweep", "--state-dir=/no/such/directory"],
        &["list", "--engine=detect"],
        &["--host=unix:///a", "list", "--context=b"],
    ] {
        let wrong = fake.run(arguments);
        assert_eq!((wrong.code, &*wrong.stdout), (2, ""), "{arguments:?}: {wrong:?}");
        assert!(wrong.stderr.starts_with("error: ") || arguments.is_empty(), "{wrong:?}");
    }
    let not_text = [OsStr::new("remove"), OsStr::from_bytes(b"\xff")];
    assert_eq!(ran(program(&not_text)).code, 2);
    assert_eq!((fake.calls().len(), fake.infos()), (0, 0));
    let help = ran(program(&["--help"])).done();
    let codes = help.split_once("\nExit codes:\n").unwrap().1;
    let in_readme = |line: &str| {
        let (code, reason) = line.trim().split_once("  ").unwrap();
        let row = format!("| {code} | {reason} |");
        README.lines().any(|it| it.replace('`', "") == row)
    };
    assert!(codes.lines().count() == 6 && codes.lines().all(in_readme), "{codes}");
    assert_eq!(
        ran(program(&["--version"])).done(),
        concat!("sidecar-bundle ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn a_list_shows_every_bundle_with_its_owner() {
    let fake = Fake::new();
    let heading = "PREFIX  SLUG  STATE  ADDRESS  OWNER  AGE  GUESTS\n";
    assert_eq!(fake.run(&["list"]).done(), heading);
    assert_eq!(fs::read_dir(fake.path("leases")).unwrap().count(), 0, "a list writes nothing");
    let named = |slug: &str| NetworkPlanned::new(Slug::new(slug).unwrap());
    let living = named("living").create_network(&fake.engine()).unwrap();
    named("kept").launch(&fake.engine(), BundleSpec::new()).unwrap().keep().unwrap();
    let elsewhere = fake.engine().with_state_dir(fake.path("others"));
    let other = named("kept").with_naming(Naming::new("acme").unwrap());
    let other = other.next_attempt().unwrap().launch(&elsewhere, BundleSpec::new()).unwrap();
    fake.orphan();

    let list = fake.run(&["list"]).done();
    let mut lines = list.lines();
    let columns = lines.next().unwrap();
    let me = std::process::id();
    for (line, words) in lines.by_ref().zip([
        &format!("acme kept running {} elsewhere", other.ip())[..],
        "claude-bottle demo running 10.56.132.2 dead",
        &format!("claude-bottle kept running {} kept", named("kept").ip()),
        &format!("claude-bottle living - {} alive ({me})", living.plan().ip()),
    ]) {
        let cells: Vec<_> = line.split_whitespace().collect();
        let [start @ .., age, "-"] = &cells[..] else { panic!("{line}") };
        assert_eq!(start.join(" "), words);
        assert!(age.ends_with('d'), "{line}");
        let owner = words.split(' ').nth(4).unwrap();
        assert_eq!(line.rfind(owner), columns.find("OWNER"), "{list}");
    }
    assert_eq!(lines.next(), None);
    let json = fake.run(&["list", "--json"]).json();
    assert_eq!(
        json,
        serde_json::to_value(sidecar_bundle::bundles(&fake.engine()).unwrap()).unwrap()
    );
    assert_documented("list", &json[0]);
    other.close().unwrap();
    living.close().unwrap();
}

#[test]
fn a_sweep_removes_orphans_and_says_what_it_left() {
    let fake = Fake::new();
    assert_eq!(fake.run(&["sweep"]).done(), "PREFIX  SLUG  SINCE  OUTCOME\n");
    fake.orphan();
    let ids: Vec<_> = fake.resources().into_iter().map(|(_, id)| id[..12].to_owned()).collect();
    let removed = format!("removed container {}, network {}\n", ids[1], ids[0]);
    let dry = fake.run(&["sweep", "--dry-run"]).done();
    assert!(dry.ends_with(&removed.replace("removed", "  would remove")), "{dry}");
    assert_eq!(fake.resources().len(), 2);

    fake.on("network-rm", &refuse(1, "Error response from daemon: the disk is \u{1b}[31mtired"));
    let failed = fake.run(&["sweep"]);
    assert_eq!((failed.code, failed.stdout.lines().count(), &*failed.stderr), (5, 2, ""));
    let line = failed.stdout.lines().last().unwrap();
    assert!(line.contains("  failed: network of slug demo may be left"), "{line}");
    assert!(line.ends_with(r"the disk is \u{1b}[31mtired"), "{line}");
    let failed = fake.run(&["sweep", "--json"]);
    assert_eq!((failed.code, &*failed.stderr), (5, ""));
    let json: Value = serde_json::from_str(&failed.stdout).unwrap();
    assert!(json[0]["outcome"]["failed"].is_string(), "{json}");

    fake.obey("network-rm");
    let json = fake.run(&["sweep", "--json"]).json();
    assert_eq!(json[0]["outcome"]["removed"]["networks"].as_array().unwrap().len(), 1, "{json}");
    assert_documented("sweep", &json[0]);
    assert_documented("remove", &json[0]["outcome"]["removed"]);
    fake.assert_nothing_left();
}

#[test]
fn a_slug_is_removed_unless_its_owner_lives() {
    let fake = Fake::new();
    let none = "error: there is no bundle of slug demo and prefix claude-bottle";
    assert_eq!(fake.run(&["remove", "demo"]).failed(4), none);
    let bundle = fake.up();
    let taken = fake.run(&["remove", "demo"]).failed(3);
    let me = format!("error: slug demo is taken by pid {} since ", std::process::id());
    assert!(taken.starts_with(&me), "{taken}");
    let taken: Value =
        serde_json::from_str(&fake.run(&["remove", "demo", "--json"]).failed(3)).unwrap();
    assert!(taken["error"].as_str().unwrap().starts_with("slug demo is taken"), "{taken}");
    assert_eq!(taken["exit_code"], 3);
    assert_documented("error", &taken);
    bundle.keep().unwrap();

    assert_eq!(fake.run(&["remove", "demo", "--prefix=acme"]).code, 4);
    fake.on("network-rm", &refuse(1, "Error response from daemon: the disk is tired"));
    let left = fake.run(&["remove", "demo"]).failed(5);
    assert!(left.starts_with("error: network of slug demo may be left; "), "{left}");
    assert!(left.ends_with("the disk is tired"), "{left}");
    // The reaper of that program tries again.
    fake.obey("network-rm");
    wait_for("the reaper", || fake.reapers() == 0);
    fake.assert_nothing_left();

    fake.up().keep().unwrap();
    let removed = fake.run(&["remove", "demo"]).done();
    assert!(removed.starts_with("removed container "), "{removed}");
    fake.assert_nothing_left();
    fake.up().keep().unwrap();
    let json = fake.run(&["--json", "remove", "--", "demo"]).json();
    assert_eq!(json["containers"].as_array().unwrap().len(), 1, "{json}");
    assert_documented("remove", &json);
    assert_eq!(fake.run(&["remove", "demo"]).failed(4), none);
}

#[test]
fn an_engine_or_a_directory_that_cannot_be_used_is_an_error() {
    let fake = Fake::new();
    fake.on("info", &refuse(1, "Cannot connect to the Docker daemon.\nIs it running?"));
    for command in [&["list"][..], &["sweep"], &["logs", "demo"], &["remove", "demo"]] {
        let error = fake.run(command).failed(1);
        assert!(
            error.starts_with("error: the engine could not be asked for its identity: "),
            "{error}"
        );
    }
    fake.obey("info");
    fs::set_permissions(fake.path("leases"), std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .unwrap();
    for command in [&["list"][..], &["sweep"], &["remove", "demo"]] {
        let error = fake.run(command).failed(1);
        assert!(error.contains("others can write to it"), "{error}");
    }
    // Without a program and an address, no engine is detected.
    let mut detect = program(&["list"]);
    detect
        .env_clear()
        .env("PATH", fake.path("on"))
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let error = ran(detect).failed(1);
    assert!(error.starts_with("error: no engine answers: "), "{error}");
}

#[test]
fn a_note_names_the_engine_that_was_not_named() {
    let log = frame('\u{1}', "one\n");
    let scripted = Scripted::new(move |request, _| match request {
        _ if request.contains("/logs") => Act::Answer(200, log.clone()),
        _ => Act::Obey,
    });
    let socket = format!("unix://{}", scripted.path("s").display());
    let run = |docker: &str, arguments: &[&str]| {
        let mut program = program(arguments);
        program.env_clear().env("PATH", scripted.path("")).env("DOCKER_HOST", docker);
        program.env("CONTAINER_HOST", &socket).env("XDG_STATE_HOME", scripted.path("state"));
        ran(program)
    };
    let heading = "PREFIX  SLUG  STATE  ADDRESS  OWNER  AGE  GUESTS\n";
    let asked = "no engine was named, so Docker 20.10.24 was asked";
    let list = run(&socket, &["list"]);
    assert_eq!((list.code, &*list.stdout), (0, heading), "{list:?}");
    assert_eq!(list.stderr, format!("note: {asked}\n"));
    let note = json!({"note": asked});
    let swept = run(&socket, &["sweep", "--json"]);
    assert_eq!((swept.code, &*swept.stdout, swept.stderr), (0, "[]\n", format!("{note}\n")));
    assert_documented("note", &note);
    for command in ["remove", "logs"] {
        let failed = run(&socket, &[command, "demo", "--json"]);
        let lines: Vec<Value> =
            failed.stderr.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        assert_eq!((failed.code, &*failed.stdout, lines.len()), (4, "", 2), "{failed:?}");
        assert_eq!((&lines[0], &lines[1]["exit_code"]), (&note, &json!(4)));
    }
    // Where the container has the stream, nothing is added to it.
    let bundle = plan().launch(&scripted.engine(), BundleSpec::new()).unwrap();
    assert_eq!(run(&socket, &["logs", "demo"]).done(), "one\n");
    bundle.close().unwrap();

    let _is_podman = scripted.podman();
    let list = run("unix:///nowhere/docker.sock", &["list"]);
    assert_eq!((list.code, &*list.stdout), (0, heading), "{list:?}");
    let [line] = list.stderr.lines().collect::<Vec<_>>()[..] else { panic!("{list:?}") };
    let asked = "note: no engine was named, so Podman 20.10.24 was asked; docker does not answer: ";
    assert!(line.starts_with(asked), "{line}");
    assert!(line.contains("/nowhere/docker.sock"), "{line}");
}

/// A frame of a container's log: 1 is standard output, 2 standard error.
fn frame(stream: char, text: &str) -> String {
    format!("{stream}\0\0\0\0\0\0{}{text}", char::from(u8::try_from(text.len()).unwrap()))
}

#[test]
fn a_log_is_printed_to_the_streams_of_the_container() {
    let log =
        frame('\u{1}', "one\n") + &frame('\u{2}', "two \u{1b}[0m\n") + &frame('\u{1}', "three");
    let scripted = Scripted::new(move |request, _| match request {
        _ if request.contains("/logs") => Act::Answer(200, log.clone()),
        _ => Act::Obey,
    });
    let none = "error: there is no bundle of slug demo and prefix claude-bottle";
    assert_eq!(scripted.run(&["logs", "demo"]).failed(4), none);
    // Another directory has the lease of its owner.
    let engine = scripted.engine().with_state_dir(scripted.path("others"));
    let network = plan().create_network(&engine).unwrap();
    let error = scripted.run(&["logs", "demo"]).failed(4);
    assert_eq!(error, "error: container claude-bottle-sidecars-demo does not exist any more");
    let bundle = network.start(BundleSpec::new()).unwrap();
    let printed = scripted.run(&["logs", "demo"]);
    assert_eq!((printed.code, &*printed.stdout), (0, "one\nthree\n"), "{printed:?}");
    assert_eq!(printed.stderr, "two \u{1b}[0m\n");
    let json = scripted.run(&["--json", "logs", "demo", "--tail", "3"]).done();
    let lines: Vec<Value> = json.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(lines[1], json!({"stream": "stderr", "text": "two \u{1b}[0m"}));
    assert_documented("logs", &lines[1]);
    assert_eq!(lines.len(), 3);
    assert!(
        scripted.requests().iter().any(|it| it.contains("tail=3")),
        "{:?}",
        scripted.requests()
    );
    assert_eq!(scripted.run(&["logs", "demo", "--prefix=acme"]).code, 4);
    bundle.close().unwrap();

    let fake = Fake::new();
    let bundle = fake.up();
    let error = fake.run(&["logs", "demo"]).failed(1);
    assert!(error.starts_with("error: a log needs Engine::docker(), "), "{error}");
    bundle.close().unwrap();
}

#[test]
fn a_name_of_somebody_elses_steers_no_terminal() {
    let labels = json!({
        "sidecar-bundle.prefix": "p",
        "sidecar-bundle.slug": "s",
        "sidecar-bundle.guest": "\u{1b}[2J\u{7}\u{9b}m\u{202e}vm\nfake row",
    });
    let guest = json!([{"Id": "a".repeat(64), "Labels": labels, "State": "running"}]).to_string();
    let scripted = Scripted::new(move |request, _| match request {
        _ if request.starts_with("GET /containers/json") => Act::Answer(200, guest.clone()),
        _ => Act::Obey,
    });
    let list = scripted.run(&["list"]).done();
    assert_eq!(list.lines().count(), 2, "{list}");
    let row = list.lines().last().unwrap();
    assert!(row.ends_with(r"  \u{1b}[2J\u{7}\u{9b}m\u{202e}vm\nfake row"), "{row}");
}

#[test]
fn an_output_that_nobody_reads_is_no_error_and_one_that_is_lost_is() {
    let closed = || std::io::pipe().unwrap().1;
    let mut unread = program(&["plan", "demo"]);
    unread.stdout(closed());
    let unread = unread.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!((unread.status.code(), &*unread.stderr), (Some(0), &b""[..]));
    let mut full = program(&["plan", "demo"]);
    full.stdout(fs::File::options().write(true).open("/dev/full").unwrap());
    let full = full.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(full.status.code(), Some(1));
    let says = String::from_utf8(full.stderr).unwrap();
    assert!(says.starts_with("error: the output cannot be written: No space left"), "{says}");
    let fake = Fake::new();
    let mut unread = program(&fake.arguments(&["remove", "demo"]));
    assert_eq!(unread.stdout(closed()).stderr(closed()).status().unwrap().code(), Some(4));
}

#[test]
fn an_operator_reaches_the_bundles_of_a_real_engine() {
    let Some(world) = world("operator") else { return };
    let state = format!("--state-dir={}", world.state.path().display());
    let run =
        |arguments: &[&str]| ran(program(&[&["--engine", backend(), &state], arguments].concat()));
    // Other tests have bundles on the engine, too.
    let owner = || {
        let json = run(&["list", "--json"]).json();
        let all = json.as_array().unwrap().clone();
        let ours = all.into_iter().find(|it| it["slug"] == world.slug);
        ours.map_or(Value::Null, |it| it["owner"].clone())
    };
    assert_eq!(owner(), Value::Null);
    let spec = sh("echo out; echo err >&2; exec sleep 600");
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    assert_eq!(owner()["alive"]["pid"], std::process::id());
    for line in ["out", "err"] {
        await_print(&bundle, line);
    }
    let log = run(&["logs", world.slug]);
    if is_api() {
        assert_eq!((log.code, &*log.stdout, &*log.stderr), (0, "out\n", "err\n"));
    } else {
        assert_eq!(log.code, 1);
    }
    run(&["remove", world.slug]).failed(3);
    bundle.keep().unwrap();
    assert_eq!(owner(), "kept");
    run(&["remove", world.slug]).done();
    world.assert_nothing_left();
    run(&["remove", world.slug]).failed(4);
    run(&["logs", world.slug]).failed(4);

    let mut killed = Owner::program(&world.engine_words());
    killed.arg("reaper=false");
    let mut killed = Owner::spawn(killed);
    killed.expect("launch operator", "up");
    killed.kill();
    assert_eq!(owner(), "dead");
    let dry = run(&["sweep", "--dry-run", "--json"]).json();
    assert_eq!(dry[0]["outcome"]["would_remove"]["containers"].as_array().unwrap().len(), 1);
    let swept = run(&["sweep"]).done();
    assert!(swept.contains("  removed container "), "{swept}");
    world.assert_nothing_left();
    // The engine that is found is one that answers.
    let list = ran(program(&["list"]));
    assert_eq!(list.code, 0, "{list:?}");
    assert!(list.stderr.starts_with("note: no engine was named, so "), "{list:?}");
}
