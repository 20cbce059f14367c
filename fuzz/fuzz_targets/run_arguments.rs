//! From a specification to the arguments of `docker run`: nothing gets out of its place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidecar_bundle::fuzzing::run_arguments;
use sidecar_bundle::{BundleSpec, Daemon, Slug};

#[derive(arbitrary::Arbitrary, Debug)]
struct Input<'a> {
    image: &'a str,
    daemon: &'a str,
    variables: Vec<(&'a str, &'a str, bool)>,
    mounts: Vec<(&'a str, &'a str, bool)>,
    options: Vec<&'a str>,
    labels: Vec<(&'a str, &'a str)>,
    command: Vec<&'a str>,
}

/// One record, as the engine's program reads it.
fn fields(record: &str) -> Vec<String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(record.as_bytes());
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 1, "{record:?}");
    records[0].iter().map(str::to_owned).collect()
}

fuzz_target!(|input: Input<'_>| {
    let slug = Slug::new("fuzz").unwrap();
    let mut daemon = Daemon::new(input.daemon);
    let mut spec = BundleSpec::new().image(input.image).command(input.command.iter().copied());
    for (name, value, secret) in &input.variables {
        daemon =
            if *secret { daemon.secret(*name, *value) } else { daemon.variable(*name, *value) };
    }
    for (host, target, read_only) in &input.mounts {
        spec =
            if *read_only { spec.mount_read_only(host, target) } else { spec.mount(host, target) };
    }
    spec = input.options.iter().fold(spec, |spec, option| spec.engine_flag(*option));
    spec = input.labels.iter().fold(spec, |spec, (key, value)| spec.label(*key, *value));
    let Some(arguments) = run_arguments(&slug, &spec.daemon(daemon)) else { return };

    // The command is the end, the image before it, and that the first word that is no option.
    let image = arguments.len() - input.command.len() - 1;
    assert_eq!(arguments[image], input.image);
    assert_eq!(arguments[image + 1..], input.command);
    assert_eq!(arguments[..2], ["run", "--detach"]);
    let mut at = 2;
    let mut seen = std::collections::BTreeMap::<&str, Vec<&str>>::new();
    while at < image {
        let (name, value) = match arguments[at].split_once('=') {
            Some((name, value)) => (name, value),
            None => {
                at += 1;
                (arguments[at - 1].as_str(), arguments[at].as_str())
            }
        };
        assert!(name.starts_with("--"), "{name:?}");
        seen.entry(name).or_default().push(value);
        at += 1;
    }
    assert_eq!(at, image);
    for guaranteed in ["--name", "--network", "--ip", "--pull"] {
        assert_eq!(seen[guaranteed].len(), 1, "{guaranteed}");
    }
    assert!(!seen.contains_key("--rm") && !seen.contains_key("--env-file"));
    let ours = seen["--label"].iter().filter(|label| label.starts_with("sidecar-bundle."));
    assert_eq!(ours.count(), 10);
    for (name, value, secret) in &input.variables {
        let literal = format!("{name}={value}");
        let expected = if *secret { name } else { literal.as_str() };
        assert!(seen["--env"].contains(&expected), "{expected:?}");
    }
    let mounts: Vec<_> = seen.get("--mount").into_iter().flatten().map(|it| fields(it)).collect();
    assert_eq!(mounts.len(), input.mounts.len());
    for (host, _, read_only) in &input.mounts {
        let source = format!("source={host}");
        let found = mounts.iter().any(|fields| {
            let read_only_there = fields.len() == 4 && fields[3] == "readonly";
            fields[0] == "type=bind" && fields[1] == source && read_only_there == *read_only
        });
        assert!(found, "{source:?} is not in {mounts:?}");
    }
});
