//! The tables and the JSON of the program.

use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use humantime::format_rfc3339_seconds;
use serde::Serialize;
use sidecar_bundle::{BundleInfo, BundleOwner, NetworkPlanned, Swept, SweptOutcome};

use crate::failure::chain;

/// Writes a text. A reader that has gone is no error.
pub(crate) fn write(mut stream: impl Write, text: &str) -> io::Result<()> {
    match stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// The value in JSON, on one line.
pub(crate) fn json(value: &(impl Serialize + ?Sized)) -> io::Result<String> {
    Ok(serde_json::to_string(value)? + "\n")
}

/// The names and addresses of a plan.
pub(crate) fn plan(plan: &NetworkPlanned) -> String {
    let naming = plan.naming();
    let mut rows = vec![
        ["slug", plan.slug().as_str()].map(str::to_owned),
        ["prefix".into(), naming.prefix().into()],
        ["network".into(), plan.network_name()],
        ["container".into(), plan.container_name()],
        ["image".into(), naming.image().into()],
        ["daemons variable".into(), naming.daemons_variable().into()],
        ["derived bridge name".into(), plan.derived_bridge_name()],
        ["attempt".into(), plan.addressing().attempt().to_string()],
        ["subnet".into(), plan.subnet().to_string()],
        ["gateway".into(), plan.gateway().to_string()],
        ["address".into(), plan.ip().to_string()],
        ["allowlist".into(), plan.allowlist().to_string()],
        ["loopback".into(), plan.loopback().to_string()],
    ];
    if let Some(ipv6) = plan.ipv6() {
        rows.extend([
            ["IPv6 subnet".into(), ipv6.subnet().to_string()],
            ["IPv6 gateway".into(), ipv6.gateway().to_string()],
            ["IPv6 address".into(), ipv6.bundle_ip().to_string()],
            ["IPv6 allowlist".into(), ipv6.allowlist().to_string()],
        ]);
    }
    table(rows)
}

/// The bundles on an engine.
pub(crate) fn list(bundles: &[BundleInfo]) -> String {
    let heading = ["PREFIX", "SLUG", "STATE", "ADDRESS", "OWNER", "AGE", "GUESTS"];
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let rows = bundles.iter().map(|it| {
        let guests = Some(it.guests.join(",")).filter(|guests| !guests.is_empty());
        [
            it.prefix.clone(),
            it.slug.to_string(),
            or_dash(it.state.map(|state| format!("{state:?}").to_lowercase())),
            or_dash(it.addressing.map(|it| it.bundle_ip().to_string())),
            match it.owner {
                BundleOwner::Alive { pid, .. } => format!("alive ({pid})"),
                other => format!("{other:?}").to_lowercase(),
            },
            or_dash(it.age().map(age)),
            or_dash(guests),
        ]
    });
    table(std::iter::once(heading.map(str::to_owned)).chain(rows))
}

/// An age in its largest unit.
fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ ..120 => format!("{seconds}s"),
        seconds @ ..7_200 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// The outcomes of a sweep.
pub(crate) fn swept(swept: &[Swept]) -> String {
    let heading = ["PREFIX", "SLUG", "SINCE", "OUTCOME"].map(str::to_owned);
    let rows = swept.iter().map(|it| {
        let outcome = match &it.outcome {
            SweptOutcome::Removed { containers, networks, .. } => {
                format!("removed {}", ids(containers, networks))
            }
            SweptOutcome::WouldRemove { containers, networks, .. } => {
                format!("would remove {}", ids(containers, networks))
            }
            SweptOutcome::Held { pid, .. } => format!("alive ({pid})"),
            SweptOutcome::Failed(error) => format!("failed: {}", chain(error)),
            other => format!("{other:?}").to_lowercase(),
        };
        let outcome = match &it.expired {
            Some(end) => {
                let host = it.host.as_deref().unwrap_or("another host");
                format!("{outcome}; of {host}, expired {}", format_rfc3339_seconds(*end))
            }
            None => outcome,
        };
        let since = it.since.map(|it| format_rfc3339_seconds(it).to_string());
        let since = since.unwrap_or_else(|| "-".into());
        [it.prefix.clone(), it.slug.to_string(), since, outcome]
    });
    table(std::iter::once(heading).chain(rows))
}

/// Resources by the beginnings of their ids.
pub(crate) fn ids(containers: &[String], networks: &[String]) -> String {
    let short = |kind, id: &String| format!("{kind} {}", id.get(..12).unwrap_or(id));
    let containers = containers.iter().map(|id| short("container", id));
    containers.chain(networks.iter().map(|id| short("network", id))).collect::<Vec<_>>().join(", ")
}

/// The text on one line, without anything that steers a terminal or cannot be seen.
pub(crate) fn printable(text: &str) -> String {
    let printable = |c: char| match c {
        '\'' | '"' | '\\' => c.to_string(),
        c => c.escape_debug().to_string(),
    };
    text.chars().map(printable).collect()
}

/// Rows in aligned columns.
fn table<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<_> = rows.into_iter().map(|row| row.map(|cell| printable(&cell))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [_; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}  "));
        cells.collect::<String>().trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}
