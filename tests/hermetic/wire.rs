//! The program that leads to an engine.

use std::fs;

use sidecar_bundle::{Engine, Reachability};

use crate::fake::Fake;
use crate::service::is_alive;
use crate::surroundings::wait_for;

/// It answers once with its description, and then nothing ends it by itself.
fn answers_once(info: &str) -> String {
    format!(
        r#"
echo $$ >>"$dir/pids"
while read -r line && [ "$line" != "$(printf '\r')" ]; do :; done
printf 'HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: %d\r\n\r\n%s' {} '{info}'
exec sleep 600
"#,
        info.len()
    )
}

#[test]
fn a_connection_of_podmans_leads_where_podman_says() {
    let fake = Fake::new();
    fake.on(
        "--connection",
        &answers_once(r#"{"ServerVersion": "4.3.1", "ProductLicense": "Apache-2.0"}"#),
    );
    let all = r#"[{"Name": "near", "URI": "ssh://near"}, {"Name": "far", "URI": "ssh://there"}]"#;
    fake.on("system", &format!("echo '{all}'"));
    let engine = Engine::podman().with_program(fake.path("docker")).with_context("far");
    let place = engine.reachability().unwrap();
    let Reachability::Remote { endpoint } = &place else { panic!("{place:?}") };
    assert_eq!(endpoint, "ssh://there");
}

#[test]
fn a_program_is_ended_with_its_connection() {
    let fake = Fake::new();
    let info = r#"{"ServerVersion": "20.10.24", "ID": "ID", "Name": "n", "DockerRootDir": "/"}"#;
    fake.on("system", &answers_once(info));
    let engine = Engine::docker().with_program(fake.path("docker")).with_host("ssh://nobody@host");
    assert_eq!(engine.version().unwrap(), "Docker 20.10.24");
    let pid = fs::read_to_string(fake.path("pids")).unwrap();
    assert!(is_alive(pid.trim()), "the connection is kept");
    drop(engine);
    wait_for("the end of the program", || !is_alive(pid.trim()));
}
