//! Looking at a running container.

use serde_json::{Value, json};
use sidecar_bundle::{BundleRunning, BundleSpec, Error, FileProblem};

use crate::fake::plan;
use crate::scripted::{Act, Scripted};

fn launched() -> (Scripted, BundleRunning) {
    let engine = Scripted::new(|_, _| Act::Obey);
    let bundle = plan().launch(&engine.engine(), BundleSpec::new()).unwrap();
    (engine, bundle)
}

/// A container in this state with these published ports, as it is inspected.
fn container(status: &str, ports: &Value) -> Act {
    let container = json!({
        "Id": "2".repeat(64), "Config": {"Labels": {}}, "NetworkSettings": {"Ports": ports},
        "State": {"Status": status, "FinishedAt": "0001-01-01T00:00:00Z"},
    });
    Act::Answer(200, container.to_string())
}

#[test]
fn a_published_port_is_where_the_engine_says_it_is() {
    let (engine, bundle) = launched();
    let at = |ip: &str, port: &str| json!({"HostIp": ip, "HostPort": port});
    let ports = json!({
        "80/tcp": [at("0.0.0.0", "1080"), at("127.0.0.1", "1082"), at("127.0.0.1", "1081")],
        "80/udp": [at("127.0.0.1", "5353")],
        "81/tcp": [at("192.0.2.1", "1090")],
        "82/tcp": null,
    });
    let (running, exited) = (container("running", &ports), container("exited", &ports));
    engine.script(
        move |request, _| {
            if request.ends_with("/json") { running.clone() } else { Act::Obey }
        },
    );
    // Of loopback if there is one, and the lowest.
    assert_eq!(bundle.published(80).unwrap().to_string(), "127.0.0.1:1081");
    assert_eq!(bundle.published(81).unwrap().to_string(), "192.0.2.1:1090");
    assert_eq!(bundle.published_udp(80).unwrap().to_string(), "127.0.0.1:5353");
    for (found, wanted) in [(bundle.published(82), "82/tcp"), (bundle.published_udp(81), "81/udp")]
    {
        let error = found.unwrap_err();
        assert!(matches!(&error, Error::NotPublished { port, .. } if port == wanted), "{error:?}");
    }
    // Podman tells the ports of a container that has ended, too.
    engine.script(
        move |request, _| {
            if request.ends_with("/json") { exited.clone() } else { Act::Obey }
        },
    );
    let error = bundle.published(80).unwrap_err();
    assert!(matches!(error, Error::NotPublished { .. }), "{error:?}");
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn a_signal_is_sent_by_its_name_or_number_and_anything_else_is_refused() {
    let (engine, bundle) = launched();
    for signal in [
        "HUP",
        "SIGHUP",
        "sighup",
        "hup",
        "1",
        "64",
        "RTMIN",
        "RTMIN+1",
        "RTMIN+15",
        "SIGRTMAX-14",
        "rtmax",
    ] {
        bundle.signal(signal).unwrap();
        // The engine in this process reads all in lower case.
        let wanted = format!(
            "POST /containers/{}/kill?signal={}",
            bundle.container_id(),
            signal.to_lowercase()
        );
        assert_eq!(engine.requests().last(), Some(&wanted));
    }
    let asked = engine.requests().len();
    for signal in [
        "", "SIG", "NOPE", "HUP ", "0", "65", "+9", "-9", "RTMIN+", "RTMIN+0", "RTMIN+16",
        "RTMIN-1", "RTMAX-15", "RTMAX-+1",
    ] {
        let error = bundle.signal(signal).unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{signal:?}: {error:?}");
    }
    assert_eq!(engine.requests().len(), asked);
    for (status, message, is_gone) in
        [(404, "No such container: x", true), (409, "container x is not running", false)]
    {
        let answer = json!({"message": message}).to_string();
        engine.script(move |request, _| {
            let is_signal = request.contains("/kill");
            if is_signal { Act::Answer(status, answer.clone()) } else { Act::Obey }
        });
        let error = bundle.signal("HUP").unwrap_err();
        match error {
            Error::Gone { .. } => assert!(is_gone, "{error:?}"),
            Error::Signal { ref signal, .. } => assert!(signal == "HUP" && !is_gone, "{error:?}"),
            _ => panic!("{error:?}"),
        }
    }
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn the_digests_of_an_image_are_asked_for_by_its_id() {
    let (engine, bundle) = launched();
    assert_eq!(bundle.image_digests().unwrap(), ["x@sha256:1"]);
    let asked = format!("GET /images/sha256:{:064x}/json", 1);
    assert_eq!(engine.requests().last(), Some(&asked));
    bundle.close().unwrap();
}

/// An archive of one entry.
pub(crate) fn archive(kind: tar::EntryType, contents: &str) -> String {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(contents.len() as u64);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "name", contents.as_bytes()).unwrap();
    String::from_utf8(archive.into_inner().unwrap()).unwrap()
}

#[test]
fn a_file_is_read_whole_or_not_at_all() {
    let (engine, bundle) = launched();
    let read = |kind, contents: &str, path: &str| {
        let archive = archive(kind, contents);
        engine.script(move |request, _| {
            let is_file = request.ends_with("/archive?path=/run/ca.pem");
            if is_file { Act::Answer(200, archive.clone()) } else { Act::Obey }
        });
        bundle.read_file(path)
    };
    let file = tar::EntryType::Regular;
    assert_eq!(read(file, "certificate", "/run/ca.pem").unwrap(), b"certificate");
    let long = "x".repeat((1 << 20) + 1);
    for (kind, contents, reason) in [
        (tar::EntryType::Directory, "", FileProblem::NotAFile),
        (file, long.as_str(), FileProblem::TooLong),
    ] {
        let error = read(kind, contents, "/run/ca.pem").unwrap_err();
        let Error::File { path, problem, .. } = error else { panic!("{error:?}") };
        assert_eq!((path.as_str(), problem), ("/run/ca.pem", reason));
    }
    assert!(matches!(read(file, "", "run/ca.pem"), Err(Error::Invalid(_))));
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}

#[test]
fn a_follower_prints_that_it_is_one() {
    let (engine, bundle) = launched();
    engine.script(|request, _| {
        if request.contains("/logs") { Act::Answer(200, String::new()) } else { Act::Obey }
    });
    let follower = bundle.follow_logs(None).unwrap();
    assert_eq!(format!("{follower:?}"), "LogFollower { .. }");
    drop(follower);
    engine.script(|_, _| Act::Obey);
    bundle.close().unwrap();
}
