//! A wrong order of steps does not compile, for the expected reason.
//!
//! Each case in `tests/compile-fail` has one line that is marked with the compiler's code, `//~ E0382`.
//! The case must fail with this code on this line and nothing else; its twin, the same file without
//! that line, must compile.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Code and line of each error, by the name of the program that it is in.
type Errors = BTreeMap<String, Vec<(String, u64)>>;

#[test]
fn each_case_fails_as_marked_and_its_twin_compiles() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases = read_cases(&root.join("tests/compile-fail"));
    assert!(cases.len() >= 9, "{:?}", cases.keys());
    let errors = check(root, &cases);
    for (name, text) in &cases {
        let (code, line, _) = marked(text);
        let found = errors.get(name).cloned().unwrap_or_default();
        assert_eq!(found, [(code, line)], "{name}");
        let twin = errors.get(&format!("{name}_twin"));
        assert_eq!(twin, None, "the twin of {name}");
    }
}

#[test]
#[should_panic(expected = "one marked line")]
fn a_case_without_a_marked_line_is_refused() {
    marked("fn main() {}\n");
}

#[test]
fn a_twin_lacks_the_marked_line_alone() {
    let (code, line, twin) = marked("a\nb //~ E0001\nc\n");
    assert_eq!((code.as_str(), line, twin.as_str()), ("E0001", 2, "a\nc\n"));
}

#[test]
fn errors_are_read_with_their_code_and_line() {
    let message = r#"{"reason":"compiler-message","target":{"name":"x"},"message":{"level":"error","code":{"code":"E0382"},"spans":[{"is_primary":false,"line_start":1},{"is_primary":true,"line_start":7}]}}"#;
    let warning = message.replace("\"error\"", "\"warning\"");
    let errors = read_errors(&format!("{message}\n{warning}\nnot json\n"));
    assert_eq!(errors["x"], [("E0382".to_owned(), 7)]);
    assert_eq!(errors.len(), 1);
}

fn read_cases(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    entries.map(|path| (name(&path), fs::read_to_string(&path).unwrap())).collect()
}

/// The expected code, its line from 1, and the twin.
#[track_caller]
fn marked(text: &str) -> (String, u64, String) {
    let is_marked = |line: &&str| line.contains("//~ ");
    let mut marks = text.lines().zip(1..).filter(|(line, _)| is_marked(line));
    let (Some((mark, line)), None) = (marks.next(), marks.next()) else {
        panic!("a case has one marked line: {text}")
    };
    let code = mark.split_once("//~ ").unwrap().1.trim().to_owned();
    let twin =
        text.lines().filter(|line| !is_marked(line)).fold(String::new(), |mut twin, line| {
            writeln!(twin, "{line}").unwrap();
            twin
        });
    (code, line, twin)
}

/// Compiles all cases and twins at once, as programs of one scratch package.
fn check(root: &Path, cases: &BTreeMap<String, String>) -> Errors {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile-fail");
    let bin = scratch.join("src/bin");
    let _ = fs::remove_dir_all(scratch.join("src"));
    fs::create_dir_all(&bin).unwrap();
    for (name, text) in cases {
        fs::write(bin.join(format!("{name}.rs")), text).unwrap();
        fs::write(bin.join(format!("{name}_twin.rs")), marked(text).2).unwrap();
    }
    let manifest = format!(
        "[package]\nname = \"cases\"\nedition = \"2024\"\n[workspace]\n[dependencies]\nsidecar-bundle = {{ path = {} }}\n",
        // A quoted string of TOML, escapes included, is one of JSON.
        Value::from(root.to_str().unwrap())
    );
    fs::write(scratch.join("Cargo.toml"), manifest).unwrap();
    fs::copy(root.join("Cargo.lock"), scratch.join("Cargo.lock")).unwrap();
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["check", "--offline", "--keep-going", "--message-format=json", "--bins"])
        .current_dir(&scratch)
        .env("CARGO_TARGET_DIR", scratch.join("target"))
        .output()
        .unwrap();
    let errors = read_errors(&String::from_utf8(output.stdout).unwrap());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.is_empty(), "nothing was compiled: {stderr}");
    errors
}

fn read_errors(messages: &str) -> Errors {
    let mut errors = Errors::new();
    for message in messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let (target, message) = (&message["target"]["name"], &message["message"]);
        // "aborting due to 1 previous error" has no place.
        let mut spans = message["spans"].as_array().into_iter().flatten();
        let Some(primary) = spans.find(|span| span["is_primary"] == true) else { continue };
        if message["level"] == "error" {
            let code = message["code"]["code"].as_str().unwrap_or("none").to_owned();
            let line = primary["line_start"].as_u64().unwrap();
            errors.entry(target.as_str().unwrap().to_owned()).or_default().push((code, line));
        }
    }
    errors
}
