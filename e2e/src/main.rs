//! End-to-end scenarios against the real stack: Postgres, Debezium, Kafka, Redis, the receiver and the processor.
//!
//! `harness/` starts, breaks and asks the real systems; `scenarios/` says what must hold. On a stack the scenarios run one
//! after the other, each with processes, groups and stores of its own; more stacks run them side by side.
//!
//! Called by `test_pipeline.sh`; prints one line per scenario and, where one fails, the ends of its logs.

mod harness;
mod report;
mod scenarios;

use anyhow::{Context, Result};
use clap::Parser;
use harness::Stack;
use report::Report;
use scenarios::Run;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Runs end-to-end scenarios on stacks that are up.
#[derive(Debug, Parser)]
struct Arguments {
    /// The repository.
    #[arg(long)]
    root: PathBuf,
    /// The state folder of a stack; more of them run scenarios side by side.
    #[arg(long, required = true)]
    state: Vec<PathBuf>,
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
    let report = Mutex::new(Report::default());
    let ended = run(&arguments, &report).await;
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
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

async fn run(arguments: &Arguments, report: &Mutex<Report>) -> Result<()> {
    let interrupted = interruption()?;
    let mut stacks = Vec::new();
    for state in &arguments.state {
        let (root, binaries) = (arguments.root.clone(), arguments.binaries.clone());
        stacks.push(Arc::new(Stack::open(root, state.clone(), binaries).await?));
    }
    let run = Run { folder: &arguments.folder, only: &arguments.only, report, taken: AtomicUsize::new(0) };
    run.known(arguments.attach)?;
    // A thread for each stack: what one scenario computes does not hold up the one beside it.
    let handle = Handle::current();
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            for (number, stack) in stacks.iter().enumerate() {
                let (run, handle, mut interrupted) = (&run, &handle, interrupted.clone());
                scope.spawn(move || {
                    handle.block_on(async {
                        tokio::select! {
                            () = on_stack(run, number, stack, arguments.attach) => {}
                            // Dropping the scenario kills its processes.
                            _ = interrupted.wait_for(|interrupted| *interrupted) => {}
                        }
                    });
                });
            }
        });
    });
    anyhow::ensure!(!*interrupted.borrow(), "interrupted");
    Ok(())
}

/// All that this stack takes; the first also takes the scenarios that look at a running pipeline.
async fn on_stack(run: &Run<'_>, number: usize, stack: &Arc<Stack>, attach: bool) {
    let ended = async {
        if number == 0 {
            run.attached(stack, attach).await?;
        }
        if attach { Ok(()) } else { run.on_benches(stack).await }
    };
    if let Err(error) = ended.await {
        run.report.lock().unwrap_or_else(PoisonError::into_inner).broken(&format!("{error:#}"));
    }
}

/// Becomes true with a signal to end.
fn interruption() -> Result<watch::Receiver<bool>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("no signal handler")?;
    let mut terminate = signal(SignalKind::terminate()).context("no signal handler")?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        sender.send_replace(true);
    });
    Ok(receiver)
}
