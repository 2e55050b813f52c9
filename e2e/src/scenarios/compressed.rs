//! A topic whose producer compresses is read like any other, whichever of Kafka's ways of compressing it is.

use crate::harness::bench::COMPLETE;
use crate::harness::kafka::EVENTS;
use crate::harness::{Bench, Measured, check};
use anyhow::{Context, Result, ensure};

/// As they are numbered in a batch's attributes, from 1 on; each has a partition of its own.
const CODECS: [&str; 4] = ["gzip", "snappy", "lz4", "zstd"];
/// Where in a batch its attributes end; the three lowest bits are the codec's number.
const ATTRIBUTES: usize = 22;
/// Enough for every partition to have some.
const ROWS: i64 = 200;
const INSERT: &str = "INSERT INTO engagement_events (content_id, user_id, event_type, duration_ms) \
    SELECT content.id, uuid_generate_v4(), 'play', n::int FROM generate_series(1, $1::bigint) AS n \
    JOIN (SELECT id, row_number() OVER () - 1 AS number FROM content) AS content ON content.number = n % 10";

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let mut plan = bench.plan(&receiver)?;
    plan.topic = format!("e2e.{}", bench.name);
    bench.db.execute(INSERT, &[&ROWS]).await?;
    bench.kafka.caught_up(&bench.db).await?;

    let written = bench.kafka.ends(EVENTS).await?;
    bench.kafka.create_topic(&plan.topic, i32::try_from(CODECS.len())?, &[]).await?;
    for (partition, codec) in (0..).zip(CODECS) {
        // The changes of one partition stay in their order.
        let ours = written.keys().filter(|one| *one % i32::try_from(CODECS.len()).unwrap_or(1) == partition);
        let mut records = Vec::new();
        for source in ours {
            records.extend(bench.kafka.records(EVENTS, [(*source, 0)].into()).await?);
        }
        bench.kafka.produce_by(codec, &plan.topic, partition, &records).await?;
        let log = format!("kafka/data/{}-{partition}/00000000000000000000.log", plan.topic);
        let log = std::fs::read(bench.stack.state().join(&log)).context(log)?;
        let attributes =
            log.get(ATTRIBUTES).with_context(|| format!("no record is compressed by {codec}"))?;
        check::equal(
            format!("the codec of partition {partition}"),
            i32::from(attributes & 7),
            partition + 1,
        )?;
    }

    let mut processor = bench.processor(&plan).await?;
    let mut measured = Measured::default();
    bench.complete(&plan, &receiver, &mut measured).await?;
    let status = processor.process.terminate(COMPLETE).await?;
    check::equal("exit status", status.code(), Some(0))?;
    let said = std::fs::read_to_string(bench.folder.join("deltafan.log"))?;
    ensure!(!said.contains("reading failed"), "the processor had trouble reading: {said}");
    bench.kafka.delete_topic(&plan.topic).await?;
    measured.add(CODECS.join(", "));
    Ok(measured)
}
