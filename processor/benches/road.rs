//! The stations of a record's road, each by itself: `cargo bench -p deltafan`. Times and allocations are per 1,000 records.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the fixtures are as they are"
)]
#![allow(missing_docs, reason = "divan makes public items")]

use deltafan::decode::{Change, Decoded, Decoder, decode};
use deltafan::sink::redis_window::{RedisWindow, Settings, Ticker, Window, WindowBatch};
use deltafan::sink::webhook::Events;
use deltafan::sink::{Batch, Event, Sink};
use deltafan::transform::{Content, Transformed, transform};
use divan::{AllocProfiler, Bencher, black_box};
use std::time::Duration;

const RECORDED: &str = include_str!("../tests/fixtures/json/engagement_events.jsonl");
const RECORDED_WITH_SCHEMA: &str = include_str!("../tests/fixtures/json-with-schema/engagement_events.jsonl");
const RECORDS: i64 = 1000;

/// Counts what each station allocates.
#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Inserts with ids and contents of their own, as the connector writes them.
fn inserts(recorded: &str) -> Vec<String> {
    let record: serde_json::Value = serde_json::from_str(recorded.lines().next().unwrap()).unwrap();
    let value = record["value"].as_str().unwrap();
    let insert = |number: i64| {
        value
            .replace("\"id\":1,", &format!("\"id\":{number},"))
            .replace(
                "2059c50b-d9e9-4cfe-b0a6-3cd11a1b8e0e",
                &format!("2059c50b-d9e9-4cfe-b0a6-{:012x}", number % 300),
            )
            .replace("03:00:00", &format!("03:00:{:02}", number / 250))
    };
    (1..=RECORDS).map(insert).collect()
}

fn decoded(values: &[String]) -> Vec<Change<'_>> {
    let change = |value| match decode(Some(value)).unwrap() {
        Decoded::Change(change) => change,
        Decoded::Without(kind) => panic!("{kind:?}"),
    };
    values.iter().map(|value| change(value.as_bytes())).collect()
}

fn transformed(values: &[String]) -> Vec<Transformed<'_>> {
    decoded(values).into_iter().map(|change| transform(change).unwrap()).collect()
}

fn content() -> Content {
    Content {
        content_type: Some("video".into()),
        title: Some("How bread is made".into()),
        length_seconds: Some(600),
        version: Some(268_548_976),
        ..Content::default()
    }
}

#[divan::bench(name = "decode")]
fn bare(bencher: Bencher<'_, '_>) {
    let values = inserts(RECORDED);
    bencher
        .bench(|| values.iter().for_each(|value| drop(black_box(decode(Some(value.as_bytes())).unwrap()))));
}

#[divan::bench(name = "decode_with_schema")]
fn with_schema(bencher: Bencher<'_, '_>) {
    let values = inserts(RECORDED_WITH_SCHEMA);
    bencher
        .bench(|| values.iter().for_each(|value| drop(black_box(decode(Some(value.as_bytes())).unwrap()))));
}

#[divan::bench(name = "decode_alike")]
fn alike(bencher: Bencher<'_, '_>) {
    let (values, mut decoder) = (inserts(RECORDED), Decoder::default());
    bencher.bench_local(|| {
        values.iter().for_each(|value| drop(black_box(decoder.decode(Some(value.as_bytes())).unwrap())));
    });
}

#[divan::bench(name = "decode_alike_with_schema")]
fn alike_with_schema(bencher: Bencher<'_, '_>) {
    let (values, mut decoder) = (inserts(RECORDED_WITH_SCHEMA), Decoder::default());
    bencher.bench_local(|| {
        values.iter().for_each(|value| drop(black_box(decoder.decode(Some(value.as_bytes())).unwrap())));
    });
}

/// From the bytes of a record to rows that were read.
#[divan::bench(name = "decode_alike_and_transform")]
fn alike_rows(bencher: Bencher<'_, '_>) {
    let (values, mut decoder) = (inserts(RECORDED), Decoder::default());
    bencher.bench_local(|| {
        for value in &values {
            match decoder.decode(Some(value.as_bytes())).unwrap() {
                Decoded::Change(change) => drop(black_box(transform(change).unwrap())),
                Decoded::Without(kind) => panic!("{kind:?}"),
            }
        }
    });
}

#[divan::bench(name = "transform")]
fn rows(bencher: Bencher<'_, '_>) {
    let values = inserts(RECORDED);
    let changes = decoded(&values);
    bencher.bench(|| changes.iter().for_each(|change| drop(black_box(transform(change.clone()).unwrap()))));
}

#[divan::bench(name = "encode")]
fn body(bencher: Bencher<'_, '_>) {
    let values = inserts(RECORDED);
    let (changes, content) = (transformed(&values), content());
    bencher.bench(|| push(Events::new(10_000, 1 << 24), &changes, Some(&content)));
}

#[divan::bench(name = "window")]
fn cells(bencher: Bencher<'_, '_>) {
    let values = inserts(RECORDED);
    let changes = transformed(&values);
    let window = Window::new("bench", Duration::from_secs(3600)).unwrap();
    let settings = Settings::new("redis://127.0.0.1:1", vec![window]).unwrap();
    let (_ticker, seen) = Ticker::new(&settings);
    let sink = RedisWindow::new(&settings, seen);
    bencher.bench(|| -> WindowBatch { push(sink.batch(), &changes, None) });
}

fn push<B: Batch>(mut batch: B, changes: &[Transformed<'_>], content: Option<&Content>) -> B {
    for (offset, change) in (0..).zip(changes) {
        batch.push(&Event { partition: 0, offset, change, content }).unwrap();
    }
    batch
}
