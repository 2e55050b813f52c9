//! An instance is killed at each named moment of each lane, one after the other, under load: nothing is lost or doubled. With one
//! instance, and with three.

use crate::faults::plan::{Burst, Does, Fault, Moment, Plan, Shape, Sink, Step};
use crate::faults::{self, Outcome};
use crate::harness::{Bench, Measured, check};
use anyhow::{Result, ensure};
use std::time::Duration;

/// Each of them in both lanes ...
const OF_BOTH: [Moment; 7] = [
    Moment::BeforeWrite,
    Moment::AfterWrite,
    Moment::BeforeCommit,
    Moment::Rebalance,
    Moment::FarBehind,
    Moment::Rewinding,
    Moment::DeadLetter,
];
/// ... and these where there are windows.
const OF_REDIS: [Moment; 2] = [Moment::Tick, Moment::Rebuilding];
/// Records that have their effect before each, and changes that come in while the instance is gone.
const AFTER: i64 = 200;
const LASTS: i64 = 100;

pub async fn one(bench: &Bench) -> Result<Measured> {
    run(bench, 1).await
}

pub async fn three(bench: &Bench) -> Result<Measured> {
    run(bench, 3).await
}

async fn run(bench: &Bench, instances: usize) -> Result<Measured> {
    let both = OF_BOTH.iter().flat_map(|moment| Sink::ALL.map(|sink| (*moment, sink)));
    let kills: Vec<_> = both.chain(OF_REDIS.map(|moment| (moment, Sink::Redis))).collect();
    let step = |(number, (moment, sink)): (usize, &(Moment, Sink))| Step {
        after: AFTER,
        fault: Fault::KilledAt(*moment, *sink, number % instances),
        lasts: LASTS,
        into_next: false,
    };
    let burst = |does, rows| Burst { does, rows, pause: Duration::from_millis(300) };
    let bursts = vec![burst(Does::Insert, 200), burst(Does::All, 20), burst(Does::Rekey, 30)];
    let load = Shape { seed: 1, rate: 400, updates: 15, deletes: 5, bursts };
    let plan = Plan { seed: None, instances, load, steps: kills.iter().enumerate().map(step).collect() };
    let Outcome { fired, exact, failed, .. } = faults::run(bench, &plan).await;
    ensure!(failed.is_none() && exact.is_well(), "{} {exact:?}", failed.unwrap_or_default());
    check::equal("kills that struck where they should", fired, kills.len())?;
    let mut measured = Measured::default();
    measured.add(format!(
        "{fired} kills at {} moments, {} changes once in each sink, {} repeats refused",
        OF_BOTH.len() + OF_REDIS.len(),
        exact.records,
        exact.repeats
    ));
    Ok(measured)
}
