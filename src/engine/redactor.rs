//! The removal of secret values from what is shown.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Secret values, and the replacement of each by `***`.
#[derive(Clone, Default)]
pub(crate) struct Redactor(Arc<Mutex<BTreeSet<String>>>);

impl Redactor {
    /// Adds a value as it is, quoted as Go does with and without escapes of other scripts, and by line.
    pub(crate) fn add(&self, value: &str) {
        let mut spellings = vec![value.to_owned(), value.escape_debug().to_string(), quoted(value)];
        // A line of a few characters, such as a brace, is no secret, and would hide half the text.
        let lines = value.lines().map(str::trim).filter(|line| line.len() >= 8);
        spellings.extend(lines.map(str::to_owned));
        spellings.retain(|spelling| !spelling.is_empty());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(spellings);
    }

    pub(crate) fn redacted(&self, text: &str) -> String {
        // The longest first, so that a part never keeps the rest from being found.
        let longest_first = self.longest_first();
        longest_first.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }

    /// The length in bytes of the longest value.
    pub(crate) fn longest(&self) -> usize {
        self.longest_first().first().map_or(0, String::len)
    }

    fn longest_first(&self) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = all.iter().cloned().collect();
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        all
    }
}

/// As the `%q` of Go has it, which leaves single quotes and other scripts as they are.
/// <https://pkg.go.dev/strconv#Quote>
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
        c => c.into(),
    };
    value.chars().map(quote).collect()
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
}
