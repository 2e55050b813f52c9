//! The POST and its answer, against a receiver over real HTTP.

use super::super::super::{Class, Sink, Written};
use super::super::{Events, Settings, Webhook};
use super::receiver::{Receiver, Request, respond};
use super::{ids_of, inserts, settings, write, write_to};
use crate::position::{Held, LogId};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use webhook_protocol::{Secret, SignedHeaders, Verifier};

fn durable(rejected: &[(usize, &str)]) -> Written {
    let rejected = rejected.iter().map(|(place, reason)| (*place, (*reason).to_owned())).collect();
    Written::Durable { rejected }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn verifies(request: &Request, secret: &Secret) -> bool {
    let headers = SignedHeaders {
        id: Some(request.header("webhook-id")),
        timestamp: Some(request.header("webhook-timestamp")),
        signature: Some(request.header("webhook-signature")),
    };
    Verifier::new(vec![secret.clone()]).verify(headers, &request.body, now_s()).is_ok()
}

#[tokio::test]
async fn a_batch_arrives_whole_named_and_signed_by_every_secret() {
    let receiver = Receiver::answering(200, "").await;
    let secrets =
        ["b", "c"].map(|letter| format!("whsec_{}", letter.repeat(32)).parse::<Secret>().expect("a secret"));
    let settings = Settings { secrets: secrets.to_vec(), ..settings(&receiver.url()) };
    let batch = inserts(0..3);
    let mut sink = Webhook::new(settings).expect("a sink");
    assert_eq!(write(&mut sink, &batch).await.expect("written"), durable(&[]));

    let requests = receiver.requests();
    let [request] = requests.as_slice() else { panic!("{} requests", requests.len()) };
    assert_eq!((request.method.as_str(), request.uri.path()), ("POST", "/webhook"));
    assert_eq!(request.header("content-type"), "application/json");
    assert!(request.header("user-agent").starts_with("deltafan/"));
    assert_eq!(request.header("webhook-id"), webhook_protocol::webhook_id(ids_of(&request.body)));
    assert_eq!(ids_of(&request.body).len(), 3);
    let sent_s: u64 = request.header("webhook-timestamp").parse().expect("seconds");
    assert!(now_s() - sent_s < 5);
    assert!(secrets.iter().all(|secret| verifies(request, secret)), "either secret will do");
    let other = format!("whsec_{}", "x".repeat(32)).parse().expect("a secret");
    assert!(!verifies(request, &other));
}

#[tokio::test]
async fn a_try_again_is_the_same_message_on_the_same_connection() {
    let receiver = Receiver::start(|_| respond(503, "busy")).await;
    let mut sink = Webhook::new(settings(&receiver.url())).expect("a sink");
    let batch = inserts(0..2);
    for _ in 0..3 {
        write(&mut sink, &batch).await.expect_err("busy");
    }
    let requests = receiver.requests();
    let same = |request: &Request| {
        (request.peer, request.header("webhook-id").to_owned(), request.body.clone()) == {
            let first = &requests[0];
            (first.peer, first.header("webhook-id").to_owned(), first.body.clone())
        }
    };
    assert!(requests.len() == 3 && requests.iter().all(same));
}

#[tokio::test]
async fn nothing_to_say_is_not_said() {
    let receiver = Receiver::answering(500, "").await;
    let empty = Events::new(10, 1000);
    assert_eq!(write_to(&receiver.url(), &empty).await.expect("written"), durable(&[]));
    assert!(receiver.requests().is_empty());
    let mut sink = Webhook::new(settings(&receiver.url())).expect("a sink");
    let held = sink.positions(&LogId::new("c", "t"), &[0]).await.expect("an answer");
    assert_eq!(held, Held::NotKept);
}

#[tokio::test]
async fn rejected_events_are_found_by_id_or_by_place() {
    let receiver = Receiver::start(|request| {
        let ids = ids_of(&request.body);
        let answer = format!(
            r#"{{"accepted":1,"duplicates":0,"rejected":[
                {{"event_id":"{}","reason":"too\nlong"}}, {{"event_id":"","index":0,"reason":"no id"}},
                {{"event_id":"{}","index":0}}, {{"event_id":"ffffffff-0000-8000-8000-000000000000","reason":"?"}},
                {{"event_id":"nobody","index":1}}, {{"event_id":"","index":99}}, {{"reason":"of nothing"}}]}}"#,
            ids[2],
            ids[3].to_uppercase()
        );
        respond(200, answer)
    })
    .await;
    let expected = [
        (0, "rejected by the receiver: no id"),
        (2, "rejected by the receiver: too long"),
        (3, "rejected by the receiver, which gave no reason"),
    ];
    assert_eq!(write_to(&receiver.url(), &inserts(0..5)).await.expect("written"), durable(&expected));
}

#[tokio::test]
async fn an_event_that_was_read_twice_is_rejected_twice() {
    let receiver = Receiver::start(|request| {
        respond(
            200,
            format!(r#"{{"rejected":[{{"event_id":"{}","reason":"no"}}]}}"#, ids_of(&request.body)[0]),
        )
    })
    .await;
    let mut batch = inserts(0..2);
    super::push(&mut batch, &super::insert(0), None).expect("deliverable");
    let expected = [(0, "rejected by the receiver: no"), (2, "rejected by the receiver: no")];
    assert_eq!(write_to(&receiver.url(), &batch).await.expect("written"), durable(&expected));
}

#[tokio::test]
async fn any_other_acceptance_is_an_acceptance() {
    for (status, body) in [
        (200, ""),
        (204, ""),
        (202, "ok"),
        (201, r#"{"ok":true}"#),
        (200, "[]"),
        (200, "null"),
        (200, "<html>"),
        (200, r#"{"rejected":0}"#),
        (200, r#"{"rejected":["#),
        (299, "\u{0}"),
        (200, r#"{"accepted":"many"}"#),
    ] {
        let receiver = Receiver::answering(status, body).await;
        let written = write_to(&receiver.url(), &inserts(0..2)).await.expect("written");
        assert_eq!(written, durable(&[]), "{status} {body}");
        assert_eq!(receiver.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_refusal_says_who_and_what_and_what_to_do() {
    let table = [
        (400, Class::Refused),
        (422, Class::Refused),
        (413, Class::TooLarge),
        (404, Class::Pause),
        (401, Class::Pause),
        (500, Class::Retry { after: None }),
        (429, Class::Retry { after: None }),
    ];
    for (status, class) in table {
        let receiver = Receiver::answering(status, "<b>no\r\nway\u{7}</b>").await;
        let url = receiver.url().replace("http://", "http://me:hunter2@");
        let error = write_to(&format!("{url}?token=hunter2"), &inserts(0..1)).await.expect_err("refused");
        assert_eq!(error.class, class, "{status}");
        assert_eq!(error.message, format!("{} answered {status}: <b>no way </b>", receiver.url()));
        assert_eq!(error.remedy.is_some(), class == Class::Pause);
        let request = &receiver.requests()[0];
        assert!(request.header("authorization").starts_with("Basic "), "credentials do travel");
        assert_eq!(request.uri.query(), Some("token=hunter2"));
    }
}

#[tokio::test]
async fn retry_after_is_passed_on() {
    for (value, seconds) in [
        ("7", 7),
        ("86400", 600),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 600),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
    ] {
        let receiver = Receiver::start(move |_| {
            let mut response = respond(503, "");
            response.headers_mut().insert("retry-after", value.parse().expect("a value"));
            response
        })
        .await;
        let error = write_to(&receiver.url(), &inserts(0..1)).await.expect_err("busy");
        assert_eq!(error.class, Class::Retry { after: Some(Duration::from_secs(seconds)) }, "{value}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let receiver = Receiver::start(move |_| {
            let mut response = respond(status, "");
            response.headers_mut().insert("location", "/elsewhere".parse().expect("a value"));
            response
        })
        .await;
        let error = write_to(&receiver.url(), &inserts(0..1)).await.expect_err("paused");
        assert_eq!(error.class, Class::Pause);
        let paths: Vec<_> = receiver.requests().iter().map(|request| request.uri.path().to_owned()).collect();
        assert_eq!(paths, ["/webhook"], "{status}");
    }
}

#[tokio::test]
async fn a_name_that_leads_into_a_private_network_is_not_contacted() {
    let receiver = Receiver::answering(200, "").await;
    let url = format!("http://localhost:{}/webhook", receiver.address.port());
    assert!(write_to(&url, &inserts(0..1)).await.is_ok(), "where it is allowed");
    let forbidden = Settings { allow_private_targets: false, ..settings(&url) };
    let error =
        write(&mut Webhook::new(forbidden).expect("a sink"), &inserts(0..1)).await.expect_err("paused");
    assert_eq!(error.class, Class::Pause);
    assert!(error.message.contains("localhost"), "{error}");
    assert!(error.remedy.expect("a remedy").contains("allow_private_targets"));
    assert_eq!(receiver.requests().len(), 1, "only the allowed one came");
}
