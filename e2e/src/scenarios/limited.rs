//! `max_rate`: a receiver is sent no more events than it wants, whatever waits, and the leaderboard does not wait for it. A
//! pause and a stop don't wait either.

use crate::harness::bench::COMPLETE;
use crate::harness::config::{By, Plan};
use crate::harness::effects::board_equals_sql;
use crate::harness::load::{COPY, lines};
use crate::harness::wait::{self, seen_if};
use crate::harness::{Bench, Measured, check};
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};

/// Events per second, and what one write holds of them at most.
const RATE: (&str, f64) = ("30", 30.0);
const WRITE: f64 = 3.0;
const ROWS: u32 = 1000;
/// Events that are watched as they come.
const WATCHED: i64 = 90;
/// Far less than all that waits would take.
const SHORT: Duration = Duration::from_secs(10);
const WAITS: &str = "deltafan_sink_rate_wait_seconds_sum";

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let mut plan = bench.plan(&receiver)?;
    plan.max_rate = RATE.0;
    let mut processor = bench.processor(&plan).await?;
    let contents = bench.db.texts("SELECT id::text FROM content ORDER BY id", &[]).await?;
    let began = Instant::now();
    bench.db.copy(COPY, lines(&contents, ROWS, "copy")).await?;
    let key = plan.key()?;
    board_equals_sql(&bench.db, &bench.redis, (key, By::Content), "1 hour", COMPLETE).await?;
    let stored = receiver.remote.stats().await?.total_events;
    check::at_most("events at the receiver when the leaderboard is complete", stored, i64::from(ROWS) / 2)?;
    wait::until("events come to the receiver", COMPLETE, async || {
        let stored = receiver.remote.stats().await?.total_events;
        let most = RATE.1 * began.elapsed().as_secs_f64() + WRITE;
        // An event too many would not go away again, so a look at any moment will do.
        ensure!(f64::from(i32::try_from(stored)?) <= most, "{stored} are stored, {most:.0} may be");
        Ok(seen_if(stored >= WATCHED, || format!("{stored} are stored")))
    })
    .await?;
    let per_second = f64::from(i32::try_from(WATCHED)?) / began.elapsed().as_secs_f64();
    let labels = [("pipeline", plan.pipeline.as_str()), ("sink", "webhook")];
    let waited = processor.admin.metrics().await?.sum(WAITS, &labels);
    check::at_least("seconds waited by metric", waited, 1.0)?;

    order(bench, &plan, "pause").await?;
    processor.admin.lane_is(&plan.pipeline, "webhook", "reader", "paused").await?;
    order(bench, &plan, "resume").await?;
    processor.admin.ready().await?;
    let status = processor.process.terminate(SHORT).await?;
    check::equal("exit status of the processor", status.code(), Some(0))?;
    let stored = receiver.remote.stats().await?.total_events;
    check::at_most("events at the receiver at the stop", stored, i64::from(ROWS) / 2)?;

    plan.max_rate = "none";
    let _processor = bench.processor(&plan).await?;
    let mut measured = Measured::default();
    bench.complete(&plan, &receiver, &mut measured).await?;
    measured.add(format!("{per_second:.0}/s where {} are allowed", RATE.0));
    Ok(measured)
}

async fn order(bench: &Bench, plan: &Plan, verb: &str) -> Result<()> {
    let config = bench.folder.join("deltafan.yaml");
    let config = config.to_str().context("the folder's name is no UTF-8")?;
    let sink = format!("{}/webhook", plan.pipeline);
    let (status, said) = bench.deltafan("order", &[verb, &sink, "--config", config]).run(SHORT).await?;
    ensure!(status.success(), "{verb} ended with {status}: {said}");
    Ok(())
}
