//! Removes what dead owners left: `sweep [--dry-run]`.

use std::process::ExitCode;

use sidecar_bundle::{CliEngine, SweptOutcome, sweep, sweep_dry_run};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let engine = CliEngine::docker();
    let (swept, verb) = match arguments.as_slice() {
        [] => (sweep(&engine), "removed"),
        [flag] if flag == "--dry-run" => (sweep_dry_run(&engine), "would remove"),
        _ => {
            eprintln!("usage: sweep [--dry-run]");
            return ExitCode::from(2);
        }
    };
    let swept = match swept {
        Ok(swept) => swept,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut failed = false;
    for it in &swept {
        let age = it.since.elapsed().unwrap_or_default().as_secs();
        print!("{}/{}  {age} s old  ", it.prefix, it.slug);
        match &it.outcome {
            SweptOutcome::Removed { containers, networks } => {
                let ids: Vec<_> = containers.iter().chain(networks).map(|id| &id[..12]).collect();
                let ids = if ids.is_empty() { "nothing".into() } else { ids.join(" ") };
                println!("{verb} {ids}");
            }
            SweptOutcome::Held { pid } => println!("held by pid {pid}"),
            SweptOutcome::Kept => println!("kept"),
            SweptOutcome::Failed(error) => {
                failed = true;
                println!("failed: {error}");
            }
            other => println!("{other:?}"),
        }
    }
    if swept.is_empty() {
        println!("no owner has left anything");
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
