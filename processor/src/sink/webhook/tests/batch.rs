//! What one POST carries: limits, splitting, names.

use super::super::super::Batch;
use super::super::Events;
use super::{ids_of, insert, inserts, message, push};
use proptest::prelude::*;
use webhook_protocol::webhook_id;

#[test]
fn is_full_at_the_most_events() {
    let mut batch = Events::new(3, 1024 * 1024);
    for id in 0..3 {
        assert!(!batch.is_full(), "after {id} events");
        push(&mut batch, &insert(id), None).expect("deliverable");
    }
    assert!(batch.is_full());
    assert_eq!(batch.len(), 3);
}

#[test]
fn bodies_of_like_events_stay_below_the_limit_and_near_it() {
    let mut batch = Events::new(10_000, 64 * 1024);
    let mut id = 0;
    while !batch.is_full() {
        push(&mut batch, &insert(id), None).expect("deliverable");
        id += 1;
    }
    let bytes = batch.body().len();
    assert!(bytes <= 64 * 1024, "{bytes}");
    assert!(bytes > 63 * 1024, "{bytes}");
}

#[test]
fn an_event_larger_than_a_body_should_be_still_goes_alone() {
    let mut batch = Events::new(1000, 1024);
    let large = message("c", "null", &format!(r#"{{"id":1,"device":"{}"}}"#, "x".repeat(5000)));
    push(&mut batch, &large, None).expect("deliverable");
    assert!(batch.is_full());
    assert_eq!(ids_of(&batch.body()).len(), 1);
}

#[test]
fn a_refused_event_leaves_the_batch_as_it_was() {
    let mut batch = inserts(0..2);
    let before = (batch.body(), batch.len());
    let negative = message("c", "null", r#"{"id":9,"duration_ms":-1}"#);
    let refusal = push(&mut batch, &negative, None).expect_err("a refusal");
    assert!(refusal.reason.contains("negative") && refusal.reason.contains("-1"), "{refusal}");
    assert_eq!((batch.body(), batch.len()), before);
    push(&mut batch, &insert(2), None).expect("deliverable");
    assert_eq!(batch.body(), inserts(0..3).body());
}

#[test]
fn the_name_is_made_of_the_event_ids_in_order() {
    let batch = inserts(0..5);
    assert_eq!(batch.name(), webhook_id(ids_of(&batch.body())));
    assert_eq!(batch.name(), inserts(0..5).name());
    assert_ne!(batch.name(), inserts(0..4).name());
}

proptest! {
    /// Cut anywhere, and cut again, the halves are what they would have been from the start.
    #[test]
    fn halves_are_whole(length in 0usize..12, at in 0usize..14, again in 0usize..14) {
        let mut head = inserts(0..length);
        let mut tail = head.split_off(at);
        let at = at.min(length);
        prop_assert_eq!(head.body(), inserts(0..at).body());
        prop_assert_eq!(tail.body(), inserts(at..length).body());
        let rest = tail.split_off(again);
        let again = (at + again).min(length);
        prop_assert_eq!(tail.body(), inserts(at..again).body());
        prop_assert_eq!(rest.body(), inserts(again..length).body());
        prop_assert_eq!(rest.name(), inserts(again..length).name());
        push(&mut tail, &insert(again), None).expect("deliverable");
        prop_assert_eq!(tail.body(), inserts(at..again + 1).body());
    }
}
