//! Dead letters: records that can't be delivered, kept byte for byte in a topic of their own.

use super::Reads;
use super::outbox::Tried;
use crate::dlq::letter::{self, Letter, Origin};
use crate::position::LogId;
use crate::source::Record;
use crate::source::client::Cluster;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// How long the broker may take to make a dead letter durable before it is tried again.
const PRODUCE_TIMEOUT: &str = "10000";
/// The client's own limit counts uncompressed bytes and is set to its maximum: what counts is the topic's.
const MESSAGE_MAX_BYTES: &str = "1000000000";

/// Where on its journey a record failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its bytes are no message.
    Decode,
    /// Its content does not exist, and the configuration wants that.
    Enrich,
    /// Its rows are not what the transform needs.
    Transform,
    /// Its values can't be delivered to this sink.
    Encode,
    /// The sink refused it.
    Sink,
}

impl Stage {
    /// The name in headers, metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Enrich => "enrich",
            Self::Transform => "transform",
            Self::Encode => "encode",
            Self::Sink => "sink",
        }
    }
}

/// A record that can't be delivered.
#[derive(Debug)]
pub(super) struct DeadLetter<'r> {
    /// The log that holds it.
    pub log: &'r LogId,
    /// The record with its headers.
    pub record: Record<'r>,
    /// Where it failed.
    pub stage: Stage,
    /// The kind of error, one word.
    pub class: &'static str,
    /// What is wrong.
    pub reason: &'r str,
    /// How often it was tried, and when.
    pub tried: Tried,
}

/// Why dead letters could not be made durable.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The topic is not there.
    #[error("the dead-letter topic `{0}` does not exist; create it")]
    MissingTopic(String),
    /// One does not fit.
    #[error(
        "the dead-letter topic `{0}` takes no record of this size; raise its max.message.bytes above the source topic's"
    )]
    TooLarge(String),
    /// The broker did not take them.
    #[error("topic `{topic}`: {error}")]
    Broker {
        /// The topic.
        topic: String,
        /// What happened.
        error: KafkaError,
    },
}

/// The dead letters of one lane. The producer is made with the first one: most lanes never have any.
pub struct DeadLetters {
    cluster: Cluster,
    topic: String,
    source_topic: String,
    reads: Reads,
    pipeline: String,
    sink: String,
    producer: OnceLock<FutureProducer>,
}

impl DeadLetters {
    /// Dead letters of the lane `pipeline`/`sink`, which reads `source_topic`, go to `topic`.
    pub fn new(
        cluster: Cluster,
        topic: &str,
        (source_topic, reads): (&str, Reads),
        (pipeline, sink): (&str, &str),
    ) -> Self {
        Self {
            cluster,
            topic: topic.to_owned(),
            source_topic: source_topic.to_owned(),
            reads,
            pipeline: pipeline.to_owned(),
            sink: sink.to_owned(),
            producer: OnceLock::new(),
        }
    }

    /// Writes them and returns once every one is durable.
    ///
    /// # Errors
    /// One of them is perhaps not: all are to be written again, under the same ids.
    pub(super) async fn store(&self, letters: &[DeadLetter<'_>]) -> Result<(), StoreError> {
        let broken = |error| self.broken(error);
        let producer = self.producer().map_err(broken)?;
        // All are handed over before the first is waited for.
        let mut sent = Vec::with_capacity(letters.len());
        for letter in letters {
            let mut record: FutureRecord<'_, [u8], [u8]> =
                FutureRecord::to(&self.topic).headers(self.headers(letter));
            record.key = letter.record.key;
            record.payload = letter.record.value;
            sent.push(producer.send_result(record).map_err(|(error, _)| broken(error))?);
        }
        for delivery in sent {
            match delivery.await {
                Ok(Ok(_)) => {}
                Ok(Err((error, _))) => return Err(broken(error)),
                Err(_) => return Err(broken(KafkaError::Canceled)),
            }
        }
        Ok(())
    }

    fn producer(&self) -> KafkaResult<&FutureProducer> {
        if let Some(producer) = self.producer.get() {
            return Ok(producer);
        }
        let producer = self
            .cluster
            .client(&format!("deltafan.{}.{}.dead-letters", self.pipeline, self.sink))
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "0")
            .set("message.timeout.ms", PRODUCE_TIMEOUT)
            .set("message.max.bytes", MESSAGE_MAX_BYTES)
            // A record may have fitted its topic only because it was compressed.
            .set("compression.type", "lz4")
            .create()?;
        Ok(self.producer.get_or_init(|| producer))
    }

    fn broken(&self, error: KafkaError) -> StoreError {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                StoreError::MissingTopic(self.topic.clone())
            }
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => StoreError::TooLarge(self.topic.clone()),
            _ => StoreError::Broker { topic: self.topic.clone(), error },
        }
    }

    /// The record's own headers as they were, then those of the letter.
    fn headers(&self, dead: &DeadLetter<'_>) -> OwnedHeaders {
        let (letter, own) = self.letter(dead);
        let added = letter.headers();
        let own = dead.record.headers.get(..own).unwrap_or_default();
        let mut headers = OwnedHeaders::new_with_capacity(own.len() + added.len());
        for (name, value) in own {
            // The client wants text; a name that is none arrives with its foreign bytes replaced.
            headers = headers.insert(Header { key: &String::from_utf8_lossy(name), value: *value });
        }
        for (key, value) in &added {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        headers
    }

    /// What the letter says of itself, and how many of the record's headers are the record's own.
    fn letter(&self, dead: &DeadLetter<'_>) -> (Letter, usize) {
        let DeadLetter { log, record, stage, class, reason, tried } = dead;
        let replayed = match self.reads {
            Reads::Replays => Letter::read(&record.headers),
            Reads::Source => None,
        };
        let (before, own) = replayed.unwrap_or_else(|| {
            let origin = Origin {
                topic: self.source_topic.clone(),
                log: log.to_string(),
                partition: record.partition,
                offset: record.offset,
            };
            let new = Letter {
                id: letter::id(&self.pipeline, &self.sink, log, record.partition, record.offset),
                pipeline: self.pipeline.clone(),
                sink: self.sink.clone(),
                stage: String::new(),
                class: String::new(),
                reason: String::new(),
                attempts: 0,
                first_ms: unix_ms(tried.first),
                last_ms: 0,
                replay: 0,
                edited: false,
                origin,
            };
            (new, record.headers.len())
        });
        let letter = Letter {
            stage: stage.name().to_owned(),
            class: (*class).to_owned(),
            reason: (*reason).to_owned(),
            attempts: before.attempts.saturating_add(u64::from(tried.attempts)),
            last_ms: unix_ms(tried.last),
            ..before
        };
        (letter, own)
    }
}

fn unix_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
