//! A bare consumer of the topic: what Postgres, Debezium and Kafka take by themselves, without a processor.

use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::Deserialize;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const TOPIC: &str = "engagement_events";
const TIMEOUT: Duration = Duration::from_secs(5);
/// No record for this long: there will be none.
const PATIENCE: Duration = Duration::from_secs(30);

/// A consumer that reads committed records.
pub struct Bare(BaseConsumer);

/// When a record came, and what it says of its way.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// When it came.
    pub at: Instant,
    /// Where it was asked for, by the clock of the machine, in microseconds since 1970: when Postgres committed it, when the connector made it of the log, when
    /// it was given to Kafka's client (whole milliseconds), when it came.
    pub way_us: Option<[i64; 4]>,
}

/// The times within Debezium's envelope.
#[derive(Deserialize)]
struct Envelope {
    source: Source,
    ts_us: i64,
}

#[derive(Deserialize)]
struct Source {
    ts_us: i64,
}

/// A consumer that reads committed records, from where it is told to.
///
/// # Errors
/// Kafka's client can't be made.
pub fn consumer(brokers: &str) -> Result<BaseConsumer> {
    Ok(ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.queue.backoff.ms", "2")
        .create()?)
}

impl Bare {
    /// Stands behind everything that is there now.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub fn at_the_end(brokers: &str) -> Result<Self> {
        let consumer = consumer(brokers)?;
        let metadata = consumer.fetch_metadata(Some(TOPIC), TIMEOUT)?;
        let topic = metadata.topics().first().context("no topic")?;
        let mut list = TopicPartitionList::new();
        for partition in topic.partitions() {
            let (_, high) = consumer.fetch_watermarks(TOPIC, partition.id(), TIMEOUT)?;
            list.add_partition_offset(TOPIC, partition.id(), Offset::Offset(high))?;
        }
        consumer.assign(&list)?;
        // It fetches before the rows come.
        let _ = consumer.poll(Duration::from_millis(500));
        Ok(Self(consumer))
    }

    /// The next `rows` records with a value, as they arrive, on a thread of its own; fewer if no more come.
    pub fn arrivals(self, rows: usize, with_way: bool) -> JoinHandle<Result<Vec<Arrival>>> {
        thread::spawn(move || {
            let mut arrived = Vec::with_capacity(rows);
            while arrived.len() < rows {
                let Some(message) = self.0.poll(PATIENCE) else { break };
                let message = message?;
                let Some(value) = message.payload() else { continue };
                let (at, now) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH)?);
                if !with_way {
                    arrived.push(Arrival { at, way_us: None });
                    continue;
                }
                let Envelope { source, ts_us } = serde_json::from_slice(value)?;
                let given = message.timestamp().to_millis().unwrap_or_default() * 1000;
                arrived.push(Arrival {
                    at,
                    way_us: Some([source.ts_us, ts_us, given, i64::try_from(now.as_micros())?]),
                });
            }
            Ok(arrived)
        })
    }
}
