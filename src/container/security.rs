//! Security options, which the engine's program reads before the engine does.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;

use crate::invalid::{InvalidInput, filled};

/// The bytes that a profile may have; Docker's own has 13 KiB.
const LONGEST: u64 = 1 << 20;

/// Security options as the Engine API takes them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Security {
    pub(crate) options: Vec<String>,
    /// Nothing of `/proc` and `/sys` is hidden or read-only.
    pub(crate) unconfined_paths: bool,
}

impl Security {
    /// Reads the profiles of seccomp, and takes out what is no option of the API.
    pub(super) fn read(options: &[String]) -> Result<Self, InvalidInput> {
        let mut security = Self::default();
        for option in options {
            match split(option) {
                ("systempaths", "unconfined") => security.unconfined_paths = true,
                ("seccomp", "builtin" | "unconfined") => security.options.push(option.clone()),
                ("seccomp", path) => security.options.push(format!("seccomp={}", profile(path)?)),
                _ => security.options.push(option.clone()),
            }
        }
        Ok(security)
    }
}

/// Only one option has no value.
pub(super) fn check(option: &str) -> Result<(), InvalidInput> {
    filled("security option", option)?;
    if option != "no-new-privileges" && split(option).1.is_empty() {
        return Err(InvalidInput::new(format_args!("security option {option:?} has no value")));
    }
    Ok(())
}

/// Docker's program still takes a colon where there is no `=`.
fn split(option: &str) -> (&str, &str) {
    option.split_once('=').or_else(|| option.split_once(':')).unwrap_or((option, ""))
}

fn profile(path: &str) -> Result<Value, InvalidInput> {
    let wrong =
        |problem: String| InvalidInput::new(format_args!("the seccomp profile {path:?} {problem}"));
    let text =
        contents(Path::new(path)).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if text.len() as u64 > LONGEST {
        return Err(wrong(format!("is longer than {LONGEST} bytes")));
    }
    serde_json::from_slice(&text).map_err(|error| wrong(format!("is not JSON: {error}")))
}

/// A pipe or a device might never end.
fn contents(path: &Path) -> io::Result<Vec<u8>> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut text = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(options: &[&str]) -> Result<Security, InvalidInput> {
        let options: Vec<_> = options.iter().map(ToString::to_string).collect();
        options.iter().try_for_each(|option| check(option))?;
        Security::read(&options)
    }

    #[test]
    fn a_profile_is_sent_by_its_contents() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a=b:c");
        fs::write(&path, " {\"defaultAction\":\n\"SCMP_ACT_ALLOW\" }\n").unwrap();
        for separator in ["=", ":"] {
            let plain = folder.path().join("plain");
            let path = if separator == "=" { &path } else { &plain };
            fs::copy(folder.path().join("a=b:c"), &plain).unwrap();
            let option = format!("seccomp{separator}{}", path.display());
            let security = read(&["label=disable", &option]).unwrap();
            let profile = r#"seccomp={"defaultAction":"SCMP_ACT_ALLOW"}"#;
            assert_eq!(security.options, ["label=disable", profile]);
        }
    }

    #[test]
    fn what_the_engine_knows_is_passed_through_in_order() {
        let options = [
            "no-new-privileges",
            "seccomp=unconfined",
            "seccomp=builtin",
            "apparmor=a:b=c",
            "label:disable",
            "no-new-privileges=false",
        ];
        assert_eq!(read(&options).unwrap().options, options);
    }

    #[test]
    fn the_paths_of_the_system_are_no_option_of_the_api() {
        let security = read(&["systempaths=unconfined", "label=disable"]).unwrap();
        assert!(security.unconfined_paths);
        assert_eq!(security.options, ["label=disable"]);
    }

    #[test]
    fn a_profile_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let long = format!("\"{}\"", "x".repeat(1 << 20));
        let longest = format!("\"{}\"", "x".repeat((1 << 20) - 2));
        assert!(read(&[&format!("seccomp={}", file("longest", longest.as_bytes()))]).is_ok());
        for (path, problem) in [
            ("/no/such/profile".to_owned(), "cannot be read: "),
            (folder.path().display().to_string(), "cannot be read: it is not a file"),
            ("/dev/zero".to_owned(), "cannot be read: it is not a file"),
            (file("empty", b""), "is not JSON: "),
            (file("text", b"defaultAction: allow"), "is not JSON: "),
            (file("two", b"{} {}"), "is not JSON: "),
            (file("binary", b"{\"\xff\": 1}"), "is not JSON: "),
            (file("long", long.as_bytes()), "is longer than 1048576 bytes"),
        ] {
            let error = read(&[&format!("seccomp={path}")]).unwrap_err().to_string();
            assert!(error.contains(&path) && error.contains(problem), "{error}");
        }
    }

    #[test]
    fn an_option_without_a_value_is_refused() {
        for option in ["", "seccomp", "seccomp=", "apparmor:", "label", "=", "no-new-privileges="] {
            assert!(read(&[option]).is_err(), "{option:?}");
        }
    }
}
