//! A bare consumer of the topic: what Postgres, Debezium and Kafka take by themselves, without a processor.

use anyhow::{Context, Result};
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const TOPIC: &str = "engagement_events";
const TIMEOUT: Duration = Duration::from_secs(5);
/// No record for this long: there will be none.
const PATIENCE: Duration = Duration::from_secs(30);

/// A consumer that reads committed records and does nothing with them.
pub struct Bare(BaseConsumer);

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

    /// The moments at which the next `rows` records with a value arrive, on a thread of its own; fewer if no more come.
    pub fn arrivals(self, rows: usize) -> JoinHandle<Result<Vec<Instant>>> {
        thread::spawn(move || {
            let mut arrived = Vec::with_capacity(rows);
            while arrived.len() < rows {
                let Some(message) = self.0.poll(PATIENCE) else { break };
                if message?.payload().is_some() {
                    arrived.push(Instant::now());
                }
            }
            Ok(arrived)
        })
    }
}
