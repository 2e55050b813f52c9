//! Decoding, against real Debezium messages that a naive decoder reads as well.

mod poison;

use super::event_id::event_id;
use super::timestamp::Timestamp;
use super::{DecodeError, Decoded, Op, decode};
use crate::transform::{Transformed, transform};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The fixtures by topic, without and with the converter's schema.
const FIXTURES: [(&str, &str); 9] = [
    ("blob_events", include_str!("../../tests/fixtures/json/blob_events.jsonl")),
    ("content", include_str!("../../tests/fixtures/json/content.jsonl")),
    ("engagement_events", EVENTS),
    ("heartbeat", include_str!("../../tests/fixtures/json/debezium-heartbeat.jsonl")),
    ("message", include_str!("../../tests/fixtures/json/message.jsonl")),
    ("transaction", include_str!("../../tests/fixtures/json/transaction.jsonl")),
    ("blob_events", include_str!("../../tests/fixtures/json-with-schema/blob_events.jsonl")),
    ("content", include_str!("../../tests/fixtures/json-with-schema/content.jsonl")),
    ("engagement_events", EVENTS_WITH_SCHEMA),
];
const EVENTS: &str = include_str!("../../tests/fixtures/json/engagement_events.jsonl");
const EVENTS_WITH_SCHEMA: &str =
    include_str!("../../tests/fixtures/json-with-schema/engagement_events.jsonl");

/// The values of a fixture's records; none for a tombstone.
fn values(fixture: &str) -> Vec<Option<String>> {
    let value = |line| {
        let record: Value = serde_json::from_str(line).expect("a line of a fixture");
        record["value"].as_str().map(str::to_owned)
    };
    fixture.lines().map(value).collect()
}

/// All messages of the fixtures.
pub(super) fn messages() -> Vec<String> {
    FIXTURES.iter().flat_map(|(_, fixture)| values(fixture)).flatten().collect()
}

/// The rows of the events among them.
pub(super) fn rows() -> Vec<String> {
    let images = |value: &String| {
        let message: Value = serde_json::from_str(value).expect("JSON");
        ["before", "after"].map(|image| message[image].clone())
    };
    let messages = values(EVENTS);
    let rows = messages.iter().flatten().flat_map(images).filter(Value::is_object);
    rows.map(|row| row.to_string()).collect()
}

/// One of these texts, cut, doubled in part, or with some bytes changed to such as mean something.
pub(super) fn damaged(texts: Vec<String>) -> impl Strategy<Value = Vec<u8>> {
    const BYTES: &[u8] = b"\"\\{}[]:, 019-.eEntfu\n\x00\xff";
    let change = (any::<prop::sample::Index>(), prop::sample::select(BYTES));
    let piece = any::<(prop::sample::Index, prop::sample::Index, prop::sample::Index)>();
    (prop::sample::select(texts), prop::collection::vec(change, 0..3), prop::option::of(piece)).prop_map(
        |(text, changes, piece)| {
            let mut bytes = text.into_bytes();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some((from, to, at)) = piece {
                let (from, to, at) = (from.index(bytes.len()), to.index(bytes.len()), at.index(bytes.len()));
                let piece = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.splice(at..at, piece);
            }
            bytes
        },
    )
}

/// What a record means, said without the decoder: a kind without effect, or a change.
fn naively(value: Option<&str>) -> Value {
    let Some(text) = value else {
        return json!("tombstone");
    };
    let outer: Value = serde_json::from_str(text).expect("JSON");
    let message = outer.get("payload").unwrap_or(&outer);
    match message["op"].as_str() {
        Some("t") => return json!("truncate"),
        Some("m") => return json!("message"),
        None if message["status"].is_string() => return json!("transaction"),
        None => return json!("heartbeat"),
        // A table without REPLICA IDENTITY FULL.
        Some("u" | "d") if message["before"].is_null() => return json!("refused"),
        Some(_) => {}
    }
    let source = &message["source"];
    json!({
        "op": message["op"], "before": message["before"], "after": message["after"],
        "db": source["db"], "schema": source["schema"], "table": source["table"],
        "lsn": source["lsn"], "txId": source["txId"], "committed_us": source["ts_us"],
        "sequence": if message["op"] == "r" { &Value::Null } else { &source["sequence"] },
    })
}

/// The same, said by the decoder.
fn decoded(value: Option<&str>) -> Value {
    let change = match decode(value.map(str::as_bytes)) {
        Err(DecodeError::MissingImage { image: "before", .. }) => return json!("refused"),
        Err(error) => panic!("{error}: {value:?}"),
        Ok(Decoded::Without(kind)) => return json!(kind.name()),
        Ok(Decoded::Change(change)) => change,
    };
    let (source, image) = (&change.source, |image: Option<super::Image<'_>>| -> Value {
        image.map_or(Value::Null, |image| serde_json::from_str(image.json).expect("JSON"))
    });
    json!({
        "op": change.op.letter(), "before": image(change.before), "after": image(change.after),
        "db": source.db, "schema": source.schema, "table": source.table,
        "lsn": source.lsn, "txId": source.tx_id, "committed_us": source.committed_us,
        "sequence": source.place.map(|place| {
            json!([place.committed.map(|lsn| lsn.to_string()), place.lsn.to_string()]).to_string()
        }),
    })
}

/// A message's change; none where it is no change.
fn changed(value: &str) -> Option<Transformed<'_>> {
    match decode(Some(value.as_bytes())).expect("a message") {
        Decoded::Change(change) => Some(transform(change).expect("an engagement event")),
        Decoded::Without(_) => None,
    }
}

fn ids(fixture: &str) -> Vec<Uuid> {
    values(fixture)
        .iter()
        .flatten()
        .filter_map(|value| changed(value))
        .filter_map(|change| change.event_id())
        .collect()
}

#[test]
fn every_real_message_is_what_a_naive_decoder_says() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (topic, fixture) in FIXTURES {
        for value in values(fixture) {
            let meant = naively(value.as_deref());
            assert_eq!(decoded(value.as_deref()), meant, "{topic}: {value:?}");
            *seen.entry(meant["op"].as_str().or(meant.as_str()).expect("a kind").to_owned()).or_default() +=
                1;
        }
    }
    // Each kind was really there.
    let kinds =
        ["c", "d", "heartbeat", "message", "r", "refused", "tombstone", "transaction", "truncate", "u"];
    assert_eq!(seen.keys().map(String::as_str).collect::<Vec<_>>(), kinds, "{seen:?}");
}

#[test]
fn no_topic_that_was_written_once_breaks_the_order_of_its_source() {
    let mut seen = 0;
    for (topic, fixture) in FIXTURES {
        let mut reached = None;
        for value in values(fixture).iter().flatten() {
            let Ok(Decoded::Change(change)) = decode(Some(value.as_bytes())) else { continue };
            let Some(place) = change.source.place else { continue };
            assert_eq!(reached.and_then(|reached| place.breaks(reached)), None, "{topic}: {value}");
            reached = Some(place);
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen}");
}

#[test]
fn every_row_of_an_event_holds_what_its_json_says() {
    let mut rows = 0;
    for value in [EVENTS, EVENTS_WITH_SCHEMA].into_iter().flat_map(values).flatten() {
        let Some(change) = changed(&value) else { continue };
        let message = naively(Some(&value));
        for (row, image) in [(&change.before, &message["before"]), (&change.after, &message["after"])] {
            assert_eq!(row.is_some(), image.is_object());
            let Some(row) = row else { continue };
            assert_eq!(serde_json::from_str::<Value>(row.json).expect("JSON"), *image);
            assert_eq!(json!(row.id), image["id"]);
            assert_eq!(json!(row.content_id.map(|id| id.to_string())), image["content_id"]);
            assert_eq!(json!(row.duration_ms), image["duration_ms"]);
            assert!(!row.clashes);
            let time = image["event_ts"].as_str().expect("a time");
            match row.event_ts.expect("a time") {
                Timestamp::Infinity => assert_eq!(time, "infinity"),
                Timestamp::NegativeInfinity => assert_eq!(time, "-infinity"),
                Timestamp::At { secs, micros } => {
                    let us = webhook_protocol::parse_instant(time).expect("an instant");
                    assert_eq!(secs * 1_000_000 + i64::from(micros), us, "{time}");
                }
            }
            rows += 1;
        }
    }
    assert!(rows > 30, "{rows} rows");
}

#[test]
fn event_ids_are_distinct_and_the_same_with_and_without_schema() {
    let plain = ids(EVENTS);
    assert!(plain.len() > 15, "{} changes", plain.len());
    assert_eq!(plain.iter().collect::<BTreeSet<_>>().len(), plain.len());
    // The keys of the second topic are other bytes (they hold a schema).
    assert_eq!(plain, ids(EVENTS_WITH_SCHEMA));
    assert!(plain.iter().all(|id| id.get_version_num() == 8));
}

#[test]
fn an_insert_that_is_read_again_is_the_same_event() {
    let mut inserts = 0;
    for value in values(EVENTS).iter().flatten() {
        let live = changed(value).expect("a change");
        let mut message: Value = serde_json::from_str(value).expect("JSON");
        message["op"] = json!("r");
        message["source"]["lsn"] = Value::Null;
        message["source"]["txId"] = json!(1);
        message["source"]["ts_us"] = json!(5);
        if live.op == Op::Create {
            assert_eq!(changed(&message.to_string()).expect("a change").event_id(), live.event_id());
            inserts += 1;
        } else if live.op == Op::Update {
            assert_ne!(changed(&message.to_string()).expect("a change").event_id(), live.event_id());
        }
    }
    assert!(inserts > 10, "{inserts} inserts");
}

#[test]
fn an_event_id_depends_on_what_happened_and_on_nothing_else() {
    let value =
        values(EVENTS).into_iter().flatten().find(|value| value.contains(r#""op":"u""#)).expect("an update");
    let id = changed(&value).expect("a change").event_id();
    let message: Value = serde_json::from_str(&value).expect("JSON");
    let with = |path: &str, new: Value| {
        let mut message = message.clone();
        *message.pointer_mut(path).expect("there") = new;
        changed(&message.to_string()).expect("a change").event_id()
    };
    for (path, new) in [
        ("/source/db", json!("x")),
        ("/source/schema", json!("x")),
        ("/source/table", json!("x")),
        ("/source/lsn", json!(1)),
        ("/source/ts_us", json!(1)),
        ("/after/id", json!(99)),
        ("/after/event_ts", json!("2026-11-21T03:00:00.123457Z")),
    ] {
        assert_ne!(with(path, new), id, "{path}");
    }
    for (path, new) in [
        ("/source/name", json!("x")),
        ("/source/txId", json!(1)),
        ("/after/device", json!("x")),
        ("/ts_ms", json!(1)),
    ] {
        assert_eq!(with(path, new), id, "{path}");
    }
    // Fields in another order (alphabetical), with line breaks, within a payload.
    let pretty = serde_json::to_string_pretty(&json!({ "payload": message })).expect("JSON");
    assert_ne!(pretty.find("\"after\""), None);
    assert_eq!(changed(&pretty).expect("a change").event_id(), id);
}

#[test]
fn one_time_is_one_event_however_it_is_written() {
    let id_at = |time: &str| {
        let row = format!(r#"{{"id":1,"event_ts":"{time}"}}"#);
        let row = super::row::engagement_row(row.as_str().into()).expect("a row");
        let source = super::Source {
            db: "d".into(),
            schema: "s".into(),
            table: "t".into(),
            lsn: 1,
            tx_id: Some(1),
            place: None,
            committed_us: 0,
        };
        event_id(Op::Create, &source, &row)
    };
    assert_eq!(id_at("2026-11-21T03:00:00Z"), id_at("2026-11-21T05:30:00.000000+02:30"));
    assert_ne!(id_at("infinity"), id_at("-infinity"));
}

#[test]
fn a_column_that_is_null_is_not_one_that_is_missing() {
    for (row, has) in [(r#"{"id":1}"#, false), (r#"{"id":1,"event_ts":null}"#, true)] {
        let row = super::row::engagement_row(row.into()).expect("a row");
        assert_eq!((row.has_event_ts, row.event_ts.is_some()), (has, false));
    }
}
