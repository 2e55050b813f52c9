//! The receiver is killed and comes back: its lane catches up, and the other lane takes no notice.

use crate::harness::bench::COMPLETE;
use crate::harness::config::By;
use crate::harness::load::{Flow, Load};
use crate::harness::wait::{self, Look};
use crate::harness::{Bench, Measured, effects};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

const LOAD: Flow = Flow { rate: 500, copy_rows: 4000, copy_every: Duration::from_secs(4) };
/// So many events are stored when the receiver is killed: the first, and not nearly all.
const STORED: i64 = 200;
/// Rows that come in while it is dead, at least.
const MISSED: i64 = 5000;

pub async fn run(bench: &Bench) -> Result<Measured> {
    let mut receiver = bench.receiver().await?;
    let plan = bench.plan(&receiver)?;
    let mut processor = bench.processor(&plan).await?;
    let mut load = Load::start(bench, LOAD).await?;
    let stored = wait::until("events are stored", COMPLETE, async || {
        let stored = receiver.remote.stats().await?.total_events;
        Ok(if stored >= STORED { Look::Seen(stored) } else { Look::NotYet(format!("{stored} are")) })
    })
    .await?;
    receiver.process.kill()?;
    ensure!(load.runs(), "the load has ended by itself");
    let rows = load.finish(bench.db.count_events().await? + MISSED).await?;
    let (contents, _) =
        effects::board_equals_sql(&bench.db, &bench.redis, (plan.key()?, By::Content), "1 hour", COMPLETE)
            .await?;
    let why = processor.admin.lane_is(&plan.pipeline, "webhook", "sink", "retrying").await?;
    ensure!(!why.is_empty(), "/readyz does not say why the webhook's lane stands still");
    let mut measured = Measured::default();
    measured.add(format!("{contents} contents in Redis while the receiver was dead ({why})"));

    receiver.process.start_again()?;
    let back = Instant::now();
    receiver.answers().await?;
    bench.receiver_holds(&receiver, rows).await?;
    measured.add(format!(
        "caught up {} rows {:.1} s after its start",
        rows - stored,
        back.elapsed().as_secs_f64()
    ));
    bench.complete(&plan, &receiver, &mut measured).await?;
    ensure!(processor.process.runs(), "the processor has ended");
    Ok(measured)
}
