//! The program for operators: plans, lists, sweeps and removes bundles, and prints their logs.

mod arguments;
mod failure;
mod output;

use std::io::{stderr, stdout};
use std::process::ExitCode;

use arguments::{Arguments, BundleArguments, Command, EngineArguments, note};
use failure::{Failure, NOT_REMOVED, chain};
use output::{json, printable, write};
use serde_json::json;
use sidecar_bundle::{
    BundleInfo, Engine, LogStream, NetworkPlanned, SweptOutcome, bundles, sweep, sweep_dry_run,
};

fn main() -> ExitCode {
    let arguments = Arguments::read();
    let as_json = arguments.json;
    run(arguments).unwrap_or_else(|failure| {
        let (code, text) = (failure.exit_code(), chain(&failure));
        let line = if as_json {
            format!("{}\n", json!({"error": text, "exit_code": code}))
        } else {
            format!("error: {}\n", printable(&text))
        };
        // The exit code tells it, too.
        let _ = write(stderr(), &line);
        ExitCode::from(code)
    })
}

fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { engine, json: as_json, command } = arguments;
    let mut code = ExitCode::SUCCESS;
    let found = |engine: EngineArguments| {
        let (engine, is_named) = engine.engine()?;
        tell(&engine, is_named, as_json);
        Ok::<_, Failure>(engine)
    };
    let text = match command {
        Command::Plan(plan) => {
            let plan = plan.plan()?;
            if as_json { json(&plan)? } else { output::plan(&plan) }
        }
        Command::List => {
            let bundles = bundles(&found(engine)?)?;
            if as_json { json(&bundles)? } else { output::list(&bundles) }
        }
        Command::Sweep { dry_run } => {
            let engine = found(engine)?;
            let swept = if dry_run { sweep_dry_run(&engine) } else { sweep(&engine) }?;
            if swept.iter().any(|it| matches!(it.outcome, SweptOutcome::Failed(_))) {
                code = ExitCode::from(NOT_REMOVED);
            }
            if as_json { json(&swept)? } else { output::swept(&swept) }
        }
        Command::Logs { bundle, tail } => {
            let (engine, is_named) = engine.engine()?;
            // The container's lines have their stream to themselves.
            let printed = logs(&engine, bundle, tail, as_json);
            printed.inspect_err(|_| tell(&engine, is_named, as_json))?;
            return Ok(code);
        }
        Command::Remove(bundle) => {
            let plan = bundle.plan();
            let discarded = plan.discard(&found(engine)?)?;
            if discarded.containers.is_empty() && discarded.networks.is_empty() {
                return Err(no_bundle(&plan));
            }
            if as_json {
                json(&discarded)?
            } else {
                format!("removed {}\n", output::ids(&discarded.containers, &discarded.networks))
            }
        }
    };
    write(stdout(), &text)?;
    Ok(code)
}

/// Prints a note to standard error about an engine that was not named.
fn tell(engine: &Engine, is_named: bool, as_json: bool) {
    let Some(note) = Some(engine).filter(|_| !is_named).and_then(note) else { return };
    let line = if as_json {
        format!("{}\n", json!({"note": note}))
    } else {
        format!("note: {}\n", printable(&note))
    };
    // The command does not depend on it.
    let _ = write(stderr(), &line);
}

/// Prints the lines to the streams that the container printed them to, or as JSON to standard output.
fn logs(
    engine: &Engine,
    of: BundleArguments,
    tail: Option<usize>,
    as_json: bool,
) -> Result<(), Failure> {
    let plan = of.plan();
    let is_it = |it: &BundleInfo| it.slug == *plan.slug() && it.prefix == plan.naming().prefix();
    let found = bundles(engine)?.into_iter().find(is_it).ok_or_else(|| no_bundle(&plan))?;
    for line in found.logs(engine, tail)? {
        if as_json {
            write(stdout(), &json(&line)?)?;
        } else {
            let text = line.text + "\n";
            match line.stream {
                LogStream::Stdout => write(stdout(), &text),
                LogStream::Stderr => write(stderr(), &text),
            }?;
        }
    }
    Ok(())
}

fn no_bundle(plan: &NetworkPlanned) -> Failure {
    Failure::NoBundle { slug: plan.slug().clone(), prefix: plan.naming().prefix().to_owned() }
}
