//! A burst: many rows in one statement. A bare consumer tells when Kafka has delivered the last of them; the sinks should not
//! be later than that by more than a write takes.

use crate::pipeline::{Pipeline, say, until};
use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::thread;
use std::time::{Duration, Instant};

const TOPIC: &str = "engagement_events";
const INSERT: &str = "INSERT INTO engagement_events (user_id, content_id, event_type, duration_ms, device) \
     SELECT uuid_generate_v4(), $1, 'play', 1000, 'bench' FROM generate_series(1, $2)";

/// Inserts `rows` rows at once and prints when they were where.
///
/// # Errors
/// Something does not answer.
pub async fn measure(pipeline: &Pipeline, rows: u32, brokers: &str) -> Result<()> {
    let consumer = at_the_end(brokers)?;
    let before = pipeline.stored().await?;
    pipeline.database.execute(INSERT, &[&pipeline.content, &i32::try_from(rows)?]).await?;
    let commit = Instant::now();
    let bare = thread::spawn(move || last_of(&consumer, rows, commit));
    let visible = until(commit, async || Ok(pipeline.score().await? >= f64::from(rows)));
    let stored = until(commit, async || Ok(pipeline.stored().await? >= before + u64::from(rows)));
    let (visible, stored) = tokio::join!(visible, stored);
    let bare = bare.join().ok().flatten().context("the bare consumer did not get all rows")?;
    for (what, took) in [("Kafka (a bare consumer)", bare), ("Redis", visible?), ("the receiver", stored?)] {
        let rate = f64::from(rows) / took.as_secs_f64();
        say(&format!(
            "all {rows} rows in {what:24} {:6.0} ms after the commit  ({rate:.0}/s)",
            took.as_secs_f64() * 1000.0
        ))?;
    }
    Ok(())
}

/// A consumer that stands behind everything that is there now.
fn at_the_end(brokers: &str) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.queue.backoff.ms", "2")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(TOPIC), Duration::from_secs(5))?;
    let topic = metadata.topics().first().context("no topic")?;
    let mut list = TopicPartitionList::new();
    for partition in topic.partitions() {
        let (_, high) = consumer.fetch_watermarks(TOPIC, partition.id(), Duration::from_secs(5))?;
        list.add_partition_offset(TOPIC, partition.id(), Offset::Offset(high))?;
    }
    consumer.assign(&list)?;
    // It fetches before the rows come.
    let _ = consumer.poll(Duration::from_millis(500));
    Ok(consumer)
}

fn last_of(consumer: &BaseConsumer, rows: u32, commit: Instant) -> Option<Duration> {
    let mut left = rows;
    while left > 0 {
        if let Ok(_message) = consumer.poll(Duration::from_secs(30))? {
            left -= 1;
        }
    }
    Some(commit.elapsed())
}
