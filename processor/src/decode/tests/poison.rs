//! Decoding, against everything that Debezium never writes.

use super::super::{Decoded, decode};
use super::{EVENTS, FIXTURES, changed, decoded, values};
use crate::transform::transform;
use proptest::prelude::*;
use serde_json::json;

/// What Debezium 3.7 makes of a deleted row of a table whose REPLICA IDENTITY is its key.
const KEY_ONLY: &str = r#"{"id":999999,"content_id":null,"user_id":"","event_type":"","event_ts":"1970-01-01T00:00:00.000000Z",
    "duration_ms":null,"device":null,"raw_payload":null}"#;

/// `{"op":"c",…}` with these parts.
fn envelope(op: &str, before: &str, after: &str) -> String {
    let source = r#"{"db":"d","schema":"s","table":"t","lsn":1,"txId":2,"ts_ms":3}"#;
    format!(r#"{{"op":{op},"before":{before},"after":{after},"source":{source}}}"#)
}

/// Why a record becomes a dead letter.
fn refusal(value: &[u8]) -> String {
    let decoded = decode(Some(value)).and_then(|decoded| match decoded {
        Decoded::Change(change) => transform(change).map(|change| format!("{change:?}")),
        Decoded::Without(kind) => Ok(kind.name().to_owned()),
    });
    match decoded {
        Err(error) => error.to_string(),
        Ok(kind) => panic!("taken for {kind}: {}", String::from_utf8_lossy(&value[..value.len().min(200)])),
    }
}

#[test]
fn poison_is_refused_with_a_reason() {
    let row = r#"{"id":1}"#;
    let table: Vec<(String, &str)> = vec![
        (String::new(), "empty"),
        (" \r\n\t ".to_owned(), "empty"),
        ("not json".to_owned(), "not the JSON"),
        ("{".to_owned(), "not the JSON"),
        (r#"{"op":"c"} x"#.to_owned(), "not the JSON"),
        ("[]".to_owned(), "no object"),
        ("42".to_owned(), "no object"),
        (r#"["c",null]"#.to_owned(), "no object"),
        ("{}".to_owned(), "no `op`"),
        (r#"{"payload":{}}"#.to_owned(), "no `op`"),
        (r#"{"payload":7}"#.to_owned(), "no object"),
        (r#"{"payload":["c"]}"#.to_owned(), "no object"),
        (r#"{"status":"PAUSED","ts_ms":1}"#.to_owned(), "no `op`"),
        (r#"{"after":{"id":1},"ts_ms":1}"#.to_owned(), "no `op`"),
        (r#"{"before":{"id":1},"status":"END","ts_ms":1}"#.to_owned(), "no `op`"),
        (r#"{"op":"c","payload":null}"#.to_owned(), "no `source`"),
        (r#"{"op":7}"#.to_owned(), "not the JSON"),
        (r#"{"op":"c"}"#.to_owned(), "no `source`"),
        (r#"{"op":"c","source":{}}"#.to_owned(), "not the JSON"),
        (r#"{"op":"c","source":7}"#.to_owned(), "not the JSON"),
        (envelope(r#""x""#, "null", row), "unknown operation `x`"),
        (envelope(r#""c""#, "null", "null"), "`c` without `after`"),
        (envelope(r#""u""#, "null", row), "REPLICA IDENTITY FULL"),
        (envelope(r#""d""#, "null", "null"), "REPLICA IDENTITY FULL"),
        (envelope(r#""d""#, KEY_ONLY, "null"), "REPLICA IDENTITY FULL"),
        (envelope(r#""c""#, "null", "{}"), "not the JSON"),
        (envelope(r#""c""#, "null", "7"), "no object"),
        (envelope(r#""c""#, "null", "[1,null,null,5]"), "no object"),
        (envelope(r#""u""#, "[1]", row), "no object"),
        (envelope(r#""c""#, "null", r#"{"id":"1"}"#), "not the JSON"),
        (envelope(r#""c""#, "null", r#"{"id":null}"#), "not the JSON"),
        (envelope(r#""c""#, "null", r#"{"id":1.5}"#), "not the JSON"),
        (envelope(r#""c""#, "null", r#"{"id":99999999999999999999}"#), "not the JSON"),
        (envelope(r#""c""#, "null", r#"{"id":1,"duration_ms":"5"}"#), "not the JSON"),
        (envelope(r#""c""#, "null", r#"{"id":1,"content_id":"x"}"#), "`content_id`"),
        (envelope(r#""c""#, "null", r#"{"id":1,"content_id":7}"#), "not the JSON"),
        (envelope(r#""c""#, "null", r#"{"id":1,"event_ts":"soon"}"#), "`event_ts`"),
        (envelope(r#""c""#, "null", r#"{"id":1,"event_ts":"\ud800"}"#), "not the JSON"),
        (envelope(r#""\ud800""#, "null", row), "not the JSON"),
        (envelope(r#""c""#, "null", row).replace(r#""lsn":1"#, r#""lsn":-1"#), "not the JSON"),
        (envelope(r#""c""#, "null", row).replace(r#""lsn":1"#, r#""lsn":null"#), "source.lsn"),
        (envelope(r#""c""#, "null", row).replace(r#""txId":2"#, r#""x":2"#), "source.txId"),
        (envelope(r#""c""#, "null", row).replace(r#""ts_ms":3"#, r#""ts_ms":"3""#), "not the JSON"),
    ];
    for (value, reason) in table {
        let refused = refusal(value.as_bytes());
        assert!(refused.contains(reason), "{value}: {refused}");
    }
}

#[test]
fn a_null_payload_is_a_tombstone() {
    assert_eq!(decoded(Some(r#"{"schema":null,"payload":null}"#)), json!("tombstone"));
}

#[test]
fn poison_of_any_size_and_of_any_bytes_is_refused() {
    let garbage: Vec<u8> =
        (0..5_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect();
    refusal(&garbage);
    refusal(&[b"{\"op\":\"".as_slice(), &garbage].concat());
    refusal("x".repeat(5_000_000).as_bytes());
    refusal(format!("\"{}\"", "x".repeat(5_000_000)).as_bytes());
    let long_op = refusal(envelope(&format!("\"{}\"", "y".repeat(5_000_000)), "null", "null").as_bytes());
    assert!(long_op.len() < 200, "a reason is short");
    refusal(b"{\"op\":\"c\xff\"}");
    refusal(
        &envelope(r#""c""#, "null", r#"{"id":1,"x":"~"}"#)
            .replace('~', "\u{fffd}")
            .into_bytes()
            .into_iter()
            .filter(|byte| *byte != 0xbf)
            .collect::<Vec<_>>(),
    );
    refusal(b"\xef\xbb\xbf{}");
    refusal(&[0]);
    refusal(&[0xff; 16]);
}

#[test]
fn no_nesting_overflows_the_stack() {
    let deep = 2_000_000;
    for (open, close) in [("[", "]"), (r#"{"payload":"#, "}"), (r#"{"a":"#, "}")] {
        refusal(open.repeat(deep).as_bytes());
        refusal(format!("{}1{}", open.repeat(deep), close.repeat(deep)).as_bytes());
    }
    // A column is not looked into.
    let row = format!(r#"{{"id":1,"x":{}{}}}"#, "[".repeat(deep), "]".repeat(deep));
    assert!(changed(&envelope(r#""c""#, "null", &row)).is_some());
}

#[test]
fn a_message_that_is_cut_off_anywhere_is_refused() {
    for fixture in [EVENTS, FIXTURES[3].1, FIXTURES[4].1, FIXTURES[5].1] {
        for value in values(fixture).iter().flatten().take(12) {
            for end in 0..value.len() {
                refusal(&value.as_bytes()[..end]);
            }
        }
    }
}

/// One change of a message's bytes: put in place of, before, or taken away.
fn mutation() -> impl Strategy<Value = (usize, u8, u8)> {
    let byte = prop_oneof![any::<u8>(), proptest::sample::select(b"{}[]\",:\\0-1eEtfnu \n".to_vec())];
    (any::<usize>(), 0u8..3, byte)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever becomes of a real message, it is refused or decided; and a row that is taken is an object.
    #[test]
    fn a_damaged_message_never_panics(which in any::<usize>(), mutations in proptest::collection::vec(mutation(), 1..6)) {
        let real: Vec<String> = [EVENTS, FIXTURES[0].1, FIXTURES[5].1].into_iter().flat_map(values).flatten().collect();
        let mut bytes = real[which % real.len()].clone().into_bytes();
        for (at, kind, byte) in mutations {
            let at = at % bytes.len();
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        if let Ok(Decoded::Change(change)) = decode(Some(&bytes)) && let Ok(change) = transform(change) {
            for row in [&change.before, &change.after].into_iter().flatten() {
                let is_object = row.json.starts_with('{') && row.json.ends_with('}');
                prop_assert!(is_object, "no object");
                prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(row.json).is_ok());
            }
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(Some(&bytes));
    }
}
