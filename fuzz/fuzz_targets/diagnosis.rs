//! From texts to causes: whatever an engine prints has one, and what is known is found in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidecar_bundle::Cause;

/// As in the unit tests: headings, each with its text.
const CORPUS: &str = include_str!("../../tests/vectors/engine-texts.txt");

fuzz_target!(|input: (&str, u8, &str)| {
    let (before, number, after) = input;
    let cause = Cause::of(before);
    assert_eq!(Cause::of(&before.to_lowercase()), cause, "case");
    assert_eq!(Cause::of(&format!("{before}\n{before}")), cause, "said twice");
    assert_eq!(Cause::of(&format!("\r\n\t {before} \n")), cause, "white space around it");

    let texts: Vec<_> = CORPUS.split("\n== ").skip(1).collect();
    let (heading, known) = texts[usize::from(number) % texts.len()].split_once('\n').unwrap();
    let known_cause = Cause::of(known);
    assert!(heading.starts_with(&format!("{known_cause:?} ")), "{heading}");
    // A line before or after may tell more, but never makes what is known unknown - but for an image that
    // was pulled after all.
    let around = format!("{before}\n{known}\n{after}");
    if known_cause != Cause::Other && !around.to_lowercase().contains("downloaded newer image") {
        assert_ne!(Cause::of(&around), Cause::Other, "{around}");
    }
});
