//! One run: the load begins, each fault strikes and ends in its turn, the load ends, and all is compared.

use super::exact::Exact;
use super::plan::Plan;
use super::strike::{Struck, end, strike};
use super::world::World;
use crate::harness::Bench;
use crate::harness::bench::COMPLETE;
use crate::harness::disk::SmallDisk;
use crate::harness::kafka::DEAD_LETTERS;
use crate::harness::wait::{self, seen_if};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A run that takes longer than this for all it does besides, and than that for each fault, hangs.
const LONGEST: Duration = Duration::from_secs(240);
const LONGEST_FAULT: Duration = Duration::from_secs(60);

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Faults that struck while records flowed.
    pub fired: usize,
    /// Faults that can't strike here, and why.
    pub skipped: Vec<String>,
    /// What is in the sinks, against what happened.
    pub exact: Exact,
    /// How long it took.
    pub took: Duration,
    /// Why it did not come to its end; none where it did.
    pub failed: Option<String>,
}

impl Outcome {
    /// Whether all went as it must.
    pub fn is_well(&self) -> bool {
        self.failed.is_none() && self.exact.is_well()
    }
}

/// Carries out a plan on a bench of its own.
pub async fn run(bench: &Bench, plan: &Plan) -> Outcome {
    let began = Instant::now();
    let mut outcome = Outcome::default();
    let longest = LONGEST + LONGEST_FAULT.saturating_mul(u32::try_from(plan.steps.len()).unwrap_or(u32::MAX));
    let ended = tokio::time::timeout(longest, carry_out(bench, plan, &mut outcome)).await;
    outcome.failed = match ended {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("{error:#}")),
        Err(_) => Some(format!("it has not ended after {} s", longest.as_secs())),
    };
    if outcome.failed.is_some() {
        // What a fault took away has to be there for the next run.
        if let Err(error) = repair(bench).await {
            outcome.failed = outcome.failed.map(|why| format!("{why}; and the stack is not well: {error:#}"));
        }
    }
    outcome.took = began.elapsed();
    outcome
}

async fn repair(bench: &Bench) -> Result<()> {
    for part in ["postgres", "redis", "kafka", "kafka-connect"] {
        // One that is not frozen can't be thawed.
        let _ = bench.stack.run(&["thaw", part]).await;
        bench.stack.run(&["start", part]).await?;
    }
    bench.redis.run(&["CONFIG", "SET", "maxmemory", "0"]).await?;
    bench.stack.run(&["connector"]).await.map(drop)
}

async fn carry_out(bench: &Bench, plan: &Plan, outcome: &mut Outcome) -> Result<()> {
    let diary = Diary { path: bench.folder.join("faults.log"), began: Instant::now() };
    diary.note(&plan.to_string())?;
    let disk = if plan.steps.iter().any(|step| step.fault.fills_disk()) {
        SmallDisk::mount(&bench.folder.join("disk"))?
    } else {
        Err("no fault fills it".to_owned())
    };
    let mut world = World::begin_on(bench, plan.instances, &plan.load, disk).await?;
    diary.note("rows come in")?;
    let ended = faults(&mut world, plan, outcome, &diary).await;
    if ended.is_err() {
        world.give_up().await;
    }
    let ended = match ended {
        Ok(()) => compare(&mut world, outcome, &diary).await,
        Err(error) => Err(error),
    };
    let forgotten = world.changes.forget().await;
    ended.and(forgotten)
}

async fn faults(world: &mut World<'_>, plan: &Plan, outcome: &mut Outcome, diary: &Diary) -> Result<()> {
    let mut lasting: Option<(String, Struck)> = None;
    for step in &plan.steps {
        let name = step.fault.to_string();
        let struck = strike(world, step).await.with_context(|| name.clone())?;
        if let Struck::Skipped(why) = &struck {
            diary.note(&format!("skipped: {name}: {why}"))?;
            outcome.skipped.push(format!("{name}: {why}"));
            continue;
        }
        outcome.fired += 1;
        diary.note(&format!("struck: {name}"))?;
        if step.into_next {
            lasting = Some((name, struck));
            continue;
        }
        if step.fault.lets_rows_come() {
            let came = world.comes_in(step.lasts).await.with_context(|| name.clone())?;
            ensure!(came > 0, "nothing came in while there was {name}");
        }
        for (name, struck) in [(name, struck)].into_iter().chain(lasting.take()) {
            let seen = end(world, struck).await.with_context(|| format!("the end of {name}"))?;
            diary.note(&format!("{name}: {seen}"))?;
        }
    }
    Ok(())
}

async fn compare(world: &mut World<'_>, outcome: &mut Outcome, diary: &Diary) -> Result<()> {
    diary.note("no more rows come in")?;
    outcome.exact = world.finish().await?;
    diary.note(&format!("compared: {:?}", outcome.exact))?;
    letters(world).await
}

/// Every record that nobody can decode has its letter in each lane: perhaps twice, with one id.
async fn letters(world: &World<'_>) -> Result<()> {
    let expected = world.poisoned * super::plan::Sink::ALL.len();
    if expected == 0 {
        return Ok(());
    }
    wait::until(&format!("{expected} dead letters"), COMPLETE, async || {
        let records = world.bench.kafka.records(DEAD_LETTERS, world.bench.letters_from.clone()).await?;
        let ours =
            records.iter().filter(|record| record.header("deltafan.pipeline") == Some(&world.bench.name));
        let ids: BTreeSet<_> = ours.filter_map(|record| record.header("deltafan.id")).collect();
        ensure!(ids.len() <= expected, "{} dead letters for {expected}", ids.len());
        Ok(seen_if(ids.len() == expected, || format!("{} are there", ids.len())))
    })
    .await
}

/// The run's own log.
struct Diary {
    path: PathBuf,
    began: Instant,
}

impl Diary {
    fn note(&self, line: &str) -> Result<()> {
        let mut log = OpenOptions::new().create(true).append(true).open(&self.path)?;
        Ok(writeln!(log, "{:6.1} s  {line}", self.began.elapsed().as_secs_f64())?)
    }
}
