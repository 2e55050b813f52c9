//! Batches adapt: one record per write while it is quiet, many in a burst, and no timer in between.

use crate::harness::bench::COMPLETE;
use crate::harness::config::SINKS;
use crate::harness::processor::Done;
use crate::harness::wait::{self, seen_if};
use crate::harness::{Bench, Measured, Processor, check};
use anyhow::Result;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// Ten rows per second.
const QUIET_ROWS: u32 = 50;
const QUIET_PAUSE: Duration = Duration::from_millis(100);
const BURST_ROWS: i64 = 20_000;
/// Records per write in the burst, at least.
const LEAST_MEAN: f64 = 100.0;

const INSERT: &str = "INSERT INTO engagement_events (content_id, user_id, event_type, duration_ms) \
    SELECT content.id, uuid_generate_v4(), 'play', n::int FROM generate_series(1, $1::bigint) AS n \
    JOIN (SELECT id, row_number() OVER () - 1 AS number FROM content) AS content ON content.number = n % 10";

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let plan = bench.plan(&receiver)?;
    let processor = bench.processor(&plan).await?;
    let mut measured = Measured::default();

    // What is only done once (connections, prepared statements) is none of the figures.
    bench.db.execute(INSERT, &[&1_i64]).await?;
    let start = delivered(&processor, &plan.pipeline, 1.0).await?;
    let mut ticks = tokio::time::interval(QUIET_PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..QUIET_ROWS {
        ticks.tick().await;
        bench.db.execute(INSERT, &[&1_i64]).await?;
    }
    let quiet = delivered(&processor, &plan.pipeline, f64::from(QUIET_ROWS) + 1.0).await?;
    for ((sink, start), quiet) in SINKS.iter().zip(start).zip(quiet) {
        let (events, writes) = (quiet.events - start.events, quiet.writes - start.writes);
        check::equal(format!("events of lane {sink} at 10 rows/s"), events, f64::from(QUIET_ROWS))?;
        check::equal(format!("writes of lane {sink} at 10 rows/s"), writes, f64::from(QUIET_ROWS))?;
    }
    measured.add("at 10 rows/s one record per write".to_owned());
    if let Some(latency) = receiver.remote.stats().await?.latency_ms {
        measured.add(format!("p50 {:.1} ms, p99 {:.1} ms", latency.p50, latency.p99));
    }

    let began = Instant::now();
    bench.db.execute(INSERT, &[&BURST_ROWS]).await?;
    let inserted = began.elapsed();
    let all = f64::from(QUIET_ROWS) + 1.0 + f64::from(u32::try_from(BURST_ROWS)?);
    let burst = delivered(&processor, &plan.pipeline, all).await?;
    let took = began.elapsed();
    for ((sink, quiet), burst) in SINKS.iter().zip(quiet).zip(burst) {
        let mean = (burst.events - quiet.events) / (burst.writes - quiet.writes);
        check::at_least(format!("mean records per write of lane {sink} in the burst"), mean, LEAST_MEAN)?;
        measured.add(format!("{sink} {mean:.0} per write in the burst"));
    }
    measured.add(format!(
        "{BURST_ROWS} rows in both sinks after {:.1} s (the INSERT took {:.1} s)",
        took.as_secs_f64(),
        inserted.as_secs_f64()
    ));
    bench.complete(&plan, &receiver, &mut measured).await?;
    if let Some(mib) = processor.process.resident_mib() {
        measured.add(format!("{mib} MiB resident"));
    }
    Ok(measured)
}

/// Waits until each lane has delivered `events` events; what it has done.
async fn delivered(processor: &Processor, pipeline: &str, events: f64) -> Result<[Done; 2]> {
    wait::until(&format!("{events} events are delivered"), COMPLETE, async || {
        let done = processor.admin.done(pipeline).await?;
        Ok(seen_if(done.iter().all(|lane| lane.events >= events), || format!("{done:?}")))
    })
    .await?;
    processor.admin.done(pipeline).await
}
