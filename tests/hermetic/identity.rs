//! The engine that commands go to, by the environment.

use std::fs;
use std::path::PathBuf;

use crate::fake::{Fake, NETWORK};
use crate::owner::Owner;

/// The context that `docker context use` wrote down.
#[test]
fn the_context_that_the_user_has_chosen_is_that_of_the_configuration() {
    let fake = Fake::new();
    let config = |home: &str, name: &str| {
        let directory = fake.path(home);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("config.json"), format!(r#"{{"currentContext": "{name}"}}"#))
            .unwrap();
        directory
    };
    let (own, _) = (config("own", "chosen"), config("home/.docker", "of-home"));
    for (directory, context) in [(own, "chosen"), (PathBuf::new(), "of-home")] {
        let mut owner = Owner::program(&fake.engine_words());
        owner.env("DOCKER_CONFIG", directory).env("HOME", fake.path("home"));
        owner.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT");
        let mut owner = Owner::spawn(owner);
        owner.expect("launch demo", "up");
        owner.expect("close", "closed");
        owner.end();
        let call = fake.calls().pop().unwrap();
        assert_eq!(call.env["DOCKER_CONTEXT"], context);
    }
}

#[test]
fn a_program_that_is_podman_under_dockers_name_is_detected() {
    let fake = Fake::new();
    let mut owner = Owner::program(&[""; 0]);
    owner.envs(["DOCKER_HOST", "CONTAINER_HOST"].map(|name| (name, "unix:///no/such/socket")));
    owner.env("PATH", format!("{}:/usr/bin:/bin", fake.path("").display()));
    let mut owner = Owner::spawn(owner);
    let error = owner.expect("engine detect", "error");
    assert!(error.contains("no engine answers"), "{error}");
    let podman = r#"{"host": {"security": {}}, "version": {"Version": "4.3.1"}}"#;
    fake.on("info", &format!("echo '{podman}'"));
    owner.expect("engine detect", "ok");
    owner.end();
}

#[test]
fn every_command_goes_to_the_engine_that_the_environment_named_first() {
    let host = ("DOCKER_HOST", "tcp://192.0.2.1:1");
    let stray = ("DOCKER_CONTEXT", "another");
    let fake = Fake::new();
    let mut owner = Owner::program(&fake.engine_words());
    owner.envs([host, stray]);
    let mut owner = Owner::spawn(owner);
    let up = owner.expect("launch demo", "up");
    let id = up.split(' ').nth(1).unwrap();
    fake.on("network-rm", "exit 1");
    let error = owner.expect("close", "error");
    let program = fake.path("docker");
    let program = program.display();
    assert_eq!(
        error,
        format!(
            "network {NETWORK} may be left; \
             remove it with `{program} --host tcp://192.0.2.1:1 network rm {id}`"
        )
    );
    owner.end();
    for call in fake.calls() {
        assert_eq!(call.env[host.0], host.1);
        // The program prefers the host; with both set it warns.
        assert!(!call.env.contains_key(stray.0));
    }
}

#[test]
fn the_default_engine_is_named_in_every_command() {
    let fake = Fake::new();
    let mut owner = Owner::program(&fake.engine_words());
    owner.envs([
        ("DOCKER_HOST", ""),
        ("DOCKER_CONTEXT", ""),
        ("DOCKER_CONFIG", "no-such-directory"),
    ]);
    let mut owner = Owner::spawn(owner);
    owner.expect("launch demo", "up");
    owner.expect("close", "closed");
    owner.end();
    let here = std::env::current_dir().unwrap();
    for call in fake.calls() {
        assert_eq!(call.env["DOCKER_CONTEXT"], "default");
        assert_eq!(call.env["DOCKER_CONFIG"], here.join("no-such-directory").to_str().unwrap());
    }
}
