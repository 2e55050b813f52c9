//! Writes records: at the moments when they are due, or as fast as it goes.

use super::watch::Places;
use crate::messages::Messages;
use anyhow::{Context, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const PATIENCE: Duration = Duration::from_secs(30);
const QUEUE_FULL: Duration = Duration::from_millis(1);
/// From so many records a second on, Kafka would be busy with requests if each had its own ...
pub const TOGETHER_FROM: u32 = 5000;
/// ... so those of such a moment go together.
const MOMENT: Duration = Duration::from_millis(1);

/// A thread that writes.
pub struct Load {
    began: Instant,
    rate: u32,
    /// The number of its first record.
    first: usize,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<Result<()>>>>,
}

#[derive(Default)]
struct Shared {
    stops: AtomicBool,
    written: AtomicUsize,
}

impl Load {
    /// Begins at once, with `rate` records a second, of which the first has the number `first`.
    ///
    /// # Errors
    /// Kafka's client can't be made.
    pub fn start(mut writer: Writer, first: usize, rate: u32) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let began = Instant::now();
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            for index in 0.. {
                if theirs.stops.load(Ordering::Acquire) {
                    break;
                }
                let due = due_at(began, rate, index);
                while let Some(early) =
                    due.checked_duration_since(Instant::now()).filter(|early| !early.is_zero())
                {
                    // At thousands a second those of a moment go together, as a connector sends them.
                    thread::park_timeout(early.max(if rate >= TOGETHER_FROM { MOMENT } else { early }));
                }
                writer.write(first + index)?;
                theirs.written.store(index + 1, Ordering::Release);
            }
            writer.finish()
        });
        Ok(Self { began, rate, first, shared, thread: Mutex::new(Some(thread)) })
    }

    /// The number of the record that comes next.
    pub fn next(&self) -> usize {
        self.first + self.shared.written.load(Ordering::Acquire)
    }

    /// When a record is due.
    pub fn at(&self, index: usize) -> Instant {
        due_at(self.began, self.rate, index.saturating_sub(self.first))
    }

    /// The first record that is due at or after this moment.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive count of some million"
    )]
    pub fn due(&self, moment: Instant) -> usize {
        let since = moment.saturating_duration_since(self.began).as_secs_f64();
        self.first + (since * f64::from(self.rate)).ceil() as usize
    }

    /// Ends it and waits until Kafka has everything.
    ///
    /// # Errors
    /// It had to give up before.
    pub fn stop(&self) -> Result<()> {
        self.shared.stops.store(true, Ordering::Release);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.map_or(Ok(()), |thread| thread.join().ok().context("the load has panicked")?)
    }
}

#[allow(clippy::cast_precision_loss, reason = "a count of some million")]
fn due_at(began: Instant, rate: u32, index: usize) -> Instant {
    began + Duration::from_secs_f64(index as f64 / f64::from(rate))
}

/// Writes records one by one, each to the partition that its number names.
pub struct Writer {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
    messages: Messages,
    places: Places,
}

impl Writer {
    /// To `topic`. It waits up to `linger_ms` for more records that go together.
    ///
    /// # Errors
    /// Kafka's client can't be made.
    pub fn new(
        brokers: &str,
        topic: &str,
        messages: Messages,
        places: Places,
        linger_ms: u32,
    ) -> Result<Self> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("linger.ms", linger_ms.to_string())
            .set("batch.size", "1000000")
            .create()?;
        Ok(Self { producer, topic: topic.to_owned(), messages, places })
    }

    /// Writes the record of this number; its duration in milliseconds.
    ///
    /// # Errors
    /// Kafka's client refuses.
    pub fn write(&mut self, index: usize) -> Result<i64> {
        let now_us = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?;
        let (_, ms) = self.messages.make(u64::try_from(index)? + 1, now_us)?;
        let mut record = BaseRecord::to(&self.topic)
            .partition(self.places.partition(index)?)
            .key(&self.messages.key)
            .payload(&self.messages.value);
        while let Err((error, back)) = self.producer.send(record) {
            ensure!(error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), "{error}");
            record = back;
            thread::park_timeout(QUEUE_FULL);
        }
        Ok(ms)
    }

    /// Waits until Kafka has everything.
    ///
    /// # Errors
    /// It takes too long.
    pub fn finish(self) -> Result<()> {
        Ok(self.producer.flush(PATIENCE)?)
    }
}
