//! Each operation of the API, against an engine that does as it is told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use sidecar_bundle::{
    BundleRunning, BundleSpec, ContainerFile, Engine, Error, FileProblem, NetworkOptions,
    PullPolicy, Ready,
};

use crate::fake::{Fake, plan};
use crate::scripted::{Act, Entry, Scripted};

const LONG: Duration = Duration::from_secs(20);

/// The length of the longest file that is read.
const LONGEST: usize = 1 << 20;

pub(crate) fn scripted() -> Scripted {
    Scripted::new(|_, _| Act::Obey)
}

pub(crate) fn up(engine: &Engine) -> BundleRunning {
    plan().launch(engine, BundleSpec::new()).unwrap()
}

pub(crate) fn refusal(status: u16, message: &str) -> Act {
    Act::Answer(status, json!({"message": message}).to_string())
}

/// From now on, requests with this word in them are answered so.
fn at(engine: &Scripted, word: &'static str, act: Act) {
    engine.script(move |request, _| if request.contains(word) { act.clone() } else { Act::Obey });
}

/// The number of requests with this word in them.
fn count(engine: &Scripted, word: &str) -> usize {
    engine.requests().iter().filter(|it| it.contains(word)).count()
}

#[track_caller]
fn assert_read(bundle: &BundleRunning, path: &str, expected: Result<&str, FileProblem>) {
    let read = match bundle.read_file(path) {
        Ok(contents) => Ok(String::from_utf8(contents).unwrap()),
        Err(Error::File { problem, .. }) => Err(problem),
        Err(error) => panic!("{path}: {error:?}"),
    };
    assert!(
        read.as_deref() == expected.as_ref().map(|it| *it),
        "{path}: {:?}",
        read.map(|it| it.len())
    );
}

fn has_file(bundle: &BundleRunning, path: &str) -> bool {
    match bundle.wait_for(&Ready::file(path), Duration::ZERO) {
        Ok(()) => true,
        Err(Error::NotReady { seen, .. }) if seen == format!("no file {path}") => false,
        Err(error) => panic!("{path}: {error:?}"),
    }
}

/// An engine with files in its containers.
fn with_files() -> Scripted {
    let engine = scripted();
    let file = |text: &str| Entry::File(text.to_owned());
    for (path, entry) in [
        ("/made", Entry::Directory),
        ("/made/ca.pem", file("certificate")),
        ("/made/longest", file(&"x".repeat(LONGEST))),
        ("/made/long", file(&"x".repeat(LONGEST + 1))),
        ("/made/absolute", Entry::Link("/made/ca.pem")),
        ("/made/twice", Entry::Link("/made/absolute")),
        ("/made/astray", Entry::Link("/none")),
    ] {
        engine.put(path, entry);
    }
    engine
}

#[test]
fn a_file_is_read_without_a_command_in_the_container() {
    let engine = with_files();
    engine.put("/made/beside", Entry::Link("ca.pem"));
    engine.put("/below", Entry::Link("made/ca.pem"));
    engine.commands(|words| panic!("{words:?}"));
    for podman in [false, true] {
        let bundle = up(&if podman { engine.podman() } else { engine.engine() });
        let longest = "x".repeat(LONGEST);
        let of_docker = [("/made/beside", Ok("certificate")), ("/below", Ok("certificate"))];
        let of_podman =
            [("/none", Err(FileProblem::Missing)), ("/made/astray", Err(FileProblem::Missing))];
        for (path, expected) in [
            ("/made/ca.pem", Ok("certificate")),
            ("/made/twice", Ok("certificate")),
            ("/made/longest", Ok(&*longest)),
            ("/made/long", Err(FileProblem::TooLong)),
            ("/made", Err(FileProblem::NotAFile)),
        ]
        .into_iter()
        .chain(if podman { of_podman } else { of_docker })
        {
            assert_read(&bundle, path, expected);
        }
        bundle.close().unwrap();
    }
}

#[test]
fn a_link_that_leads_upwards_is_followed_in_the_container() {
    let engine = with_files();
    // Docker takes `..` for the directory of the path, even where that directory is a link.
    engine.put("/made/up", Entry::Link("../ca.pem"));
    engine.put("/made/../ca.pem", Entry::File("another file".into()));
    engine.put("/made/round", Entry::Link("/made/round"));
    engine.commands(|words| match words {
        ["test", _, "/made/up"] => (0, String::new()),
        ["head", .., "/made/up"] => (0, "certificate".into()),
        _ => (1, String::new()),
    });
    let bundle = up(&engine.engine());
    assert_read(&bundle, "/made/up", Ok("certificate"));
    for path in ["/made/astray", "/made/round", "/none"] {
        assert_read(&bundle, path, Err(FileProblem::Missing));
    }
    bundle.close().unwrap();
}

/// Docker before 23 does not see file systems in memory from outside.
#[test]
fn a_file_in_memory_is_read_by_commands_in_the_container() {
    let engine = scripted();
    engine.commands(|words| {
        let length = |path: &str| match path {
            "/tmp/ca.pem" => Some(11),
            "/tmp/longest" => Some(LONGEST),
            "/tmp/endless" => Some(usize::MAX),
            _ => None,
        };
        let is_true = match words {
            ["test", "-f", path] => length(path).is_some(),
            ["test", "-e", path] => *path == "/tmp" || length(path).is_some(),
            ["head", "-c", most, path] => {
                let most = length(path).unwrap().min(most.parse().unwrap());
                return (0, "x".repeat(most));
            }
            _ => panic!("{words:?}"),
        };
        (i32::from(!is_true), String::new())
    });
    let bundle = up(&engine.engine());
    for (path, expected) in [
        ("/tmp/ca.pem", Ok(&*"x".repeat(11))),
        ("/tmp/longest", Ok(&*"x".repeat(LONGEST))),
        ("/tmp/endless", Err(FileProblem::TooLong)),
        ("/tmp", Err(FileProblem::NotAFile)),
        ("/tmp/none", Err(FileProblem::Missing)),
    ] {
        assert_read(&bundle, path, expected);
        assert_eq!(has_file(&bundle, path), expected != Err(FileProblem::Missing), "{path}");
    }
    // An image without these commands.
    engine.commands(|_| (127, String::new()));
    let error = bundle.read_file("/tmp/ca.pem").unwrap_err();
    let Error::Look { source, .. } = &error else { panic!("{error:?}") };
    assert!(
        source.to_string().contains("`test` or `head` of the image ended with 127"),
        "{source}"
    );
    bundle.close().unwrap();
}

#[test]
fn a_file_of_a_container_that_does_not_run_is_read_or_missing() {
    let engine = with_files();
    let bundle = up(&engine.engine());
    at(&engine, "/exec", refusal(409, "Container 2 is not running"));
    assert_read(&bundle, "/made/ca.pem", Ok("certificate"));
    assert_read(&bundle, "/none", Err(FileProblem::Missing));
    // That is not known of a container that is gone, nor where nobody answers.
    at(&engine, "/exec", refusal(404, "No such container: 2"));
    let error = bundle.read_file("/none").unwrap_err();
    assert!(matches!(error, Error::Gone { .. }), "{error:?}");
    at(&engine, "/exec", Act::ObeyAndCut);
    let error = bundle.read_file("/none").unwrap_err();
    assert!(matches!(error, Error::Look { .. }), "{error:?}");
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
    let bundle = up(&engine.podman());
    at(
        &engine,
        "/archive",
        refusal(404, "no container with name or ID \"2\" found: no such container"),
    );
    let error = bundle.read_file("/made/ca.pem").unwrap_err();
    assert!(matches!(error, Error::Gone { .. }), "{error:?}");
    at(&engine, "/archive", refusal(500, "the disk is tired"));
    let error = bundle.read_file("/made/ca.pem").unwrap_err();
    assert!(format!("{error:?}").contains("the disk is tired"), "{error:?}");
    // An answer without a body.
    let error = bundle.wait_for(&Ready::file("/made/ca.pem"), Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("status 500"), "{error}");
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn a_file_is_there_if_its_path_leads_to_something() {
    let engine = with_files();
    let paths = [
        ("/made/ca.pem", true),
        ("/made", true),
        ("/made/twice", true),
        ("/made/astray", false),
        ("/none", false),
    ];
    engine.commands(|words| match words {
        ["test", "-e", "/made/astray" | "/none"] => (1, String::new()),
        _ => panic!("{words:?}"),
    });
    let bundle = up(&engine.engine());
    for (path, is_there) in paths {
        assert_eq!(has_file(&bundle, path), is_there, "{path}");
    }
    bundle.close().unwrap();
    // Podman follows links, and one answer tells.
    engine.commands(|words| panic!("{words:?}"));
    let bundle = up(&engine.podman());
    for (path, is_there) in paths {
        let before = count(&engine, "/archive");
        assert_eq!(has_file(&bundle, path), is_there, "{path}");
        assert_eq!(count(&engine, "/archive") - before, 1, "{path}");
    }
    bundle.close().unwrap();
}

/// The engine notices the end of a command a moment after that of its output.
#[test]
fn a_command_that_runs_on_without_its_connection_is_an_error_and_one_that_ends_is_none() {
    let engine = scripted();
    let bundle = up(&engine.engine());
    let runs = || Act::Answer(200, json!({"Running": true, "ExitCode": null}).to_string());
    let asked = AtomicUsize::new(0);
    engine.script(move |request, _| {
        let is_first =
            request.starts_with("GET /exec/") && asked.fetch_add(1, Ordering::SeqCst) < 3;
        if is_first { runs() } else { Act::Obey }
    });
    assert_eq!(bundle.exec(["true"], LONG).unwrap().code, 0);
    at(&engine, "GET /exec/", runs());
    let start = Instant::now();
    let error = bundle.exec(["true"], Duration::from_secs(4)).unwrap_err();
    let Error::Exec { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().ends_with("did not answer with the command's end"), "{source}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn a_bundle_is_made_from_the_specification_with_its_secret_values() {
    let engine = scripted();
    let spec = |token: &str| BundleSpec::new().secret("TOKEN", token);
    let docker = engine.engine();
    let bundle = plan().launch(&docker, spec("hunter2-is-secret")).unwrap();
    assert!(bundle.is_made_from(&spec("hunter2-is-secret")).unwrap());
    assert!(!bundle.is_made_from(&spec("hunter3-is-secret")).unwrap());
    bundle.close().unwrap();
}

#[test]
fn the_digests_of_an_image_are_those_that_the_engine_tells() {
    let engine = scripted();
    let bundle = up(&engine.engine());
    assert_eq!(bundle.image_digests().unwrap(), ["x@sha256:1"]);
    assert_eq!(count(&engine, &format!("GET /images/sha256:{:064x}/json", 1)), 1);
    // The image was removed.
    at(&engine, "/images/", refusal(404, "No such image: x"));
    assert_eq!(bundle.image_digests().unwrap(), [""; 0]);
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn an_image_is_pulled_by_the_program() {
    let (engine, fake) = (scripted(), Fake::new());
    fake.on("pull", "echo sha256:1");
    let docker = engine.engine().with_program(fake.path("docker"));
    let spec = BundleSpec::new().image("acme/proxy:7").pull(PullPolicy::Always);
    plan().launch(&docker, spec).unwrap().close().unwrap();
    let calls = fake.calls();
    let [pull] = &calls[..] else { panic!("{calls:?}") };
    assert!(
        pull.args.contains(&"pull".into()) && pull.args.contains(&"acme/proxy:7".into()),
        "{pull:?}"
    );
}

#[test]
fn a_container_gets_its_grace_before_it_is_removed() {
    let engine = scripted();
    let spec = BundleSpec::new().stop_grace(Duration::from_secs(7));
    let docker = engine.engine();
    for answer in [Act::Obey, refusal(304, ""), refusal(500, "it does not listen")] {
        let bundle = plan().launch(&docker, spec.clone()).unwrap();
        at(&engine, "/stop", answer);
        let before = engine.requests().len();
        bundle.close().unwrap();
        let requests = engine.requests().split_off(before);
        let at = |word: &str| requests.iter().position(|it| it.contains(word)).unwrap();
        assert!(at("/stop?t=7") < at("DELETE /containers"), "{requests:?}");
        assert_eq!(engine.resources(), 0);
    }
}

#[test]
fn a_signal_is_sent_or_the_reason_is_told() {
    let engine = scripted();
    let bundle = up(&engine.engine());
    bundle.signal("HUP").unwrap();
    let last = engine.requests().pop().unwrap();
    assert_eq!(last, format!("POST /containers/{}/kill?signal=hup", bundle.container_id()));
    at(&engine, "/kill", refusal(409, "Container 2 is not running"));
    let error = bundle.signal("HUP").unwrap_err();
    assert!(matches!(error, Error::Signal { .. }), "{error:?}");
    at(&engine, "/kill", refusal(404, "No such container: 2"));
    let error = bundle.signal("HUP").unwrap_err();
    assert!(matches!(error, Error::Gone { .. }), "{error:?}");
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn a_file_in_the_root_is_refused_only_where_the_root_is_read_only() {
    let engine = scripted();
    let spec = BundleSpec::new().file(ContainerFile::new("/top", "x"));
    plan().launch(&engine.engine(), spec.clone()).unwrap().close().unwrap();
    let below = BundleSpec::new().file(ContainerFile::new("/etc/x", "x")).read_only_root(true);
    plan().launch(&engine.engine(), below).unwrap().close().unwrap();
    let failed = plan().launch(&engine.engine(), spec.read_only_root(true)).unwrap_err();
    assert!(matches!(failed.error(), Error::Invalid(_)), "{failed:?}");
    assert!(failed.error().to_string().contains("/top is in the root"), "{failed:?}");
}

#[test]
fn a_removal_that_podman_reports_as_failed_is_none() {
    let engine = scripted();
    let podman = engine.podman();
    let report = |error: serde_json::Value| json!([{"Id": "2", "Err": error}]).to_string();
    let bundle = up(&podman);
    at(&engine, "DELETE /libpod/containers", Act::ObeyAndAnswer(200, report(json!(null))));
    let before = engine.requests().len();
    bundle.close().unwrap();
    assert_eq!(engine.resources(), 0);
    // A removal that succeeded is not looked for.
    let after = engine.requests().split_off(before);
    let looks = after
        .iter()
        .filter(|it| it.starts_with("GET /libpod/containers/json?all=true&filters={\"id\""));
    assert_eq!(looks.count(), 0, "{after:?}");
    let bundle = up(&podman.clone().with_remove_deadline(Duration::from_secs(1)));
    at(&engine, "DELETE /libpod/containers", Act::Answer(200, report(json!("it stays"))));
    let error = bundle.close().unwrap_err();
    let Error::NotRemoved { command, .. } = &error.each()[0] else { panic!("{error:?}") };
    assert!(command.contains("/podman rm --force"), "{command}");
    engine.script(|_, _| Act::Obey);
    up(&podman).close().unwrap();
    assert_eq!(engine.resources(), 0);
}

/// It refuses that for a moment while its process ends.
#[test]
fn podman_is_asked_for_a_container_again_only_while_its_process_ends() {
    let engine = scripted();
    let bundle = up(&engine.podman());
    for (status, message, is_asked_again) in [
        (500, "read /proc/30183/cgroup: no such process", true),
        (500, "read /proc/30183/cgroup: permission denied", false),
        (500, "kill: no such process", false),
        (500, "the disk is tired", false),
    ] {
        let acts = Mutex::new(vec![refusal(status, message)]);
        engine.script(move |request, _| {
            let act = || acts.lock().unwrap().pop();
            let is_it = request.starts_with("GET /libpod/containers/0");
            is_it.then(act).flatten().unwrap_or(Act::Obey)
        });
        let before = count(&engine, "GET /libpod/containers/0");
        assert_eq!(bundle.status().is_ok(), is_asked_again, "{message}");
        let asked = count(&engine, "GET /libpod/containers/0") - before;
        assert_eq!(asked, 1 + usize::from(is_asked_again), "{message}");
    }
    bundle.close().unwrap();
}

#[test]
fn a_reaper_needs_the_program_or_curl_and_a_socket() {
    let has_curl = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .any(|directory| directory.join("curl").exists());
    let missing = "/no/such/docker";
    for (program, host, has_reaper) in [
        ("/bin/sh", "ssh://nobody@host", true),
        ("/bin/sh", "unix:///no/such/socket", true),
        (missing, "ssh://nobody@host", false),
        (missing, "unix:///no/such/socket", has_curl),
    ] {
        let engine = Engine::docker().with_program(program).with_host(host);
        assert_eq!(engine.has_reaper(), has_reaper, "{program} {host}");
        assert!(!engine.without_reaper().has_reaper());
    }
}

#[test]
fn an_answer_of_something_on_the_way_is_no_absence() {
    let engine = scripted();
    let bundle = up(&engine.engine());
    at(&engine, "GET /containers/", refusal(404, "page not found"));
    let error = bundle.status().unwrap_err();
    assert!(matches!(error, Error::Look { .. }), "{error:?}");
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn a_network_of_podmans_with_containers_on_it_is_not_removed() {
    let engine = scripted();
    let podman = engine.podman();
    podman.version().unwrap();
    let short = podman.with_remove_deadline(Duration::from_secs(1));
    let network = plan().create_network(&short).unwrap();
    let on_it = format!(r#"{{"network":["{}"]}}"#, network.network_id());
    engine.script(move |request, _| {
        let others = || Act::Answer(200, json!([{"Names": ["others"]}]).to_string());
        if request.contains(&on_it) { others() } else { Act::Obey }
    });
    let error = network.close().unwrap_err();
    let Error::NotRemoved { attached, .. } = &error else { panic!("{error:?}") };
    assert_eq!(attached[..], ["others"]);
    assert_eq!(count(&engine, "DELETE"), 0);
}

#[test]
fn a_second_network_is_joined_under_the_aliases() {
    let joined = Arc::new(Mutex::new(String::new()));
    let its = Arc::clone(&joined);
    let engine = Scripted::new(move |request, body| match request {
        "POST /networks/second/connect" => {
            body.clone_into(&mut its.lock().unwrap());
            Act::Answer(200, String::new())
        }
        _ => Act::Obey,
    });
    let spec = BundleSpec::new().also_on("second").network_alias("proxy");
    let plan = plan().with_options(NetworkOptions::new().internal(true));
    let bundle = plan.launch(&engine.engine(), spec).unwrap();
    let joined: serde_json::Value = serde_json::from_str(&joined.lock().unwrap()).unwrap();
    let container = bundle.container_id();
    assert_eq!(joined, json!({"Container": container, "EndpointConfig": {"Aliases": ["proxy"]}}));
    bundle.close().unwrap();
}
