//! Doing something about letters: giving them to their sinks again, or purging them, as one producer that only one command
//! at a time can be.
//!
//! What goes to the replay topic and the mark that says so are one transaction: a command that is killed has done both or
//! neither, and one that is repeated finds the mark. Whoever begins ends what an earlier one has left open.

use super::ledger::{Known, Mark, Marked};
use super::read::{DlqError, MARK, Mailbox, Whole};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long Kafka may take for one step of a transaction.
const STEP: Duration = Duration::from_secs(30);
/// A transaction that somebody left open holds up whoever reads behind it for this long at most.
const TRANSACTION: Duration = Duration::from_secs(20);
/// What one transaction holds at most: so it is over long before its time is.
const MOST_AT_ONCE: usize = 500;
const MOST_BYTES_AT_ONCE: usize = 32 * 1024 * 1024;
/// The client's own limit counts uncompressed bytes and is set to its maximum: what counts is the topic's.
const MESSAGE_MAX_BYTES: &str = "1000000000";

/// One command at a time that does something about the letters of a pipeline.
pub struct Acting<'m> {
    mailbox: &'m Mailbox,
    producer: BaseProducer,
}

impl Mailbox {
    /// Begins to act: from now on no earlier command does. Letters are to be read after this.
    ///
    /// # Errors
    /// Kafka refuses, or does not answer.
    pub fn act(&self) -> Result<Acting<'_>, DlqError> {
        let failed = self.kafka(&self.topic);
        let name = format!("deltafan.{}.dlq", self.pipeline);
        let transaction_ms = TRANSACTION.as_millis().to_string();
        let producer: BaseProducer = self
            .cluster
            .client(&name)
            .set("transactional.id", &name)
            .set("transaction.timeout.ms", &transaction_ms)
            .set("message.timeout.ms", &transaction_ms)
            .set("message.max.bytes", MESSAGE_MAX_BYTES)
            // A record may have fitted its topic only because it was compressed.
            .set("compression.type", "lz4")
            .create()
            .map_err(&failed)?;
        producer.init_transactions(STEP).map_err(&failed)?;
        Ok(Acting { mailbox: self, producer })
    }
}

impl Acting<'_> {
    /// Gives letters to their sinks again, through `topic`; `value` is put in the place of theirs. Returns once that is
    /// durable, all of it or, after an error, some of it: what was done is marked.
    ///
    /// # Errors
    /// A letter is gone, or Kafka does not take it.
    pub fn replay(&self, topic: &str, letters: &[Known], value: Option<&[u8]>) -> Result<(), DlqError> {
        let partitions = self.partitions(topic)?;
        for part in parts(letters) {
            let mut left = part.iter().collect::<Vec<_>>();
            self.together(|| {
                self.mailbox.wholes(part, |known, whole| {
                    left.retain(|other| other.kept.place != known.kept.place);
                    let partition = whole.letter.origin.partition.rem_euclid(partitions);
                    self.send_again(topic, partition, &whole, value)
                        .map_err(|error| self.explain(topic, &whole.letter.id, error))?;
                    let replay = whole.letter.replay.saturating_add(1);
                    self.mark(known, Marked::Replayed { replay })
                })?;
                match left.first() {
                    Some(missing) => Err(DlqError::Gone(missing.kept.letter.id.clone())),
                    None => Ok(()),
                }
            })?;
        }
        Ok(())
    }

    /// Marks letters as purged: nobody sees them any more. The room they take is [`Mailbox::trim`]'s to give back.
    ///
    /// # Errors
    /// Kafka does not take the marks.
    pub fn purge(&self, letters: &[Known]) -> Result<(), DlqError> {
        for part in letters.chunks(MOST_AT_ONCE) {
            self.together(|| part.iter().try_for_each(|known| self.mark(known, Marked::Purged)))?;
        }
        Ok(())
    }

    /// Does `work` in one transaction.
    fn together(&self, work: impl FnOnce() -> Result<(), DlqError>) -> Result<(), DlqError> {
        let failed = self.mailbox.kafka(&self.mailbox.topic);
        let began = Instant::now();
        let begun = self.producer.begin_transaction().map_err(&failed);
        let done = begun.and_then(|()| work());
        let Err(error) = done.and_then(|()| self.producer.commit_transaction(STEP).map_err(&failed)) else {
            return Ok(());
        };
        // Where even that fails, the next command or the transaction's time ends it.
        let _ = self.producer.abort_transaction(STEP);
        // A transaction that has outlived its time, because this machine or the broker stood still, looks the same.
        let in_time = began.elapsed() < TRANSACTION;
        Err(if in_time && self.is_fenced() { DlqError::TakenOver } else { error })
    }

    /// Whether somebody else has ended the transaction: another command, which takes the name of this one's, or Kafka.
    fn is_fenced(&self) -> bool {
        use RDKafkaErrorCode::{Fenced, InvalidProducerEpoch, ProducerFenced};
        let fatal = self.producer.client().fatal_error();
        fatal.is_some_and(|(code, _)| matches!(code, Fenced | ProducerFenced | InvalidProducerEpoch))
    }

    /// A letter's record with the same headers, so that whoever refuses it again knows what it was.
    fn send_again(
        &self,
        topic: &str,
        partition: i32,
        whole: &Whole,
        value: Option<&[u8]>,
    ) -> KafkaResult<()> {
        let mut letter = whole.letter.clone();
        letter.replay = letter.replay.saturating_add(1);
        letter.edited |= value.is_some();
        let mut headers = OwnedHeaders::new();
        for (name, value) in &whole.headers {
            headers = headers.insert(Header { key: &String::from_utf8_lossy(name), value: value.as_deref() });
        }
        for (name, value) in &letter.headers() {
            headers = headers.insert(Header { key: name, value: Some(value.as_bytes()) });
        }
        let mut record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(topic).partition(partition).headers(headers);
        record.key = whole.key.as_deref();
        record.payload = value.or(whole.value.as_deref());
        self.send(record)
    }

    /// A mark lies in the partition of its letter, behind it: so it is there as long as the letter.
    fn mark(&self, known: &Known, what: Marked) -> Result<(), DlqError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = known.kept.letter.id.clone();
        let mark = Mark { id: id.clone(), what, at_ms: i64::try_from(now.as_millis()).unwrap_or(i64::MAX) };
        let value = serde_json::to_vec(&mark).map_err(|error| DlqError::Mark(error.to_string()))?;
        let pipeline = Header { key: MARK, value: Some(self.mailbox.pipeline.as_bytes()) };
        let record = BaseRecord::to(&self.mailbox.topic)
            .partition(known.kept.place.partition)
            .key(id.as_bytes())
            .payload(value.as_slice())
            .headers(OwnedHeaders::new().insert(pipeline));
        self.send(record).map_err(|error| self.explain(&self.mailbox.topic, &id, error))
    }

    /// Hands a record over; waits while the producer's queue is full.
    fn send(&self, mut record: BaseRecord<'_, [u8], [u8]>) -> KafkaResult<()> {
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.producer.poll(Duration::from_millis(100));
                    record = back;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    fn explain(&self, topic: &str, id: &str, error: KafkaError) -> DlqError {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                DlqError::TooLarge { topic: topic.to_owned(), id: id.to_owned() }
            }
            _ => self.mailbox.kafka(topic)(error),
        }
    }

    fn partitions(&self, topic: &str) -> Result<i32, DlqError> {
        let failed = self.mailbox.kafka(topic);
        let consumer = self.mailbox.consumer().map_err(&failed)?;
        let found = crate::source::topic::describe(&consumer, topic).map_err(&failed)?;
        let found = found.ok_or_else(|| DlqError::MissingTopic(topic.to_owned()))?;
        Ok(i32::try_from(found.partitions).unwrap_or(i32::MAX).max(1))
    }
}

/// Letters in pieces that fit a transaction each.
fn parts(letters: &[Known]) -> impl Iterator<Item = &[Known]> {
    let mut rest = letters;
    std::iter::from_fn(move || {
        let mut bytes = 0_usize;
        let fits = |known: &&Known| {
            bytes = bytes.saturating_add(known.kept.value_bytes.unwrap_or(0));
            bytes <= MOST_BYTES_AT_ONCE
        };
        let count = rest.iter().take(MOST_AT_ONCE).take_while(fits).count().max(1);
        let (part, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(part)
    })
}
