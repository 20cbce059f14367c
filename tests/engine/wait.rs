//! Waiting for readiness, and deaths meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{BundleSpec, Daemon, Error, Exit, NetworkPlanned, Ready};

use crate::engine::{
    LONG, World, await_print, cli, has_limits, is_api, is_podman, is_rootless, never, plan_apart,
    sh, shout, with_option, world,
};

/// Launches a container that dies soon, and returns its exit and log from the error of the step that
/// notices.
#[track_caller]
fn death(world: &World, plan: NetworkPlanned, spec: BundleSpec) -> (Exit, String) {
    let slug = plan.slug().clone();
    let died = match plan.launch(&world.engine(), spec) {
        Err(failed) => failed.into_parts().0,
        Ok(bundle) => {
            let error = bundle.wait_for(&never(), LONG).unwrap_err();
            bundle.close().unwrap();
            error
        }
    };
    match died {
        Error::Died { exit, log, .. } => (*exit, log),
        error => panic!("{slug}: {error:?}"),
    }
}

#[test]
fn the_error_of_a_death_has_the_exit_code_and_the_log_every_time() {
    const EACH: usize = 12;
    let Some(world) = world("dying") else { return };
    // The engine reads the two streams apart, and under load one of them a while later.
    let cases: [(&str, BundleSpec, i32, &str); 6] = [
        ("zero", sh("echo out; sleep 0.5; echo err >&2; exit 0"), 0, "out\nerr"),
        ("three", sh("echo one; sleep 0.5; echo last words >&2; exit 3"), 3, "one\nlast words"),
        ("signal", sh("echo shot; kill -9 $$").init(true), 137, "shot"),
        (
            "memory",
            sh("echo hungry; exec tail /dev/zero").memory(8 << 20).init(true),
            137,
            "hungry",
        ),
        ("soon", sh("echo wait; sleep 0.1; echo now; exit 4"), 4, "wait\nnow"),
        ("supervisor", BundleSpec::new().daemons(["xyz"]), 3, "supervisor: unknown daemon 'xyz'"),
    ];
    let (next, noticed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= EACH * cases.len() {
                        break;
                    }
                    let (name, spec, code, words) = &cases[number % cases.len()];
                    // Without a limit it would take all the memory that there is.
                    if *name == "memory" && !has_limits() {
                        continue;
                    }
                    let slug = format!("dying-{number}");
                    let (exit, log) = death(&world, plan_apart(&slug, 20, number), spec.clone());
                    assert_eq!((exit.code, log.as_str()), (*code, *words), "{slug} {name}");
                    // Under load, Docker 20.10 loses one such notice in ten or twenty.
                    assert!(!exit.out_of_memory || *name == "memory", "{slug} {name}");
                    noticed.fetch_add(usize::from(exit.out_of_memory), Ordering::SeqCst);
                    assert_eq!(exit.signal(), (*code == 137).then_some(9), "{slug} {name}");
                }
            });
        }
    });
    let noticed = noticed.into_inner();
    shout(&format!("out of memory: noticed by the engine {noticed} of {EACH} times"));
    // Podman 4.3 never does on a host with cgroups of version 1.
    assert!(noticed >= EACH / 2 || is_podman() || !has_limits(), "{noticed}");
    let left = cli(&["ps", "--all", "--format", "{{.Names}}"]);
    assert!(!left.contains("-dying-"), "{left}");
}

#[test]
fn a_death_right_after_readiness_is_noticed() {
    let Some(world) = world("met-and-dead") else { return };
    for _ in 0..10 {
        let spec = sh("sleep 0.2; echo ready; exit 6");
        let bundle = match world.plan().launch(&world.engine(), spec) {
            Ok(bundle) => bundle,
            // Or be dead at the first look.
            Err(failed) => {
                let Error::Died { exit, log, .. } = failed.error() else { panic!("{failed:?}") };
                assert_eq!((exit.code, log.as_str()), (6, "ready"));
                continue;
            }
        };
        let ready = if is_api() { Ready::log("ready") } else { Ready::check("ready", || true) };
        match bundle.wait_for(&ready, LONG) {
            // It may have been alive still when it was looked at.
            Ok(()) => assert_eq!(bundle.wait_exit(LONG).unwrap().unwrap().code, 6),
            Err(Error::Died { exit, log, .. }) => {
                assert_eq!((exit.code, log.as_str()), (6, "ready"));
            }
            Err(error) => panic!("{error:?}"),
        }
        bundle.close().unwrap();
    }
    world.assert_nothing_left();
}

#[test]
fn each_condition_is_met_or_named_in_the_error() {
    let Some(world) = world("conditions").filter(|_| is_api()) else { return };
    let egress = Daemon::new("egress").ready(Ready::http(8080, "/", 200)).ready(Ready::tcp(8080));
    let spec = BundleSpec::new()
        .daemon(egress)
        .daemon(Daemon::new("pipelock").ready(Ready::log("pipelock: listening on 8081")));
    let check = r#"{"Test": ["CMD-SHELL", "test -e /tmp/healthy"], "Interval": 200000000}"#;
    let flags = ["--health-cmd=test -e /tmp/healthy", "--health-interval=200ms"];
    let spec = with_option(spec, ("Healthcheck", check), &flags);
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    if is_rootless() {
        let error = bundle.wait_ready(LONG).unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        await_print(&bundle, "supervisor: ready");
        bundle.close().unwrap();
        world.assert_nothing_left();
        return;
    }
    bundle.wait_ready(LONG).unwrap();
    for met in [
        Ready::log("supervisor: ready"),
        Ready::log_matching("^egress: .* on [0-9]+$").unwrap(),
        Ready::tcp(8081),
        Ready::http(8080, "/none", 404),
        Ready::check("a closure", || true),
        Ready::all([]),
        Ready::any([Ready::tcp(1), Ready::log("ready"), Ready::check("never", || false)]),
        Ready::all([Ready::tcp(8080), Ready::log("egress"), Ready::log("pipelock")]),
    ] {
        bundle.wait_for(&met, LONG).unwrap_or_else(|error| panic!("{met}: {error}"));
    }
    let short = Duration::from_millis(300);
    for (missing, text) in [
        (
            Ready::tcp(1),
            "not ready after 300ms: TCP port 1; last seen: TCP port 1: Connection refused (os error 111)",
        ),
        (
            Ready::http(8080, "/none", 200),
            "not ready after 300ms: HTTP status 200 of port 8080 at /none; last seen: HTTP status 404 of port 8080",
        ),
        (
            Ready::log_matching("^never$").unwrap(),
            "not ready after 300ms: a log line like \"^never$\"; last seen: the log line \"supervisor: ready\"",
        ),
        (Ready::any([]), "not ready after 300ms: a condition of none; last seen: nothing"),
        (
            Ready::all([Ready::tcp(8080), Ready::check("the moon", || false)]),
            "not ready after 300ms: TCP port 8080 and the moon; last seen: nothing",
        ),
    ] {
        let error = bundle.wait_for(&missing, short).unwrap_err().to_string();
        let log = "egress: listening on 8080\npipelock: listening on 8081\nsupervisor: ready";
        assert_eq!(error, format!("{text}; its log ends with:\n{log}"));
    }
    let error = bundle.wait_for(&Ready::healthy(), short).unwrap_err().to_string();
    assert!(error.contains(": its health check; last seen: health check "), "{error}");
    bundle.exec(["touch", "/tmp/healthy"], LONG).unwrap();
    if is_podman() {
        // It has its checks run by systemd, where there is one.
        cli(&["healthcheck", "run", bundle.container_id()]);
    }
    bundle.wait_for(&Ready::healthy(), LONG).unwrap();
    bundle.close().unwrap();
    world.assert_nothing_left();
}

/// A web server of a few CGI programs, and some that are none of HTTP.
const SERVERS: &str = r#"
# The two kinds of busybox's nc.
serve() { nc -ll -p "$@" 2>/dev/null || nc -lk -p "$@"; }
mkdir -p /tmp/w/cgi-bin
cd /tmp/w/cgi-bin
printf '#!/bin/sh\nsleep 3\nprintf "Status: 200 OK\\r\\n\\r\\nok"' >slow
printf '#!/bin/sh\nsleep 1000' >never
printf '#!/bin/sh\nprintf "Status: 302 Found\\r\\nLocation: /cgi-bin/slow\\r\\n\\r\\n"' >moved
chmod +x *
httpd -p 8080 -h /tmp/w
serve 8081 -e printf 'SSH-2.0-x\r\n\r\n' &
serve 8082 -e yes 'HTTP/1.1 200' &
echo up
"#;

#[test]
fn an_http_server_is_given_its_time_and_its_answer_is_named() {
    let Some(world) = world("patient") else { return };
    let spec = sh(&format!("{SERVERS} exec sleep 600")).init(true);
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    await_print(&bundle, "up");
    if is_rootless() {
        bundle.close().unwrap();
        return;
    }
    // Also without the slash.
    for path in ["/cgi-bin/slow", "cgi-bin/slow"] {
        bundle.wait_for(&Ready::http(8080, path, 200), LONG).unwrap();
    }
    bundle.wait_for(&Ready::http(8080, "/cgi-bin/moved", 302), LONG).unwrap();
    for (port, path, text) in [
        (8080, "/cgi-bin/never", "last seen: HTTP port 8080: no answer yet; "),
        (8080, "/cgi-bin/moved", "last seen: HTTP status 302 of port 8080; "),
        (8081, "/", "last seen: HTTP port 8081: no HTTP answer ("),
        (8082, "/", "last seen: HTTP port 8082: no HTTP answer ("),
        (8083, "/", "last seen: HTTP port 8083: Connection refused (os error 111); "),
    ] {
        let timeout = Duration::from_millis(1500);
        let start = Instant::now();
        let error = bundle.wait_for(&Ready::http(port, path, 200), timeout).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    }
    let mut never = vec![Ready::http(8080, "/cgi-bin/never", 200)];
    never.extend(is_api().then(|| Ready::exec(["sleep", "600"])));
    for never in never {
        let stopper = bundle.stopper();
        stopper.resume();
        let stop = thread::spawn(move || {
            thread::sleep(Duration::from_secs(1));
            stopper.stop();
            Instant::now()
        });
        let error = bundle.wait_for(&never, Duration::MAX).unwrap_err();
        let returned = Instant::now();
        assert!(matches!(error, Error::Stopped), "{error:?}");
        let late = returned.saturating_duration_since(stop.join().unwrap());
        assert!(late < Duration::from_secs(2), "{late:?}");
    }
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_death_is_noticed_while_an_http_server_takes_its_time() {
    let Some(world) = world("patient-death") else { return };
    if is_rootless() {
        return;
    }
    let spec = sh(&format!("{SERVERS} sleep 3; exit 7")).init(true);
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    let never = Ready::http(8080, "/cgi-bin/never", 200);
    let start = Instant::now();
    let error = bundle.wait_for(&never, Duration::from_secs(300)).unwrap_err();
    assert!(matches!(&error, Error::Died { exit, .. } if exit.code == 7), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    bundle.close().unwrap();
    world.assert_nothing_left();
}
