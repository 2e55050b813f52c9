//! Batches adapt: one record per write while it is quiet, many in a burst, and no timer that a lone record waits for.

use crate::harness::bench::COMPLETE;
use crate::harness::config::SINKS;
use crate::harness::kafka::{EVENTS, Offsets};
use crate::harness::processor::Done;
use crate::harness::wait::{self, seen_if};
use crate::harness::{Bench, Measured, Plan, Processor, check};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::time::{Duration, Instant};

/// Ten rows per second at most, and each on its own: the next one comes when the last is in both sinks.
const QUIET_ROWS: u32 = 50;
const QUIET_PAUSE: Duration = Duration::from_millis(100);
/// From Kafka to its write the fastest row takes at most so many times as long as half of the rows take to Kafka.
const MOST_OF_WAY: f64 = 4.0;
const BURST_ROWS: i64 = 20_000;
/// Records per write in the burst, at least. There are far more where the rows come in faster than they go out.
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
    let quiet = quiet(bench, &processor, &plan, start, &mut measured).await?;
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

/// One row after the other: each is a write of its own, and none is kept. What the lanes have done by then.
async fn quiet(
    bench: &Bench,
    processor: &Processor,
    plan: &Plan,
    start: [Done; 2],
    measured: &mut Measured,
) -> Result<[Done; 2]> {
    let from = bench.kafka.ends(EVENTS).await?;
    let mut until_write_ms = SINKS.map(|_| Vec::new());
    let mut quiet = start;
    for number in 1..=QUIET_ROWS {
        let pause = tokio::time::sleep(QUIET_PAUSE);
        bench.db.execute(INSERT, &[&1_i64]).await?;
        let now = delivered(processor, &plan.pipeline, f64::from(number) + 1.0).await?;
        for ((until_write_ms, now), before) in until_write_ms.iter_mut().zip(now).zip(quiet) {
            let (latency_s, writing_s) = (now.latency_s - before.latency_s, now.writing_s - before.writing_s);
            until_write_ms.push((latency_s - writing_s) * 1000.0);
        }
        quiet = now;
        pause.await;
    }
    for ((sink, start), quiet) in SINKS.iter().zip(start).zip(quiet) {
        let (events, writes) = (quiet.events - start.events, quiet.writes - start.writes);
        check::equal(format!("events of lane {sink} at 10 rows/s"), events, f64::from(QUIET_ROWS))?;
        check::equal(format!("writes of lane {sink} at 10 rows/s"), writes, f64::from(QUIET_ROWS))?;
    }
    measured.add("at 10 rows/s one record per write".to_owned());
    let to_kafka_ms = to_kafka_ms(bench, from).await?;
    for (sink, until_write_ms) in SINKS.iter().zip(until_write_ms) {
        no_timer(sink, &until_write_ms, &to_kafka_ms, measured)?;
    }
    Ok(quiet)
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

/// What each row since `from` took from its commit until it was in Kafka, in milliseconds, in the order of commits.
async fn to_kafka_ms(bench: &Bench, from: Offsets) -> Result<Vec<f64>> {
    #[derive(Deserialize)]
    struct Change {
        source: Source,
    }
    #[derive(Deserialize)]
    struct Source {
        ts_us: i64,
    }
    let mut times = Vec::new();
    for record in bench.kafka.records(EVENTS, from).await? {
        let change: Change = serde_json::from_slice(record.value.as_deref().unwrap_or_default())?;
        let written_ms = record.written_ms.context("a record without a timestamp")?;
        times.push((change.source.ts_us, written_ms));
    }
    times.sort_unstable();
    let way_ms = |(committed_us, written_ms): (i64, i64)| {
        Duration::from_micros(u64::try_from(written_ms * 1000 - committed_us).unwrap_or_default())
            .as_secs_f64()
            * 1000.0
    };
    Ok(times.into_iter().map(way_ms).collect())
}

/// Asserts that no lone record is kept on purpose. A timer keeps every one of them, a busy machine only some; and a slow
/// machine is slow on the way to Kafka, too.
fn no_timer(sink: &str, until_write_ms: &[f64], to_kafka_ms: &[f64], measured: &mut Measured) -> Result<()> {
    check::equal("rows read back from Kafka", to_kafka_ms.len(), until_write_ms.len())?;
    let kept_ms: Vec<_> = until_write_ms.iter().zip(to_kafka_ms).map(|(until, way)| until - way).collect();
    let fastest = kept_ms.iter().copied().fold(f64::INFINITY, f64::min);
    let ((kept, _), (way, _)) = (check::p50_and_max(kept_ms), check::p50_and_max(to_kafka_ms.to_vec()));
    check::at_most(
        format!("ms from Kafka to the write of the fastest row of lane {sink}"),
        fastest,
        MOST_OF_WAY * way,
    )?;
    measured.add(format!(
        "{sink}: written {fastest:.1} to p50 {kept:.1} ms after Kafka, which takes p50 {way:.1} ms"
    ));
    Ok(())
}
