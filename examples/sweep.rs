//! Removes orphans: `sweep [--dry-run]`, on the engine that answers.

use std::error::Error;
use std::process::ExitCode;

use sidecar_bundle::{Engine, Swept, SweptOutcome, sweep, sweep_dry_run};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let dry_run = match arguments.as_slice() {
        [] => false,
        [flag] if flag == "--dry-run" => true,
        _ => {
            eprintln!("usage: sweep [--dry-run]");
            return ExitCode::from(2);
        }
    };
    match run(dry_run) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Returns false if an orphan is left.
fn run(dry_run: bool) -> Result<bool, Box<dyn Error>> {
    let engine = Engine::detect()?;
    println!("{}", engine.version()?);
    let swept = if dry_run { sweep_dry_run(&engine)? } else { sweep(&engine)? };
    for it in &swept {
        let age = it.since.and_then(|it| it.elapsed().ok()).unwrap_or_default().as_secs();
        let expired = if it.expired.is_some() { ", expired" } else { "" };
        println!("{}/{}  {age} s old{expired}  {}", it.prefix, it.slug, outcome(it));
    }
    if swept.is_empty() {
        println!("no lease of this user is left for this engine");
    }
    Ok(!swept.iter().any(|it| matches!(it.outcome, SweptOutcome::Failed(_))))
}

fn outcome(swept: &Swept) -> String {
    let ids = |containers: &[String], networks: &[String]| {
        let ids = containers.iter().chain(networks).map(|id| &id[..12]);
        ids.collect::<Vec<_>>().join(" ")
    };
    match &swept.outcome {
        SweptOutcome::Removed { containers, networks, .. } => {
            format!("removed {}", ids(containers, networks))
        }
        SweptOutcome::WouldRemove { containers, networks, .. } => {
            format!("would remove {}", ids(containers, networks))
        }
        SweptOutcome::Clean => "no orphans".into(),
        SweptOutcome::Held { pid, .. } => format!("held by pid {pid}"),
        SweptOutcome::Kept => "kept".into(),
        SweptOutcome::Failed(error) => format!("failed: {}", chain(error)),
        other => format!("{other:?}"),
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
