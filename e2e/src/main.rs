//! End-to-end scenarios against the real stack: Postgres, Debezium, Kafka, Redis, the receiver and the processor.
//!
//! `harness/` starts, breaks and asks the real systems; `scenarios/` says what must hold. On a stack the scenarios run one
//! after the other, each with processes, groups and stores of its own; more stacks run them side by side.
//!
//! Called by `test_pipeline.sh`; prints one line per scenario and, where one fails, the ends of its logs.

mod faults;
mod harness;
mod report;
mod scenarios;

use anyhow::{Context, Result};
use clap::Parser;
use faults::{Runs, Seeds};
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
    #[arg(long, required_unless_present = "merge")]
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
    /// Instead of scenarios, seeded runs with faults: one seed, as 17, or the first and the last, as 1..200.
    #[arg(long, value_name = "SEEDS", requires = "seed_results")]
    seeds: Option<Seeds>,
    /// The file that what came of each seed is added to.
    #[arg(long, value_name = "FILE")]
    seed_results: Option<PathBuf>,
    /// Instead of running anything, one table of the results in these files.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "seeds")]
    merge: Vec<PathBuf>,
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
    let ended = if arguments.merge.is_empty() {
        run(&arguments, &report).await
    } else {
        let counted = |is_well| report.lock().unwrap_or_else(PoisonError::into_inner).counted(is_well);
        faults::results::merge(&arguments.merge).map(counted)
    };
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
    let work = Work::of(arguments, report)?;
    // A thread for each stack: what one scenario computes does not hold up the one beside it.
    let handle = Handle::current();
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            for (number, stack) in stacks.iter().enumerate() {
                let (work, handle, mut interrupted) = (&work, &handle, interrupted.clone());
                scope.spawn(move || {
                    handle.block_on(async {
                        tokio::select! {
                            ended = work.on_stack(number, stack) => if let Err(error) = ended {
                                report.lock().unwrap_or_else(PoisonError::into_inner).broken(&format!("{error:#}"));
                            },
                            // Dropping the scenario kills its processes.
                            _ = interrupted.wait_for(|interrupted| *interrupted) => {}
                        }
                    });
                });
            }
        });
    });
    if let Work::Seeds(runs) = work {
        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
        runs.finish().into_iter().for_each(|is_well| report.counted(is_well));
    }
    anyhow::ensure!(!*interrupted.borrow(), "interrupted");
    Ok(())
}

/// What the stacks share among themselves.
enum Work<'a> {
    Scenarios { run: Run<'a>, attach: bool },
    Seeds(Runs<'a>),
}

impl<'a> Work<'a> {
    fn of(arguments: &'a Arguments, report: &'a Mutex<Report>) -> Result<Self> {
        if let (Some(seeds), Some(results)) = (arguments.seeds, &arguments.seed_results) {
            return Ok(Self::Seeds(Runs::new(seeds, &arguments.folder, results.clone())?));
        }
        let run =
            Run { folder: &arguments.folder, only: &arguments.only, report, taken: AtomicUsize::new(0) };
        run.known(arguments.attach)?;
        Ok(Self::Scenarios { run, attach: arguments.attach })
    }

    /// All that this stack takes; the first also takes the scenarios that look at a running pipeline.
    async fn on_stack(&self, number: usize, stack: &Arc<Stack>) -> Result<()> {
        let (run, attach) = match self {
            Self::Seeds(runs) => return runs.on_stack(stack).await,
            Self::Scenarios { run, attach } => (run, *attach),
        };
        if number == 0 {
            run.attached(stack, attach).await?;
        }
        if attach { Ok(()) } else { run.on_benches(stack).await }
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
