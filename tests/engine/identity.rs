//! Engines: the one that answers, two at once, over ssh, by context.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use sidecar_bundle::{BundleSpec, Cause, Engine, Error, Reachability};

use crate::engine::{
    await_print, backend, cli, has_bridge, http_body, inspect, is_podman, is_rootless, program,
    required, shout, wait_for, world,
};
use crate::owner::Owner;

#[test]
fn the_engine_that_answers_is_found() {
    let Some(world) = world("net-detect") else { return };
    let found = Engine::detect().unwrap().with_state_dir(world.state.path());
    let expected = if is_podman() { "Podman " } else { "Docker " };
    assert!(found.version().unwrap().starts_with(expected), "{:?}", found.version());
    world.plan().launch(&found, BundleSpec::new()).unwrap().close().unwrap();
    world.assert_nothing_left();
    if is_podman() {
        // By docker's name, and with an address that is docker's own.
        let podman = cli_path();
        let docker = world.state.path().join("docker");
        std::fs::write(&docker, format!("#!/bin/sh\nexec {podman} \"$@\"\n")).unwrap();
        std::fs::set_permissions(&docker, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", world.state.path().display(), std::env::var("PATH").unwrap());
        let mut owner = Owner::program(&["detect".into(), world.engine_words()[1].clone()]);
        owner.env("PATH", path).env("DOCKER_HOST", "unix:///no/such/socket");
        let mut owner = Owner::spawn(owner);
        owner.expect("version", "version Podman ");
        owner.expect("launch net-detect", "up");
        owner.expect("close", "closed");
        owner.end();
        std::fs::remove_file(docker).unwrap();
        world.assert_nothing_left();
    }
    // If none answers, the error has the words of each.
    let mut owner = Owner::program(&world.engine_words());
    owner.env("PATH", world.state.path()).env_remove("DOCKER_HOST");
    let mut owner = Owner::spawn(owner);
    assert_eq!(
        owner.ask("engine detect"),
        "error no engine answers: GET /info was not sent: /var/run/docker.sock: No such file or directory (os error 2); podman was not found; is it installed, and on PATH?"
    );
    owner.end();
}

fn cli_path() -> String {
    let found = Command::new("sh").args(["-c", "command -v podman"]).output().unwrap();
    String::from_utf8(found.stdout).unwrap().trim().to_owned()
}

#[test]
fn two_engines_may_have_the_same_slug_at_once() {
    let Some(world) = world("two-engines") else { return };
    let Some(second) = second_engine() else { return };
    let engines = [world.engine(), second.with_state_dir(world.state.path())];
    let launch = |engine: &Engine| world.plan().launch(engine, BundleSpec::new()).unwrap();
    let [first, second] = [launch(&engines[0]), launch(&engines[1])];
    assert_eq!(first.plan(), second.plan());
    // The address is the first one's here; the second's bridge has it in another network namespace.
    assert!(first.is_reachable() && !second.is_reachable());
    assert_eq!(engines[1].reachability().unwrap(), Reachability::OtherNamespace);
    first.close().unwrap();
    world.assert_nothing_left();
    assert_eq!(second.status().unwrap().address, Some(second.ip()));
    assert!(!second.is_reachable());
    let first = launch(&engines[0]);
    let failed = world.plan().launch(&engines[1], BundleSpec::new()).unwrap_err();
    assert!(matches!(failed.error(), Error::Taken { .. }), "{failed:?}");
    second.close().unwrap();
    assert_eq!(second_has(world.slug), "");
    assert_eq!(first.status().unwrap().address, Some(first.ip()));
    assert!(sidecar_bundle::sweep(&engines[1]).unwrap().is_empty());
    first.close().unwrap();
    world.assert_nothing_left();

    // And when the program is killed.
    for _ in 0..5 {
        let mut owner = Owner::start(&world.engine_words());
        owner.expect("launch two-engines", "up");
        let host = std::env::var("SIDECAR_BUNDLE_SECOND_ENGINE").unwrap();
        // It is Docker, also beside podman.
        let docker = if backend() == "docker-cli" { "docker-cli" } else { "docker" };
        let state = &world.engine_words()[1];
        owner.expect(&format!("engine {docker} host={host} {state}"), "ok");
        owner.expect("launch two-engines", "up");
        assert_ne!(second_has(world.slug), "");
        owner.kill();
        wait_for("the removal of both", || {
            let label = format!("label=sidecar-bundle.slug={}", world.slug);
            let here = cli(&["ps", "--all", "--quiet", "--filter", &label])
                + &cli(&["network", "ls", "--quiet", "--filter", &label]);
            // An engine that removes a network hides it first, and then removes its bridge.
            here.is_empty() && second_has(world.slug).is_empty() && !has_bridge(&world.plan())
        });
        world.assert_nothing_left();
    }
}

#[test]
fn two_ways_to_one_engine_share_its_slugs() {
    let Some(world) = world("two-ways") else { return };
    let path = std::env::var_os("PATH").unwrap();
    let mut paths = std::env::split_paths(&path).map(|it| it.join(program()));
    let other = world.engine().with_program(paths.find(|it| it.exists()).unwrap());
    let bundle = world.plan().launch(&world.engine(), BundleSpec::new()).unwrap();
    let failed = world.plan().launch(&other, BundleSpec::new()).unwrap_err();
    assert!(matches!(failed.error(), Error::Taken { .. }), "{failed:?}");
    bundle.keep().unwrap();
    world.plan().attach(&other).unwrap().keep().unwrap();
    world.plan().attach(&world.engine()).unwrap().close().unwrap();
    world.assert_nothing_left();
}

#[test]
fn a_context_that_leads_to_another_engine_makes_nothing_disappear() {
    let Some(world) = world("repointed") else { return };
    if is_podman() {
        return;
    }
    let Some(_) = second_engine() else { return };
    let second = std::env::var("SIDECAR_BUNDLE_SECOND_ENGINE").unwrap();
    let first = std::env::var("DOCKER_HOST").unwrap();
    let config = tempfile::tempdir().unwrap();
    let docker = |arguments: &[&str]| docker_with(config.path(), arguments);
    let point = |verb: &str, host: &str| {
        docker(&["context", verb, "moving", "--docker", &format!("host={host}")]);
    };
    point("create", &first);
    let mut owner = Owner::program(&[""; 0]);
    owner.env("DOCKER_CONFIG", config.path()).env_remove("DOCKER_HOST");
    let mut owner = Owner::spawn(owner);
    let words = world.engine_words();
    owner.expect(&format!("engine {} context=moving {}", words[0], words[1]), "ok");
    let up = owner.expect("launch repointed", "up");
    let container = up.split(' ').next().unwrap().to_owned();
    point("update", &second);
    owner.cut();
    // The other engine has no such resources, and that does not count.
    let answer = owner.ask("close");
    assert!(answer.contains(&format!("rm --force --volumes {container}")), "{answer}");
    assert!(owner.stderr().contains("another engine answers"), "{}", owner.stderr());
    assert!(inspect("container", &container).is_some());
    // It is another engine's lease there.
    owner.expect("launch repointed", "up");
    owner.expect("close", "closed");
    point("update", &first);
    owner.cut();
    owner.expect("launch repointed", "up");
    owner.expect("close", "closed");
    owner.end();
    world.assert_nothing_left();
}

fn second_engine() -> Option<Engine> {
    let Ok(second) = std::env::var("SIDECAR_BUNDLE_SECOND_ENGINE") else {
        assert!(!required() || is_rootless(), "a second engine is required");
        shout("SKIPPED two engines: SIDECAR_BUNDLE_SECOND_ENGINE is not set");
        return None;
    };
    Some(Engine::docker().with_host(second))
}

/// The ids of a slug's resources on the second engine.
fn second_has(slug: &str) -> String {
    let label = format!("label=sidecar-bundle.slug={slug}");
    let host = std::env::var("SIDECAR_BUNDLE_SECOND_ENGINE").unwrap();
    let list = |arguments: &[&str]| {
        let output = Command::new("docker")
            .args(["--host", &host])
            .args(arguments)
            .args(["--quiet", "--filter", &label])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    list(&["ps", "--all"]) + &list(&["network", "ls"])
}

#[test]
fn an_engine_over_ssh_works_like_a_local_one() {
    let Some(world) = world("over-ssh") else { return };
    let Ok(address) = std::env::var("SIDECAR_BUNDLE_SSH_ENGINE") else {
        assert!(!required() || is_podman() || is_rootless(), "an engine over ssh is required");
        shout("SKIPPED ssh: SIDECAR_BUNDLE_SSH_ENGINE is not set");
        return;
    };
    let engine = Engine::docker().with_host(&address).with_state_dir(world.state.path());
    assert_eq!(engine.version().unwrap(), world.engine().version().unwrap());
    // It is this very host's.
    assert_eq!(engine.reachability().unwrap(), Reachability::Here);
    let bundle = world.plan().launch(&engine, BundleSpec::new()).unwrap();
    assert_eq!(http_body(bundle.ip(), 8080), "egress");
    assert_eq!(inspect("container", bundle.container_id()).unwrap()["State"]["Running"], true);
    await_print(&bundle, "supervisor: ready");
    let failed = world.plan().launch(&engine, BundleSpec::new()).unwrap_err();
    assert!(matches!(failed.error(), Error::Taken { .. }), "{failed:?}");
    bundle.close().unwrap();
    world.assert_nothing_left();
    let nobody = engine.with_host("ssh://root@127.0.0.1:9");
    let error = nobody.reachability().unwrap_err();
    assert_eq!(error.cause(), Cause::EngineUnreachable, "{error:?}");
}

#[test]
fn a_context_leads_to_its_engine() {
    let Some(world) = world("by-context") else { return };
    if is_podman() {
        // Its connections lead to a service of podman's, over ssh or a socket, that is not run here.
        return;
    }
    let Ok(host) = std::env::var("DOCKER_HOST") else {
        assert!(!required(), "DOCKER_HOST is required");
        shout("SKIPPED contexts: DOCKER_HOST is not set");
        return;
    };
    let config = tempfile::tempdir().unwrap();
    let docker = |arguments: &[&str]| docker_with(config.path(), arguments);
    docker(&["context", "create", "near", "--docker", &format!("host={host}")]);
    docker(&["context", "create", "nowhere", "--docker", "host=unix:///no/such/socket"]);
    docker(&["context", "use", "nowhere"]);
    let mut owner = Owner::program(&[""; 0]);
    owner.env("DOCKER_CONFIG", config.path()).env_remove("DOCKER_HOST");
    let mut owner = Owner::spawn(owner);
    owner.expect(&format!("engine {}", backend()), "ok");
    docker(&["context", "use", "near"]);
    // It stays with the context that was chosen when it was made.
    owner.expect("version", "error");
    owner.expect(&format!("engine {}", backend()), "ok");
    owner.expect("version", "version");
    let words = world.engine_words();
    owner.expect(&format!("engine {} context=near {}", words[0], words[1]), "ok");
    let here = owner.ask("reachability") == format!("reachability {}", Reachability::Here);
    assert_eq!(here, !is_rootless());
    owner.expect("launch by-context", "up");
    assert_eq!(owner.ask("reachable"), format!("reachable {}", !is_rootless()));
    owner.expect("close", "closed");
    owner.end();
    world.assert_nothing_left();
}

/// Runs docker with a configuration of its own, and no address from outside.
#[track_caller]
fn docker_with(config: &Path, arguments: &[&str]) {
    let mut docker = Command::new("docker");
    docker.env("DOCKER_CONFIG", config).env_remove("DOCKER_HOST");
    let output = docker.args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
