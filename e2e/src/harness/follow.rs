//! A topic that is read while it grows, committed records only: which changes of rows lie in it, and when they came.

use super::changes::Change;
use super::kafka::{Kafka, Offsets};
use super::wait::{self, seen_if};
use anyhow::{Context, Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::Deserialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A record of a table's topic.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// What it says; a tombstone has the `op` `t` and no content.
    pub change: Change,
    /// When it was written, in milliseconds since 1970.
    pub written_ms: i64,
}

/// A thread that reads on until this is dropped.
pub struct Following {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    arrived: Mutex<Vec<Arrived>>,
    /// Where the reading stands, as of the last moment at which nothing more came.
    positions: Mutex<Offsets>,
    failed: Mutex<Option<String>>,
    stop: AtomicBool,
}

/// How long a poll waits: it bounds how soon the end of a topic is noticed.
const POLL: Duration = Duration::from_millis(20);

impl Following {
    /// Reads `topic` from `from` on.
    pub fn start(kafka: &Kafka, topic: &str, from: &Offsets) -> Result<Self> {
        let consumer = kafka.reader("e2e-following")?;
        let mut list = TopicPartitionList::new();
        for (partition, offset) in from {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        consumer.assign(&list)?;
        let shared = Arc::new(Shared { positions: Mutex::new(from.clone()), ..Shared::default() });
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                if let Err(error) = shared.read(&consumer) {
                    *lock(&shared.failed) = Some(format!("{error:#}"));
                }
            }
        });
        Ok(Self { shared, thread: Some(thread) })
    }

    /// How many records have come and were not taken.
    pub fn count(&self) -> usize {
        lock(&self.shared.arrived).len()
    }

    /// Whether a row's insert is among them.
    pub fn has(&self, id: i64) -> bool {
        lock(&self.shared.arrived).iter().rev().any(|arrived| arrived.change.id == id)
    }

    /// Takes what has come, once all up to `ends` has.
    pub async fn take(&self, ends: &Offsets, within: Duration) -> Result<Vec<Arrived>> {
        wait::until("the topic is read to its end", within, async || {
            let failed = lock(&self.shared.failed).clone();
            ensure!(failed.is_none(), "the topic could not be read: {failed:?}");
            let positions = lock(&self.shared.positions).clone();
            let reached = ends.iter().all(|(partition, end)| positions.get(partition) >= Some(end));
            Ok(seen_if(reached, || format!("at {positions:?}, and it ends at {ends:?}")))
        })
        .await?;
        Ok(std::mem::take(&mut *lock(&self.shared.arrived)))
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It says nothing that matters now.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn read(&self, consumer: &BaseConsumer) -> Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            match consumer.poll(POLL) {
                // It goes on by itself when the broker is back.
                Some(Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
                ))) => {}
                Some(message) => {
                    let message = message?;
                    let written_ms = message.timestamp().to_millis().context("a record without a time")?;
                    let change = parsed(message.key(), message.payload())?;
                    lock(&self.arrived).push(Arrived { change, written_ms });
                }
                None => {
                    let positions = consumer.position()?;
                    let offset =
                        |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element
                            .offset()
                        {
                            Offset::Offset(offset) => Some((element.partition(), offset)),
                            _ => None,
                        };
                    // One that nothing was read of yet has none.
                    lock(&self.positions).extend(positions.elements().iter().filter_map(offset));
                }
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Deserialize)]
struct Key {
    id: i64,
}

#[derive(Deserialize)]
struct Row {
    duration_ms: Option<i32>,
}

#[derive(Deserialize)]
struct Value {
    op: String,
    before: Option<Row>,
    after: Option<Row>,
}

fn parsed(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Change> {
    let key: Key = serde_json::from_slice(key.context("a record without a key")?).context("a key")?;
    let Some(value) = value else {
        return Ok(Change { op: "t".to_owned(), id: key.id, duration_ms: None });
    };
    let value: Value = serde_json::from_slice(value).context("a value")?;
    let row = value.after.or(value.before);
    Ok(Change { op: value.op, id: key.id, duration_ms: row.and_then(|row| row.duration_ms) })
}
