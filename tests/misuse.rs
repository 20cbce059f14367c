//! Misuse does not compile, and the compiler's message says what is missing.
//!
//! Each program in `tests/misuse` has its message beside it, and a legal twin of its name in `legal`, which differs in
//! one line. `UPDATE_EXPECT=1` writes the messages anew.
//!
//! All are checked by one run of cargo. trybuild, which runs it for each, took fourteen times as long.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use expect_test::expect_file;
use serde_json::Value;

/// The compiler's messages of each program that it refused, by the name of the program.
type Messages = BTreeMap<String, String>;

#[test]
fn each_program_is_refused_and_each_twin_compiles() {
    let refused: Vec<_> = messages().keys().map(String::as_str).collect();
    let programs = names(&folder());
    assert!(programs.len() >= 30);
    assert_eq!(refused, programs);
}

/// The words differ from one release of the compiler to the next.
#[rustversion::attr(not(stable(1.95)), ignore = "the messages are those of Rust 1.95")]
#[test]
fn each_message_is_as_expected() {
    for (name, message) in messages() {
        expect_file![folder().join(name).with_extension("stderr")].assert_eq(message);
    }
    let files = fs::read_dir(folder()).unwrap().map(|it| it.unwrap().path());
    let expected = files.filter(|it| it.extension().is_some_and(|it| it == "stderr"));
    assert_eq!(expected.count(), messages().len());
}

#[test]
fn a_twin_differs_in_one_line() {
    let (folder, legal) = (folder(), folder().join("legal"));
    assert_eq!(names(&folder), names(&legal));
    for name in names(&folder) {
        let text = |folder: &Path| fs::read_to_string(folder.join(&name).with_extension("rs"));
        let [program, twin] = [text(&folder).unwrap(), text(&legal).unwrap()];
        assert_eq!(program.lines().count(), twin.lines().count(), "{name}");
        let others = program.lines().zip(twin.lines()).filter(|(one, other)| one != other);
        assert_eq!(others.count(), 1, "{name}");
    }
}

#[test]
fn what_is_shown_of_the_library_is_no_part_of_a_message() {
    let shown = "error: no\n   --> src/bin/x.rs:4:5\n    |\n  4 | f();\n    | ^^^\n    ::: /its/src/lib.rs:359:1\n    |\n359 | fn f();\n    | ^^^\n...\n    = note: why\nhelp: so\n";
    let message = "error: no\n   --> x.rs:4:5\n    |\n  4 | f();\n    | ^^^\n   --> the library\n    = note: why\nhelp: so\n";
    assert_eq!(without_the_library(shown), message);
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/misuse")
}

/// The names of the programs in a folder, in alphabetical order.
fn names(folder: &Path) -> Vec<String> {
    let paths = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let programs = paths.filter(|it| it.extension().is_some_and(|it| it == "rs"));
    let mut names: Vec<_> =
        programs.map(|it| it.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// Checks all programs and twins, as programs of one package, `NAME` and `NAME-legal`.
fn messages() -> &'static Messages {
    static MESSAGES: OnceLock<Messages> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("misuse");
        let programs = package.join("src/bin");
        let _ = fs::remove_dir_all(&programs);
        fs::create_dir_all(&programs).unwrap();
        for (folder, suffix) in [(folder(), ""), (folder().join("legal"), "-legal")] {
            for name in names(&folder) {
                let copy = programs.join(format!("{name}{suffix}.rs"));
                fs::copy(folder.join(name).with_extension("rs"), copy).unwrap();
            }
        }
        let manifest = format!(
            "[package]\nname = \"misuse\"\nedition = \"2024\"\n[workspace]\n[dependencies]\nsidecar-bundle = {{ path = {} }}\n",
            // A quoted string of TOML, escapes included, is one of JSON.
            Value::from(root.to_str().unwrap())
        );
        fs::write(package.join("Cargo.toml"), manifest).unwrap();
        fs::copy(root.join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["check", "--offline", "--keep-going", "--message-format=json", "--bins"])
            .current_dir(&package)
            .env("CARGO_TARGET_DIR", package.join("target"))
            .output()
            .unwrap();
        let messages = read_messages(&String::from_utf8(output.stdout).unwrap());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!messages.is_empty(), "nothing was compiled: {stderr}");
        messages
    })
}

fn read_messages(lines: &str) -> Messages {
    let mut messages = Messages::new();
    for line in lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let message = &line["message"];
        // That it gives up after an error has no place.
        if message["level"] == "error"
            && message["spans"].as_array().is_some_and(|it| !it.is_empty())
        {
            let name = line["target"]["name"].as_str().unwrap().to_owned();
            let shown = without_the_library(message["rendered"].as_str().unwrap());
            messages.entry(name).or_default().push_str(&shown);
        }
    }
    messages
}

/// A message without the lines that it shows of the library, and with a margin that does not depend on their numbers.
fn without_the_library(message: &str) -> String {
    let mut is_program = true;
    let line = |line: &str| {
        let rest = line.trim_start();
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_numeric()).unwrap_or(0));
        if let Some(place) = ["--> ", "::: "].iter().find_map(|it| rest.strip_prefix(it)) {
            let program = place.strip_prefix("src/bin/");
            is_program = program.is_some();
            return Some(format!("   --> {}\n", program.unwrap_or("the library")));
        }
        let is_code = rest.starts_with(['|', '.']) || !number.is_empty();
        if is_code && !is_program {
            None
        } else if is_code || rest.starts_with('=') {
            Some(format!("{number:>3}{}{after}\n", if number.is_empty() { " " } else { "" }))
        } else {
            Some(format!("{line}\n"))
        }
    };
    message.lines().filter_map(line).collect()
}
