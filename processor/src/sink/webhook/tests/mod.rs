//! Tests of the webhook sink: the pure parts against tables and naive models, the rest against real HTTP servers.

mod batch;
mod encode;
mod faults;
mod http;
mod names;
mod receiver;
mod status;
mod target;

use super::super::{Batch, Event, Refusal, Sink, SinkError, Write, Written};
use super::{Events, Settings, Webhook};
use crate::decode::{Decoded, decode};
use crate::position::{LogId, Spans};
use crate::transform::{Content, transform};
use std::time::Duration;

/// A message as Debezium writes it; the images are JSON texts.
pub fn message(op: &str, before: &str, after: &str) -> String {
    let source = r#"{"db":"d","schema":"public","table":"engagement_events","lsn":7,"txId":3,"ts_ms":1795233939218,"ts_us":1795233939218754}"#;
    format!(r#"{{"before":{before},"after":{after},"source":{source},"op":"{op}"}}"#)
}

/// An insert of a row with this id.
pub fn insert(id: usize) -> String {
    message("c", "null", &format!(r#"{{"id":{id},"event_type":"play","duration_ms":8000,"device":"ios"}}"#))
}

/// Decodes and transforms a message and pushes it.
pub fn push(batch: &mut Events, message: &str, content: Option<&Content>) -> Result<(), Refusal> {
    let Ok(Decoded::Change(change)) = decode(Some(message.as_bytes())) else {
        panic!("no change: {message}");
    };
    let change = transform(change).expect("an engagement event");
    batch.push(&Event { partition: 0, offset: 0, change: &change, content })
}

/// A batch of inserts.
pub fn inserts(ids: std::ops::Range<usize>) -> Events {
    let mut batch = Events::new(1000, 1024 * 1024);
    for id in ids {
        push(&mut batch, &insert(id), None).expect("deliverable");
    }
    batch
}

/// The ids in a body, as a receiver would read them.
pub fn ids_of(body: &[u8]) -> Vec<String> {
    let body: serde_json::Value = serde_json::from_slice(body).expect("a JSON body");
    let events = body["events"].as_array().expect("events");
    events.iter().map(|event| event["event_id"].as_str().expect("an id").to_owned()).collect()
}

/// Settings for a receiver in this process.
pub fn settings(url: &str) -> Settings {
    let secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz".parse().expect("a secret");
    Settings {
        allow_private_targets: true,
        timeout: Duration::from_secs(5),
        ..Settings::new(url.parse().expect("a URL"), vec![secret])
    }
}

/// Writes a batch through a sink.
pub async fn write(sink: &mut Webhook, batch: &Events) -> Result<Written, SinkError> {
    let (log, spans) = (LogId::new("c", "t"), Spans::default());
    sink.write(Write { log: &log, spans: &spans, batch }).await
}

/// Writes a batch through a new sink.
pub async fn write_to(url: &str, batch: &Events) -> Result<Written, SinkError> {
    write(&mut Webhook::new(settings(url)).expect("a sink"), batch).await
}
