//! Kafka, from the outside: what lies in a topic, what a group has committed, and records put in by hand.
//!
//! librdkafka's calls block, so each runs on a thread that may.

use super::db::Db;
use super::wait::{self, Look};
use anyhow::{Context, Result};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The topic with the changes of `engagement_events`.
pub const EVENTS: &str = "engagement_events";
/// The topic with the changes of `content`.
pub const CONTENT: &str = "content";
/// The topic with what could not be delivered.
pub const DEAD_LETTERS: &str = "engagement_events.dlq";

const TIMEOUT: Duration = Duration::from_secs(10);
/// As large as the broker allows for the dead letters.
const MAX_BYTES: &str = "18874368";

/// Offsets by partition.
pub type Offsets = BTreeMap<i32, i64>;

/// A cluster.
#[derive(Debug, Clone)]
pub struct Kafka {
    brokers: String,
}

/// A record read back, or to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Its timestamp in milliseconds since 1970; what is written gets that of the moment.
    pub written_ms: Option<i64>,
}

impl Record {
    /// A header's value as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(has, _)| has == name)?;
        std::str::from_utf8(value.as_ref()?).ok()
    }
}

impl Kafka {
    /// Connects to nothing yet.
    pub fn new(brokers: &str) -> Self {
        Self { brokers: brokers.to_owned() }
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("allow.auto.create.topics", "false");
        config
    }

    /// A consumer of committed records that belongs to `group` by name only.
    pub fn reader(&self, group: &str) -> Result<BaseConsumer> {
        let mut config = self.config();
        config
            .set("group.id", group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "false")
            .set("auto.offset.reset", "error")
            .set("fetch.message.max.bytes", MAX_BYTES);
        config.create().context("no Kafka consumer")
    }

    /// Runs `question` with a consumer that belongs to `group` by name only.
    async fn ask<T: Send + 'static>(
        &self,
        group: &str,
        question: impl FnOnce(&BaseConsumer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let consumer = self.reader(group)?;
        tokio::task::spawn_blocking(move || question(&consumer)).await?
    }

    /// The offsets behind the last record of each partition that no open transaction keeps from being read.
    pub async fn ends(&self, topic: &str) -> Result<Offsets> {
        let topic = topic.to_owned();
        self.ask("e2e", move |consumer| ends(consumer, &topic)).await
    }

    /// The offsets of the first record of each partition.
    pub async fn begins(&self, topic: &str) -> Result<Offsets> {
        let topic = topic.to_owned();
        self.ask("e2e", move |consumer| begins(consumer, &topic)).await
    }

    /// How many records lie from the first open transaction on: none where nothing is open.
    pub async fn uncommitted(&self, topic: &str) -> Result<i64> {
        // A reader of committed records is told where the first open transaction begins in place of the end.
        let stable: i64 = self.ends(topic).await?.values().sum();
        let all: BaseConsumer =
            self.config().set("group.id", "e2e").set("isolation.level", "read_uncommitted").create()?;
        let topic = topic.to_owned();
        let written: i64 = tokio::task::spawn_blocking(move || ends(&all, &topic)).await??.values().sum();
        Ok(written - stable)
    }

    /// What a group has committed of a topic; a partition without a commit is left out.
    pub async fn committed(&self, group: &str, topic: &str) -> Result<Offsets> {
        let topic = topic.to_owned();
        self.ask(group, move |consumer| {
            let mut asked = TopicPartitionList::new();
            for partition in partitions(consumer, &topic)? {
                asked.add_partition(&topic, partition);
            }
            let committed = consumer.committed_offsets(asked, TIMEOUT)?;
            let offset = |partition, offset| match offset {
                Offset::Offset(offset) => Some((partition, offset)),
                _ => None,
            };
            Ok(committed
                .elements()
                .iter()
                .filter_map(|element| offset(element.partition(), element.offset()))
                .collect())
        })
        .await
    }

    /// How many records of the topic a group has not yet passed, its markers included; a partition without a commit
    /// counts from its first record.
    pub async fn lag(&self, group: &str, topic: &str) -> Result<i64> {
        let topic = topic.to_owned();
        self.ask(group, move |consumer| {
            let mut asked = TopicPartitionList::new();
            let ends = ends(consumer, &topic)?;
            for partition in ends.keys() {
                asked.add_partition(&topic, *partition);
            }
            let committed = consumer.committed_offsets(asked, TIMEOUT)?;
            let mut lag = 0;
            for (partition, end) in ends {
                let offset = committed.find_partition(&topic, partition).map(|element| element.offset());
                let position = match offset {
                    Some(Offset::Offset(offset)) => offset,
                    _ => consumer.fetch_watermarks(&topic, partition, TIMEOUT)?.0,
                };
                lag += end - position;
            }
            Ok(lag)
        })
        .await
    }

    /// Sets a group without members to the beginning of a topic, as Kafka's own tools do: with no word on who did it.
    pub async fn set_group(&self, group: &str, topic: &str) -> Result<()> {
        let topic = topic.to_owned();
        self.ask(group, move |consumer| {
            let mut list = TopicPartitionList::new();
            for (partition, low) in begins(consumer, &topic)? {
                list.add_partition_offset(&topic, partition, Offset::Offset(low))?;
            }
            Ok(consumer.commit(&list, CommitMode::Sync)?)
        })
        .await
    }

    /// The committed records of a topic from `from` to its end.
    pub async fn records(&self, topic: &str, from: Offsets) -> Result<Vec<Record>> {
        let topic = topic.to_owned();
        self.ask("e2e", move |consumer| read(consumer, &topic, &from)).await
    }

    /// Writes records to one partition, in order, and waits until they are durable.
    pub async fn produce(&self, topic: &str, partition: i32, records: &[Record]) -> Result<()> {
        self.produce_by("none", topic, partition, records).await
    }

    /// The same, in few batches, each compressed by `codec`, by its name in Kafka's settings.
    pub async fn produce_by(
        &self,
        codec: &str,
        topic: &str,
        partition: i32,
        records: &[Record],
    ) -> Result<()> {
        let mut config = self.config();
        config.set("message.max.bytes", MAX_BYTES).set("enable.idempotence", "true");
        config.set("batch.size", MAX_BYTES).set("linger.ms", "50").set("compression.type", codec);
        let producer: FutureProducer = config.create()?;
        let mut sent = Vec::new();
        for record in records {
            let mut headers = OwnedHeaders::new();
            for (key, value) in &record.headers {
                headers = headers.insert(Header { key, value: value.as_ref() });
            }
            let mut message: FutureRecord<'_, Vec<u8>, Vec<u8>> =
                FutureRecord::to(topic).partition(partition);
            message.key = record.key.as_ref();
            message.payload = record.value.as_ref();
            sent.push(producer.send_result(message.headers(headers)).map_err(|(error, _)| error)?);
        }
        for sent in sent {
            sent.await?.map_err(|(error, _)| error).context("a record was not taken by Kafka")?;
        }
        Ok(())
    }

    /// Writes a record in a transaction and leaves that open.
    pub async fn open_transaction(&self, topic: &str, record: Record) -> Result<OpenTransaction> {
        let id = format!("e2e-{}", uuid::Uuid::new_v4());
        let producer: BaseProducer = self.config().set("transactional.id", id).create()?;
        let topic = topic.to_owned();
        tokio::task::spawn_blocking(move || {
            producer.init_transactions(TIMEOUT)?;
            producer.begin_transaction()?;
            let mut message: BaseRecord<'_, Vec<u8>, Vec<u8>> = BaseRecord::to(&topic);
            message.key = record.key.as_ref();
            message.payload = record.value.as_ref();
            producer.send(message).map_err(|(error, _)| error)?;
            producer.flush(TIMEOUT).context("a record was not taken by Kafka")?;
            Ok(OpenTransaction(producer))
        })
        .await?
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        self.config().create().context("no Kafka admin client")
    }

    /// Makes a topic with these settings of its own.
    pub async fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        for made in self.admin()?.create_topics(&[topic], &AdminOptions::new()).await? {
            made.map_err(|(name, code)| anyhow::anyhow!("topic {name} was not made: {code}"))?;
        }
        Ok(())
    }

    /// Deletes a topic.
    pub async fn delete_topic(&self, name: &str) -> Result<()> {
        for gone in self.admin()?.delete_topics(&[name], &AdminOptions::new()).await? {
            gone.map_err(|(name, code)| anyhow::anyhow!("topic {name} was not deleted: {code}"))?;
        }
        Ok(())
    }

    /// Makes a consumer group forget its offsets, if there is such a group.
    pub async fn forget_group(&self, group: &str) -> Result<()> {
        for gone in self.admin()?.delete_groups(&[group], &AdminOptions::new()).await? {
            match gone {
                Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)) => {}
                Err((group, code)) => anyhow::bail!("group {group} was not deleted: {code}"),
            }
        }
        Ok(())
    }

    /// Deletes what lies in a topic; its offsets go on.
    pub async fn empty(&self, topic: &str) -> Result<()> {
        self.delete_before(topic, &self.ends(topic).await?).await
    }

    /// Deletes what lies in a topic before some offsets.
    pub async fn delete_before(&self, topic: &str, offsets: &Offsets) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        let gone = self.admin()?.delete_records(&list, &AdminOptions::new()).await?;
        for element in gone.elements() {
            element.error().with_context(|| format!("{topic} was not emptied"))?;
        }
        Ok(())
    }

    /// Waits until every change that is committed in Postgres now lies in Kafka: a row that comes after them does.
    pub async fn caught_up(&self, db: &Db) -> Result<()> {
        let mark = format!("e2e-mark-{}", uuid::Uuid::new_v4());
        let mut from = self.ends(EVENTS).await?;
        db.execute(
            "INSERT INTO engagement_events (user_id, event_type, device) VALUES (uuid_generate_v4(), 'click', $1)",
            &[&mark],
        )
        .await?;
        wait::until("Debezium has caught up", Duration::from_secs(120), async || {
            let records = self.records(EVENTS, from.clone()).await?;
            let holds = |value: &Vec<u8>| value.windows(mark.len()).any(|part| part == mark.as_bytes());
            if records.iter().filter_map(|record| record.value.as_ref()).any(holds) {
                return Ok(Look::Seen(()));
            }
            let instead = format!("{} other records have come", records.len());
            from = self
                .ends(EVENTS)
                .await?
                .into_iter()
                .map(|(partition, end)| (partition, end - BACK))
                .collect();
            Ok(Look::NotYet(instead))
        })
        .await
    }
}

/// A transaction that is neither committed nor aborted.
pub struct OpenTransaction(BaseProducer);

impl OpenTransaction {
    /// Aborts it.
    pub async fn abort(self) -> Result<()> {
        tokio::task::spawn_blocking(move || Ok(self.0.abort_transaction(TIMEOUT)?)).await?
    }
}

/// How far back a repeated look begins: more than lies between the look's own two questions.
const BACK: i64 = 20_000;

fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<Vec<i32>> {
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let found = found.with_context(|| format!("there is no topic {topic}"))?;
    Ok(found.partitions().iter().map(|partition| partition.id()).collect())
}

fn ends(consumer: &BaseConsumer, topic: &str) -> Result<Offsets> {
    let ask = |partition| Ok((partition, consumer.fetch_watermarks(topic, partition, TIMEOUT)?.1));
    partitions(consumer, topic)?.into_iter().map(ask).collect()
}

fn begins(consumer: &BaseConsumer, topic: &str) -> Result<Offsets> {
    let ask = |partition| Ok((partition, consumer.fetch_watermarks(topic, partition, TIMEOUT)?.0));
    partitions(consumer, topic)?.into_iter().map(ask).collect()
}

/// Reads from `from` to the ends as they are now. A partition's end may be a transaction's marker, which is no record:
/// the position tells when it is reached.
fn read(consumer: &BaseConsumer, topic: &str, from: &Offsets) -> Result<Vec<Record>> {
    let mut list = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    for (partition, start) in from {
        let (low, high) = consumer.fetch_watermarks(topic, *partition, TIMEOUT)?;
        let start = (*start).max(low);
        if start < high {
            list.add_partition_offset(topic, *partition, Offset::Offset(start))?;
            ends.insert(*partition, high);
        }
    }
    if ends.is_empty() {
        return Ok(Vec::new());
    }
    consumer.assign(&list)?;
    let mut records = Vec::new();
    let deadline = Instant::now() + TIMEOUT * 3;
    while !reached(consumer, topic, &ends)? {
        anyhow::ensure!(Instant::now() < deadline, "{topic} could not be read to its end");
        let Some(message) = consumer.poll(Duration::from_millis(50)) else { continue };
        let message = message?;
        let headers = message.headers().map(|headers| {
            headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
        });
        records.push(Record {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
            written_ms: message.timestamp().to_millis(),
        });
    }
    Ok(records)
}

fn reached(consumer: &BaseConsumer, topic: &str, ends: &BTreeMap<i32, i64>) -> Result<bool> {
    let positions = consumer.position()?;
    Ok(ends.iter().all(|(partition, end)| {
        let position = positions.find_partition(topic, *partition).map(|element| element.offset());
        matches!(position, Some(Offset::Offset(at)) if at >= *end)
    }))
}
