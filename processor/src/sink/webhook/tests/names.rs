//! Columns that are named like a computed field.

use super::super::super::Event;
use super::super::super::event::encode;
use super::message;
use crate::decode::row::{COMPUTED_FIELDS, EngagementRow};
use crate::decode::{Decoded, Op, decode};
use crate::transform::{Transformed, transform};
use proptest::collection::btree_map;
use proptest::prelude::*;
use serde::de::{MapAccess, Visitor};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// The fields of an event in the order of its text, doubled ones too.
struct Fields(Vec<(String, Value)>);

impl<'de> serde::Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

fn fields_of(row: &str) -> Vec<(String, Value)> {
    let message = message("c", "null", row);
    let Ok(Decoded::Change(change)) = decode(Some(message.as_bytes())) else {
        panic!("no change: {message}");
    };
    let change = transform(change).expect("an engagement event");
    let mut out = Vec::new();
    encode(&mut out, &Event { partition: 0, offset: 0, change: &change, content: None })
        .expect("deliverable");
    serde_json::from_slice::<Fields>(&out).expect("JSON").0
}

fn names_of(row: &str) -> Vec<String> {
    fields_of(row)
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !COMPUTED_FIELDS.contains(&&**name))
        .collect()
}

#[test]
fn such_a_column_travels_under_another_name_in_its_place() {
    let row = r#"{"id":1,"op":"x","z":1.50,"content_type":null,"a":2}"#;
    assert_eq!(names_of(row), ["id", "row_op", "z", "row_content_type", "a"]);
    assert_eq!(fields_of(row)[3], ("row_op".to_owned(), json!("x")));
}

#[test]
fn a_null_in_it_changes_nothing() {
    for name in COMPUTED_FIELDS {
        let row = format!(r#"{{"id":1,"{name}":null}}"#);
        assert_eq!(names_of(&row), ["id".to_owned(), format!("row_{name}")]);
    }
}

#[test]
fn the_other_name_is_never_one_that_is_taken() {
    assert_eq!(names_of(r#"{"id":1,"row_op":1,"op":2}"#), ["id", "row_op", "row_row_op"]);
    assert_eq!(
        names_of(r#"{"id":1,"op":2,"row_op":1,"row_row_op":3}"#),
        ["id", "row_row_row_op", "row_op", "row_row_op"]
    );
}

#[test]
fn an_escaped_name_is_the_same_name() {
    assert_eq!(names_of(r#"{"id":1,"\u006fp":"x"}"#), ["id", "row_op"]);
}

#[test]
fn a_table_without_columns_to_show_makes_an_event_all_the_same() {
    let source = crate::decode::Source {
        db: "d".into(),
        schema: "s".into(),
        table: "t".into(),
        lsn: 1,
        tx_id: Some(1),
        place: None,
        committed_us: 0,
    };
    for json in ["{}", " { \n } "] {
        let row = EngagementRow {
            json,
            id: 1,
            content_id: None,
            event_ts: None,
            has_event_ts: true,
            duration_ms: None,
            device: None,
            clashes: false,
        };
        let change = Transformed { op: Op::Create, source: source.clone(), before: None, after: Some(row) };
        let mut out = Vec::new();
        encode(&mut out, &Event { partition: 0, offset: 0, change: &change, content: None })
            .expect("deliverable");
        assert_eq!(serde_json::from_slice::<Fields>(&out).expect("JSON").0.len(), COMPUTED_FIELDS.len());
    }
}

/// Names that clash, nearly clash, or are any text.
fn name() -> impl Strategy<Value = String> {
    let computed = proptest::sample::select(COMPUTED_FIELDS.to_vec());
    prop_oneof![
        (0usize..4, computed).prop_map(|(times, name)| "row_".repeat(times) + name),
        "\\PC{0,8}",
        "[a-z_\"\\\\\n]{1,6}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,10}".prop_map(Value::from),
        "[{}\\[\\],:\" \n]{0,10}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| proptest::collection::vec(inner, 0..3).prop_map(Value::from))
}

proptest! {
    /// Whatever the columns are: no field twice, the computed ones are ours, and no column is lost or changed.
    #[test]
    fn every_column_arrives_once(mut row in btree_map(name(), value(), 0..8), pretty in any::<bool>()) {
        for known in ["content_id", "event_ts", "duration_ms"] {
            row.remove(known);
        }
        row.insert("id".to_owned(), json!(5));
        let text = if pretty { serde_json::to_string_pretty(&row) } else { serde_json::to_string(&row) };
        let fields = fields_of(&text.expect("JSON"));
        let mut left: BTreeMap<String, Value> = fields.iter().cloned().collect();
        prop_assert_eq!(left.len(), fields.len(), "a field twice");
        prop_assert_eq!(fields.len(), row.len() + COMPUTED_FIELDS.len());
        let op = left.remove("op");
        prop_assert_eq!(op, Some(json!("c")));
        for name in COMPUTED_FIELDS {
            left.remove(name);
        }
        for (name, value) in &row {
            let mut travels = name.clone();
            while COMPUTED_FIELDS.contains(&&*travels) || (travels != *name && row.contains_key(&travels)) {
                travels.insert_str(0, "row_");
            }
            let arrived = left.remove(&travels);
            prop_assert_eq!(arrived.as_ref(), Some(value), "{}", name);
        }
        prop_assert!(left.is_empty());
    }
}
