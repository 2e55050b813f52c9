//! A topic whose producer compresses is read like any other, whichever of Kafka's ways of compressing it is, also in batches that are larger
//! than what a lane asks for at once.

use crate::harness::bench::COMPLETE;
use crate::harness::kafka::EVENTS;
use crate::harness::{Bench, Measured, check};
use anyhow::{Context, Result, ensure};

/// As they are numbered in a batch's attributes, from 1 on; each has a partition of its own.
const CODECS: [&str; 4] = ["gzip", "snappy", "lz4", "zstd"];
/// Where in a batch its length is, and where its attributes end; the three lowest bits of those are the codec's number.
const LENGTH: std::ops::Range<usize> = 8..12;
const ATTRIBUTES: usize = 22;
/// More than a lane asks for at once, of each partition, in rows that compress to half and no further.
const ROWS: i64 = 4000;
const LARGE: i64 = 256 * 1024;
const INSERT: &str = "INSERT INTO engagement_events (content_id, user_id, event_type, duration_ms, raw_payload) \
    SELECT content.id, uuid_generate_v4(), 'play', n::int, jsonb_build_object('noise', noise.text) \
    FROM generate_series(1, $1::bigint) AS n \
    JOIN (SELECT id, row_number() OVER () - 1 AS number FROM content) AS content ON content.number = n % 10 \
    CROSS JOIN LATERAL (SELECT string_agg(md5(random()::text || n || part), '') AS text FROM generate_series(1, 32) AS part) AS noise";

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
        let (length, attributes) = (log.get(LENGTH), log.get(ATTRIBUTES));
        let (length, attributes) = length.zip(attributes).with_context(|| format!("nothing by {codec}"))?;
        let named = format!("the codec of partition {partition}, {codec}");
        check::equal(named, i32::from(attributes & 7), partition + 1)?;
        let length = i32::from_be_bytes(length.try_into()?);
        check::at_least(format!("bytes in the first batch by {codec}"), i64::from(length), LARGE)?;
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
