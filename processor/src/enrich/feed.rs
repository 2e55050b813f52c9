//! The feed: reads the `content` topic from its beginning into the cache, on a thread of its own, for ever.

use super::cache::{Cache, Known};
use crate::decode::{Decoded, WithoutEffect, decode};
use crate::metrics::CONTENT_ENTRIES;
use crate::position::{LogId, Partition};
use crate::source::client::Cluster;
use crate::source::topic;
use crate::source::watch::Seen;
use crate::transform::{Content, shown};
use metrics::gauge;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tokio::sync::watch::Receiver;
use uuid::Uuid;

/// The longest sleep while nothing arrives; a new record rings at once.
const IDLE: Duration = Duration::from_millis(500);
/// Pause before something that failed is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long the broker may take to tell the watermarks.
const BROKER_TIMEOUT: Duration = Duration::from_secs(5);
/// What librdkafka may fetch ahead.
const FETCH_AHEAD_KIB: usize = 2 * 1024;

/// A row of `content`, as far as it is used.
#[derive(Deserialize)]
struct ContentRow {
    id: Uuid,
    #[serde(default)]
    content_type: Option<Box<str>>,
    #[serde(default)]
    title: Option<Box<str>>,
    #[serde(default)]
    length_seconds: Option<i64>,
}

/// The key of `content`, with or without the converter's schema.
#[derive(Deserialize)]
struct ContentKey {
    #[serde(default)]
    id: Option<Uuid>,
    #[serde(default)]
    payload: Option<Box<ContentKey>>,
}

/// Runs until `stop` is set.
///
/// # Errors
/// librdkafka refuses a property.
pub fn run(
    cluster: &Cluster,
    (name, mut watch): (&str, Receiver<Seen>),
    cache: &Cache,
    stop: &AtomicBool,
) -> KafkaResult<()> {
    let mut config = cluster.reader("deltafan.content.feed", FETCH_AHEAD_KIB);
    // Assigned by hand and never committed: the group exists in name only, because librdkafka wants one.
    let mut consumer: BaseConsumer = config.set("group.id", "deltafan.content").create()?;
    let this = thread::current();
    consumer.set_nonempty_callback(move || this.unpark());
    let (mut begun, mut said, mut log) = (false, None, None);
    while !stop.load(Ordering::Relaxed) {
        if !begun {
            match begin(&consumer, name, cache) {
                Ok(found) => log = Some(found),
                Err(why) => {
                    // Once for each reason, however often it is tried.
                    if said.as_ref() != Some(&why) {
                        tracing::warn!(topic = name, "{why}");
                        said = Some(why);
                    }
                    thread::park_timeout(AGAIN);
                    continue;
                }
            }
            said = None;
        }
        begun = drain(&consumer, name, cache)? && !made_again(name, log.as_ref(), &mut watch);
        if begun {
            advance(&consumer, cache);
        } else {
            cache.clear();
            continue;
        }
        gauge!(CONTENT_ENTRIES).set(f64::from(u32::try_from(cache.len()).unwrap_or(u32::MAX)));
        thread::park_timeout(IDLE);
    }
    Ok(())
}

/// Whether the topic is another one now than that which is read: librdkafka would read on at an offset that means nothing.
fn made_again(name: &str, read: Option<&LogId>, watch: &mut Receiver<Seen>) -> bool {
    if !watch.has_changed().unwrap_or(false) {
        return false;
    }
    let again = watch.borrow_and_update().log.as_ref().is_some_and(|now| Some(now) != read);
    if again {
        tracing::warn!(
            topic = name,
            "the content topic was deleted and made again; reading it from its beginning"
        );
    }
    again
}

/// Assigns every partition from its beginning and answers which log that is, or why that can't be done yet.
fn begin(consumer: &BaseConsumer, name: &str, cache: &Cache) -> Result<LogId, String> {
    let assigned = topic::describe(consumer, name).and_then(|found| {
        let Some(found) = found else {
            return Ok(None);
        };
        let mut list = TopicPartitionList::with_capacity(found.partitions);
        for partition in 0..i32::try_from(found.partitions).unwrap_or(i32::MAX) {
            let (low, _) = consumer.fetch_watermarks(name, partition, BROKER_TIMEOUT)?;
            list.add_partition_offset(name, partition, Offset::Offset(low))?;
            // Nothing lies before it: a topic whose records are all gone is loaded at once.
            cache.advance(partition, low);
        }
        consumer.assign(&list).map(|()| Some(found.log))
    });
    match assigned {
        Ok(Some(log)) => Ok(log),
        Ok(None) => Err("the content topic does not exist yet; waiting for it".to_owned()),
        Err(error) => Err(format!("the content topic can't be read yet; trying again: {error}")),
    }
}

/// Takes in everything that has arrived. False if the reading has to begin again; an error if the broker refuses us.
fn drain(consumer: &BaseConsumer, name: &str, cache: &Cache) -> KafkaResult<bool> {
    while let Some(polled) = consumer.poll(Duration::ZERO) {
        match polled {
            Ok(message) => {
                take(&message, cache);
                cache.advance(message.partition(), message.offset().saturating_add(1));
            }
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => {
                tracing::warn!(
                    topic = name,
                    "the content topic has changed under us; reading it from its beginning"
                );
                return Ok(false);
            }
            Err(error @ KafkaError::MessageConsumptionFatal(_)) => return Err(error),
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                return Err(error);
            }
            Err(error) => tracing::warn!(topic = name, %error, "reading contents"),
        }
    }
    Ok(true)
}

/// Passes the transaction markers behind the last record as well: only the consumer's position counts those.
fn advance(consumer: &BaseConsumer, cache: &Cache) {
    let Ok(positions) = consumer.position() else { return };
    for element in positions.elements() {
        if let Offset::Offset(offset) = element.offset() {
            cache.advance(element.partition(), offset);
        }
    }
}

fn take(message: &impl Message, cache: &Cache) {
    let (partition, offset) = (message.partition(), message.offset());
    match effect(message.key(), message.payload()) {
        Ok(Some((id, known))) => cache.apply(id, known),
        Ok(None) => {}
        Err(problem) => unreadable(message.key(), partition, offset, &problem, cache),
    }
}

/// A record that can't be read leaves its content unknown, so that Postgres is asked for it.
fn unreadable(key: Option<&[u8]>, partition: Partition, offset: i64, problem: &str, cache: &Cache) {
    tracing::error!(
        partition,
        offset,
        problem,
        "a record of the content topic can't be read; postgres is asked for its content"
    );
    if let Some(id) = key.and_then(key_id) {
        cache.apply(id, None);
    }
}

/// What a record does to the cache: sets or removes a content, or nothing.
fn effect(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Option<(Uuid, Option<Known>)>, String> {
    let change = match decode(value).map_err(|error| error.to_string())? {
        Decoded::Without(WithoutEffect::Tombstone) => return Ok(key.and_then(key_id).map(|id| (id, None))),
        Decoded::Without(_) => return Ok(None),
        Decoded::Change(change) => change,
    };
    let row = |image: &str| {
        serde_json::from_str::<ContentRow>(image).map_err(|error| format!("not a row of content: {error}"))
    };
    if let Some(after) = change.after {
        let ContentRow { id, content_type, title, length_seconds } = row(after.json)?;
        let (title, version) = (title.map(shown), Some(change.source.lsn));
        let content =
            Arc::new(Content { content_type, title, length_seconds, version, ..Content::default() });
        return Ok(Some((id, Some(Known { content, tx_id: change.source.tx_id }))));
    }
    change.before.map(|before| Ok((row(before.json)?.id, None))).transpose()
}

fn key_id(key: &[u8]) -> Option<Uuid> {
    let key: ContentKey = serde_json::from_slice(key).ok()?;
    key.id.or_else(|| key.payload.and_then(|payload| payload.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "2059c50b-d9e9-4cfe-b0a6-3cd11a1b8e0e";

    fn value(op: &str, before: &str, after: &str) -> String {
        format!(
            r#"{{"before":{before},"after":{after},"source":{{"ts_ms":1,"db":"d","schema":"public","table":"content","txId":7,"lsn":9}},"op":"{op}"}}"#
        )
    }

    #[test]
    fn a_content_is_set_and_removed() {
        let row =
            format!(r#"{{"id":"{ID}","content_type":"video","length_seconds":600,"slug":"x","title":"T"}}"#);
        let id: Uuid = ID.parse().expect("uuid");
        for (op, before) in [("r", "null"), ("c", "null"), ("u", row.as_str())] {
            let (got, known) =
                effect(None, Some(value(op, before, &row).as_bytes())).expect("read").expect("some");
            let known = known.expect("set");
            assert_eq!((got, known.tx_id, known.content.version), (id, Some(7), Some(9)));
            assert_eq!(
                (
                    known.content.length_seconds,
                    known.content.content_type.as_deref(),
                    known.content.title.as_deref()
                ),
                (Some(600), Some("video"), Some("T"))
            );
        }
        let removed = effect(None, Some(value("d", &row, "null").as_bytes())).expect("read");
        assert!(matches!(removed, Some((got, None)) if got == id));
        for key in [format!(r#"{{"id":"{ID}"}}"#), format!(r#"{{"schema":{{}},"payload":{{"id":"{ID}"}}}}"#)]
        {
            let tombstone = effect(Some(key.as_bytes()), None).expect("read");
            assert!(matches!(tombstone, Some((got, None)) if got == id), "{key}");
        }
        assert!(effect(None, Some(b"{")).is_err());
    }
}
