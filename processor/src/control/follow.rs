//! Following the control topic, on a thread of its own: from its beginning to its end, and then on.

use super::{Known, Order};
use crate::source::client::Cluster;
use crate::source::topic;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tokio::sync::watch;

/// The longest sleep while nothing arrives; a new record rings at once.
const IDLE: Duration = Duration::from_millis(500);
/// Pause before something that failed is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long the broker may take to tell the watermarks.
const BROKER_TIMEOUT: Duration = Duration::from_secs(5);
/// Orders are few and small.
const FETCH_AHEAD_KIB: usize = 64;

/// Runs until `stop` is set, and tells `known` what it has read.
///
/// # Errors
/// librdkafka refuses a property.
pub fn run(
    cluster: &Cluster,
    name: &str,
    known: &watch::Sender<Known>,
    stop: &AtomicBool,
) -> KafkaResult<()> {
    let mut consumer = consumer(cluster)?;
    let this = thread::current();
    consumer.set_nonempty_callback(move || this.unpark());
    let mut said = None;
    while !stop.load(Ordering::Relaxed) {
        let ended = match begin(&consumer, name) {
            Ok(Some(end)) => follow(&consumer, name, known, (end, stop)),
            Ok(None) => {
                // Nobody has ever ordered anything: that must not keep the lanes from running.
                loaded(known);
                Err(format!(
                    "topic `{name}` does not exist: lanes can't be paused or reset; make it (stack/stack topics makes \
                     those of the stack)"
                ))
            }
            Err(error) => Err(unreadable(name, &error)),
        };
        if let Err(why) = ended {
            known.send_if_modified(|known| known.missing.as_mut().map(|old| old.clone_from(&why)).is_some());
            // Once for each reason, however often it is tried.
            if said.as_ref() != Some(&why) {
                tracing::warn!(topic = name, "{why}");
                said = Some(why);
            }
            thread::park_timeout(AGAIN);
        }
    }
    Ok(())
}

/// A consumer that reads the topic without a group.
///
/// # Errors
/// librdkafka refuses a property.
pub(super) fn consumer(cluster: &Cluster) -> KafkaResult<BaseConsumer> {
    let mut config = cluster.reader("deltafan.control", FETCH_AHEAD_KIB);
    // Assigned by hand and never committed: the group exists in name only, because librdkafka wants one.
    config.set("group.id", "deltafan.control").create()
}

/// Assigns the topic from its beginning and answers where it ends now; `None` where there is no such topic.
pub(super) fn begin(consumer: &BaseConsumer, name: &str) -> KafkaResult<Option<i64>> {
    if topic::describe(consumer, name)?.is_none() {
        return Ok(None);
    }
    let (low, high) = consumer.fetch_watermarks(name, 0, BROKER_TIMEOUT)?;
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(name, 0, Offset::Offset(low))?;
    consumer.assign(&list)?;
    Ok(Some(high))
}

/// Whether everything below `end` has been read.
pub(super) fn has_read(consumer: &BaseConsumer, name: &str, end: i64) -> bool {
    let position = consumer.position().ok();
    let at = position.as_ref().and_then(|list| list.find_partition(name, 0)).map(|element| element.offset());
    // Before the first record there is no position yet: then only an empty topic has been read.
    matches!(at, Some(Offset::Offset(at)) if at >= end)
}

/// Reads until `stop`, or until the topic has changed under us.
fn follow(
    consumer: &BaseConsumer,
    name: &str,
    known: &watch::Sender<Known>,
    (end, stop): (i64, &AtomicBool),
) -> Result<(), String> {
    let (low, _) =
        consumer.fetch_watermarks(name, 0, BROKER_TIMEOUT).map_err(|error| unreadable(name, &error))?;
    let empty = low >= end;
    while !stop.load(Ordering::Relaxed) {
        while let Some(polled) = consumer.poll(Duration::ZERO) {
            match polled {
                Ok(message) => take(&message, known),
                Err(error) if begins_again(&error) => return Err(unreadable(name, &error)),
                Err(error) => tracing::debug!(topic = name, %error, "reading orders"),
            }
        }
        if known.borrow().missing.is_some() && (empty || has_read(consumer, name, end)) {
            loaded(known);
        }
        thread::park_timeout(IDLE);
    }
    Ok(())
}

fn take(message: &impl Message, known: &watch::Sender<Known>) {
    match Order::read(message.key(), message.payload()) {
        Ok(Some((lane, order))) => {
            known.send_modify(|known| known.table.apply(&lane, order));
        }
        Ok(None) => {}
        Err(problem) => {
            tracing::error!(
                offset = message.offset(),
                "an order that can't be read is not obeyed: {problem}"
            );
        }
    }
}

fn loaded(known: &watch::Sender<Known>) {
    known.send_if_modified(|known| known.missing.take().is_some());
}

/// Whether the topic is another one now, or may no longer be read.
fn begins_again(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::AutoOffsetReset | Code::TopicAuthorizationFailed | Code::UnknownTopicOrPartition)
    )
}

fn unreadable(name: &str, error: &KafkaError) -> String {
    let remedy = match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => "; grant this user READ and DESCRIBE on it",
        _ => "",
    };
    format!("orders can't be read from topic `{name}` yet: {error}{remedy}")
}
