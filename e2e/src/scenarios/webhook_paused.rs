//! A wrong signing secret: the webhook's lane pauses and says why, the other runs; with the right one nothing is missing.

use crate::harness::bench::COMPLETE;
use crate::harness::load::{Amount, Load};
use crate::harness::{Bench, Measured, check, effects};
use anyhow::Result;
use std::time::Duration;

const LOAD: Amount = Amount { rate: 500, rows: 1000, copies: 1, copy_rows: 1000 };
const STOP: Duration = Duration::from_secs(15);
/// `whsec_` and base64 of 32 bytes that nobody uses.
const WRONG: &str = "whsec_ZGVsdGFmYW4gZTJlOiBub3QgdGhlIHNlY3JldCEhISE=";

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let right = bench.plan(&receiver)?;
    let mut wrong = right.clone();
    WRONG.clone_into(&mut wrong.secret);
    let mut processor = bench.processor(&wrong).await?;
    Load::start(bench, LOAD).await?.finish().await?;
    let why = processor.admin.lane_is(&wrong.pipeline, "webhook", "sink", "paused").await?;
    check::contains("why the lane is paused", &why, "401")?;
    effects::board_equals_sql(&bench.db, &bench.redis, wrong.key()?, "1 hour", COMPLETE).await?;
    let stats = receiver.remote.stats().await?;
    check::equal("events stored under a wrong signature", stats.total_events, 0)?;
    check::at_least("requests not believed", stats.invalid_signatures, 1)?;
    let mut measured = Measured::default();
    measured.add(format!("paused: {why}"));

    let status = processor.process.terminate(STOP).await?;
    check::equal("exit status of a processor with a paused lane", status.code(), Some(0))?;
    let _processor = bench.processor(&right).await?;
    bench.complete(&right, &receiver, &mut measured).await?;
    Ok(measured)
}
