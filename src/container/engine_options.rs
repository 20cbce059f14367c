//! The options that have no method: fields of the API's create body, and flags of the program's `run`.
//!
//! Both are lists of what is allowed, decided one by one: nothing on them changes the name, the network, the
//! address, the labels, the environment, the mounts, or what the container is exposed to. A device is like a mount
//! here: the caller names what the container gets. `tests/vectors/create-fields.txt` has the reasons.

use std::fmt;

use serde_json::Value;

use crate::invalid::{InvalidInput, no_nul};

/// A field of the body of `POST /containers/create`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    /// Its path, such as `HostConfig.ShmSize`.
    pub(crate) path: String,
    /// Its value, in JSON.
    pub(crate) json: String,
}

impl Field {
    /// The value as the engine gets it. Of two equal names in an object, only the last counts.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.json).unwrap_or_default()
    }
}

/// The form of a value. Docker refuses another form only at the request, podman takes the parts that it knows, and
/// neither reports an unknown name.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Integer,
    Bool,
    /// A list.
    List(&'static Self),
    /// Any names, each with a text.
    Texts,
    /// These names at most.
    Object(&'static [(&'static str, Self)]),
}

use Form::{Bool, Integer, List, Object, Text, Texts};

const TEXTS: Form = List(&Text);
const RATES: Form = List(&Object(&[("Path", Text), ("Rate", Integer)]));

/// The fields that are allowed, with the form that the API's definition gives them.
const FIELDS: [(&str, Form); 38] = [
    ("Domainname", Text),
    (
        "Healthcheck",
        Object(&[
            ("Interval", Integer),
            ("Retries", Integer),
            ("StartPeriod", Integer),
            ("Test", TEXTS),
            ("Timeout", Integer),
        ]),
    ),
    ("HostConfig.BlkioDeviceReadBps", RATES),
    ("HostConfig.BlkioDeviceReadIOps", RATES),
    ("HostConfig.BlkioDeviceWriteBps", RATES),
    ("HostConfig.BlkioDeviceWriteIOps", RATES),
    ("HostConfig.BlkioWeight", Integer),
    ("HostConfig.BlkioWeightDevice", List(&Object(&[("Path", Text), ("Weight", Integer)]))),
    ("HostConfig.CgroupParent", Text),
    ("HostConfig.CgroupnsMode", Text),
    ("HostConfig.CpuPeriod", Integer),
    ("HostConfig.CpuQuota", Integer),
    ("HostConfig.CpuRealtimePeriod", Integer),
    ("HostConfig.CpuRealtimeRuntime", Integer),
    ("HostConfig.CpuShares", Integer),
    ("HostConfig.CpusetCpus", Text),
    ("HostConfig.CpusetMems", Text),
    ("HostConfig.DeviceCgroupRules", TEXTS),
    (
        "HostConfig.DeviceRequests",
        List(&Object(&[
            ("Capabilities", List(&TEXTS)),
            ("Count", Integer),
            ("DeviceIDs", TEXTS),
            ("Driver", Text),
            ("Options", Texts),
        ])),
    ),
    (
        "HostConfig.Devices",
        List(&Object(&[
            ("CgroupPermissions", Text),
            ("PathInContainer", Text),
            ("PathOnHost", Text),
        ])),
    ),
    ("HostConfig.DnsOptions", TEXTS),
    ("HostConfig.DnsSearch", TEXTS),
    ("HostConfig.GroupAdd", TEXTS),
    ("HostConfig.LogConfig", Object(&[("Config", Texts), ("Type", Text)])),
    ("HostConfig.MemoryReservation", Integer),
    ("HostConfig.MemorySwappiness", Integer),
    ("HostConfig.OomKillDisable", Bool),
    ("HostConfig.OomScoreAdj", Integer),
    ("HostConfig.Runtime", Text),
    ("HostConfig.ShmSize", Integer),
    ("HostConfig.StorageOpt", Texts),
    ("HostConfig.Sysctls", Texts),
    ("HostConfig.Ulimits", List(&Object(&[("Hard", Integer), ("Name", Text), ("Soft", Integer)]))),
    ("Hostname", Text),
    ("Shell", TEXTS),
    ("StopSignal", Text),
    ("StopTimeout", Integer),
    ("WorkingDir", Text),
];

/// Each field once, with a value in JSON.
pub(super) fn check_fields(fields: &[Field]) -> Result<(), InvalidInput> {
    for (number, Field { path, json }) in fields.iter().enumerate() {
        let refused = |problem: &str| {
            Err(InvalidInput::new(format_args!("engine option {path:?} is refused: {problem}")))
        };
        let Some((_, form)) = FIELDS.iter().find(|(name, _)| name == path) else {
            return refused("it is not among those that BundleSpec::engine_option lists");
        };
        match serde_json::from_str::<Value>(json) {
            Err(_) => return refused("its value is not JSON; a string needs quotes"),
            Ok(value) => {
                check_value(&value).or_else(refused)?;
                form.check(&value).or_else(|problem| refused(&problem))?;
            }
        }
        if path == "HostConfig.CgroupnsMode" && !CGROUP_NAMESPACES.contains(&json.trim()) {
            return refused("its value is neither \"private\" nor \"host\"");
        }
        if fields[..number].iter().any(|other| other.path == *path && other.json != *json) {
            return refused("it has two values");
        }
    }
    Ok(())
}

/// Podman's other values name other containers.
const CGROUP_NAMESPACES: [&str; 2] = ["\"private\"", "\"host\""];

impl Form {
    fn check(&self, value: &Value) -> Result<(), String> {
        match (self, value) {
            (Text, Value::String(_)) | (Integer, Value::Number(_)) | (Bool, Value::Bool(_)) => {
                Ok(())
            }
            (List(form), Value::Array(values)) => values.iter().try_for_each(|it| form.check(it)),
            (Texts, Value::Object(values)) => values.values().try_for_each(|it| Text.check(it)),
            (Object(forms), Value::Object(values)) => {
                values.iter().try_for_each(|(name, value)| {
                    let Some((_, form)) = forms.iter().find(|(known, _)| known == name) else {
                        let known: Vec<_> = forms.iter().map(|(name, _)| *name).collect();
                        return Err(format!(
                            "{name:?} is not one of its names: {}",
                            known.join(", ")
                        ));
                    };
                    form.check(value).map_err(|problem| format!("{name}: {problem}"))
                })
            }
            (form, value) => Err(format!("{value} is not {form}")),
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Text => "a string",
            Integer => "an integer",
            Bool => "true or false",
            List(_) => "a list",
            Texts => "an object of strings",
            Object(_) => "an object",
        })
    }
}

/// Refuses what an engine would not read as it was written.
fn check_value(value: &Value) -> Result<(), &'static str> {
    const NUL: &str = "its value contains a NUL byte";
    match value {
        // Engines read it as "not set", except in lists: there, Docker's handler may panic.
        Value::Null => Err("its value is or contains null, which sets nothing"),
        // No field has fractions, and a greater integer would not arrive as it is.
        Value::Number(number) if number.is_f64() => {
            Err("its value contains a number that is not an integer of 64 bits")
        }
        Value::String(text) if text.contains('\0') => Err(NUL),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        Value::Array(values) => values.iter().try_for_each(check_value),
        Value::Object(values) if values.keys().any(|name| name.contains('\0')) => Err(NUL),
        Value::Object(values) => values.values().try_for_each(check_value),
    }
}

/// Options of docker's and podman's `run` that change nothing that the library guarantees.
const FLAGS: [&str; 39] = [
    "blkio-weight",
    "cgroup-parent",
    "cgroupns",
    "cpu-period",
    "cpu-quota",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cpu-shares",
    "cpuset-cpus",
    "cpuset-mems",
    "device",
    "device-cgroup-rule",
    "dns-opt",
    "dns-option",
    "dns-search",
    "domainname",
    "gpus",
    "group-add",
    "health-cmd",
    "health-interval",
    "health-retries",
    "health-start-period",
    "health-timeout",
    "hostname",
    "log-driver",
    "log-opt",
    "mac-address",
    "memory-reservation",
    "memory-swappiness",
    "no-healthcheck",
    "oom-kill-disable",
    "oom-score-adj",
    "platform",
    "runtime",
    "shm-size",
    "stop-signal",
    "stop-timeout",
    "sysctl",
    "ulimit",
];

/// One word, in its long form with its value: without one, an option takes the next word of the command.
pub(super) fn check_flag(option: &str) -> Result<(), InvalidInput> {
    let refused = |problem: &str| {
        Err(InvalidInput::new(format_args!("engine flag {option:?} is refused: {problem}")))
    };
    let Some(word) = option.strip_prefix("--") else {
        return refused("write it in its long form, such as --shm-size=1g");
    };
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    if !FLAGS.contains(&name) {
        return refused("it is not among those that BundleSpec::engine_flag lists");
    }
    if name.len() == word.len() {
        return refused("it has no value, such as in --shm-size=1g");
    }
    if name == "cgroupns" && !CGROUP_NAMESPACES.iter().any(|it| it.trim_matches('"') == value) {
        return refused("its value is neither private nor host");
    }
    no_nul("engine flag", option)
}

/// A value that each field may have, which sets nothing where it can.
#[cfg(test)]
pub(crate) fn harmless(path: &str) -> &'static str {
    if path == "HostConfig.CgroupnsMode" {
        return "\"private\"";
    }
    match FIELDS.iter().find(|(name, _)| *name == path).map(|(_, form)| form) {
        Some(Integer) => "1",
        Some(Bool) => "true",
        Some(List(_)) => "[]",
        Some(Texts | Object(_)) => "{}",
        Some(Text) | None => "\"NetworkMode\"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The path and the decision of each field.
    fn decisions() -> Vec<(&'static str, &'static str)> {
        let rows = include_str!("../../tests/vectors/create-fields.txt").lines();
        let rows = rows.filter(|row| !row.is_empty() && !row.starts_with('#'));
        let decision = |row: &'static str| {
            let [path, versions, decision] =
                row.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
            assert!(versions == "podman-4" || versions.starts_with("1."), "{row}");
            (path, decision)
        };
        rows.map(decision).collect()
    }

    fn is_allowed(decision: &str) -> bool {
        matches!(decision, "allowed" | "allowed on docker")
    }

    fn check(path: &str, json: &str) -> Result<(), InvalidInput> {
        check_fields(&[Field { path: path.to_owned(), json: json.to_owned() }])
    }

    /// The path in spellings that Go takes for the same: letters of either case, and what it folds to them.
    fn spellings(path: &str) -> Vec<String> {
        let upper = path.to_uppercase();
        let swapped = |c: char| {
            if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
        };
        let last = path.rsplit('.').next().unwrap();
        let start = path.strip_suffix(last).unwrap();
        let first = last.chars().next().unwrap();
        let mut spellings = vec![
            path.to_lowercase(),
            upper,
            format!("{start}{}{}", swapped(first), &last[1..]),
            path.replacen("HostConfig", "Hostconfig", 1),
            path.replacen("HostConfig", "hostConfig", 1),
            path.replace(['k', 'K'], "\u{212a}"),
            path.replace(['s', 'S'], "\u{17f}"),
            format!("{path} "),
            format!(" {path}"),
            format!("{path}."),
            format!("{path}\0"),
            format!(".{path}"),
        ];
        spellings.retain(|it| it != path);
        spellings
    }

    #[test]
    fn every_field_of_the_api_is_decided() {
        let decisions = decisions();
        assert!(decisions.len() > 110 && decisions.is_sorted(), "{decisions:?}");
        for (path, decision) in &decisions {
            let reason = decision.strip_prefix("refused: ").map(|it| it.split(' ').count());
            assert!(
                is_allowed(decision) || reason.is_some_and(|words| (2..=8).contains(&words)),
                "{path}"
            );
        }
        let allowed = decisions.iter().filter(|(_, decision)| is_allowed(decision));
        let allowed: Vec<_> = allowed.map(|(path, _)| *path).collect();
        assert_eq!(allowed, FIELDS.map(|(path, _)| path));
    }

    #[test]
    fn a_field_is_accepted_or_refused_as_decided() {
        for (path, decision) in decisions() {
            assert_eq!(check(path, harmless(path)).is_ok(), is_allowed(decision), "{path}");
        }
    }

    #[test]
    fn no_other_spelling_of_a_field_is_accepted() {
        for (path, _) in decisions() {
            for spelling in spellings(path) {
                assert!(check(&spelling, harmless(path)).is_err(), "{spelling:?}");
            }
        }
    }

    #[test]
    fn a_field_of_the_host_config_is_refused_where_old_engines_read_it_too() {
        for name in decisions().iter().filter_map(|(path, _)| path.strip_prefix("HostConfig.")) {
            assert!(check(name, harmless(name)).is_err(), "{name}");
            let inner = format!("InnerHostConfig.{name}");
            assert!(check(&inner, harmless(name)).is_err(), "{inner}");
        }
    }

    #[test]
    fn a_value_that_would_not_arrive_as_it_is_written_is_refused() {
        let deep = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        for value in [
            "",
            "1 2",
            "[] []",
            "[1,]",
            "NaN",
            "null",
            "[null]",
            "{\"a\": {\"b\": [null]}}",
            "1.5",
            "1e3",
            "1e400",
            "18446744073709551616",
            "-9223372036854775809",
            "{\"a\": 99999999999999999999999999}",
            "\"\\u0000\"",
            "{\"a\\u0000\": 1}",
            "\"\\ud800\"",
            &deep,
        ] {
            let refused = check("HostConfig.Sysctls", value).is_err();
            assert!(refused, "{} was let through", &value[..value.len().min(40)]);
        }
        for value in ["-1", "18446744073709551615", " 7 "] {
            check("HostConfig.ShmSize", value).unwrap();
        }
    }

    #[test]
    fn a_value_of_another_form_is_refused() {
        for (path, value) in [
            ("Healthcheck", r#"{"Interval": "1s"}"#),
            ("Healthcheck", r#"{"test": ["NONE"]}"#),
            ("Healthcheck", r#"{"Test": "true"}"#),
            ("Healthcheck", r#"["NONE"]"#),
            ("Hostname", "7"),
            ("HostConfig.DnsSearch", r#""a.example""#),
            ("HostConfig.DnsSearch", "[1]"),
            ("HostConfig.DeviceRequests", r#"[{"Capabilities": ["gpu"]}]"#),
            ("HostConfig.LogConfig", r#"{"Type": "local", "Options": {}}"#),
            ("HostConfig.OomKillDisable", "1"),
            ("HostConfig.ShmSize", r#""1g""#),
            ("HostConfig.Sysctls", r#"{"net.core.somaxconn": 1024}"#),
            ("HostConfig.Ulimits", r#"[{"Name": "nofile", "Soft": 1, "Hrd": 2}]"#),
            ("HostConfig.Ulimits", r#"{"Name": "nofile", "Soft": 1, "Hard": 2}"#),
        ] {
            assert!(check(path, value).is_err(), "{path} = {value} was let through");
        }
        for (path, value) in [
            ("Healthcheck", r#"{"Test": ["CMD", "true"], "Interval": 1000000000, "Retries": 1}"#),
            ("HostConfig.DeviceRequests", r#"[{"Count": -1, "Capabilities": [["gpu"]]}]"#),
            ("HostConfig.Sysctls", r#"{"net.core.somaxconn": "1024"}"#),
            ("HostConfig.Ulimits", r#"[{"Name": "nofile", "Soft": 1, "Hard": 2}]"#),
        ] {
            check(path, value).unwrap_or_else(|error| panic!("{error}"));
        }
        let error = check("Healthcheck", r#"{"Interval": "1s"}"#).unwrap_err().to_string();
        assert!(error.contains("Interval: \"1s\" is not an integer"), "{error}");
    }

    #[test]
    fn of_two_equal_names_the_engine_is_sent_the_last() {
        let json = r#"{"Type": "local", "Type": "none"}"#.to_owned();
        let field = Field { path: "HostConfig.LogConfig".to_owned(), json };
        assert_eq!(field.value().to_string(), r#"{"Type":"none"}"#);
    }

    #[test]
    fn the_control_groups_of_another_container_are_refused() {
        for value in ["container:x", "ns:/proc/1/ns/cgroup", "", "Private"] {
            assert!(check("HostConfig.CgroupnsMode", &format!("\"{value}\"")).is_err(), "{value}");
            assert!(check_flag(&format!("--cgroupns={value}")).is_err(), "{value}");
        }
        for value in ["private", "host"] {
            check("HostConfig.CgroupnsMode", &format!(" \"{value}\"")).unwrap();
            check_flag(&format!("--cgroupns={value}")).unwrap();
        }
    }

    #[test]
    fn a_nul_byte_is_refused_wherever_it_is_in_a_value() {
        for json in [r#""a\u0000""#, r#"["a\u0000"]"#, r#"{"a": "\u0000"}"#, r#"{"a\u0000": "b"}"#]
        {
            let error = check("HostConfig.StorageOpt", json).unwrap_err();
            assert!(error.to_string().contains("NUL"), "{json}: {error}");
        }
        check("HostConfig.StorageOpt", r#"{"a": "b"}"#).unwrap();
    }
}
