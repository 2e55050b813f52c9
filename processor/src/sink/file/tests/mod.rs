//! Tests of the file sink: lines value by value, the guarantee against a naive model with crashes between any two steps,
//! faults by a real file system.

mod encode;
mod faults;
mod model;

use super::encode::Lines;
use crate::decode::{Decoded, decode};
use crate::position::{LogId, Offset, Partition, Span, Spans};
use crate::sink::file::{Files, Settings};
use crate::sink::{Batch, Event, Refusal, Sink, SinkError, Write, Written};
use crate::transform::transform;
use std::num::NonZeroU64;
use std::path::Path;

/// An insert of a row with this id, as Debezium writes it.
fn insert(id: usize) -> String {
    message(&format!(r#"{{"id":{id},"event_type":"play","duration_ms":8000}}"#))
}

fn message(row: &str) -> String {
    let source = r#"{"db":"d","schema":"public","table":"engagement_events","lsn":7,"txId":3,"ts_ms":1795233939218,"ts_us":1795233939218754}"#;
    format!(r#"{{"before":null,"after":{row},"source":{source},"op":"c"}}"#)
}

/// Decodes and transforms a message and pushes it.
fn push(batch: &mut Lines, partition: Partition, offset: Offset, message: &str) -> Result<(), Refusal> {
    let Ok(Decoded::Change(change)) = decode(Some(message.as_bytes())) else {
        panic!("no change: {message}");
    };
    let change = transform(change).expect("an engagement event");
    batch.push(&Event { partition, offset, change: &change, content: None })
}

/// Inserts with their ids as offsets, all of partition 0.
fn inserts(ids: std::ops::Range<usize>) -> Lines {
    let mut batch = Lines::default();
    for id in ids {
        push(&mut batch, 0, id.try_into().expect("small"), &insert(id)).expect("deliverable");
    }
    batch
}

fn settings(folder: &Path, max_file_bytes: u64, keep_files: Option<u64>) -> Settings {
    Settings {
        stem: "partition",
        folder: folder.to_owned(),
        max_file_bytes: NonZeroU64::new(max_file_bytes).expect("not zero"),
        keep_files: keep_files.and_then(NonZeroU64::new),
    }
}

fn log() -> LogId {
    LogId::new("cluster", "topic")
}

/// Writes `batch` to partition 0 through a sink.
async fn write(sink: &mut Files, (from, to): (Offset, Offset), batch: &Lines) -> Result<Written, SinkError> {
    let mut spans = Spans::default();
    spans.cover(Span { partition: 0, from, to });
    sink.write(Write { log: &log(), spans: &spans, batch }).await
}

/// The names of the files of lines in a folder, in order.
fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).expect("a folder");
    let names = names.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
    let mut names: Vec<_> = names.filter(|name| name.contains(".jsonl")).collect();
    names.sort();
    names
}
