//! The topic that is drained: real Debezium messages, of which ids, contents, times and durations are made anew.

use anyhow::{Context, Result, ensure};
use deltafan::decode::timestamp::format_micros;
use deltafan::generate::Zipf;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

const BARE: &str = include_str!("../../../processor/tests/fixtures/json/engagement_events.jsonl");
const WITH_SCHEMA: &str =
    include_str!("../../../processor/tests/fixtures/json-with-schema/engagement_events.jsonl");

/// The stretch of time that the events lie in, up to the moment of filling.
const STRETCH_US: i64 = 600_000_000;
/// A minute for what should take seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const QUEUE_FULL: Duration = Duration::from_millis(5);

/// What is made.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// How many records.
    pub records: u32,
    /// How many partitions.
    pub partitions: i32,
    /// Whether each message carries its schema, as the converter writes it by default.
    pub with_schema: bool,
    /// The transaction that all of them come from.
    pub transaction: u32,
    /// The order of contents, durations and users.
    pub seed: u64,
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

const TRANSACTION: &str = r#"{"id":"69014:268548976","total_order":1,"data_collection_order":1}"#;

/// A part of a message.
#[derive(Clone, Copy)]
enum Part<'t> {
    Text(&'t str),
    Id,
    Content,
    User,
    Time,
    Duration,
    Lsn,
    Transaction,
}

/// Makes the topic and fills it; contents are chosen by Zipf's law with exponent 1 in the order given.
///
/// # Errors
/// Kafka refuses, or the messages to copy have another form.
pub async fn fill(brokers: &str, shape: Shape, contents: &[Uuid]) -> Result<Filled> {
    let schema = if shape.with_schema { "-schema" } else { "" };
    let topic = format!("bench.events-{}{schema}-{:08x}", shape.partitions, rand::random::<u32>());
    make(brokers, &topic, shape.partitions).await?;
    let name = topic.clone();
    let (brokers, contents) = (brokers.to_owned(), contents.to_vec());
    let (totals, bytes) =
        tokio::task::spawn_blocking(move || write(&brokers, &name, shape, &contents)).await??;
    Ok(Filled { topic, totals, bytes })
}

fn admin(brokers: &str) -> Result<AdminClient<DefaultClientContext>> {
    Ok(ClientConfig::new().set("bootstrap.servers", brokers).create()?)
}

async fn make(brokers: &str, topic: &str, partitions: i32) -> Result<()> {
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
    admin(brokers)?.delete_topics(&[topic], &AdminOptions::new()).await?;
    Ok(())
}

fn write(brokers: &str, topic: &str, shape: Shape, contents: &[Uuid]) -> Result<(BTreeMap<Uuid, i64>, u64)> {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "20")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.kbytes", "131072")
        .create()?;
    let text = message(shape.with_schema)?;
    let parts = cut(&text)?;
    let popularity = Zipf::new(NonZeroUsize::new(contents.len()).context("no contents")?, 1.0);
    let mut random = StdRng::seed_from_u64(shape.seed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let first_us = i64::try_from(now.as_micros())? - STRETCH_US;
    let (mut totals, mut bytes) = (BTreeMap::new(), 0);
    let (mut value, mut key) = (Vec::new(), Vec::new());
    for id in 0..shape.records {
        let content = *contents.get(popularity.rank(random.random())).context("no contents")?;
        let (user, ms) = (Uuid::from_u128(random.random()), random.random_range(1..60_000_i64));
        let at_us = first_us + STRETCH_US * i64::from(id) / i64::from(shape.records);
        value.clear();
        for part in &parts {
            match part {
                Part::Text(text) => value.extend_from_slice(text.as_bytes()),
                Part::Id => write!(value, "{}", id + 1)?,
                Part::Content => write!(value, "{content}")?,
                Part::User => write!(value, "{user}")?,
                Part::Time => value.extend_from_slice(format_micros(at_us).as_bytes()),
                Part::Duration => write!(value, "{ms}")?,
                Part::Lsn => write!(value, "{}", 268_548_976 + 120 * u64::from(id))?,
                Part::Transaction => write!(value, "{}", shape.transaction)?,
            }
        }
        key.clear();
        write!(key, "{{\"id\":{}}}", id + 1)?;
        *totals.entry(content).or_default() += ms;
        bytes += u64::try_from(value.len())?;
        let mut record = BaseRecord::to(topic).key(&key).payload(&value);
        while let Err((error, back)) = producer.send(record) {
            ensure!(error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), "{error}");
            record = back;
            thread::park_timeout(QUEUE_FULL);
        }
    }
    producer.flush(PATIENCE)?;
    Ok((totals, bytes))
}

/// The first insert among the recorded messages.
fn message(with_schema: bool) -> Result<String> {
    let line = if with_schema { WITH_SCHEMA } else { BARE }.lines().next().context("no message")?;
    let record: Value = serde_json::from_str(line)?;
    let value = record.get("value").and_then(Value::as_str).context("no value")?;
    // Our connector writes no metadata of transactions.
    Ok(value.replace(TRANSACTION, "null"))
}

/// Cuts the message where something is put in anew.
fn cut(text: &str) -> Result<Vec<Part<'_>>> {
    const PLACES: [(&str, &str, Part<'_>); 8] = [
        ("\"id\":", "1", Part::Id),
        ("\"content_id\":\"", "2059c50b-d9e9-4cfe-b0a6-3cd11a1b8e0e", Part::Content),
        ("\"user_id\":\"", "a4593837-703a-4cd7-b71f-dfac080c5c46", Part::User),
        ("\"event_ts\":\"", "2026-11-21T03:00:00.123456Z", Part::Time),
        ("\"duration_ms\":", "8000", Part::Duration),
        ("\\\"", "268548976", Part::Lsn),
        ("\"txId\":", "69014", Part::Transaction),
        ("\"lsn\":", "268548976", Part::Lsn),
    ];
    let mut parts = Vec::new();
    // The schema, where there is one, has fields of the same names.
    let (mut from, mut rest) = (0, text.find("\"after\":{").context("the message is no insert")?);
    for (before, old, part) in PLACES {
        let place = format!("{before}{old}");
        let found = text.get(rest..).and_then(|text| text.find(&place));
        let start = rest + found.with_context(|| format!("the message has no {place}"))? + before.len();
        parts.push(Part::Text(text.get(from..start).context("no text")?));
        parts.push(part);
        from = start + old.len();
        rest = from;
    }
    parts.push(Part::Text(text.get(from..).context("no text")?));
    Ok(parts)
}
