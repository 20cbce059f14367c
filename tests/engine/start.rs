//! Starting containers.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use sidecar_bundle::{BundleSpec, Cause, Error, NetworkPlanned, PullPolicy};

use crate::engine::{
    LONG, World, cli, inspect, is_api, is_podman, is_rootless, required, shout, world,
};

#[test]
fn a_missing_image_hands_the_network_back() {
    let Some(world) = world("no-image") else { return };
    let network = world.plan().create_network(&world.engine()).unwrap();
    let spec = BundleSpec::new().image("sidecar-bundle-test-no-such-image:1");
    let failed = network.start(spec).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::ImageMissing), "{failed:?}");
    let bundle = failed.into_state().start(BundleSpec::new()).unwrap();
    bundle.close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_question_mark_after_a_failed_start_removes_the_network() {
    fn launch(plan: NetworkPlanned, engine: &sidecar_bundle::Engine) -> Result<(), Error> {
        let network = plan.create_network(engine)?;
        let _bundle =
            network.start(BundleSpec::new().image("sidecar-bundle-test-no-such-image:1"))?;
        unreachable!("there is no such image")
    }
    let Some(world) = world("question-mark") else { return };
    let error = launch(world.plan(), &world.engine()).unwrap_err();
    assert_eq!(error.cause(), Some(Cause::ImageMissing));
    world.assert_nothing_left();
}

#[test]
fn a_foreign_container_of_the_same_name_is_an_error_and_left_alone() {
    let Some(world) = world("foreign-ctr") else { return };
    let plan = world.plan();
    let name = plan.container_name();
    let image = "claude-bottle-sidecars:latest";
    let id = cli(&["create", "--name", &name, image]).trim().to_owned();
    let failed = plan.launch(&world.engine(), BundleSpec::new()).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::ContainerNameTaken), "{failed:?}");
    let found = inspect("container", &id).unwrap()["Name"].clone();
    assert_eq!(found.as_str().unwrap().trim_start_matches('/'), name);
    cli(&["rm", "--force", "--volumes", &id]);
    world.assert_nothing_left();
}

#[test]
fn a_missing_command_is_an_error_every_time() {
    let Some(world) = world("no-command") else { return };
    for _ in 0..10 {
        let spec = BundleSpec::new().command(["/no/such/program"]);
        let failed = world.plan().launch(&world.engine(), spec).unwrap_err();
        assert_eq!(failed.error().cause(), Some(Cause::CommandNotRun), "{failed:?}");
        let Error::Start { source, .. } = failed.error() else { panic!("{failed:?}") };
        let end = if is_api() { "/start was answered with status " } else { "exit status: 127" };
        assert!(source.to_string().contains(end), "{source}");
    }
    world.assert_nothing_left();
}

#[test]
fn starts_killed_at_their_deadline_leave_nothing() {
    let Some(world) = world("start-deadline") else { return };
    // Sought between the length of a create and that of a start, on this machine at this moment.
    let mut deadline = Duration::from_millis(150);
    let (mut killed, mut tries) = (0, 0);
    while killed < 5 && tries < 100 {
        tries += 1;
        let engine = world.engine().with_start_deadline(deadline);
        match world.plan().create_network(&engine).map(|network| network.start(BundleSpec::new())) {
            Err(failed) => {
                assert_eq!(failed.error().cause(), Some(Cause::TimedOut), "{failed:?}");
                deadline = deadline * 5 / 4;
            }
            Ok(Ok(bundle)) => {
                bundle.close().unwrap();
                deadline = deadline * 4 / 5;
            }
            Ok(Err(failed)) => {
                assert_eq!(failed.error().cause(), Some(Cause::TimedOut), "{failed:?}");
                failed.into_state().close().unwrap();
                killed += 1;
                deadline = deadline * 9 / 10;
            }
        }
        world.assert_nothing_left();
    }
    assert_eq!(killed, 5, "of {tries} starts");
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

    let failed = world.plan().launch(&world.engine(), spec(PullPolicy::Never)).unwrap_err();
    assert_eq!(failed.error().cause(), Some(Cause::ImageMissing), "{failed:?}");
    assert!(inspect("image", &image).is_none());
    for pull in [PullPolicy::IfMissing, PullPolicy::IfMissing, PullPolicy::Always] {
        let bundle = world.plan().launch(&world.engine(), spec(pull)).unwrap();
        assert!(inspect("image", &image).is_some());
        bundle.close().unwrap();
    }
    names_of_contents(&world, &image);
    let missing = format!("127.0.0.1:{}/none:1", registry.port);
    let spec = BundleSpec::new().image(&missing);
    let failed = world.plan().launch(&world.engine(), spec).unwrap_err();
    assert_eq!(failed.error().to_string(), format!("image {missing} could not be pulled"));
    cli(&["image", "rm", &image]);
    world.assert_nothing_left();
}

/// The digest and the id that a bundle tells of its image are accepted as names of it.
fn names_of_contents(world: &World, image: &str) {
    let spec = || BundleSpec::new().require_digest();
    let refused = world.plan().launch(&world.engine(), spec().image(image)).unwrap_err();
    assert!(matches!(refused.error(), Error::Invalid(_)), "{refused:?}");
    let bundle = world.plan().launch(&world.engine(), BundleSpec::new().image(image)).unwrap();
    let (status, all) = (bundle.status().unwrap(), bundle.image_digests().unwrap());
    bundle.close().unwrap();
    let repository = format!("{}@", image.rsplit_once(':').unwrap().0);
    let digests = all.iter().filter(|it| it.starts_with(&repository));
    let launched = |name: &str, pull| {
        let spec = spec().image(name).pull(pull);
        let bundle = world.plan().launch(&world.engine(), spec)?;
        let again = bundle.status()?;
        bundle.close()?;
        assert_eq!(again.image_id, status.image_id);
        Ok(())
    };
    let known: Vec<Result<(), Error>> =
        digests.map(|it| launched(it, PullPolicy::Always)).collect();
    assert!(known.iter().any(Result::is_ok), "{all:?}: {known:?}");
    launched(&status.image_id, PullPolicy::Never).unwrap();
}

/// A registry of the test's own, in the network namespace of the engine that is to pull from it.
struct Registry {
    process: std::process::Child,
    _directory: tempfile::TempDir,
    port: u16,
}

impl Registry {
    /// Prints a notice and returns `None` where the program is missing.
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
        let mut command = Command::new("docker-registry");
        if is_rootless() && !is_podman() {
            // Its engine is a daemon in namespaces of the user's, and podman is no daemon.
            let room = std::env::var("SIDECAR_BUNDLE_ENGINE_ROOM").unwrap();
            let engine = std::fs::read_to_string(Path::new(&room).join("run/docker.pid")).unwrap();
            command = Command::new("nsenter");
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
