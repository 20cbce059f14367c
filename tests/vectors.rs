//! The table of test vectors that can never change, and the ten lines of Python that redo it.

use std::io::Write;
use std::process::Command;

use sidecar_bundle::{AddressPool, Engine, Engines, Ipv6Addressing, Naming, NetworkPlanned, Slug};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/derive.py");

#[test]
fn every_vector_is_derived() {
    let rows: Vec<_> = include_str!("vectors/addressing.csv").lines().skip(2).collect();
    assert!(rows.len() > 30);
    for row in rows {
        let [slug, attempt, range, prefix, subnet, gateway, ip] =
            row.split(',').collect::<Vec<_>>().try_into().unwrap();
        let pool = AddressPool::new(range.parse().unwrap(), prefix.parse().unwrap()).unwrap();
        let slug = Slug::new(slug).unwrap();
        let addressing = pool.addressing(&slug, attempt.parse().unwrap()).unwrap();
        assert_eq!(addressing.subnet().to_string(), subnet, "{row}");
        assert_eq!(addressing.gateway().to_string(), gateway, "{row}");
        assert_eq!(addressing.bundle_ip().to_string(), ip, "{row}");
    }
}

#[test]
fn every_vector_of_ipv6_is_derived() {
    let rows: Vec<_> = include_str!("vectors/ipv6.csv").lines().skip(2).collect();
    assert!(rows.len() >= 20);
    for row in rows {
        let [slug, attempt, subnet, gateway, ip] =
            row.split(',').collect::<Vec<_>>().try_into().unwrap();
        let derived = Ipv6Addressing::derived(&Slug::new(slug).unwrap(), attempt.parse().unwrap());
        assert_eq!(derived.subnet().to_string(), subnet, "{row}");
        assert_eq!(derived.gateway().to_string(), gateway, "{row}");
        assert_eq!(derived.bundle_ip().to_string(), ip, "{row}");
    }
}

#[test]
fn every_loopback_address_is_derived() {
    let rows: Vec<_> = include_str!("vectors/loopback.csv").lines().skip(2).collect();
    assert!(rows.len() >= 20);
    for row in rows {
        let [slug, address] = row.split(',').collect::<Vec<_>>().try_into().unwrap();
        let plan = NetworkPlanned::new(Slug::new(slug).unwrap());
        assert_eq!(plan.loopback().to_string(), address, "{row}");
    }
}

#[test]
fn every_bridge_has_its_name() {
    let rows: Vec<_> = include_str!("vectors/bridge-names.csv").lines().skip(2).collect();
    assert!(rows.len() > 10);
    for row in rows {
        let [prefix, slug, bridge] = row.split(',').collect::<Vec<_>>().try_into().unwrap();
        let plan = NetworkPlanned::new(Slug::new(slug).unwrap());
        let plan = plan.with_naming(Naming::new(prefix).unwrap());
        assert_eq!(plan.derived_bridge_name(), bridge, "{row}");
    }
}

#[test]
fn every_slug_has_its_place() {
    let rows: Vec<_> = include_str!("vectors/placement.csv").lines().skip(2).collect();
    assert!(rows.len() > 30);
    for row in rows {
        let [slug, names, ranking] = row.split(',').collect::<Vec<_>>().try_into().unwrap();
        let engines = Engines::new(names.split(' ').map(|name| (name, Engine::docker()))).unwrap();
        let slug = Slug::new(slug).unwrap();
        let ranked: Vec<_> = engines.ranked(&slug).into_iter().map(|(name, _)| name).collect();
        assert_eq!(ranked.join(" "), ranking, "{row}");
        assert_eq!(engines.place(&slug).0, ranked[0], "{row}");
    }
}

#[test]
fn python_derives_every_vector_too() {
    match Command::new("python3").arg(SCRIPT).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
        Err(missing) => {
            let required = std::env::var_os("SIDECAR_BUNDLE_ENGINE_TESTS").is_some();
            assert!(!required, "python3: {missing}");
            writeln!(std::io::stderr(), "SKIPPED the derivation in Python: {missing}").unwrap();
        }
    }
}

#[test]
fn the_documented_python_is_the_one_that_is_tested() {
    let function = |text: &str, name: &str| {
        let lines = text.lines().skip_while(|line| !line.starts_with(name));
        let mut body: Vec<_> = lines.take_while(|line| *line != "```").collect();
        let end = body.iter().position(|line| line.starts_with("    return")).unwrap();
        body.truncate(end + 1);
        body.join("\n")
    };
    let script = std::fs::read_to_string(SCRIPT).unwrap();
    for (source, name) in [
        (include_str!("../src/plan/addressing.rs"), "def derive("),
        (include_str!("../src/plan/ipv6.rs"), "def derive6("),
        (include_str!("../src/plan/loopback.rs"), "def loopback("),
        (include_str!("../src/engine/engines.rs"), "def rank("),
    ] {
        let lines = source.lines().map(str::trim_start);
        let docs: Vec<_> = lines.filter_map(|line| line.strip_prefix("/// ")).collect();
        assert_eq!(function(&docs.join("\n"), name), function(&script, name));
    }
}
