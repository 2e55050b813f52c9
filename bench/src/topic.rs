//! The topic that is drained.

use crate::messages::{Kind, Messages};
use anyhow::{Result, ensure};
use clap::ValueEnum;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, TopicPartitionList};
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// The stretch of time that the events lie in, up to the moment of filling.
const STRETCH_US: i64 = 600_000_000;
/// A minute for what should take seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a producer that has much to send puts into one batch at most.
pub const BATCH_BYTES: u32 = 1_000_000;
const QUEUE_FULL: Duration = Duration::from_millis(5);

/// How a producer compresses its batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// Not at all, as Connect's producers by default.
    #[default]
    None,
    /// Quickly.
    Lz4,
    /// Well.
    Zstd,
}

impl Compression {
    /// Its name in Kafka's settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// What is made.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// How many records.
    pub records: u32,
    /// How many partitions.
    pub partitions: i32,
    /// How its batches are compressed.
    pub compression: Compression,
    /// How large they are at most before that.
    pub batch_bytes: u32,
    /// What the messages are like.
    pub kind: Kind,
}

/// What lies in the topic.
#[derive(Debug)]
pub struct Filled {
    /// Its name.
    pub topic: String,
    /// Milliseconds by content: what a leaderboard must show.
    pub totals: BTreeMap<Uuid, i64>,
    /// All values together.
    pub bytes: u64,
}

/// Makes the topic and fills it; contents are chosen by Zipf's law in the order given.
///
/// # Errors
/// Kafka refuses, or the messages to copy have another form.
pub async fn fill(brokers: &str, shape: Shape, contents: &[Uuid]) -> Result<Filled> {
    let schema = if shape.kind.with_schema { "-schema" } else { "" };
    let topic = format!("bench.events-{}{schema}-{:08x}", shape.partitions, rand::random::<u32>());
    make(brokers, &topic, shape.partitions).await?;
    let (name, to, contents) = (topic.clone(), brokers.to_owned(), contents.to_vec());
    let written = tokio::task::spawn_blocking(move || write(&to, &name, shape, &contents)).await?;
    if written.is_err() {
        // The first error is the one that says why.
        let _ = delete(brokers, &topic).await;
    }
    let (totals, bytes) = written?;
    Ok(Filled { topic, totals, bytes })
}

/// How many records of a topic a group has behind it.
///
/// # Errors
/// Kafka does not answer.
pub async fn committed(brokers: &str, group: &str, topic: &str) -> Result<usize> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", group).create()?;
    let topic = topic.to_owned();
    let offsets = tokio::task::spawn_blocking(move || {
        let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE)?;
        let mut wanted = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(MetadataTopic::partitions) {
            wanted.add_partition(&topic, partition.id());
        }
        consumer.committed_offsets(wanted, PATIENCE)
    });
    let offsets = offsets.await??;
    let behind = offsets.elements().into_iter().filter_map(|element| element.offset().to_raw());
    Ok(behind.filter_map(|offset| usize::try_from(offset).ok()).sum())
}

fn admin(brokers: &str) -> Result<AdminClient<DefaultClientContext>> {
    Ok(ClientConfig::new().set("bootstrap.servers", brokers).create()?)
}

/// Makes an empty one.
///
/// # Errors
/// Kafka refuses.
pub async fn make(brokers: &str, topic: &str, partitions: i32) -> Result<()> {
    let new =
        NewTopic::new(topic, partitions, TopicReplication::Fixed(1)).set("max.message.bytes", "16777216");
    let made = admin(brokers)?.create_topics([&new], &AdminOptions::new()).await?;
    made.into_iter()
        .collect::<Result<Vec<_>, _>>()
        .map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}"))?;
    Ok(())
}

/// Deletes a topic.
///
/// # Errors
/// Kafka refuses.
pub async fn delete(brokers: &str, topic: &str) -> Result<()> {
    let deleted = admin(brokers)?.delete_topics(&[topic], &AdminOptions::new()).await?;
    deleted
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}"))?;
    Ok(())
}

fn write(brokers: &str, topic: &str, shape: Shape, contents: &[Uuid]) -> Result<(BTreeMap<Uuid, i64>, u64)> {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "20")
        .set("compression.type", shape.compression.name())
        .set("batch.size", shape.batch_bytes.to_string())
        .set("queue.buffering.max.kbytes", "131072")
        .create()?;
    let mut messages = Messages::new(shape.kind, contents)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let first_us = i64::try_from(now.as_micros())? - STRETCH_US;
    let (mut totals, mut bytes) = (BTreeMap::new(), 0);
    for id in 0..shape.records {
        let at_us = first_us + STRETCH_US * i64::from(id) / i64::from(shape.records);
        let (content, ms) = messages.make(u64::from(id) + 1, at_us)?;
        *totals.entry(content).or_default() += ms;
        bytes += u64::try_from(messages.value.len())?;
        let mut record = BaseRecord::to(topic).key(&messages.key).payload(&messages.value);
        while let Err((error, back)) = producer.send(record) {
            ensure!(error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), "{error}");
            record = back;
            thread::park_timeout(QUEUE_FULL);
        }
    }
    producer.flush(PATIENCE)?;
    Ok((totals, bytes))
}
