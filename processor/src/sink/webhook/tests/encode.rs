//! The JSON of an event, value by value.

use super::super::super::{Batch, Event};
use super::super::Events;
use super::{message, push};
use crate::decode::{Decoded, decode};
use crate::transform::{Content, transform};
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The text of the one event that a message becomes.
fn event_of(message: &str, content: Option<&Content>) -> String {
    let mut batch = Events::new(10, 1024);
    push(&mut batch, message, content).expect("deliverable");
    let body = String::from_utf8(batch.body().to_vec()).expect("text");
    let event = body.strip_prefix(r#"{"events":["#).and_then(|rest| rest.strip_suffix("]}"));
    event.expect("the frame of a body").to_owned()
}

fn content(content_type: Option<&str>, length_seconds: Option<i64>, version: Option<u64>) -> Content {
    let title = content_type.map(|text| format!("A {text}").into());
    Content {
        content_type: content_type.map(Into::into),
        title,
        length_seconds,
        version,
        ..Content::default()
    }
}

#[test]
fn an_insert_is_the_row_as_it_is_and_what_is_computed() {
    let row = r#"{"id":1,"content_id":null,"event_ts":"2026-11-21T03:00:00.123456Z","duration_ms":8000,"device":"w\"ü\\","raw_payload":"{\"a\": 1.10}","n":1.500}"#;
    let podcast = content(Some("podcast"), Some(1800), Some(268_548_520));
    let text = event_of(&message("c", "null", row), Some(&podcast));
    let event: Value = serde_json::from_str(&text).expect("JSON");
    let id = event["event_id"].as_str().expect("an id");
    let columns = row.trim_start_matches('{').trim_end_matches('}');
    let expected = format!(
        r#"{{"event_id":"{id}","op":"c",{columns},"content_type":"podcast","content_title":"A podcast","length_seconds":1800,"content_version":268548520,"engagement_seconds":8,"engagement_pct":0.0044,"committed_at":"2026-11-21T04:05:39.218754Z"}}"#
    );
    assert_eq!(text, expected);
    uuid::Uuid::try_parse(id).expect("a UUID");
}

#[test]
fn what_is_unknown_is_null() {
    let computed = |row: &str, content: Option<&Content>| {
        let event: Value =
            serde_json::from_str(&event_of(&message("r", "null", row), content)).expect("JSON");
        let names =
            ["content_type", "length_seconds", "content_version", "engagement_seconds", "engagement_pct"];
        names.map(|name| event.get(name).expect("there").clone())
    };
    let (none, played) = (r#"{"id":1,"duration_ms":null}"#, r#"{"id":1,"duration_ms":1500}"#);
    assert_eq!(json!(computed(none, None)), json!([null, null, null, null, null]));
    assert_eq!(json!(computed(played, None)), json!([null, null, null, 1.5, null]));
    let empty = content(Some("video"), Some(0), None);
    assert_eq!(json!(computed(played, Some(&empty))), json!(["video", 0, null, 1.5, null]));
    let newsletter = content(Some("newsletter"), None, Some(9));
    assert_eq!(json!(computed(played, Some(&newsletter))), json!(["newsletter", null, 9, 1.5, null]));
    let untyped = content(None, Some(3), Some(u64::MAX));
    assert_eq!(json!(computed(none, Some(&untyped))), json!([null, 3, u64::MAX, null, null]));
}

#[test]
fn a_content_type_from_outside_breaks_no_json() {
    let odd = content(Some("a\"b\\\n\u{1}ü"), Some(1), None);
    let text = event_of(&message("c", "null", r#"{"id":1}"#), Some(&odd));
    let event: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(event["content_type"], json!("a\"b\\\n\u{1}ü"));
    assert_eq!(event["content_title"], json!("A a\"b\\\n\u{1}ü"));
}

#[test]
fn an_update_carries_the_row_after_and_a_delete_the_row_before() {
    let (before, after) = (r#"{"id":1,"duration_ms":1}"#, r#"{"id":1,"duration_ms":2000}"#);
    let parse = |text: String| serde_json::from_str::<Value>(&text).expect("JSON");
    let update = parse(event_of(&message("u", before, after), None));
    assert_eq!((&update["op"], &update["duration_ms"]), (&json!("u"), &json!(2000)));
    assert_eq!(update["engagement_seconds"], json!(2));
    let delete = parse(event_of(&message("d", before, "null"), None));
    assert_eq!((&delete["op"], &delete["duration_ms"]), (&json!("d"), &json!(1)));
    assert_eq!(delete["engagement_seconds"], json!(0.001));
}

#[test]
fn a_negative_duration_counts_only_in_the_image_that_travels() {
    let refused = |message: &str| push(&mut Events::new(10, 1024), message, None).is_err();
    let (bad, good) = (r#"{"id":1,"duration_ms":-5}"#, r#"{"id":1,"duration_ms":5}"#);
    assert!(refused(&message("c", "null", bad)));
    assert!(refused(&message("u", good, bad)));
    assert!(refused(&message("d", bad, "null")));
    assert!(!refused(&message("u", bad, good)), "a row that was put right");
    assert!(!refused(&message("c", "null", r#"{"id":1,"duration_ms":0}"#)));
}

#[test]
fn blanks_and_line_breaks_around_columns_do_no_harm() {
    let compact = event_of(&message("c", "null", r#"{"id":1,"x":[1, 2]}"#), None);
    for row in
        ["{ \"id\":1,\"x\":[1, 2] }", "{\n\t\"id\":1,\"x\":[1, 2]\r\n}", "  {\"id\":1,\"x\":[1, 2]}  \n"]
    {
        assert_eq!(event_of(&message("c", "null", row), None), compact, "{row:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever a damaged message is taken for, it damages no body: its neighbours must arrive.
    #[test]
    fn a_damaged_row_never_breaks_the_body(damages in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..3)) {
        let mut bytes = message("c", "null", r#"{"id":1,"op":null,"device":"a\\b","x":[1,{"y":2}]}"#).into_bytes();
        for (at, byte) in damages {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let mut batch = Events::new(10, 1024);
        push(&mut batch, &super::insert(1), None).expect("deliverable");
        if let Ok(Decoded::Change(change)) = decode(Some(&bytes)) && let Ok(change) = transform(change) {
            let _ = batch.push(&Event { partition: 0, offset: 1, change: &change, content: None });
        }
        let body = batch.body();
        let parsed = serde_json::from_slice::<BTreeMap<String, Vec<IgnoredAny>>>(&body);
        prop_assert_eq!(parsed.expect("JSON")["events"].len(), batch.len());
    }
}
