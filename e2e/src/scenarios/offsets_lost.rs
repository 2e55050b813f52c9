//! Connect's offsets of the connector are lost while rows come in, and its slot is still there: nothing is left out, what comes again
//! counts once, and the contents are those of the table.

use crate::harness::bench::COMPLETE;
use crate::harness::config::{By, Window};
use crate::harness::connect::Connect;
use crate::harness::load::{Flow, Load};
use crate::harness::wait::{self, seen_if};
use crate::harness::{Bench, Measured, effects};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

const LOAD: Flow = Flow { rate: 300, copy_rows: 200, copy_every: Duration::from_secs(1) };
/// Rows that are at the receiver before the offsets are lost.
const BEFORE: i64 = 1000;
/// Rows that come in while the connector is stopped: those that a stream from the database's present end leaves out.
const MEANWHILE: i64 = 1000;
/// Rows that come in altogether, at least.
const ROWS: i64 = 4000;
const COMMAND: Duration = Duration::from_secs(60);

pub async fn run(bench: &Bench) -> Result<Measured> {
    let connect = Connect::new(&bench.stack)?;
    let receiver = bench.receiver().await?;
    let mut plan = bench.plan(&receiver)?;
    plan.windows.push(Window { key: format!("{}:devices", bench.name), length: "1h", by: By::Device });
    let mut processor = bench.processor(&plan).await?;
    let mut measured = Measured::default();
    let mut load = Load::start(bench, LOAD).await?;
    wait::until("rows are at the receiver", COMPLETE, async || {
        let stored = receiver.remote.stats().await?.total_events;
        Ok(seen_if(stored >= BEFORE, || format!("{stored} are")))
    })
    .await?;
    connect.stop().await?;
    let stopped_at = bench.db.count_events().await?;
    let left_out = come_in(bench, stopped_at + MEANWHILE).await? - stopped_at;
    connect.forget_offsets().await?;
    connect.resume().await?;
    measured.add(format!("offsets forgotten with {left_out} rows on their way"));
    ensure!(load.runs(), "the load has ended by itself");
    let rows = load.finish(stopped_at + ROWS).await?;
    bench.receiver_holds(&receiver, rows).await?;
    for Window { key, by, .. } in &plan.windows {
        effects::board_equals_sql(&bench.db, &bench.redis, (key.as_str(), *by), "1 hour", COMPLETE).await?;
    }
    bench.complete(&plan, &receiver, &mut measured).await?;
    let config = bench.folder.join("deltafan.yaml");
    let config = config.to_str().context("the folder's name is no UTF-8")?;
    let (status, said) = bench.deltafan("verify", &["verify", "--config", config]).run(COMMAND).await?;
    ensure!(status.success(), "verify ended with {status}: {said}");
    ensure!(processor.process.runs(), "the processor has ended");
    Ok(measured)
}

async fn come_in(bench: &Bench, wanted: i64) -> Result<i64> {
    let mut rows = 0;
    wait::until("rows come in meanwhile", COMPLETE, async || {
        rows = bench.db.count_events().await?;
        Ok(seen_if(rows >= wanted, || format!("{rows} of {wanted}")))
    })
    .await?;
    Ok(rows)
}
