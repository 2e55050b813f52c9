//! Giving an order: what the command line does. No instance has to run.

use super::follow;
use super::{LaneOrders, Order, Reset, Table};
use crate::position::{Offset, Partition, Positions};
use crate::source::client::Cluster;
use crate::source::topic::{self, Topic};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset as ListOffset, TopicPartitionList};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long Kafka may take for one answer.
const ANSWER: Duration = Duration::from_secs(10);
const ANSWER_MS: &str = "10000";
/// The pause between two looks at what has arrived.
const LOOK: Duration = Duration::from_millis(100);

/// Where a lane is to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// At the oldest record that Kafka has.
    Earliest,
    /// At what comes from now on.
    Latest,
    /// At the first record of this time or later, in milliseconds since 1970.
    Time(i64),
    /// At these offsets, and nowhere else otherwise.
    Offsets(Positions),
}

/// Why an order could not be given.
#[derive(Debug, thiserror::Error)]
pub enum GiveError {
    /// A topic is missing.
    #[error(
        "topic `{0}` does not exist; check the configuration, or make it (stack/stack topics makes those of the stack)"
    )]
    MissingTopic(String),
    /// An offset that is not there.
    #[error("partition {partition} of `{topic}` {what}")]
    NoSuchOffset {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
        /// What it has instead.
        what: String,
    },
    /// Kafka did not answer, or refused.
    #[error("kafka at {brokers}, topic `{topic}`: {error}; see whether it runs there, and check `kafka`")]
    Kafka {
        /// As configured.
        brokers: String,
        /// The topic.
        topic: String,
        /// What happened.
        error: Box<KafkaError>,
    },
    /// The clock, or JSON.
    #[error("the order can't be written: {0}")]
    Order(String),
}

impl GiveError {
    /// Whether somebody must act; else it may pass by itself.
    #[must_use]
    pub fn needs_action(&self) -> bool {
        !matches!(self, Self::Kafka { .. })
    }
}

/// Who gives orders: to the lanes that read `control`.
#[derive(Debug, Clone)]
pub struct Giver {
    cluster: Cluster,
    control: String,
}

impl Giver {
    /// Orders go to the topic `control`.
    #[must_use]
    pub fn new(cluster: Cluster, control: &str) -> Self {
        Self { cluster, control: control.to_owned() }
    }

    fn kafka<'t>(&'t self, topic: &'t str) -> impl Fn(KafkaError) -> GiveError + 't {
        move |error| GiveError::Kafka {
            brokers: self.cluster.brokers.clone(),
            topic: topic.to_owned(),
            error: Box::new(error),
        }
    }

    /// The orders to a lane that are in force.
    ///
    /// # Errors
    /// The topic can't be read within ten seconds.
    pub fn in_force(&self, lane: &str) -> Result<LaneOrders, GiveError> {
        let failed = self.kafka(&self.control);
        let consumer = follow::consumer(&self.cluster).map_err(&failed)?;
        let begun = follow::begin(&consumer, &self.control).map_err(&failed)?;
        let end = begun.ok_or_else(|| GiveError::MissingTopic(self.control.clone()))?;
        let table = read_to(&consumer, &self.control, end).map_err(&failed)?;
        Ok(table.of(lane))
    }

    /// Writes an order; returns once it is durable.
    ///
    /// # Errors
    /// Kafka does not take it.
    pub async fn give(&self, lane: &str, order: &Order) -> Result<(), GiveError> {
        let failed = self.kafka(&self.control);
        let producer: FutureProducer = self
            .cluster
            .client("deltafan.control")
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "0")
            .set("message.timeout.ms", ANSWER_MS)
            .create()
            .map_err(&failed)?;
        let key = order.key(lane);
        let value = order.value().map_err(|error| GiveError::Order(error.to_string()))?;
        let mut record: FutureRecord<'_, str, [u8]> =
            FutureRecord::to(&self.control).key(key.as_str()).partition(0);
        record.payload = value.as_deref();
        match producer.send(record, ANSWER).await {
            Ok(_) => Ok(()),
            Err((error, _)) if is_missing(&error) => Err(GiveError::MissingTopic(self.control.clone())),
            Err((error, _)) => Err(failed(error)),
        }
    }

    /// Finds the positions of `topic` that `to` names now. So that an order means the same whenever it is obeyed.
    ///
    /// # Errors
    /// The topic or an offset is not there, or Kafka does not answer.
    pub fn resolve(&self, topic: &str, to: &To, last: Option<&Reset>) -> Result<Reset, GiveError> {
        let failed = self.kafka(topic);
        let asker = topic::asker(&self.cluster, "deltafan.control").map_err(&failed)?;
        let found = topic::describe(&asker, topic).map_err(&failed)?;
        let found = found.ok_or_else(|| GiveError::MissingTopic(topic.to_owned()))?;
        let bounds = bounds(&asker, topic, &found).map_err(&failed)?;
        let positions = match to {
            To::Earliest => bounds.iter().map(|(partition, low, _)| (*partition, *low)).collect(),
            To::Latest => bounds.iter().map(|(partition, _, high)| (*partition, *high)).collect(),
            To::Time(ms) => at_time(&asker, topic, *ms, &bounds).map_err(&failed)?,
            To::Offsets(offsets) => {
                check(topic, offsets, &bounds)?;
                offsets.clone()
            }
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.ok().and_then(|now| i64::try_from(now.as_millis()).ok());
        let now =
            now.ok_or_else(|| GiveError::Order("this machine's clock shows no time after 1970".to_owned()))?;
        // Also where two orders follow each other within a millisecond, or the clock was set back.
        let id = last.map_or(now, |last| now.max(last.id.saturating_add(1)));
        Ok(Reset { id, log: found.log.as_str().to_owned(), positions })
    }
}

/// A partition with its low and high watermark.
type Bounds = Vec<(Partition, Offset, Offset)>;

fn bounds(asker: &BaseConsumer, name: &str, topic: &Topic) -> KafkaResult<Bounds> {
    (0..Partition::try_from(topic.partitions).unwrap_or(Partition::MAX))
        .map(|partition| {
            let (low, high) = asker.fetch_watermarks(name, partition, ANSWER)?;
            Ok((partition, low, high))
        })
        .collect()
}

/// The first offsets of a time; where nothing is that young, the end.
fn at_time(asker: &BaseConsumer, name: &str, ms: i64, bounds: &Bounds) -> KafkaResult<Positions> {
    let mut list = TopicPartitionList::with_capacity(bounds.len());
    for (partition, ..) in bounds {
        list.add_partition_offset(name, *partition, ListOffset::Offset(ms))?;
    }
    let found = asker.offsets_for_times(list, ANSWER)?;
    let offset = |(partition, _, high): &(Partition, Offset, Offset)| {
        let at = found.find_partition(name, *partition).map(|element| element.offset());
        let at = if let Some(ListOffset::Offset(at)) = at { at } else { *high };
        (*partition, at)
    };
    Ok(bounds.iter().map(offset).collect())
}

fn check(topic: &str, offsets: &Positions, bounds: &Bounds) -> Result<(), GiveError> {
    for (&partition, &offset) in offsets {
        let wrong = |what| GiveError::NoSuchOffset { topic: topic.to_owned(), partition, what };
        let Some((_, low, high)) = bounds.iter().find(|(known, ..)| *known == partition) else {
            return Err(wrong(format!("does not exist: it has 0 to {}", bounds.len().saturating_sub(1))));
        };
        if !(*low..=*high).contains(&offset) {
            return Err(wrong(format!("has the offsets {low} to {high}, and {offset} is none of them")));
        }
    }
    Ok(())
}

fn read_to(consumer: &BaseConsumer, name: &str, end: Offset) -> KafkaResult<Table> {
    let mut table = Table::default();
    let deadline = Instant::now() + ANSWER;
    let (low, _) = consumer.fetch_watermarks(name, 0, ANSWER)?;
    while low < end && !follow::has_read(consumer, name, end) {
        if Instant::now() >= deadline {
            return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
        }
        let Some(message) = consumer.poll(LOOK) else { continue };
        let message = message?;
        // What an instance can't read it names; here it is just no order.
        if let Ok(Some((lane, order))) = Order::read(message.key(), message.payload()) {
            table.apply(&lane, order);
        }
    }
    Ok(table)
}

fn is_missing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(error.rdkafka_error_code(), Some(Code::UnknownTopic | Code::UnknownTopicOrPartition))
}
