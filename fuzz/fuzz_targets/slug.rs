//! A slug is accepted if it is of the documented language, and all names of it are legal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidecar_bundle::{Naming, NetworkPlanned, Slug};

/// Lower-case letters, digits, `-`, `_` and `.`, of which the first is a letter or a digit.
fn is_name(text: &[u8], max: usize) -> bool {
    let is_alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=max).contains(&text.len())
        && is_alphanumeric(&text[0])
        && text.iter().all(|byte| is_alphanumeric(byte) || b"-_.".contains(byte))
}

// A slug, and a prefix on the next line.
fuzz_target!(|text: &str| {
    let (text, prefix) = text.split_once('\n').unwrap_or((text, "p"));
    let slug = Slug::new(text);
    assert_eq!(slug.is_ok(), is_name(text.as_bytes(), 40));
    let naming = Naming::new(prefix);
    assert_eq!(naming.is_ok(), is_name(prefix.as_bytes(), 13));
    let (Ok(slug), Ok(naming)) = (slug, naming) else { return };
    assert_eq!(slug.to_string(), text);
    assert_eq!(slug.to_string().parse(), Ok(slug.clone()));

    let variable = naming.daemons_variable().as_bytes();
    assert!(!variable[0].is_ascii_digit() && variable.ends_with(b"_SIDECAR_DAEMONS"));
    let is_upper = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    assert!(variable.iter().all(is_upper));

    let plan = NetworkPlanned::new(slug).with_naming(naming);
    // As many characters as a label of the domain name system has.
    for (name, kind) in [(plan.network_name(), "bundle"), (plan.container_name(), "sidecars")] {
        assert!(is_name(name.as_bytes(), 63), "{name}");
        assert_eq!(name, format!("{prefix}-{kind}-{text}"));
    }
    let bridge = plan.derived_bridge_name();
    assert_eq!(bridge.len(), 15);
    assert!(bridge.bytes().all(|byte| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte)));
    assert_eq!(plan.clone().derived_bridge_name(), bridge);
});
