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

/// A source file and the names of its module, from the crate's root.
struct Source {
    path: PathBuf,
    text: String,
    module: Vec<String>,
}

/// The sources of the library, without those that are tests as a whole.
fn library() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let source = |(path, text): (PathBuf, String)| {
        let relative = path.strip_prefix(&root).unwrap().with_extension("");
        let names = relative.iter().map(|name| name.to_str().unwrap().to_owned());
        let module = names.filter(|name| name != "mod" && name != "lib").collect();
        Source { path, text, module }
    };
    let all = sources("src").into_iter().map(source);
    let tests = ["model", "catalogue", "json"];
    all.filter(|it| it.module.first().is_none_or(|it| !tests.contains(&&**it))).collect()
}

impl Source {
    /// The lines of code before the tests.
    fn code(&self) -> impl Iterator<Item = &str> {
        let tests = self.text.match_indices("\n#[cfg(test)]\n").find(|(start, attribute)| {
            let rest = &self.text[start + attribute.len()..];
            rest.lines().next().unwrap().ends_with("mod tests {")
        });
        let code = &self.text[..tests.map_or(self.text.len(), |(start, _)| start)];
        code.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"))
    }

    /// The items of the crate's root in a line: after `crate::`, or after as many `super::` as the module is
    /// deep.
    fn named<'a>(&self, line: &'a str) -> Vec<&'a str> {
        let supers = "super::".repeat(self.module.len());
        let after = |root: &str| line.split(root).skip(1).collect::<Vec<_>>();
        let first = |rest: &'a str| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next();
        let mut rests = after("crate::");
        if !supers.is_empty() {
            rests.extend(after(&supers));
        }
        rests.into_iter().filter_map(first).collect()
    }
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
fn every_file_says_what_it_is() {
    for (path, text) in sources("src") {
        assert!(text.starts_with("//!"), "{}", path.display());
    }
}

#[test]
fn nothing_in_the_library_unwraps_or_expects() {
    for source in library() {
        for line in source.code() {
            for panics in [".unwrap()", ".expect("] {
                assert!(!line.contains(panics), "{}: {line}", source.path.display());
            }
        }
    }
}

/// The layers, each with all modules that it may name; the model only for tests. What the crate exports is
/// named by its module.
const LAYERS: [(&str, &[&str]); 5] = [
    ("plan", &["plan", "invalid"]),
    ("container", &["container", "plan", "digest", "invalid"]),
    ("engine", &["engine", "container", "plan", "status", "host", "digest", "in_turns", "invalid"]),
    ("created", STATE),
    ("running", STATE),
];

/// A state knows nothing of the steps that lead to it and from it.
const STATE: &[&str] = &["container", "created", "engine", "error", "host", "ownership", "plan"];

#[test]
fn no_layer_knows_of_those_above_it() {
    for (layer, may_name) in LAYERS {
        let sources =
            library().into_iter().filter(|it| it.module.first().is_some_and(|it| it == layer));
        let mut files = 0;
        for source in sources {
            files += 1;
            let mut before = "";
            for line in source.code() {
                for name in source.named(line) {
                    let is_test = name == "model" && before == "#[cfg(test)]";
                    let is_below = may_name.contains(&name);
                    assert!(is_below || is_test, "{}: {line}", source.path.display());
                }
                before = line;
            }
        }
        assert!(files > 0, "{layer}");
    }
}

#[test]
fn no_test_is_ignored_without_a_reason() {
    for (path, text) in sources("tests").into_iter().chain(sources("src")) {
        let ignored = concat!("#[", "ignore]");
        assert!(!text.contains(ignored), "{}", path.display());
    }
}
