//! From an answer of any form: nothing is read that it does not contain.
#![no_main]

use std::net::IpAddr;

use arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sidecar_bundle::fuzzing::{container_in, engine_in, listed_in, network_in};

/// Names and texts that mean something to the reader.
const WORDS: [&str; 70] = [
    "Id",
    "id",
    "Name",
    "name",
    "Labels",
    "labels",
    "Config",
    "Image",
    "State",
    "Status",
    "StartedAt",
    "FinishedAt",
    "ExitCode",
    "OOMKilled",
    "Error",
    "Health",
    "NetworkSettings",
    "Networks",
    "NetworkID",
    "IPAddress",
    "GlobalIPv6Address",
    "Ports",
    "HostIp",
    "HostPort",
    "Env",
    "IPAM",
    "Subnet",
    "Gateway",
    "subnets",
    "subnet",
    "gateway",
    "Driver",
    "Options",
    "com.docker.network.bridge.name",
    "network_interface",
    "Containers",
    "Created",
    "created",
    "host",
    "hostname",
    "security",
    "rootless",
    "serviceIsRemote",
    "os",
    "kernel",
    "version",
    "Version",
    "store",
    "graphRoot",
    "SecurityOptions",
    "ProductLicense",
    "ServerVersion",
    "ID",
    "DockerRootDir",
    "Rootless",
    "OperatingSystem",
    "KernelVersion",
    "running",
    "healthy",
    "bridge",
    "Apache-2.0",
    "name=rootless",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "10.1.2.3",
    "fd00::1",
    "10.1.2.0/24",
    "80",
    "20.10.24+dfsg1",
    "0001-01-01T00:00:00Z",
    "2026-01-02T03:04:05+02:00",
];

#[derive(Debug)]
struct Json(Value);

fn text(u: &mut Unstructured<'_>) -> Result<String> {
    let number = usize::from(u8::arbitrary(u)?);
    WORDS.get(number).map_or_else(|| u.arbitrary(), |word| Ok((*word).to_owned()))
}

fn json(u: &mut Unstructured<'_>, depth: u8) -> Result<Value> {
    Ok(match u8::arbitrary(u)? % if depth == 0 { 6 } else { 12 } {
        0 => Value::Null,
        1 => bool::arbitrary(u)?.into(),
        2 => i64::arbitrary(u)?.into(),
        3..6 => text(u)?.into(),
        6 | 7 => (0..u8::arbitrary(u)? % 4).map(|_| json(u, depth - 1)).collect::<Result<_>>()?,
        _ => (0..u8::arbitrary(u)? % 10)
            .map(|_| Ok((text(u)?, json(u, depth - 1)?)))
            .collect::<Result<_>>()?,
    })
}

impl<'a> Arbitrary<'a> for Json {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        json(u, 5).map(Self)
    }
}

/// All names, texts and numbers of a value, as texts.
fn texts(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => all.push(number.to_string()),
        Value::String(text) => all.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|it| texts(it, all)),
        Value::Object(values) => values.iter().for_each(|(name, value)| {
            all.push(name.clone());
            texts(value, all);
        }),
    }
}

/// Returns true if the answer has the text, or has it in another spelling.
fn is_in(answer: &[String], text: &str) -> bool {
    let is_address = |it: &String| it.parse::<IpAddr>().is_ok_and(|it| it.to_string() == text);
    let is_subnet = |it: &String| {
        it.parse::<sidecar_bundle::ipnet::IpNet>().is_ok_and(|it| it.to_string() == text)
    };
    let is_port = |it: &String| it.parse::<u16>().is_ok_and(|it| it.to_string() == text);
    // The name of a container, without its slash; the name of a bridge has the id of its network.
    let known = |it: &String| {
        it == text
            || it.trim_start_matches('/') == text
            || text.strip_prefix("br-").is_some_and(|id| id.len() >= 12 && it.starts_with(id))
    };
    let has = |text: &str| answer.iter().any(|it| it == text);
    answer.iter().any(|it| known(it) || is_address(it) || is_subnet(it) || is_port(it))
        || text.strip_prefix("sha256:").is_some_and(has)
        || ["", "0.0.0.0", "-1"].contains(&text)
}

fuzz_target!(|input: Json| {
    let Json(answer) = input;
    let read = [
        container_in(&answer),
        network_in(false, &answer),
        network_in(true, &answer),
        listed_in(true, &answer),
        listed_in(false, &answer),
        engine_in(&answer),
    ];
    let mut there = Vec::new();
    texts(&answer, &mut there);
    for mut value in read.into_iter().flatten() {
        // The fields that are the reader's own words, and the numbers within a version.
        let value = value.as_object_mut().unwrap();
        for own in ["state", "health", "kind", "numbers"] {
            value.remove(own);
        }
        for value in value.values() {
            let mut found = Vec::new();
            texts(value, &mut found);
            for text in found {
                assert!(is_in(&there, &text), "{text:?} is not in {answer}");
            }
        }
    }
});
