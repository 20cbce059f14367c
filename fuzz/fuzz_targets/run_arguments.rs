//! From a specification to the arguments of `docker run`: each part is found in its place, and no secret.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use sidecar_bundle::Slug;
use sidecar_bundle::fuzzing::requests;
use sidecar_bundle_fuzz::{SECRET, Specification, target, variable};

/// One record, as the engine's program reads it.
fn fields(record: &str) -> Vec<String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(record.as_bytes());
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 1, "{record:?}");
    records[0].iter().map(str::to_owned).collect()
}

fuzz_target!(|input: Specification<'_>| {
    if input.shows_a_secret() {
        return;
    }
    let Some(requests) = requests(&Slug::new("fuzz").unwrap(), &input.build()) else { return };
    let arguments = requests.arguments;
    assert!(!arguments.iter().any(|it| it.contains(SECRET)), "{arguments:?}");

    // The command is the end, the image before it, and that the first word that is no option.
    let image = arguments.len() - input.command.len() - 1;
    assert_eq!(arguments[image], input.image.0);
    assert_eq!(arguments[image + 1..], input.command);
    assert_eq!(arguments[..2], ["run", "--detach"]);
    let mut at = 2;
    let mut seen = BTreeMap::<&str, Vec<&str>>::new();
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
    let mut expect = |name: &str, mut expected: Vec<String>| {
        let mut found = seen.remove(name).unwrap_or_default();
        found.sort_unstable();
        expected.sort();
        assert_eq!(found, expected, "{name}");
    };

    let mut variables: BTreeMap<String, String> = input
        .variables
        .iter()
        .map(|(name, value, is_secret)| {
            let name = variable(name);
            (name.clone(), if *is_secret { name } else { format!("{name}={value}") })
        })
        .collect();
    let list = "CLAUDE_BOTTLE_SIDECAR_DAEMONS";
    variables.insert(list.into(), format!("{list}={}", input.daemon.0));
    expect("--env", variables.into_values().collect());
    // Of two mounts in memory at one place, the last counts.
    let memory: BTreeMap<_, _> =
        input.tmpfs.iter().map(|(at, size, exec)| (target(at), (size, exec))).collect();
    let (executable, plain): (Vec<_>, Vec<_>) = memory.iter().partition(|(_, (_, exec))| **exec);
    expect(
        "--tmpfs",
        executable
            .into_iter()
            .map(|(at, (size, _))| {
                format!("{at}:exec{}", size.map(|it| format!(",size={it}")).unwrap_or_default())
            })
            .collect(),
    );
    let published = input.ports.iter().map(|(port, host, is_udp, ip)| {
        let host = host.map(|it| it.to_string()).unwrap_or_default();
        let ip = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        format!("{ip}:{host}:{port}/{}", if *is_udp { "udp" } else { "tcp" })
    });
    expect("--publish", published.collect());
    // The program of Docker from 25 on takes an equals sign for the end of a name.
    assert!(input.hosts.iter().all(|(name, _)| !name.0.contains(['=', ':'])));
    expect("--add-host", input.hosts.iter().map(|(name, ip)| format!("{}:{ip}", name.0)).collect());
    expect("--sysctl", input.flags.iter().map(|flag| flag.0.clone()).collect());
    expect("--pull", vec!["never".into()]);

    let mut expected: Vec<Vec<String>> = input
        .mounts
        .iter()
        .map(|(host, at, read_only)| {
            let mut fields = vec![
                "type=bind".into(),
                format!("source=/{}", host.0),
                format!("target={}", target(at)),
            ];
            fields.extend(read_only.then(|| "readonly".into()));
            fields
        })
        .collect();
    expected.extend(input.volumes.iter().map(|(name, at)| {
        vec!["type=volume".into(), format!("source=v{}", name.0), format!("target={}", target(at))]
    }));
    expected.extend(plain.into_iter().map(|(at, (size, _))| {
        let mut fields = vec!["type=tmpfs".into(), format!("target={at}")];
        fields.extend(size.map(|it| format!("tmpfs-size={it}")));
        fields
    }));
    let mounts = seen.remove("--mount").unwrap_or_default();
    let mut mounts: Vec<_> = mounts.into_iter().map(fields).collect();
    (mounts.sort(), expected.sort());
    assert_eq!(mounts, expected);

    let labels = seen.remove("--label").unwrap();
    let (ours, theirs): (Vec<_>, Vec<_>) =
        labels.into_iter().partition(|it| it.starts_with("sidecar-bundle."));
    assert_eq!(ours.len(), 10);
    assert_eq!(
        theirs,
        input.labels.iter().map(|(key, value)| format!("{}={value}", key.0)).collect::<Vec<_>>()
    );
    let rest: Vec<_> = seen.iter().map(|(name, values)| (*name, values.len())).collect();
    assert_eq!(rest, [("--ip", 1), ("--name", 1), ("--network", 1)]);
});
