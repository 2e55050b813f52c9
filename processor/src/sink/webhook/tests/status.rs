//! What follows from a status, a `Retry-After` and a text from outside.

use super::super::super::Class;
use super::super::error::{MAX_RETRY_AFTER, Outcome, classify, parse_retry_after, printable};
use std::time::Duration;

#[test]
fn every_status_has_its_consequence() {
    let after = Some(Duration::from_secs(7));
    for status in 100..=599 {
        let is = |listed: &[u16]| listed.contains(&status);
        let expected = if (200..300).contains(&status) {
            None
        } else if is(&[400, 422]) {
            Some(Class::Refused)
        } else if is(&[413]) {
            Some(Class::TooLarge)
        } else if is(&[408, 425, 429]) || status >= 500 {
            Some(Class::Retry { after })
        } else {
            Some(Class::Pause)
        };
        match (classify(status, after), expected) {
            (Outcome::Accepted, None) => {}
            (Outcome::Failed { class, remedy }, Some(expected)) => {
                assert_eq!(class, expected, "{status}");
                assert_eq!(remedy.is_some(), class == Class::Pause, "a pause needs a person, {status}");
            }
            (got, _) => panic!("{status}: {got:?}"),
        }
    }
    assert_eq!(classify(503, None), Outcome::Failed { class: Class::Retry { after: None }, remedy: None });
}

#[test]
fn each_pause_that_has_a_cause_of_its_own_has_a_remedy_of_its_own() {
    let remedy = |status| match classify(status, None) {
        Outcome::Failed { remedy: Some(remedy), .. } => remedy,
        other => panic!("{status}: {other:?}"),
    };
    for (status, word) in [
        (302, "redirect"),
        (308, "redirect"),
        (401, "secret"),
        (403, "secret"),
        (404, "path"),
        (410, "path"),
        (405, "POST"),
        (415, "JSON"),
        (407, "proxy"),
        (418, "receiver"),
        (101, "receiver"),
    ] {
        assert!(remedy(status).contains(word), "{status}: {}", remedy(status));
    }
}

#[test]
fn retry_after_is_read_in_both_forms_and_bounded() {
    // Sun, 06 Nov 1994 08:49:37 GMT.
    let date_s = 784_111_777;
    let seconds = |value, now_s| parse_retry_after(value, now_s).map(|after| after.as_secs());
    let table = [
        ("0", Some(0)),
        ("120", Some(120)),
        (" 5 ", Some(5)),
        ("601", Some(600)),
        ("99999999999999999999999", Some(600)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(100)),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("Sun, 06 Nov 1994 08:49:37", None),
        ("Sun, 06 Nov 1994 08:49:37 CET", None),
        ("Sun, 31 Feb 1994 08:49:37 GMT", None),
        ("Sun, 06 Foo 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 x GMT", None),
        ("\u{661}\u{662}", None),
    ];
    for (value, expected) in table {
        assert_eq!(seconds(value, date_s - 100), expected, "{value:?}");
    }
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    assert_eq!(seconds(date, date_s + 100), Some(0), "past");
    assert_eq!(seconds(date, 0), Some(MAX_RETRY_AFTER.as_secs()), "far future");
}

#[test]
fn a_text_from_outside_is_one_short_printable_line() {
    assert_eq!(printable(" <h1>Bad\r\n\tGateway</h1>\u{0} \u{1b}[31mred "), "<h1>Bad Gateway</h1> [31mred");
    assert_eq!(printable(""), "");
    let long = printable(&"ü".repeat(100_000));
    assert_eq!(long.chars().count(), 201);
    assert!(long.ends_with('…'));
    assert_eq!(printable(&"é ".repeat(90)).chars().count(), 179);
    assert!(printable(&"a b ".repeat(10_000)).ends_with('…'));
}
