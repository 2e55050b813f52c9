//! Writes records at the moments when they are due.

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

/// A thread that writes.
pub struct Load {
    began: Instant,
    rate: u32,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<Result<()>>>>,
}

#[derive(Default)]
struct Shared {
    stops: AtomicBool,
    written: AtomicUsize,
}

impl Load {
    /// Begins at once, with `rate` records a second.
    ///
    /// # Errors
    /// Kafka's client can't be made.
    pub fn start(brokers: &str, topic: &str, messages: Messages, places: Places, rate: u32) -> Result<Self> {
        let producer: ThreadedProducer<DefaultProducerContext> =
            ClientConfig::new().set("bootstrap.servers", brokers).set("linger.ms", "0").create()?;
        let shared = Arc::new(Shared::default());
        let began = Instant::now();
        let (theirs, topic) = (Arc::clone(&shared), topic.to_owned());
        let thread =
            thread::spawn(move || write(&producer, &topic, messages, &places, &theirs, (began, rate)));
        Ok(Self { began, rate, shared, thread: Mutex::new(Some(thread)) })
    }

    /// Records given to Kafka so far.
    pub fn written(&self) -> usize {
        self.shared.written.load(Ordering::Acquire)
    }

    /// When a record is due.
    pub fn at(&self, index: usize) -> Instant {
        due_at(self.began, self.rate, index)
    }

    /// The first record that is due at or after this moment.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive count of some million"
    )]
    pub fn due(&self, moment: Instant) -> usize {
        (moment.saturating_duration_since(self.began).as_secs_f64() * f64::from(self.rate)).ceil() as usize
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

fn write(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    mut messages: Messages,
    places: &Places,
    shared: &Shared,
    (began, rate): (Instant, u32),
) -> Result<()> {
    for index in 0.. {
        if shared.stops.load(Ordering::Acquire) {
            break;
        }
        let due = due_at(began, rate, index);
        while let Some(early) = due.checked_duration_since(Instant::now()).filter(|early| !early.is_zero()) {
            thread::park_timeout(early);
        }
        let now_us = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?;
        messages.make(places.first_id + u64::try_from(index)?, now_us)?;
        let mut record = BaseRecord::to(topic)
            .partition(places.partition(index)?)
            .key(&messages.key)
            .payload(&messages.value);
        while let Err((error, back)) = producer.send(record) {
            ensure!(error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), "{error}");
            record = back;
            thread::park_timeout(QUEUE_FULL);
        }
        shared.written.store(index + 1, Ordering::Release);
    }
    producer.flush(PATIENCE)?;
    Ok(())
}
