//! A wrong signing secret, or a URL where nobody takes events: the webhook's lane pauses and says why, the other runs; with
//! the right one nothing is missing.

use crate::harness::bench::COMPLETE;
use crate::harness::config::By;
use crate::harness::load::{Flow, Load};
use crate::harness::{Bench, Measured, Plan, check, effects};
use anyhow::Result;
use std::time::Duration;

const LOAD: Flow = Flow { rate: 500, copy_rows: 1000, copy_every: Duration::from_secs(2) };
const ROWS: i64 = 2000;
const STOP: Duration = Duration::from_secs(15);
/// `whsec_` and base64 of 32 bytes that nobody uses.
const WRONG: &str = "whsec_ZGVsdGFmYW4gZTJlOiBub3QgdGhlIHNlY3JldCEhISE=";

/// What is wrong, and what follows.
struct Mistake {
    make: fn(&mut Plan),
    /// What the reason names.
    status: &'static str,
    /// Requests that the receiver did not believe, at least.
    unbelieved: i64,
}

pub async fn wrong_secret(bench: &Bench) -> Result<Measured> {
    let make = |plan: &mut Plan| WRONG.clone_into(&mut plan.secret);
    run(bench, Mistake { make, status: "401", unbelieved: 1 }).await
}

pub async fn missing_target(bench: &Bench) -> Result<Measured> {
    let make = |plan: &mut Plan| plan.webhook_url.push_str("/not-here");
    run(bench, Mistake { make, status: "404", unbelieved: 0 }).await
}

async fn run(bench: &Bench, mistake: Mistake) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let right = bench.plan(&receiver)?;
    let mut wrong = right.clone();
    (mistake.make)(&mut wrong);
    let mut processor = bench.processor(&wrong).await?;
    Load::start(bench, LOAD).await?.finish(ROWS).await?;
    let why = processor.admin.lane_is(&wrong.pipeline, "webhook", "sink", "paused").await?;
    check::contains("why the lane is paused", &why, mistake.status)?;
    effects::board_equals_sql(&bench.db, &bench.redis, (wrong.key()?, By::Content), "1 hour", COMPLETE)
        .await?;
    let stats = receiver.remote.stats().await?;
    check::equal("events stored while the lane is paused", stats.total_events, 0)?;
    check::at_least("requests not believed", stats.invalid_signatures, mistake.unbelieved)?;
    let mut measured = Measured::default();
    measured.add(format!("paused: {why}"));

    let status = processor.process.terminate(STOP).await?;
    check::equal("exit status of a processor with a paused lane", status.code(), Some(0))?;
    let _processor = bench.processor(&right).await?;
    bench.complete(&right, &receiver, &mut measured).await?;
    Ok(measured)
}
