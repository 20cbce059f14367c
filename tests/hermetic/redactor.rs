//! The values of secret and inherited variables show nowhere, whatever the program prints.

use std::fmt::Debug;
use std::thread;
use std::time::Duration;

use sidecar_bundle::{BundleSpec, Error};

use crate::fake::{Fake, plan};
use crate::owner::Owner;
use crate::surroundings::traced;

const QUOTED: &str = "s3cr3t-$VALUE \"quoted\"";

const LINES: &str = "s3cr3t-one {\n\ts3cr3t-two=\\n\n}";

const INHERITED: (&str, &str) = ("HERMETIC_TOKEN", "s3cr3t-inherited \"x\"\ns3cr3t-three");

fn spec() -> BundleSpec {
    BundleSpec::new().secret("API_TOKEN", QUOTED).secret("KEY", LINES)
}

/// Programs that print everything: to standard error and output, failing, succeeding, or never ending.
const BLABBERS: [&str; 7] = [
    "env >&2; exit 1",
    "env; exit 125",
    "env; env >&2; printf 'docker: no start: %s %s.\\n' \"$API_TOKEN\" \"$KEY\" >&2; exit 125",
    "env; exit 0",
    "obey; env >&2; printf 'docker: no start: %s' \"$KEY\" >&2; exit 126",
    "env >&2; printf '%s' \"$KEY\"; exec sleep 60",
    // As an engine written in Go quotes it, and alone.
    r#"printf '%s\n' 'level=error msg="s3cr3t-$VALUE \"quoted\""' >&2; printf %s "$API_TOKEN" >&2; exit 1"#,
];

#[track_caller]
fn assert_no_secret(what: &str, text: &str) {
    assert!(!text.contains("s3cr3t"), "{what}: {text}");
}

#[track_caller]
fn assert_quiet(fake: &Fake, trace: &str, shown: &[&dyn Debug], error: Option<&Error>) {
    assert_no_secret("trace", trace);
    for it in shown {
        assert_no_secret("debug", &format!("{it:?} {it:#?}"));
    }
    if let Some(error) = error {
        assert_no_secret(
            "error",
            &format!("{error:?} {error:#?} {}", fake.chain(error).join("; ")),
        );
    }
    for call in fake.calls() {
        assert_no_secret("arguments", &call.args.join(" "));
    }
}

#[test]
fn nothing_shows_a_secret_on_the_good_path() {
    let fake = Fake::new();
    let (shown, trace) = traced(|| {
        let network = plan().create_network(&fake.engine()).unwrap();
        let shown = format!("{network:?}");
        let bundle = network.start(spec()).unwrap();
        let shown = shown + &format!("{bundle:?}");
        bundle.close().unwrap();
        shown
    });
    assert_quiet(&fake, &trace, &[&spec(), &shown], None);
    let run = &fake.calls()[1];
    assert_eq!((&*run.env["API_TOKEN"], &*run.env["KEY"]), (QUOTED, LINES), "it did get there");
}

#[test]
fn nothing_shows_a_secret_when_the_program_prints_its_environment() {
    thread::scope(|scope| {
        for blabber in BLABBERS {
            scope.spawn(move || {
                let fake = Fake::new();
                fake.on("run", blabber);
                let engine = fake.engine().with_start_deadline(Duration::from_secs(2));
                let (failed, trace) = traced(|| {
                    let network = plan().create_network(&engine).unwrap();
                    network.start(spec()).unwrap_err()
                });
                let debug = format!("{failed:?}");
                let (error, network) = failed.into_parts();
                assert!(matches!(error, Error::Start { .. }), "{error:?}");
                assert_quiet(&fake, &trace, &[&debug, &network], Some(&error));
                network.close().unwrap();
                fake.assert_nothing_left();
            });
        }
    });
}

#[test]
fn nothing_shows_a_secret_when_a_removal_prints_its_environment() {
    let fake = Fake::new();
    let (error, trace) = traced(|| {
        let bundle = plan().launch(&fake.engine(), spec()).unwrap();
        for operation in ["rm", "network-rm", "ps", "network-ls"] {
            fake.on(operation, "env; env >&2; exit 1");
        }
        bundle.close().unwrap_err()
    });
    assert_quiet(&fake, &trace, &[], Some(&error));
}

/// An owner whose environment has the value.
fn heir(fake: &Fake) -> Owner {
    let mut owner = Owner::program(&fake.engine_words());
    owner.arg("start-deadline=2000").env(INHERITED.0, INHERITED.1);
    Owner::spawn(owner)
}

/// Its answer must be an error, and nothing that it prints may have the value.
#[track_caller]
fn assert_quiet_heir(fake: &Fake, owner: Owner, answer: &str) {
    assert!(answer.starts_with("error "), "{answer}");
    assert_no_secret("answer", answer);
    let shown = owner.stderr();
    for part in ["engine command", "span start", "HERMETIC_TOKEN", "EngineError"] {
        assert!(shown.contains(part), "{part:?} is not in {shown}");
    }
    assert_no_secret("trace or debug output", &shown);
    owner.end();
    for call in fake.calls() {
        assert_no_secret("arguments", &call.args.join(" "));
    }
}

#[test]
fn nothing_shows_an_inherited_value_when_run_prints_its_environment() {
    thread::scope(|scope| {
        for blabber in BLABBERS {
            scope.spawn(move || {
                let fake = Fake::new();
                let blabber = [
                    ("$API_TOKEN", "$HERMETIC_TOKEN"),
                    ("$KEY", "$HERMETIC_TOKEN"),
                    (r#"$VALUE \"quoted\""#, r#"inherited \"x\"\ns3cr3t-three"#),
                ]
                .iter()
                .fold(blabber.to_owned(), |it, (from, to)| it.replace(from, to));
                fake.on("run", &blabber);
                let mut owner = heir(&fake);
                let answer = owner.ask("launch demo inherit=HERMETIC_TOKEN");
                assert_quiet_heir(&fake, owner, &answer);
                fake.assert_nothing_left();
            });
        }
    });
}

#[test]
fn nothing_shows_an_inherited_value_when_a_removal_prints_its_environment() {
    let fake = Fake::new();
    let mut owner = heir(&fake);
    owner.expect("launch demo inherit=HERMETIC_TOKEN", "up");
    for operation in ["rm", "network-rm", "ps", "network-ls"] {
        // The last word is the value.
        fake.on(operation, "env >&2; echo \"$HERMETIC_TOKEN\" >&2; exit 1");
    }
    let answer = owner.ask("close");
    assert_quiet_heir(&fake, owner, &answer);
}
