//! The list of the bundles on an engine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;
use sidecar_bundle::{
    BundleInfo, BundleOwner, BundleSpec, Cause, Engine, Error, LogStream, NetworkPlanned,
    RunningBundles, Slug, State, bundles, sweep_dry_run,
};

use crate::fake::{CONTAINER, Fake, plan};
use crate::scripted::{Act, Scripted};

const CONTAINERS: &str = "GET /containers/json";
const NETWORKS: &str = "GET /networks?";

fn named(slug: &str) -> NetworkPlanned {
    NetworkPlanned::new(Slug::new(slug).unwrap())
}

/// Slug, owner and state of each, in order.
#[track_caller]
fn listed(engine: &Engine) -> Vec<(String, BundleOwner, Option<State>)> {
    let text = |it: BundleInfo| (it.slug.to_string(), it.owner, it.state);
    bundles(engine).unwrap().into_iter().map(text).collect()
}

/// An owner of this process.
fn alive(owner: BundleOwner) -> bool {
    matches!(owner, BundleOwner::Alive { pid, .. } if pid == std::process::id())
}

#[test]
fn every_bundle_is_listed_with_its_owner() {
    let fake = Fake::new();
    assert_eq!(bundles(&fake.engine()).unwrap(), []);
    let living = named("living").create_network(&fake.engine()).unwrap();
    let kept = named("kept").with_ipv6();
    let kept = kept.launch(&fake.engine(), BundleSpec::new()).unwrap().keep().unwrap();
    let elsewhere = fake.engine().with_state_dir(fake.path("others"));
    let other = named("other").launch(&elsewhere, BundleSpec::new()).unwrap();
    let mut owner = fake.owner(&["reaper=false"]);
    owner.expect("launch demo", "up");
    owner.kill();

    let all = bundles(&fake.engine()).unwrap();
    let slugs: Vec<_> = all.iter().map(|it| it.slug.as_str()).collect();
    assert_eq!(slugs, ["demo", "kept", "living", "other"]);
    let owners = [&all[0], &all[1], &all[3]].map(|it| it.owner);
    assert_eq!(owners, [BundleOwner::Dead, BundleOwner::Kept, BundleOwner::Elsewhere]);
    assert!(alive(all[2].owner) && alive(listed(&elsewhere)[3].1), "{all:?}");
    assert_eq!(all[2].network_id.as_deref(), Some(living.network_id()));
    assert_eq!((&all[2].container_id, all[2].state), (&None, None));
    assert_eq!(all[3].container_id.as_deref(), Some(other.container_id()));
    for (it, plan) in [(&all[0], plan()), (&all[1], kept.clone())] {
        assert_eq!((it.prefix.as_str(), it.state), ("claude-bottle", Some(State::Running)));
        assert_eq!((it.addressing, it.ipv6), (Some(*plan.addressing()), plan.ipv6()));
        assert_eq!(it.created, Some(UNIX_EPOCH + Duration::from_millis(1_767_323_045_500)));
        assert!(it.age().is_some() && it.guests.is_empty());
    }
    let mut older = all[0].clone();
    older.created = older.created.and_then(|it| it.checked_sub(Duration::from_secs(60)));
    let ages = [&older, &all[0]].map(|it| it.age().unwrap());
    assert!(ages[0] >= ages[1] + Duration::from_secs(59), "{ages:?}");
    // No list changes anything.
    assert_eq!(bundles(&fake.engine()).unwrap(), all);
    assert!(matches!(
        sweep_dry_run(&fake.engine()).unwrap()[0].outcome,
        sidecar_bundle::SweptOutcome::WouldRemove { .. }
    ));
    kept.discard(&fake.engine()).unwrap();
    drop((living, other));
    plan().create_network(&fake.engine()).unwrap().close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn the_program_is_run_for_two_lists_and_for_what_is_on_them() {
    let fake = Fake::new();
    let more = named("more").create_network(&fake.engine()).unwrap();
    let bundle = fake.up();
    let before = fake.operations().len();
    assert_eq!(bundles(&fake.engine()).unwrap().len(), 2);
    let lists = ["ps", "container inspect", "network ls", "network inspect"];
    assert_eq!(fake.operations()[before..], lists);
    drop((bundle, more));
    bundles(&fake.engine()).unwrap();
    let operations = fake.operations();
    assert_eq!(operations[operations.len() - 2..], ["ps", "network ls"]);
}

#[test]
fn a_bundle_that_came_and_went_during_the_list_is_not_elsewhere() {
    let gone = container("a", &[("prefix", "p"), ("slug", "s"), ("lease", "of a moment")]);
    let first = AtomicBool::new(true);
    let scripted = Scripted::new(move |made, _| {
        if made.starts_with(CONTAINERS) && first.swap(false, Ordering::SeqCst) {
            return Act::Answer(200, json!([gone]).to_string());
        }
        Act::Obey
    });
    assert_eq!(bundles(&scripted.engine()).unwrap(), []);
}

#[test]
fn the_api_is_asked_for_two_lists_and_for_its_identity() {
    for is_podman in [false, true] {
        let scripted = Scripted::new(|_, _| Act::Obey);
        let engine = if is_podman { scripted.podman() } else { scripted.engine() };
        let bundle = plan().launch(&engine, BundleSpec::new()).unwrap();
        let before = scripted.requests().len();
        let all = bundles(&engine).unwrap();
        let requests = scripted.requests();
        let lists = requests[before..].iter().filter(|it| it.contains('?')).count();
        assert_eq!((lists, requests.len() - before), (2, 4), "{:?}", &requests[before..]);
        let [it] = &all[..] else { panic!("{all:?}") };
        assert!(alive(it.owner));
        assert_eq!(it.network_id.as_deref(), Some(bundle.network_id()));
        assert_eq!(it.container_id.as_deref(), Some(bundle.container_id()));
        assert_eq!((it.state, it.addressing), (Some(State::Running), Some(*plan().addressing())));
        let created = UNIX_EPOCH + Duration::from_millis(1_767_323_045_500);
        assert_eq!(it.created, Some(created));
        bundle.close().unwrap();
        assert_eq!(bundles(&engine).unwrap(), []);
    }
}

#[test]
fn an_answer_that_is_no_list_is_an_error() {
    let resource = json!([{"Id": "a".repeat(64), "Labels": null, "State": "running"}]);
    for request in [CONTAINERS, NETWORKS] {
        for odd in
            ["", "null", "{}", "[null]", r#"[{"Id": "short"}]"#, "<html>", &resource.to_string()]
        {
            let odd = odd.to_owned();
            let scripted = Scripted::new(move |made, _| match made {
                made if made.starts_with(request) => Act::Answer(200, odd.clone()),
                _ => Act::Obey,
            });
            let error = bundles(&scripted.engine()).unwrap_err();
            assert!(matches!(error, Error::Look { what: "its bundles", .. }), "{error:?}");
        }
        let scripted = Scripted::new(move |made, _| match made {
            made if made.starts_with(request) => Act::Answer(500, "no".into()),
            _ => Act::Obey,
        });
        bundles(&scripted.engine()).unwrap_err();
    }
}

#[test]
fn a_command_that_prints_too_little_is_an_error() {
    for (operation, snippet) in [
        ("ps", ":"),
        ("network-ls", "echo"),
        ("container-inspect", "echo '[]'"),
        ("network-inspect", "echo '[{}]'"),
        ("network-inspect", ":"),
    ] {
        let fake = Fake::new();
        let bundle = fake.up();
        fake.on(operation, snippet);
        let error = bundles(&fake.engine()).unwrap_err();
        assert!(matches!(error, Error::Look { what: "its bundles", .. }), "{operation}: {error:?}");
        fake.obey(operation);
        bundle.close().unwrap();
    }
}

#[test]
fn the_list_of_another_engine_is_not_believed() {
    let fake = Fake::new();
    let bundle = fake.up();
    fake.moves();
    fake.on("network-ls", ": >\"$dir/moved\"; none");
    let error = bundles(&fake.engine()).unwrap_err();
    assert_eq!(error.cause(), Some(Cause::AnotherEngine));
    fake.moves_back();
    fake.obey("network-ls");
    bundle.close().unwrap();
}

#[test]
fn a_container_that_goes_between_the_list_and_its_inspection_is_left_out() {
    let fake = Fake::new();
    let bundle = fake.up();
    fake.on("container-inspect", "rm \"$dir\"/container/*; obey");
    let all = bundles(&fake.engine()).unwrap();
    assert_eq!((all.len(), &all[0].container_id), (1, &None));
    bundle.close().unwrap();
}

/// An engine with these resources besides what it makes.
fn with(containers: serde_json::Value, networks: serde_json::Value) -> Scripted {
    Scripted::new(move |made, _| match made {
        made if made.starts_with(CONTAINERS) => Act::Answer(200, containers.to_string()),
        made if made.starts_with(NETWORKS) => Act::Answer(200, networks.to_string()),
        _ => Act::Obey,
    })
}

fn container(digit: &str, labels: &[(&str, &str)]) -> serde_json::Value {
    let labels: serde_json::Map<_, _> = labels
        .iter()
        .map(|(key, value)| (format!("sidecar-bundle.{key}"), (*value).into()))
        .collect();
    json!({"Id": digit.repeat(64), "Labels": labels, "State": "exited", "Created": 7})
}

#[test]
fn labels_that_cannot_be_read_hide_no_bundle() {
    let slug = [("prefix", "p"), ("slug", "odd")];
    let odd = |more: &[(&str, &str)]| container("a", &[&slug, more].concat());
    let [subnet, gateway, ip] =
        [("subnet", "10.0.0.0/24"), ("gateway", "10.0.0.1"), ("ip", "10.0.0.2")];
    let attempt = ("attempt", "0");
    for labels in [
        &[][..],
        &[("subnet", "?"), gateway, ip, attempt],
        &[subnet, gateway, ip, ("attempt", "-1")],
        &[subnet, gateway, ip, attempt, ("subnet6", "fd00::/64")],
    ] {
        let all = bundles(&with(json!([odd(labels)]), json!([])).engine()).unwrap();
        let [it] = &all[..] else { panic!("{all:?}") };
        assert_eq!((it.prefix.as_str(), it.slug.as_str()), ("p", "odd"));
        assert_eq!((it.addressing, it.ipv6, it.owner), (None, None, BundleOwner::Elsewhere));
        assert_eq!(it.created, Some(UNIX_EPOCH + Duration::from_secs(7)));
    }
    let readable = odd(&[subnet, gateway, ip, attempt]);
    let all = bundles(&with(json!([readable]), json!([])).engine()).unwrap();
    assert_eq!(all[0].addressing.unwrap().bundle_ip().to_string(), "10.0.0.2");
}

#[test]
fn what_has_no_valid_prefix_and_slug_is_no_bundle() {
    let others = json!([
        container("a", &[("slug", "no prefix")]),
        container("b", &[("prefix", "p"), ("slug", "A B")]),
        container("c", &[("prefix", ""), ("slug", "s")]),
        container("d", &[("prefix", "p"), ("slug", "s")]),
    ]);
    let all = bundles(&with(others, json!([])).engine()).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].container_id, Some("d".repeat(64)));
}

#[test]
fn a_log_is_read_by_whoever_lists_the_bundle() {
    let hi = "\u{1}\0\0\0\0\0\0\u{3}hi\n";
    let scripted = Scripted::new(move |request, _| match request {
        _ if request.contains("/logs") => Act::Answer(200, hi.into()),
        _ => Act::Obey,
    });
    let network = plan().create_network(&scripted.engine()).unwrap();
    let others = scripted.engine().with_state_dir(scripted.path("others"));
    let entry = || bundles(&others).unwrap().remove(0);
    let gone =
        |error: Error| matches!(error, Error::Gone { container, .. } if container == CONTAINER);
    assert!(gone(entry().logs(&others, None).unwrap_err()));
    let bundle = network.start(BundleSpec::new()).unwrap();
    let before = scripted.requests().len();
    let listed = entry();
    assert_eq!(listed.owner, BundleOwner::Elsewhere);
    let lines = listed.logs(&others, 7).unwrap();
    assert_eq!((lines.len(), lines[0].stream, &*lines[0].text), (1, LogStream::Stdout, "hi"));
    let asked = scripted.requests().split_off(before);
    assert!(asked.iter().all(|it| it.starts_with("GET ")), "{asked:?}");
    assert!(asked.last().unwrap().contains("tail=7"), "{asked:?}");

    let answered = |status: u16, message: &'static str| {
        scripted.script(move |request, _| match request {
            _ if request.contains("/logs") => Act::Answer(status, message.into()),
            _ => Act::Obey,
        });
        listed.logs(&others, None).unwrap_err()
    };
    let error = answered(500, "no");
    assert!(matches!(error, Error::Look { what: "the container's log", .. }), "{error:?}");
    assert!(gone(answered(404, r#"{"message": "No such container: x"}"#)));
    bundle.close().unwrap();

    let fake = Fake::new();
    let bundle = fake.up();
    let error = bundles(&fake.engine()).unwrap()[0].logs(&fake.engine(), None).unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error:?}");
    bundle.close().unwrap();
}

#[test]
fn guests_are_named_and_are_not_the_bundles_container() {
    let slug = [("prefix", "p"), ("slug", "s")];
    let guest = |digit, name| container(digit, &[&slug[..], &[("guest", name)]].concat());
    let own = container("c", &slug);
    let containers = json!([guest("b", "vm"), own, guest("a", "agent")]);
    let all = bundles(&with(containers, json!([])).engine()).unwrap();
    assert_eq!((all.len(), &all[0].container_id), (1, &Some("c".repeat(64))));
    assert_eq!(all[0].guests, ["agent", "vm"]);
    let all = bundles(&with(json!([guest("a", "agent")]), json!([])).engine()).unwrap();
    assert_eq!((&all[0].container_id, all[0].state, all[0].created), (&None, None, None));
    assert_eq!(all[0].guests, ["agent"]);
}

#[test]
fn an_orphan_beside_what_was_kept_is_told_as_by_a_sweep() {
    let fake = Fake::new();
    fake.up().keep().unwrap();
    let one = fs::read_dir(fake.path("container")).unwrap().next().unwrap().unwrap().path();
    fs::copy(&one, fake.path("container").join("e".repeat(64))).unwrap();
    let all = bundles(&fake.engine()).unwrap();
    assert_eq!((all.len(), all[0].owner), (1, BundleOwner::Dead));
    assert_eq!(all[0].container_id, Some("e".repeat(64)));
    plan().discard(&fake.engine()).unwrap();
}

#[test]
fn a_directory_that_cannot_be_trusted_is_an_error() {
    let fake = Fake::new();
    let leases = fake.path("leases");
    fs::create_dir(&leases).unwrap();
    fs::set_permissions(&leases, fs::Permissions::from_mode(0o777)).unwrap();
    let error = bundles(&fake.engine()).unwrap_err();
    assert!(matches!(error, Error::Lease { .. }), "{error:?}");
}

#[test]
fn lists_without_end_refuse_no_launcher() {
    let scripted = Scripted::new(|_, _| Act::Obey);
    let engine = scripted.engine();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let all = bundles(&engine).unwrap();
                    let known = all.iter().all(|it| it.owner != BundleOwner::Elsewhere);
                    assert!(all.len() <= 1 && known, "{all:?}");
                }
            });
        }
        let launch = |turn| {
            let bundle = plan().launch(&engine, BundleSpec::new())?;
            if turn % 2 == 0 {
                bundle.keep()?;
                return plan().attach(&engine)?.close();
            }
            bundle.close()
        };
        let launched: Vec<Result<(), Error>> = (0..30).map(launch).collect();
        done.store(true, Ordering::SeqCst);
        launched.into_iter().collect::<Result<(), _>>().unwrap();
    });
    assert_eq!(bundles(&engine).unwrap(), []);
}

#[test]
fn bundles_that_are_taken_out_of_their_list_run_on() {
    let engine = Scripted::new(|_, _| Act::Obey);
    let up = |slug| named(slug).launch(&engine.engine(), BundleSpec::new()).unwrap();
    let running: RunningBundles = ["a", "b"].map(up).into_iter().collect();
    let taken: Vec<_> = running.into_iter().collect();
    let slugs: Vec<_> = taken.iter().map(|it| it.plan().slug().as_str()).collect();
    assert_eq!(slugs, ["a", "b"]);
    assert_eq!(engine.resources(), 4);
    drop(taken);
    assert_eq!(engine.resources(), 0);
}

#[test]
fn what_runs_prints_its_names_and_addresses() {
    let engine =
        Scripted::new(
            |request, _| {
                if request.contains("/events") { Act::Begin("") } else { Act::Obey }
            },
        );
    assert!(format!("{:?}", engine.engine()).contains("state_dir"));
    let network = plan().create_network(&engine.engine()).unwrap();
    let (id, ip) = (network.network_id()[..12].to_owned(), "10.56.132.2");
    let shows = |shown: String, parts: &[&str]| {
        assert!(parts.iter().all(|part| shown.contains(part)), "{shown}");
    };
    shows(format!("{network:?}"), &["demo", "10.56.132.0/24", ip, &id]);
    let bundle = network.start(BundleSpec::new()).unwrap();
    let events = bundle.events().unwrap();
    shows(format!("{events:?}"), &[CONTAINER, ip]);
    drop(events);
    let guest = bundle.guest_in_namespace("agent", BundleSpec::new().image("agent")).unwrap();
    shows(
        format!("{guest:?}"),
        &["claude-bottle-guest-demo-agent", ip, &guest.container_id()[..12]],
    );
    drop(guest);
    let running: RunningBundles = [bundle].into_iter().collect();
    shows(format!("{running:?}"), &["demo", ip]);
    let closing = running.into_iter().next().unwrap().close_in_background();
    shows(format!("{closing:?}"), &["demo", "is_finished"]);
    closing.wait().unwrap();
}
