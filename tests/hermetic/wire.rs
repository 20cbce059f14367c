//! The program that leads to an engine.

use std::fs;

use sidecar_bundle::Engine;

use crate::fake::Fake;
use crate::service::is_alive;
use crate::surroundings::wait_for;

#[test]
fn a_program_is_ended_with_its_connection() {
    let fake = Fake::new();
    let info = r#"{"ServerVersion": "20.10.24", "ID": "ID", "Name": "n", "DockerRootDir": "/"}"#;
    // It answers once, and then nothing ends it by itself.
    let snippet = format!(
        r#"
echo $$ >"$dir/pids"
while read -r line && [ "$line" != "$(printf '\r')" ]; do :; done
printf 'HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: %d\r\n\r\n%s' {} '{info}'
exec sleep 600
"#,
        info.len()
    );
    fake.on("system", &snippet);
    let engine = Engine::docker().with_program(fake.path("docker")).with_host("ssh://nobody@host");
    assert_eq!(engine.version().unwrap(), "Docker 20.10.24");
    let pid = fs::read_to_string(fake.path("pids")).unwrap();
    assert!(is_alive(pid.trim()), "the connection is kept");
    drop(engine);
    wait_for("the end of the program", || !is_alive(pid.trim()));
}
