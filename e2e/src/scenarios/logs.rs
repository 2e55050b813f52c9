//! The topic under the lanes: it is deleted and made again while they stand still, and its records are about to go, or are
//! gone, before they were delivered.

use crate::harness::bench::COMPLETE;
use crate::harness::config::{Plan, SINKS};
use crate::harness::kafka::{EVENTS, Offsets, Record};
use crate::harness::wait::{self, Look, seen_if};
use crate::harness::{Bench, Measured, check};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// Rows whose records come before and after: more after, so that the old offsets exist in the new topic as well.
const BEFORE: i64 = 20;
const AFTER: i64 = 60;
/// Rows that count nothing, whose events wait for the receiver.
const WAITING: i64 = 5;
const PARTITION: i32 = 1;
/// Records go soon when they are older than four fifths of this. Kafka itself deletes by age every few minutes only.
const RETENTION_MS: &str = "5000";
const COMMAND: Duration = Duration::from_secs(30);
const MADE_AGAIN: &str = "deleted and made again";

/// The records of rows that are inserted now, as Debezium writes them.
async fn rows(bench: &Bench, count: i64, duration_ms: Option<i32>) -> Result<Vec<Record>> {
    let from: Offsets = bench.kafka.ends(EVENTS).await?;
    let insert = "INSERT INTO engagement_events (content_id, user_id, event_type, duration_ms) \
                  SELECT (SELECT id FROM content ORDER BY id LIMIT 1), uuid_generate_v4(), 'play', $2 \
                  FROM generate_series(1, $1::bigint)";
    bench.db.execute(insert, &[&count, &duration_ms]).await?;
    bench.kafka.caught_up(&bench.db).await?;
    let mut records = bench.kafka.records(EVENTS, from).await?;
    // They come from several partitions and go to one, which has the order of the source as well.
    records.sort_by_cached_key(lsn);
    // Those, and that of the row by which it was seen that they are there.
    check::at_least("records of the rows", i64::try_from(records.len())?, count)?;
    Ok(records)
}

/// Where the change stands in the write-ahead log; one transaction's changes, one after the other, are in that order.
fn lsn(record: &Record) -> Option<u64> {
    let message: serde_json::Value = serde_json::from_slice(record.value.as_deref()?).ok()?;
    message.pointer("/source/lsn")?.as_u64()
}

pub async fn made_again(bench: &Bench) -> Result<Measured> {
    let mut receiver = bench.receiver().await?;
    let mut plan = bench.plan(&receiver)?;
    plan.topic = format!("e2e.{}", bench.name);
    bench.kafka.create_topic(&plan.topic, 2, &[]).await?;
    let mut processor = bench.processor(&plan).await?;
    let mut measured = Measured::default();
    bench.kafka.produce(&plan.topic, PARTITION, &rows(bench, BEFORE, Some(1000)).await?).await?;
    bench.complete(&plan, &receiver, &mut Measured::default()).await?;

    receiver.process.kill()?;
    let waiting = rows(bench, WAITING, None).await?;
    bench.kafka.produce(&plan.topic, PARTITION, &waiting).await?;
    processor.admin.lane_is(&plan.pipeline, "webhook", "sink", "retrying").await?;
    bench.kafka.delete_topic(&plan.topic).await?;
    bench.kafka.create_topic(&plan.topic, 2, &[]).await?;
    bench.kafka.produce(&plan.topic, PARTITION, &waiting).await?;
    let after = rows(bench, AFTER, Some(3000)).await?;
    bench.kafka.produce(&plan.topic, PARTITION, &after).await?;
    let log = bench.folder.join("deltafan.log");
    wait::until("every worker has noticed", COMPLETE, async || {
        let text = std::fs::read_to_string(&log)?;
        let noticed = text.matches(MADE_AGAIN).count();
        Ok(seen_if(noticed >= SINKS.len(), || format!("{noticed} have")))
    })
    .await?;
    receiver.process.start_again()?;
    receiver.answers().await?;
    bench.complete(&plan, &receiver, &mut measured).await?;
    ensure!(processor.process.runs(), "the processor has ended");
    bench.kafka.delete_topic(&plan.topic).await?;
    Ok(measured)
}

pub async fn retention(bench: &Bench) -> Result<Measured> {
    let mut receiver = bench.receiver().await?;
    let mut plan = bench.plan(&receiver)?;
    plan.topic = format!("e2e.{}", bench.name);
    bench.kafka.create_topic(&plan.topic, 2, &[("retention.ms", RETENTION_MS)]).await?;
    let mut processor = bench.processor(&plan).await?;
    receiver.process.kill()?;
    bench.kafka.produce(&plan.topic, PARTITION, &rows(bench, WAITING, Some(1000)).await?).await?;
    let warning = wait::until("it warns that records go soon", COMPLETE, async || {
        let workers = processor.admin.workers(&plan.pipeline, "webhook").await?;
        let told = workers.iter().find_map(|worker| worker.get("expiring")?.as_str());
        Ok(match told {
            Some(warning) => Look::Seen(warning.to_owned()),
            None => Look::NotYet(format!("{workers:?}")),
        })
    })
    .await?;
    check::at_least("records about to go, by metric", expiring(&processor.admin, &plan).await?, 1.0)?;
    receiver.process.start_again()?;
    receiver.answers().await?;
    wait::until("the warning is taken back", COMPLETE, async || {
        let records = expiring(&processor.admin, &plan).await?;
        Ok(seen_if(records < 1.0, || format!("{records} are about to go")))
    })
    .await?;
    let mut measured = Measured::default();
    bench.complete(&plan, &receiver, &mut measured).await?;

    // Records without effect that are deleted before anybody has read them.
    processor.process.terminate(COMMAND).await?;
    let tombstones = vec![Record { key: Some(b"1".to_vec()), ..Record::default() }; 7];
    bench.kafka.produce(&plan.topic, PARTITION, &tombstones).await?;
    bench.kafka.empty(&plan.topic).await?;
    processor.process.start_again()?;
    // The leaderboard is in the table, and makes itself anew from there; what the receiver lacks is nowhere else.
    for sink in SINKS.into_iter().filter(|sink| *sink != "redis") {
        let why = processor.admin.lane_is(&plan.pipeline, sink, "reader", "lost").await?;
        ensure!(why.contains(&format!("of partition {PARTITION}")), "lane {sink} says: {why}");
        ensure!(why.contains(&format!("deltafan reset {}/{sink}", plan.pipeline)), "lane {sink} says: {why}");
        let config = bench.folder.join("deltafan.yaml");
        let config = config.to_str().context("the folder's name is no UTF-8")?;
        let order = ["reset", sink, "--to", "earliest", "--config", config];
        let (status, said) = bench.deltafan("order", &order).run(COMMAND).await?;
        ensure!(status.success(), "{order:?} ended with {status}: {said}");
    }
    processor.admin.ready().await?;
    bench.no_lag(&plan).await?;
    measured.add(format!("warned: {warning}"));
    let named = std::fs::read_to_string(bench.folder.join("deltafan.log"))?.matches("is made anew").count();
    check::at_least("leaderboards that went on by themselves", named, 1)?;
    measured.add(
        "a lost stretch was named, made up for in Redis from the table, left behind by order at the receiver",
    );
    bench.kafka.delete_topic(&plan.topic).await?;
    Ok(measured)
}

async fn expiring(admin: &crate::harness::processor::Admin, plan: &Plan) -> Result<f64> {
    let labels = [("pipeline", plan.pipeline.as_str()), ("sink", "webhook")];
    Ok(admin.metrics().await?.sum("deltafan_lane_expiring_records", &labels))
}
