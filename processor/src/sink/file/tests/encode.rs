//! The lines of a batch: one for each event, of whom it is, and where it can be cut.

use super::{insert, inserts, message, push};
use crate::sink::Batch;
use crate::sink::file::Lines;
use proptest::prelude::*;
use serde_json::Value;

fn text(batch: &Lines) -> String {
    String::from_utf8(batch.of(0, 0)).expect("text")
}

#[test]
fn an_event_is_one_line_with_the_fields_of_a_webhook() {
    let mut batch = Lines::default();
    let row = "{\r\n \"id\": 7,\n\t\"device\": \"a\\nb\\u2028\u{2028}\", \"tags\": [1,\n2]\n}";
    push(&mut batch, 0, 5, &message(row)).expect("deliverable");
    let text = text(&batch);
    assert_eq!(text.matches(['\n', '\r']).count(), 1, "{text:?}");
    let event: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&event["id"], &event["device"]), (&7.into(), &"a\nb\u{2028}\u{2028}".into()));
    for field in ["event_id", "op", "content_type", "content_title", "engagement_seconds", "committed_at"] {
        assert!(event.get(field).is_some(), "{field} in {text}");
    }
}

#[test]
fn a_refused_event_leaves_the_batch_as_it_was() {
    let mut batch = inserts(0..2);
    push(&mut batch, 0, 9, &message(r#"{"id":9,"duration_ms":-1}"#)).expect_err("a refusal");
    assert_eq!((text(&batch), batch.len()), (text(&inserts(0..2)), 2));
    push(&mut batch, 0, 2, &insert(2)).expect("deliverable");
    assert_eq!(text(&batch), text(&inserts(0..3)));
}

#[test]
fn lines_are_found_by_partition_and_offset() {
    let mut batch = Lines::default();
    for (partition, offset, id) in [(1, 10, 1), (0, 3, 2), (1, 12, 3), (0, 7, 4)] {
        push(&mut batch, partition, offset, &insert(id)).expect("deliverable");
    }
    let ids = |partition, from| -> Vec<Value> {
        let lines = String::from_utf8(batch.of(partition, from)).expect("text");
        lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["id"].clone()).collect()
    };
    assert_eq!((ids(0, 0), ids(1, 0)), (vec![2.into(), 4.into()], vec![1.into(), 3.into()]));
    assert_eq!(
        (ids(0, 4), ids(1, 12), ids(1, 13), ids(2, 0)),
        (vec![4.into()], vec![3.into()], vec![], vec![])
    );
}

#[test]
fn is_full_at_half_a_mebibyte_and_takes_a_larger_event_alone() {
    let mut batch = Lines::default();
    while !batch.is_full() {
        let id = batch.len();
        push(&mut batch, 0, 0, &insert(id)).expect("deliverable");
    }
    let line = text(&inserts(0..1)).len();
    assert!((1 << 19..(1 << 19) + 2 * line).contains(&text(&batch).len()), "{}", text(&batch).len());
    let mut batch = Lines::default();
    let large = format!(r#"{{"id":1,"device":"{}"}}"#, "x".repeat(1 << 20));
    push(&mut batch, 0, 1, &message(&large)).expect("deliverable");
    assert_eq!((batch.is_full(), batch.len()), (true, 1));
}

proptest! {
    /// Cut anywhere, and cut again, the halves are what they would have been from the start.
    #[test]
    fn halves_are_whole(length in 0usize..12, at in 0usize..14, again in 0usize..14) {
        let mut head = inserts(0..length);
        let mut tail = head.split_off(at);
        let at = at.min(length);
        prop_assert_eq!((text(&head), head.len()), (text(&inserts(0..at)), at));
        prop_assert_eq!(text(&tail), text(&inserts(at..length)));
        let rest = tail.split_off(again);
        let again = (at + again).min(length);
        prop_assert_eq!(text(&tail), text(&inserts(at..again)));
        prop_assert_eq!((text(&rest), rest.len()), (text(&inserts(again..length)), length - again));
    }
}
