//! Reading the dead-letter topic: without a group, from its beginning to its end as it is now, keeping of each letter only
//! what it says of itself.

use super::ledger::{Kept, KeyDigest, Known, Ledger, Mark, Place};
use super::letter::Letter;
use crate::position::{Offset, Partition};
use crate::source::client::Cluster;
use crate::source::reader::message::record;
use crate::source::{Record, topic};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset as ListOffset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// How long Kafka may take for one answer, or be silent while records are read.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest sleep between two looks at what has arrived.
const POLL: Duration = Duration::from_millis(100);
/// A letter may be as large as the largest record; the others are read ahead so far.
const FETCH_AHEAD_KIB: usize = 8 * 1024;
/// What is kept of so many letters is some hundred bytes each.
const MOST_LETTERS: usize = 100_000;
/// The header that tells a mark, with the pipeline's name as its value.
pub(super) const MARK: &str = "deltafan.mark";

/// Why dead letters can't be read, or nothing done about them.
#[derive(Debug, thiserror::Error)]
pub enum DlqError {
    /// A topic is missing.
    #[error(
        "topic `{0}` does not exist; check the configuration, or make it (stack/stack topics makes those of the stack)"
    )]
    MissingTopic(String),
    /// More than fit in memory.
    #[error("topic `{0}` holds more than {MOST_LETTERS} letters; look at some of them, with --since")]
    TooMany(String),
    /// It was there a moment ago.
    #[error("letter {0} is no longer in the topic: somebody has purged it, or its time was over")]
    Gone(String),
    /// It does not fit the topic through which it is to go.
    #[error(
        "topic `{topic}` takes no record of the size of letter {id}; raise its max.message.bytes to that of the dead letters"
    )]
    TooLarge {
        /// The topic.
        topic: String,
        /// The letter.
        id: String,
    },
    /// JSON.
    #[error("what was done can't be noted: {0}")]
    Mark(String),
    /// Another command of this pipeline has begun.
    #[error(
        "another `deltafan dlq` command of this pipeline has begun and ended this one: what it had not finished is undone; look at \
         `deltafan dlq list` and run it again"
    )]
    TakenOver,
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
    /// Kafka became silent.
    #[error("kafka at {brokers} has sent nothing of topic `{topic}` for {} s", ANSWER.as_secs())]
    Silent {
        /// As configured.
        brokers: String,
        /// The topic.
        topic: String,
    },
}

impl DlqError {
    /// Whether somebody must act; else it may pass by itself.
    #[must_use]
    pub fn needs_action(&self) -> bool {
        !matches!(self, Self::Kafka { .. } | Self::Silent { .. })
    }
}

/// The dead letters of one pipeline.
#[derive(Debug, Clone)]
pub struct Mailbox {
    pub(super) cluster: Cluster,
    /// The topic that holds them.
    pub(super) topic: String,
    pub(super) pipeline: String,
}

/// A letter with its bytes.
#[derive(Debug, Clone)]
pub struct Whole {
    /// What it says of itself.
    pub letter: Letter,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// The headers that it had as a record.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Mailbox {
    /// The letters of `pipeline` in `topic`.
    #[must_use]
    pub fn new(cluster: Cluster, topic: &str, pipeline: &str) -> Self {
        Self { cluster, topic: topic.to_owned(), pipeline: pipeline.to_owned() }
    }

    pub(super) fn kafka<'t>(&'t self, topic: &'t str) -> impl Fn(KafkaError) -> DlqError + Clone + 't {
        move |error| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                DlqError::MissingTopic(topic.to_owned())
            }
            _ => DlqError::Kafka {
                brokers: self.cluster.brokers.clone(),
                topic: topic.to_owned(),
                error: Box::new(error),
            },
        }
    }

    /// A consumer that reads without a group and says where a partition ends.
    pub(super) fn consumer(&self) -> KafkaResult<BaseConsumer> {
        let mut config = self.cluster.reader("deltafan.dlq", FETCH_AHEAD_KIB);
        // Assigned by hand and never committed: the group exists in name only, because librdkafka wants one.
        config
            .set("group.id", "deltafan.dlq")
            .set("enable.partition.eof", "true")
            // Where a partition ends is told only after this wait.
            .set("fetch.wait.max.ms", "10")
            .create()
    }

    /// What is known of all letters; those that were written before `since_ms` (since 1970) may be left out.
    ///
    /// # Errors
    /// The topic can't be read to its end.
    pub fn read(&self, since_ms: Option<i64>) -> Result<Ledger, DlqError> {
        let mut ledger = Ledger::default();
        self.each(since_ms, |record| {
            ledger.record(&self.pipeline, record);
            if ledger.len() > MOST_LETTERS {
                return Err(DlqError::TooMany(self.topic.clone()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(ledger)
    }

    /// Reads a letter with its bytes.
    ///
    /// # Errors
    /// It is no longer there, or Kafka does not answer.
    pub fn whole(&self, known: &Known) -> Result<Whole, DlqError> {
        let mut found = None;
        self.wholes(std::slice::from_ref(known), |_, whole| {
            found = Some(whole);
            Ok(())
        })?;
        found.ok_or_else(|| DlqError::Gone(known.kept.letter.id.clone()))
    }

    /// Reads letters with their bytes, one after the other, in the order in which they lie; those that are gone are left out.
    pub(super) fn wholes(
        &self,
        letters: &[Known],
        mut take: impl FnMut(&Known, Whole) -> Result<(), DlqError>,
    ) -> Result<(), DlqError> {
        let consumer = self.consumer().map_err(self.kafka(&self.topic))?;
        let mut wanted: BTreeMap<Place, &Known> =
            letters.iter().map(|known| (known.kept.place, known)).collect();
        let mut starts: BTreeMap<Partition, Offset> = BTreeMap::new();
        for place in wanted.keys() {
            starts.entry(place.partition).or_insert(place.offset);
        }
        let starts: Vec<_> = starts.into_iter().collect();
        self.scan(&consumer, &self.topic, &starts, |message| {
            let place = Place { partition: message.partition(), offset: message.offset() };
            if let Some(known) = wanted.remove(&place)
                && let Some(whole) = whole(&record(message.offset(), message))
            {
                take(known, whole)?;
            }
            Ok(if wanted.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(())
    }

    /// Lets `take` see every record that is in the topic now, or was written at `since_ms` or later; whether it has seen all.
    pub(super) fn each(
        &self,
        since_ms: Option<i64>,
        mut take: impl FnMut(&Record<'_>) -> Result<ControlFlow<()>, DlqError>,
    ) -> Result<bool, DlqError> {
        let failed = self.kafka(&self.topic);
        let consumer = self.consumer().map_err(&failed)?;
        let found = topic::describe(&consumer, &self.topic).map_err(&failed)?;
        let found = found.ok_or_else(|| DlqError::MissingTopic(self.topic.clone()))?;
        let partitions = 0..Partition::try_from(found.partitions).unwrap_or(Partition::MAX);
        let starts = starts(&consumer, &self.topic, partitions, since_ms).map_err(&failed)?;
        self.scan(&consumer, &self.topic, &starts, |message| take(&record(message.offset(), message)))
    }

    /// Lets `take` see every record of a topic from `starts` to its end as it is now, or until it has seen enough: whether it
    /// has seen all.
    pub(super) fn scan(
        &self,
        consumer: &BaseConsumer,
        topic: &str,
        starts: &[(Partition, Offset)],
        mut take: impl FnMut(&BorrowedMessage<'_>) -> Result<ControlFlow<()>, DlqError>,
    ) -> Result<bool, DlqError> {
        let failed = self.kafka(topic);
        assign(consumer, topic, starts.iter().copied()).map_err(&failed)?;
        let mut left: BTreeSet<Partition> = starts.iter().map(|(partition, _)| *partition).collect();
        let mut heard = Instant::now();
        while !left.is_empty() {
            match consumer.poll(POLL) {
                None if heard.elapsed() > ANSWER => return Err(self.silent(topic)),
                None => continue,
                // Behind its end now: what came while we read is there as well.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    left.remove(&partition);
                }
                Some(Ok(message)) if left.contains(&message.partition()) => {
                    if take(&message)?.is_break() {
                        return Ok(false);
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) if has_gone(&error) => return Err(failed(error)),
                // librdkafka mends what passes; what does not ends in silence.
                Some(Err(error)) => {
                    tracing::debug!(%error, topic, "reading");
                    continue;
                }
            }
            heard = Instant::now();
        }
        Ok(true)
    }

    fn silent(&self, topic: &str) -> DlqError {
        DlqError::Silent { brokers: self.cluster.brokers.clone(), topic: topic.to_owned() }
    }
}

impl Ledger {
    /// Takes in a record of the topic, where it concerns this pipeline.
    pub fn record(&mut self, pipeline: &str, record: &Record<'_>) {
        if let Some(kept) = kept(record) {
            if kept.letter.pipeline == pipeline {
                self.letter(kept);
            }
        } else if let Some((mark, of)) = mark(record)
            && of == pipeline
        {
            self.mark(&mark);
        }
    }
}

/// Whether what was asked for is not there, or not for us.
fn has_gone(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::AutoOffsetReset | Code::TopicAuthorizationFailed | Code::UnknownTopicOrPartition)
    )
}

fn assign(
    consumer: &BaseConsumer,
    topic: &str,
    starts: impl IntoIterator<Item = (Partition, Offset)>,
) -> KafkaResult<()> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in starts {
        list.add_partition_offset(topic, partition, ListOffset::Offset(offset))?;
    }
    consumer.assign(&list)
}

/// Where to begin: at the oldest record, or at the first that was written at `since_ms` or later.
fn starts(
    consumer: &BaseConsumer,
    topic: &str,
    partitions: std::ops::Range<Partition>,
    since_ms: Option<i64>,
) -> KafkaResult<Vec<(Partition, Offset)>> {
    let mut starts = Vec::new();
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, ANSWER)?;
        let Some(since_ms) = since_ms else {
            starts.push((partition, low));
            continue;
        };
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset(topic, partition, ListOffset::Offset(since_ms.max(0)))?;
        let answer = consumer.offsets_for_times(asked, ANSWER)?;
        let at = answer.find_partition(topic, partition).map(|element| element.offset());
        starts.push((partition, if let Some(ListOffset::Offset(at)) = at { at.max(low) } else { high }));
    }
    Ok(starts)
}

/// What is kept of a record that is a letter.
pub(super) fn kept(record: &Record<'_>) -> Option<Kept> {
    let (letter, _) = Letter::read(&record.headers)?;
    Some(Kept {
        letter,
        place: Place { partition: record.partition, offset: record.offset },
        key: record.key.map(KeyDigest::of),
        value_bytes: record.value.map(<[u8]>::len),
    })
}

/// A record that is a mark, and its pipeline.
pub(super) fn mark(record: &Record<'_>) -> Option<(Mark, String)> {
    let (_, pipeline) = record.headers.iter().find(|(name, _)| *name == MARK.as_bytes())?;
    let mark = serde_json::from_slice(record.value?).ok()?;
    Some((mark, String::from_utf8((*pipeline)?.to_vec()).ok()?))
}

fn whole(record: &Record<'_>) -> Option<Whole> {
    let (letter, own) = Letter::read(&record.headers)?;
    let headers = record.headers.get(..own).unwrap_or_default();
    Some(Whole {
        letter,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: headers.iter().map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec))).collect(),
    })
}
