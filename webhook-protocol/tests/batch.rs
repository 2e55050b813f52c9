//! The body, its name, the answer, and instants.
#![allow(clippy::unwrap_used, reason = "a test that surprises shall fail loudly")]

use proptest::prelude::*;
use webhook_protocol::{
    Answer, BODY_PREFIX, BODY_SUFFIX, Batch, Rejected, format_instant, parse_instant, webhook_id,
};

#[test]
fn the_name_of_a_batch_is_fixed_for_ever() {
    // printf '\0\0\0\0\0\0\0\1a\0\0\0\0\0\0\0\2bc' | sha256sum
    assert_eq!(webhook_id(["a", "bc"]), "msg_3fafa1cf2f19a7c1129beb20cf0983f7");
    assert_ne!(webhook_id(["a", "bc"]), webhook_id(["ab", "c"]));
    assert_ne!(webhook_id(["a", "bc"]), webhook_id(["bc", "a"]));
}

#[test]
fn a_spliced_body_reads_back_event_by_event() {
    let body = format!("{BODY_PREFIX}{},{}{BODY_SUFFIX}", r#"{"event_id":"1"}"#, r#"{"event_id": "2" }"#);
    let batch: Batch<'_> = serde_json::from_str(&body).unwrap();
    let events: Vec<&str> = batch.events.iter().map(|event| event.get()).collect();
    assert_eq!(events, [r#"{"event_id":"1"}"#, r#"{"event_id": "2" }"#]);
}

#[test]
fn an_answer_may_be_empty_and_carries_what_was_rejected() {
    assert_eq!(serde_json::from_str::<Answer>("{}").unwrap(), Answer::default());
    let text = r#"{"accepted":2,"duplicates":1,"rejected":[{"event_id":"7","reason":"no op"}]}"#;
    let rejected = Rejected { event_id: "7".into(), reason: "no op".into(), index: None };
    let answer = Answer { accepted: 2, duplicates: 1, rejected: vec![rejected] };
    assert_eq!(serde_json::from_str::<Answer>(text).unwrap(), answer);
    assert_eq!(serde_json::to_string(&answer).unwrap(), text);
}

#[test]
fn instants_are_written_and_read() {
    assert_eq!(format_instant(1_795_230_000_123_456), "2026-11-21T03:00:00.123456Z");
    assert_eq!(format_instant(-1), "1969-12-31T23:59:59.999999Z");
    assert_eq!(format_instant(i64::MAX), "9999-12-31T23:59:59.999999Z");
    assert_eq!(format_instant(i64::MIN), "0000-01-01T00:00:00.000000Z");
    let same = 1_795_230_000_123_456;
    for text in ["2026-11-21T04:30:00.123456+01:30", "2026-11-20 19:00:00.123456789-08:00"] {
        assert_eq!(parse_instant(text), Some(same), "{text}");
    }
    assert_eq!(parse_instant("2024-02-29T00:00:00Z"), Some(1_709_164_800_000_000));
}

#[test]
fn what_is_no_instant_is_refused() {
    for bad in [
        "",
        "infinity",
        "2026-11-21",
        "2026-11-21T03:00:00",
        "2026-11-21T03:00:00.Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T03:00:00.1234567890Z",
        "2026-11-21T03:00:00+1:00",
        "+026-11-21T03:00:00Z",
        "2026-11-21T03:00:00Zé",
        "é026-11-21T03:00:00Z",
    ] {
        assert_eq!(parse_instant(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn instants_travel_unchanged(unix_us in -62_167_219_200_000_000i64..=253_402_300_799_999_999) {
        prop_assert_eq!(parse_instant(&format_instant(unix_us)), Some(unix_us));
    }

    #[test]
    fn instants_keep_their_order(a in 0i64..253_402_300_799_999_999, b in 0i64..253_402_300_799_999_999) {
        prop_assert_eq!(a.cmp(&b), format_instant(a).cmp(&format_instant(b)));
    }

    #[test]
    fn lists_have_the_same_name_only_when_they_are_the_same(
        a in proptest::collection::vec("[a-c\0\u{1}]{0,3}", 0..4), b in proptest::collection::vec("[a-c\0\u{1}]{0,3}", 0..4),
    ) {
        prop_assert_eq!(a == b, webhook_id(&a) == webhook_id(&b));
    }
}
