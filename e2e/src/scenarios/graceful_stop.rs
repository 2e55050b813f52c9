//! SIGTERM under load: the processor ends within its bound and with status 0; the next one goes on without loss, and
//! without a second effect.

use crate::harness::load::{Flow, Load};
use crate::harness::wait::{self, seen_if};
use crate::harness::{Bench, Measured, check};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

const LOAD: Flow = Flow { rate: 1500, copy_rows: 3000, copy_every: Duration::from_secs(3) };
/// Rows that come in altogether, at least.
const ROWS: i64 = 25_000;
const STOPS: usize = 2;
/// The default of `shutdown_timeout`, and what the program adds at most.
const BOUND: Duration = Duration::from_secs(12);
/// Rows that have to be delivered between two stops, so that each stops a pipeline that moves.
const BETWEEN: i64 = 1500;

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let plan = bench.plan(&receiver)?;
    let mut processor = bench.processor(&plan).await?;
    let mut load = Load::start(bench, LOAD).await?;
    let mut measured = Measured::default();
    let mut stored = 0;
    for number in 1..=STOPS {
        wait::until("rows flow", BOUND * 3, async || {
            let now = receiver.remote.stats().await?.total_events;
            Ok(seen_if(now >= stored + BETWEEN, || format!("{now} are stored")))
        })
        .await?;
        ensure!(load.runs(), "the load has ended by itself before stop {number}");
        let began = Instant::now();
        let status = processor.process.terminate(BOUND).await?;
        check::equal(format!("exit status of stop {number}"), status.code(), Some(0))?;
        measured.add(format!("stop {number} took {:.2} s", began.elapsed().as_secs_f64()));
        stored = receiver.remote.stats().await?.total_events;
        let since = bench.db.count_events().await?;
        check::at_least("rows that wait after a stop under load", since - stored, 1)?;
        processor.process.start_again()?;
        processor.admin.ready().await?;
    }
    load.finish(ROWS).await?;
    bench.complete(&plan, &receiver, &mut measured).await?;
    let repeats = receiver.remote.stats().await?.duplicates;
    measured.add(format!("{repeats} repeats"));
    Ok(measured)
}
