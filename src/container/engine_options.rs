//! The options that have no method: fields of the API's create body, and flags of the program's `run`.
//!
//! Both are lists of what is allowed, decided one by one: nothing on them changes the name, the network, the
//! address, the labels, the environment, the mounts, or what the container is exposed to.

use serde_json::Value;

use super::options::no_nul;
use crate::invalid::InvalidInput;

/// A field of the body of `POST /containers/create`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    /// Its path, such as `HostConfig.Dns`.
    pub(crate) path: String,
    /// Its value, in JSON.
    pub(crate) json: String,
}

impl Field {
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.json).unwrap_or_default()
    }
}

/// The fields that are allowed.
const FIELDS: [&str; 40] = [
    "Domainname",
    "Healthcheck",
    "HostConfig.Annotations",
    "HostConfig.BlkioDeviceReadBps",
    "HostConfig.BlkioDeviceReadIOps",
    "HostConfig.BlkioDeviceWriteBps",
    "HostConfig.BlkioDeviceWriteIOps",
    "HostConfig.BlkioWeight",
    "HostConfig.BlkioWeightDevice",
    "HostConfig.CgroupParent",
    "HostConfig.CgroupnsMode",
    "HostConfig.CpuPeriod",
    "HostConfig.CpuQuota",
    "HostConfig.CpuRealtimePeriod",
    "HostConfig.CpuRealtimeRuntime",
    "HostConfig.CpuShares",
    "HostConfig.CpusetCpus",
    "HostConfig.CpusetMems",
    "HostConfig.DeviceCgroupRules",
    "HostConfig.DeviceRequests",
    "HostConfig.Devices",
    "HostConfig.Dns",
    "HostConfig.DnsOptions",
    "HostConfig.DnsSearch",
    "HostConfig.GroupAdd",
    "HostConfig.LogConfig",
    "HostConfig.MemoryReservation",
    "HostConfig.MemorySwappiness",
    "HostConfig.OomKillDisable",
    "HostConfig.OomScoreAdj",
    "HostConfig.Runtime",
    "HostConfig.ShmSize",
    "HostConfig.StorageOpt",
    "HostConfig.Sysctls",
    "HostConfig.Ulimits",
    "Hostname",
    "Shell",
    "StopSignal",
    "StopTimeout",
    "WorkingDir",
];

/// Each field once, with a value in JSON.
pub(super) fn check_fields(fields: &[Field]) -> Result<(), InvalidInput> {
    for (number, Field { path, json }) in fields.iter().enumerate() {
        let refused = |problem: &str| {
            Err(InvalidInput::new(format_args!("engine option {path:?} is refused: {problem}")))
        };
        if !FIELDS.contains(&&**path) {
            return refused("it is not among those that BundleSpec::engine_option lists");
        }
        if serde_json::from_str::<Value>(json).is_err() {
            return refused("its value is not JSON");
        }
        if fields[..number].iter().any(|other| other.path == *path && other.json != *json) {
            return refused("it has two values");
        }
    }
    Ok(())
}

/// Options of docker's and podman's `run` that change nothing that the library guarantees.
const FLAGS: [&str; 41] = [
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
    "dns",
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
    "network-alias",
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
        return refused("write it in its long form, such as --dns=1.1.1.1");
    };
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    if !FLAGS.contains(&name) {
        return refused("it is not among those that BundleSpec::engine_flag lists");
    }
    if name.len() == word.len() {
        return refused("it has no value, such as in --dns=1.1.1.1");
    }
    no_nul("engine flag", option)
}
