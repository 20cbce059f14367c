//! What runs in the bundle, and the truth about it.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{
    BundleSpec, Daemon, Error, Exit, LogStream, NetworkPlanned, Publish, Pull, Ready, Restart,
    State,
};

use crate::support::{
    World, cli, inspect, is_podman, is_rootless, plan_apart, program, required, shout, world,
};

const LONG: Duration = Duration::from_secs(20);

/// Whether the engine bounds memory and processes: rootless, it does not with cgroups of version 1.
fn has_limits() -> bool {
    !is_rootless() || Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

fn sh(script: &str) -> BundleSpec {
    BundleSpec::new().command(["sh", "-c", script])
}

/// How a container that dies soon has died, and its last words, whoever notices it.
#[track_caller]
fn death(world: &World, plan: NetworkPlanned, spec: BundleSpec) -> (Exit, String) {
    let slug = plan.slug().clone();
    let died = match plan.launch(&world.engine(), spec) {
        Err(failed) => failed.into_parts().0,
        Ok(bundle) => {
            let error = bundle.wait_for(&Ready::log("what never comes"), LONG).unwrap_err();
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
fn a_container_that_dies_tells_how_and_its_last_words_every_time() {
    let Some(world) = world("dying") else { return };
    let cases: [(&str, BundleSpec, i32, &str); 6] = [
        ("zero", sh("echo out; sleep 0.05; echo err >&2; exit 0"), 0, "out\nerr"),
        ("three", sh("echo one; sleep 0.05; echo last words >&2; exit 3"), 3, "one\nlast words"),
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
                    if number >= 30 * cases.len() {
                        break;
                    }
                    let (name, spec, code, words) = &cases[number % cases.len()];
                    // What nobody bounds would take all the memory that there is.
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
    shout(&format!("out of memory: noticed by the engine {noticed} of 30 times"));
    // Podman 4.3 never does on a host with cgroups of version 1.
    assert!(noticed >= 15 || is_podman() || !has_limits(), "{noticed}");
    let left = cli(&["ps", "--all", "--format", "{{.Names}}"]);
    assert!(!left.contains("-dying-"), "{left}");
}

#[test]
fn a_command_that_does_not_exist_is_said_every_time() {
    let Some(world) = world("no-command") else { return };
    for _ in 0..30 {
        let spec = BundleSpec::new().command(["/no/such/program"]);
        let failed = world.plan().launch(&world.engine(), spec).unwrap_err();
        assert_eq!(
            failed.error().cause(),
            Some(sidecar_bundle::Cause::CommandNotRun),
            "{failed:?}"
        );
        let Error::Start { source, .. } = failed.error() else { panic!("{failed:?}") };
        assert_eq!(source.status().unwrap().code(), Some(127));
    }
    world.assert_nothing_left();
}

#[test]
fn each_condition_is_met_or_is_said_to_be_missing() {
    let Some(world) = world("conditions") else { return };
    let egress = Daemon::new("egress").ready(Ready::http(8080, "/", 200)).ready(Ready::tcp(8080));
    let spec = BundleSpec::new()
        .daemon(egress)
        .daemon(Daemon::new("pipelock").ready(Ready::log("pipelock: listening on 8081")))
        .engine_option("--health-cmd=test -e /tmp/healthy")
        .engine_option("--health-interval=200ms");
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    if is_rootless() {
        let error = bundle.wait_ready(LONG).unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        bundle.wait_for(&Ready::log("supervisor: ready"), LONG).unwrap();
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
            "waited 300ms in vain for TCP port 1; seen last: TCP port 1: Connection refused (os error 111)",
        ),
        (
            Ready::http(8080, "/none", 200),
            "waited 300ms in vain for HTTP status 200 of port 8080 at /none; seen last: HTTP status 404 of port 8080",
        ),
        (
            Ready::log_matching("^never$").unwrap(),
            "waited 300ms in vain for a log line like \"^never$\"; seen last: the log line \"supervisor: ready\"",
        ),
        (Ready::any([]), "waited 300ms in vain for what never comes; seen last: nothing"),
        (
            Ready::all([Ready::tcp(8080), Ready::check("the moon", || false)]),
            "waited 300ms in vain for TCP port 8080 and the moon; seen last: nothing",
        ),
    ] {
        let error = bundle.wait_for(&missing, short).unwrap_err().to_string();
        let log = "egress: listening on 8080\npipelock: listening on 8081\nsupervisor: ready";
        assert_eq!(error, format!("{text}; its log ends with:\n{log}"));
    }
    let error = bundle.wait_for(&Ready::healthy(), short).unwrap_err().to_string();
    assert!(error.contains("in vain for its health check; seen last: health check "), "{error}");
    bundle.exec(["touch", "/tmp/healthy"], LONG).unwrap();
    if is_podman() {
        // It has its checks run by systemd, where there is one.
        cli(&["healthcheck", "run", bundle.container_id()]);
    }
    bundle.wait_for(&Ready::healthy(), LONG).unwrap();
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn what_was_met_just_before_death_is_not_up() {
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
        match bundle.wait_for(&Ready::log("ready"), LONG) {
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
fn logs_exits_and_commands_are_told_as_they_are() {
    let Some(world) = world("inside") else { return };
    let spec = sh(
        "echo one; sleep 0.05; echo two >&2; sleep 0.05; echo three; while ! [ -e /tmp/end ]; do sleep 0.05; done; echo end; exit 9",
    );
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    bundle.wait_for(&Ready::log("three"), LONG).unwrap();
    let line = |line: &sidecar_bundle::LogLine| (line.stream, line.text.clone());
    let told: Vec<_> = bundle.logs(None).unwrap().iter().map(line).collect();
    assert_eq!(
        told,
        [
            (LogStream::Stdout, "one".into()),
            (LogStream::Stderr, "two".into()),
            (LogStream::Stdout, "three".into())
        ]
    );
    assert_eq!(bundle.logs(1).unwrap().iter().map(line).collect::<Vec<_>>(), told[2..]);

    let output = bundle.exec(["sh", "-c", "echo hi; echo ho >&2; exit 7"], LONG).unwrap();
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (7, "hi\n", "ho\n"));
    assert_eq!(
        bundle.exec(["/no/such/program"], LONG).unwrap().code & !1,
        126,
        "126 or 127, by the engine's version"
    );
    let error = bundle.exec(["sleep", "5"], Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.to_string(), "sleep could not be run to its end in the container");
    assert_eq!(error.cause(), Some(sidecar_bundle::Cause::TimedOut));

    let status = bundle.status().unwrap();
    assert_eq!((status.state, status.exit, status.health), (State::Running, None, None));
    assert_eq!(status.address, Some(bundle.ip()));
    assert_eq!(bundle.wait_exit(Duration::from_millis(200)).unwrap(), None);

    let mut followed = bundle.follow_logs(1).unwrap();
    assert_eq!(followed.next().unwrap().text, "three");
    bundle.exec(["touch", "/tmp/end"], LONG).unwrap();
    let followed: Vec<_> = followed.map(|line| line.text).collect();
    assert_eq!(followed, ["end"]);
    assert_eq!(bundle.wait_exit(LONG).unwrap().unwrap().code, 9);
    let error = bundle.exec(["true"], LONG).unwrap_err();
    assert!(matches!(error, Error::Exec { .. }), "{error:?}");
    cli(&["rm", "--force", "--volumes", bundle.container_id()]);
    let error = bundle.status().unwrap_err();
    assert_eq!(
        error.to_string(),
        "container claude-bottle-sidecars-inside does not exist any more"
    );
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_grace_period_is_given_and_costs_no_more() {
    let Some(world) = world("grace") else { return };
    let closed_after = |spec: BundleSpec| {
        let bundle = world.plan().launch(&world.engine(), spec).unwrap();
        bundle.wait_for(&Ready::log("up"), LONG).unwrap();
        let start = Instant::now();
        bundle.close().unwrap();
        world.assert_nothing_left();
        start.elapsed()
    };
    let deaf = "trap '' TERM; echo up; while :; do sleep 0.1; done";
    let polite = "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done";
    let two = Duration::from_secs(2);
    let at_once = closed_after(sh(deaf));
    let given = closed_after(sh(deaf).stop_grace(two));
    let taken = closed_after(sh(polite).stop_grace(Duration::from_secs(30)));
    shout(&format!(
        "closing: at once {at_once:.2?}, a grace of 2 s {given:.2?}, not needed {taken:.2?}"
    ));
    assert!(given >= two && given < two + Duration::from_secs(5), "{given:?}");
    assert!(at_once < two && taken < Duration::from_secs(8), "{at_once:?} {taken:?}");
}

#[test]
fn every_option_is_on_the_engine() {
    let Some(world) = world("options") else { return };
    let spec = BundleSpec::new()
        .entrypoint("sh")
        .command(["-c", "echo $0 $1; exec sleep 60", "a b", "--name=x"])
        .user("1000:1000")
        .label("acme.role", "sidecar,=x")
        .volume("sidecar-bundle-test-volume", "/volume")
        .tmpfs("/scratch", 1 << 20)
        .publish(Publish::tcp(8080).on_address([127, 0, 0, 1]).on_port(18080))
        .publish(Publish::udp(53))
        .extra_host("gateway.acme", [10, 1, 2, 3])
        .memory(64 << 20)
        .cpus(0.5)
        .pids(99)
        .add_capabilities(["NET_ADMIN"])
        .drop_capabilities(["NET_RAW"])
        .no_new_privileges(true)
        .security_option("apparmor=unconfined")
        .read_only_root(true)
        .init(true)
        .restart(Restart::OnFailure(Some(2)))
        .engine_option("--hostname=inside")
        .engine_option("--tty=true");
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    let container = inspect("container", bundle.container_id()).unwrap();
    let (config, host) = (&container["Config"], &container["HostConfig"]);
    let has = |list: &serde_json::Value, text: &str| {
        assert!(list.as_array().unwrap().iter().any(|it| it == text), "{text} is not in {list}");
    };
    let entrypoint = config["Entrypoint"].get(0).unwrap_or(&config["Entrypoint"]);
    assert_eq!(entrypoint, "sh");
    assert_eq!(config["Cmd"][3], "--name=x");
    assert_eq!(config["User"], "1000:1000");
    assert_eq!(config["Labels"]["acme.role"], "sidecar,=x");
    assert_eq!(config["Hostname"], "inside");
    assert_eq!(config["Tty"], true);
    let mounts = container["Mounts"].as_array().unwrap();
    assert!(mounts.iter().any(|it| it["Name"] == "sidecar-bundle-test-volume"), "{mounts:?}");
    let in_memory = host["Tmpfs"]["/scratch"].is_string();
    assert!(in_memory || mounts.iter().any(|it| it["Destination"] == "/scratch"), "{mounts:?}");
    assert_eq!(host["PortBindings"]["8080/tcp"][0]["HostPort"], "18080");
    assert_eq!(host["PortBindings"]["8080/tcp"][0]["HostIp"], "127.0.0.1");
    assert!(host["PortBindings"]["53/udp"].is_array());
    has(&host["ExtraHosts"], "gateway.acme:10.1.2.3");
    if has_limits() {
        let (memory, swap) = (&host["Memory"], &host["MemorySwap"]);
        assert_eq!((memory, swap), (&(64 << 20).into(), &(64 << 20).into()));
        assert_eq!(host["NanoCpus"], 500_000_000);
        assert_eq!(host["PidsLimit"], 99);
    }
    assert!(host["CapAdd"].to_string().contains("NET_ADMIN"));
    assert!(host["CapDrop"].to_string().contains("NET_RAW"));
    has(&host["SecurityOpt"], "no-new-privileges");
    has(&host["SecurityOpt"], "apparmor=unconfined");
    assert_eq!((&host["ReadonlyRootfs"], &host["Init"]), (&true.into(), &true.into()));
    assert_eq!(host["RestartPolicy"]["Name"], "on-failure");
    assert_eq!(host["RestartPolicy"]["MaximumRetryCount"], 2);
    bundle.wait_for(&Ready::log("a b --name=x"), LONG).unwrap();
    bundle.close().unwrap();
    assert!(inspect("volume", "sidecar-bundle-test-volume").is_some(), "a named one stays");
    cli(&["volume", "rm", "sidecar-bundle-test-volume"]);
    world.assert_nothing_left();
}

#[test]
fn a_hardened_bundle_can_do_less_harm() {
    let Some(world) = world("hardened") else { return };
    let spec = BundleSpec::new().hardened().memory(128 << 20).pids(40);
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    bundle.wait_for(&Ready::log("supervisor: ready"), LONG).unwrap();
    let run = |script: &str| bundle.exec(["sh", "-c", script], LONG).unwrap();
    assert_ne!(run("touch /here").code, 0, "the root can be written");
    assert_eq!(run("touch /tmp/here").code, 0);
    let status = run("cat /proc/1/status").stdout;
    for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line} is not in {status}");
    }
    assert_ne!(run("chown 1000 /tmp/here").code, 0, "owners can be changed without a capability");
    let forks = run("for i in $(seq 100); do sleep 3 & done; echo all");
    let all = forks.stdout.contains("all");
    assert_eq!(all, !has_limits(), "100 processes where 40 are allowed: {forks:?}");
    bundle.close().unwrap();

    let spec = BundleSpec::new()
        .hardened()
        .drop_capabilities([""; 0])
        .no_new_privileges(false)
        .read_only_root(false)
        .without_tmpfs("/tmp")
        .pids(None)
        .memory(None);
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    let status = bundle.exec(["cat", "/proc/1/status"], LONG).unwrap().stdout;
    assert!(status.contains("NoNewPrivs:\t0") && !status.contains("CapEff:\t0000000000000000"));
    assert_eq!(bundle.exec(["touch", "/here"], LONG).unwrap().code, 0);
    bundle.close().unwrap();
    world.assert_nothing_left();
}

/// A registry of the test's own, in the network namespace of the engine that is to pull from it.
struct Registry {
    process: std::process::Child,
    _directory: tempfile::TempDir,
    port: u16,
}

impl Registry {
    /// `None` where the program is missing, said loudly.
    fn start() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let config = directory.path().join("config.yml");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            directory.path().display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = std::process::Command::new("docker-registry");
        if is_rootless() && !is_podman() {
            // Its engine is a daemon in namespaces of the user's, and podman is no daemon.
            let room = std::env::var("SIDECAR_BUNDLE_ENGINE_ROOM").unwrap();
            let engine = std::fs::read_to_string(Path::new(&room).join("run/docker.pid")).unwrap();
            command = std::process::Command::new("nsenter");
            command.args(["--preserve-credentials", "--user", "--net", "--target", engine.trim()]);
            command.arg("docker-registry");
        }
        let process = command
            .arg("serve")
            .arg(&config)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn();
        let Ok(process) = process else {
            assert!(!required(), "docker-registry is required");
            shout("SKIPPED pulling: there is no docker-registry");
            return None;
        };
        let registry = Self { process, _directory: directory, port };
        let deadline = Instant::now() + LONG;
        // A socket that listens at this port, in the registry's own namespace.
        let sockets = format!("/proc/{}/net/tcp", registry.process.id());
        let listens = format!(" 0100007F:{port:04X} 00000000:0000 0A ");
        while !std::fs::read_to_string(&sockets).unwrap_or_default().contains(&listens) {
            assert!(Instant::now() < deadline, "the registry does not start");
            thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn an_image_is_pulled_when_the_policy_says_so() {
    let Some(world) = world("pull") else { return };
    let Some(registry) = Registry::start() else { return };
    let image = format!("127.0.0.1:{}/sidecars:1", registry.port);
    cli(&["tag", "claude-bottle-sidecars:latest", &image]);
    if is_podman() {
        cli(&["push", "--tls-verify=false", &image]);
    } else {
        cli(&["push", &image]);
    }
    cli(&["image", "rm", &image]);
    let spec = |pull| BundleSpec::new().image(&image).pull(pull);

    let failed = world.plan().launch(&world.engine(), spec(Pull::Never)).unwrap_err();
    assert_eq!(failed.error().cause(), Some(sidecar_bundle::Cause::ImageMissing), "{failed:?}");
    assert!(inspect("image", &image).is_none());
    for pull in [Pull::IfMissing, Pull::IfMissing, Pull::Always] {
        let bundle = world.plan().launch(&world.engine(), spec(pull)).unwrap();
        assert!(inspect("image", &image).is_some());
        bundle.close().unwrap();
    }
    let missing = format!("127.0.0.1:{}/none:1", registry.port);
    let spec = BundleSpec::new().image(&missing);
    let failed = world.plan().launch(&world.engine(), spec).unwrap_err();
    assert_eq!(failed.error().to_string(), format!("image {missing} could not be pulled"));
    cli(&["image", "rm", &image]);
    world.assert_nothing_left();
}

#[test]
fn two_hundred_followers_and_commands_come_and_go() {
    let Some(world) = world("crowd") else { return };
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sidecar-bundle-test-followers"))
        .arg(program())
        .arg(world.state.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world.assert_nothing_left();
}

#[test]
fn a_secret_is_nowhere_but_in_the_container() {
    let Some(world) = world("secret") else { return };
    let secret = "hunter2-is-not-to-be-seen";
    let spec = sh("echo my token is $TOKEN; exit 3").secret("TOKEN", secret);
    let error = match world.plan().launch(&world.engine(), spec) {
        Err(failed) => failed.into_parts().0,
        Ok(bundle) => bundle.wait_for(&Ready::log("never"), LONG).unwrap_err(),
    };
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("my token is ***") && !shown.contains(secret), "{shown}");

    let spec = BundleSpec::new().secret("TOKEN", secret);
    let bundle = world.plan().launch(&world.engine(), spec).unwrap();
    let env = bundle.exec(["sh", "-c", "echo $TOKEN"], LONG).unwrap();
    assert_eq!(env.stdout.trim(), secret);
    let found: Vec<_> = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|it| std::fs::read_to_string(it.path().join("cmdline")).ok())
        .filter(|cmdline| cmdline.contains(secret))
        .collect();
    assert!(found.is_empty(), "{found:?}");
    let shown = format!("{bundle:?}");
    assert!(!shown.contains(secret), "{shown}");
    bundle.close().unwrap();
    world.assert_nothing_left();
}

async fn use_it_from_async(slug: &'static str) {
    let Some(world) = world(slug) else { return };
    let (plan, engine) = (world.plan(), world.engine());
    let launched = tokio::task::spawn_blocking(move || plan.launch(&engine, BundleSpec::new()));
    let bundle = launched.await.unwrap().unwrap();
    // Straight from async code it works, too: it blocks this thread and needs no runtime.
    bundle.wait_for(&Ready::log("ready"), LONG).unwrap();
    assert_eq!(bundle.status().unwrap().state, State::Running);
    tokio::time::sleep(Duration::from_millis(10)).await;
    drop(bundle);
    world.assert_nothing_left();
    // A task that is dropped drops what it holds.
    let (plan, engine) = (world.plan(), world.engine());
    let task = tokio::spawn(async move {
        let _bundle = plan.launch(&engine, BundleSpec::new()).unwrap();
        std::future::pending::<()>().await;
    });
    tokio::time::sleep(Duration::from_millis(1500)).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    world.assert_nothing_left();
}

#[tokio::test(flavor = "current_thread")]
async fn it_works_in_a_runtime_of_one_thread() {
    use_it_from_async("tokio-one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_in_a_runtime_of_many_threads() {
    use_it_from_async("tokio-many").await;
}
