//! Two instances on one Redis share the partitions of each lane; one is killed, and the other takes over.

use crate::harness::bench::COMPLETE;
use crate::harness::config::{Plan, SINKS};
use crate::harness::load::{self, Flow, Load};
use crate::harness::wait::{self, seen_if};
use crate::harness::{Bench, Measured, Processor, check};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

const LOAD: Flow = Flow { rate: 1000, copy_rows: 3000, copy_every: Duration::from_secs(2) };
/// Rows that come in before the kill and once it has been survived, at least.
const ROWS_BEFORE: i64 = 20_000;
const ROWS_AFTER: i64 = 8000;
/// Of the records of each lane, each instance delivers at least this share.
const LEAST_SHARE: f64 = 0.3;
/// Rows that come right after the kill: enough for each partition.
const MARKED: u32 = 400;
/// What the one has delivered of the second load, in each lane, when it is killed.
const DELIVERED: f64 = 300.0;

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let plan = bench.plan(&receiver)?;
    let (mut one, two) = (bench.start(&plan, "one")?, bench.start(&plan, "two")?);
    both_own_partitions(&plan, &one, &two).await?;

    let rows = Load::start(bench, LOAD).await?.finish(ROWS_BEFORE).await?;
    bench.receiver_holds(&receiver, rows).await?;
    bench.no_lag(&plan).await?;
    let mut measured = Measured::default();
    let (by_one, by_two) = (one.admin.done(&plan.pipeline).await?, two.admin.done(&plan.pipeline).await?);
    for ((sink, by_one), by_two) in SINKS.iter().zip(by_one).zip(by_two) {
        let share = by_one.events / (by_one.events + by_two.events);
        check::at_least(format!("the first instance's share of lane {sink}"), share, LEAST_SHARE)?;
        check::at_most(format!("the first instance's share of lane {sink}"), share, 1.0 - LEAST_SHARE)?;
        measured.add(format!("{sink} {:.0}:{:.0} %", share * 100.0, (1.0 - share) * 100.0));
    }

    let mut load = Load::start(bench, LOAD).await?;
    let before = one.admin.done(&plan.pipeline).await?.map(|done| done.events);
    wait::until("the first instance delivers", COMPLETE, async || {
        let now = one.admin.done(&plan.pipeline).await?.map(|done| done.events);
        let delivered: Vec<_> = now.iter().zip(before).map(|(now, before)| now - before).collect();
        Ok(seen_if(delivered.iter().all(|events| *events >= DELIVERED), || format!("{delivered:?} events")))
    })
    .await?;
    one.process.kill()?;
    ensure!(load.runs(), "the load has ended by itself");
    let killed = Instant::now();
    let mark = "after-the-kill";
    let contents = bench.db.texts("SELECT id::text FROM content", &[]).await?;
    let marked = bench.db.copy(load::COPY, load::lines(&contents, MARKED, mark)).await?;
    wait::until("rows of all partitions go through the other instance", COMPLETE, async || {
        let came = receiver.remote.page(&format!("device={mark}&")).await?.len();
        Ok(seen_if(came >= usize::try_from(marked)?, || format!("{came} of {marked}")))
    })
    .await?;
    measured.add(format!("taken over {:.1} s after the kill", killed.elapsed().as_secs_f64()));
    load.finish(rows + ROWS_AFTER).await?;
    bench.complete(&plan, &receiver, &mut measured).await?;
    Ok(measured)
}

async fn both_own_partitions(plan: &Plan, one: &Processor, two: &Processor) -> Result<()> {
    one.admin.ready().await?;
    two.admin.ready().await?;
    wait::until("each instance owns a partition of each lane", COMPLETE, async || {
        let mut reading = Vec::new();
        for instance in [one, two] {
            for sink in SINKS {
                reading.push(instance.admin.reading(&plan.pipeline, sink).await?);
            }
        }
        Ok(seen_if(reading.iter().all(|workers| *workers == plan.workers), || {
            format!("{reading:?} workers read")
        }))
    })
    .await
}
