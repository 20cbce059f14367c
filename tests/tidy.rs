//! The repository checks itself.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// The lines of code before a file's tests.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with("//"))
}

#[test]
fn the_version_stands_in_the_changelog_once() {
    let heading = format!("## {}", env!("CARGO_PKG_VERSION"));
    let changelog = include_str!("../CHANGELOG.md");
    let headings = changelog.lines().filter(|line| {
        line.strip_prefix(&heading).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    });
    assert_eq!(headings.count(), 1);
}

#[test]
fn every_dependency_has_its_reason() {
    let mut reason = false;
    let mut section = "";
    for line in include_str!("../Cargo.toml").lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.contains("dependencies]") && line.contains('=') {
            assert!(reason, "{line}");
        }
        reason = line.starts_with('#');
    }
}

#[test]
fn every_file_says_what_it_is_and_is_not_too_long() {
    for (path, text) in sources("src") {
        assert!(text.starts_with("//!"), "{}", path.display());
        // The model is a test as a whole.
        if path.ends_with("src/model.rs") {
            continue;
        }
        let lines = code(&text).count();
        assert!(lines <= 400, "{} has {lines} lines of code", path.display());
    }
}

#[test]
fn nothing_in_the_library_unwraps_and_only_guards_drop() {
    for (path, text) in sources("src") {
        if path.ends_with("src/model.rs") {
            continue;
        }
        for line in code(&text) {
            assert!(!line.contains(".unwrap()"), "{}: {line}", path.display());
            assert!(!line.contains(".expect("), "{}: {line}", path.display());
            let drops = line.starts_with("impl") && line.contains("Drop for ");
            assert!(!drops || path.ends_with("src/guard.rs"), "{}: {line}", path.display());
        }
    }
}

#[test]
fn no_test_is_ignored() {
    for (path, text) in sources("tests").into_iter().chain(sources("src")) {
        let ignored = concat!("#[", "ignore");
        assert!(!text.contains(ignored), "{}", path.display());
    }
}
