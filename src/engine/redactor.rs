//! The removal of secret values from what is shown.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The shortest value that is replaced, in bytes: one of a character or two would hide half the text.
const MIN_VALUE: usize = 3;
/// The shortest line that is replaced, in bytes: a lone brace is no secret.
const MIN_LINE: usize = 8;

/// Secret values, and the replacement of each by `***`.
#[derive(Clone, Default)]
pub(crate) struct Redactor(Arc<Mutex<BTreeSet<String>>>);

impl Redactor {
    /// Adds a value as a whole, without blanks around it, and by line: as it is, and quoted as Rust, Go and JSON do.
    pub(crate) fn add(&self, value: &str) {
        // The end of a line is no secret.
        let whole = Some(value.trim()).filter(|it| it.len() >= MIN_VALUE);
        let lines = value.lines().map(str::trim).filter(|it| it.len() >= MIN_LINE);
        let spelled = |value: &str| {
            let json = serde_json::Value::from(value).to_string();
            let json = json[1..json.len() - 1].to_owned();
            [value.to_owned(), value.escape_debug().to_string(), quoted(value), json]
        };
        let spellings = whole.into_iter().chain(lines).flat_map(spelled);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(spellings);
    }

    pub(crate) fn redacted(&self, text: &str) -> String {
        // The longest first, so that a part never keeps the rest from being found.
        let longest_first = self.longest_first();
        longest_first.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }

    fn longest_first(&self) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = all.iter().cloned().collect();
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        all
    }
}

/// Quotes as Go's `%q` does. It leaves single quotes and other scripts as they are, and escapes characters that do not
/// print: spaces other than ASCII's, and marks of format. <https://pkg.go.dev/strconv#Quote>
fn quoted(value: &str) -> String {
    let quote = |c: char| match c {
        '\x07' => "\\a".into(),
        '\x08' => "\\b".into(),
        '\x0b' => "\\v".into(),
        '\x0c' => "\\f".into(),
        '\n' => "\\n".into(),
        '\r' => "\\r".into(),
        '\t' => "\\t".into(),
        '"' | '\\' => format!("\\{c}"),
        c if c.is_ascii_control() => format!("\\x{:02x}", u32::from(c)),
        c if prints(c) => c.into(),
        c if c <= '\u{ffff}' => format!("\\u{:04x}", u32::from(c)),
        c => format!("\\U{:08x}", u32::from(c)),
    };
    value.chars().map(quote).collect()
}

/// By the tables of `std`, for all but ASCII, of which there may be much: what is not the first of a text, it escapes if
/// it does not print.
fn prints(c: char) -> bool {
    matches!(c, ' '..='~') || ['a', c].iter().collect::<String>().escape_debug().eq(['a', c])
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_however_it_is_quoted() {
        let redactor = Redactor::default();
        redactor.add("it's \"50 €\"\n\u{1b}\\of the second line");
        for shown in [
            "it's \"50 €\"\n\u{1b}\\of the second line",
            r#"it's \"50 €\"\n\x1b\\of the second line"#,
            r#"it\'s \"50 €\"\n\u{1b}\\of the second line"#,
        ] {
            assert_eq!(redactor.redacted(&format!("said: {shown}!")), "said: ***!", "{shown}");
        }
        assert_eq!(redactor.redacted("said: \u{1b}\\of the second line"), "said: ***");
    }

    #[test]
    fn a_character_that_does_not_print_is_quoted_as_go_does() {
        for (value, shown) in [
            ("pass\u{feff}word", r"pass\ufeffword"),
            ("pass\u{a0}word", r"pass\u00a0word"),
            ("pass\u{85}\u{7f}word", r"pass\u0085\x7fword"),
            ("pass\u{200c}\u{3000}word", r"pass\u200c\u3000word"),
            ("pass\u{e0001}word", r"pass\U000e0001word"),
            ("pässe\u{301}\u{ff9e}'wörd 日本 🦀", "pässe\u{301}\u{ff9e}'wörd 日本 🦀"),
            // A part of JSON.
            ("\"pass\u{feff}\u{1b}word", "\\\"pass\u{feff}\\u001bword"),
        ] {
            let redactor = Redactor::default();
            redactor.add(value);
            assert_eq!(redactor.redacted(&format!("said: {shown}!")), "said: ***!", "{shown}");
        }
        assert_eq!(quoted("e\u{301}\u{ff9e}'"), "e\u{301}\u{ff9e}'");
    }

    #[test]
    fn a_value_is_found_without_its_last_newline_and_its_lines_are_found_quoted() {
        let redactor = Redactor::default();
        redactor.add("hunter2\n");
        redactor.add("{\n  \"key\": \"a-key\",\n}");
        let text = format!("it is hunter2\n, {:?}", "  \"key\": \"a-key\",");
        assert_eq!(redactor.redacted(&text), "it is ***\n, \"  ***\"");
    }

    #[test]
    fn a_value_of_a_character_or_two_hides_nothing() {
        let redactor = Redactor::default();
        for value in ["", "1", "er", "é"] {
            redactor.add(value);
        }
        let text = "exit status 1: no such server: é";
        assert_eq!(redactor.redacted(text), text);
        redactor.add("sér");
        redactor.add("ver");
        assert_eq!(redactor.redacted("a server"), "a ser***");
    }

    #[test]
    fn a_redactor_does_not_print_its_secrets() {
        let redactor = Redactor::default();
        redactor.add("hunter2-is-secret");
        assert_eq!(format!("{redactor:?}"), "***");
    }
}
