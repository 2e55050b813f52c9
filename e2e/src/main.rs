//! End-to-end scenarios against the real stack: Postgres, Debezium, Kafka, Redis, the receiver and the processor.
//!
//! `harness/` starts, breaks and asks the real systems; `scenarios/` says what must hold. The scenarios run one after
//! the other on one stack, each with processes, groups and stores of its own.
//!
//! Called by `test_pipeline.sh`; prints one line per scenario and, where one fails, the ends of its logs.

mod harness;
mod report;
mod scenarios;

use anyhow::{Context, Result};
use clap::Parser;
use report::Report;
use scenarios::Run;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// Runs end-to-end scenarios on a stack that is up.
#[derive(Debug, Parser)]
struct Arguments {
    /// The repository.
    #[arg(long)]
    root: PathBuf,
    /// The state folder of the stack.
    #[arg(long)]
    state: PathBuf,
    /// Where `deltafan` and `webhook-sink` are.
    #[arg(long)]
    binaries: PathBuf,
    /// Where logs, configurations and stores go.
    #[arg(long)]
    folder: PathBuf,
    /// Only the scenarios that look at a pipeline which somebody else has started, and change nothing of it.
    #[arg(long)]
    attach: bool,
    /// Only these scenarios.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Where "PASSED FAILED" is written.
    #[arg(long)]
    results: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let mut report = Report::default();
    let ended = tokio::select! {
        ended = run(&arguments, &mut report) => ended,
        // Dropping the scenario kills its processes.
        stopped = interrupted() => stopped,
    };
    if let Err(error) = ended {
        report.broken(&format!("{error:#}"));
    }
    if let Some(path) = &arguments.results
        && let Err(error) = std::fs::write(path, report.counts())
    {
        report.broken(&format!("cannot write {}: {error}", path.display()));
    }
    if report.all_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let stack =
        harness::Stack::open(arguments.root.clone(), arguments.state.clone(), arguments.binaries.clone())
            .await?;
    let run = Run { stack: Arc::new(stack), folder: &arguments.folder, only: &arguments.only };
    run.known(arguments.attach)?;
    run.attached(arguments.attach, report).await?;
    if !arguments.attach {
        run.on_benches(report).await?;
    }
    Ok(())
}

async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("no signal handler")?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    anyhow::bail!("interrupted")
}
