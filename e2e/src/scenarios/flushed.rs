//! Redis is emptied in mid-flow: the leaderboard is complete again.

use crate::harness::load::{Flow, Load};
use crate::harness::wait::{self, seen_if};
use crate::harness::{Bench, Measured};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

const LOAD: Flow = Flow { rate: 1000, copy_rows: 3000, copy_every: Duration::from_secs(4) };
const ROWS_BEFORE: i64 = 3000;
/// Rows that come in altogether, at least.
const ROWS: i64 = 12_000;
const SOON: Duration = Duration::from_secs(60);

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let plan = bench.plan(&receiver)?;
    let processor = bench.processor(&plan).await?;
    let mut load = Load::start(bench, LOAD).await?;
    wait::until("rows flow", SOON, async || {
        let stored = receiver.remote.stats().await?.total_events;
        Ok(seen_if(stored >= ROWS_BEFORE, || format!("{stored} are stored")))
    })
    .await?;
    let before: i64 = bench.redis.board(plan.key()?).await?.values().sum();
    ensure!(before > 0 && load.runs(), "there is nothing to lose, or no flow");
    bench.redis.run(&["FLUSHALL"]).await?;
    let emptied = Instant::now();
    let mut measured = Measured::default();
    wait::until("the leaderboard holds more than before", SOON, async || {
        let now: i64 = bench.redis.board(plan.key()?).await?.values().sum();
        Ok(seen_if(now > before, || format!("{now} ms, {before} ms before")))
    })
    .await?;
    measured.add(format!(
        "{} s were gone and back after {:.1} s",
        before / 1000,
        emptied.elapsed().as_secs_f64()
    ));
    load.finish(ROWS).await?;
    bench.complete(&plan, &receiver, &mut measured).await?;
    // Again, with nothing coming in: nobody but the ticker can notice.
    bench.redis.run(&["FLUSHALL"]).await?;
    let emptied = Instant::now();
    processor.admin.ready().await?;
    bench.complete(&plan, &receiver, &mut Measured::default()).await?;
    measured.add(format!("idle: back after {:.1} s", emptied.elapsed().as_secs_f64()));
    Ok(measured)
}
