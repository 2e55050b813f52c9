//! The real binary over real HTTP: who is believed, what is stored, what can be asked.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that surprises shall fail loudly")]

mod common;

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use common::{SECRET, Sink, event, event_with, until};
use reqwest::StatusCode;
use serde_json::{Value, json};
use webhook_protocol::{
    HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, MAX_BODY_BYTES, MAX_EVENTS, Secret, sign,
};
use webhook_sink::clock;

fn start() -> (tempfile::TempDir, Sink) {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start(&folder.path().join("store.db"));
    (folder, sink)
}

#[tokio::test]
async fn stores_each_event_once_and_says_so() {
    let (_folder, sink) = start();
    let (status, answer) = sink.post(&[event("a"), event("b"), event("a")]).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({"accepted": 2, "duplicates": 1, "rejected": []})));
    let (_, again) = sink.post(&[event("b"), event("c")]).await;
    assert_eq!(again, json!({"accepted": 1, "duplicates": 1, "rejected": []}));
    assert_eq!(sink.ids("").await, ["c", "b", "a"], "newest first");
    let stats = sink.stats().await;
    assert_eq!((&stats["total_events"], &stats["duplicates"]), (&json!(3), &json!(2)));
    assert_eq!(stats["by_event_type"], json!({"play": 3}));
    assert_eq!(stats["by_content_type"], json!({"podcast": 3}));
    assert!(stats["events_per_second"].as_f64().unwrap() > 0.0, "{stats}");
    let latency = &stats["latency_ms"];
    assert!(latency["p50"].as_f64().unwrap() <= latency["max"].as_f64().unwrap(), "{stats}");
}

#[tokio::test]
async fn an_event_comes_back_as_it_came() {
    let (_folder, sink) = start();
    let sent = event_with(
        "0190b5a4-7c1e-7abc-8def-00ff10203040",
        &json!({"device": "web-\"q\"-ünï\u{0}\u{1f600}", "new": [1, {"a": null}]}),
    );
    sink.post(std::slice::from_ref(&sent)).await;
    let (_, body) = sink.get("/events?limit=1").await;
    let mut back = body["events"][0].clone();
    let extra = back.as_object_mut().unwrap();
    assert!(extra.remove("received_at").unwrap().as_str().unwrap().ends_with('Z'));
    assert_eq!(extra.remove("seq"), Some(json!(1)));
    assert_eq!(back, sent);
}

#[tokio::test]
async fn a_bad_event_is_named_and_the_others_are_stored() {
    let (_folder, sink) = start();
    let without_id = json!({"op": "c"});
    let bad = [
        json!(7),
        json!(["x", "c"]),
        without_id,
        event_with("x", &json!({"op": "t"})),
        event_with("", &json!({})),
    ];
    let mut batch = vec![event("a")];
    batch.extend(bad.clone());
    batch.extend([event_with("n", &json!({"event_id": 5})), event("b"), event(&"l".repeat(600))]);
    let (status, answer) = sink.post(&batch).await;
    assert_eq!((status, &answer["accepted"]), (StatusCode::OK, &json!(2)), "{answer}");
    let rejected = answer["rejected"].as_array().unwrap();
    let places: Vec<_> = rejected.iter().map(|one| one["index"].as_u64().unwrap()).collect();
    assert_eq!(places, [1, 2, 3, 4, 5, 6, 8]);
    assert_eq!(rejected[3]["event_id"], "x");
    assert!(rejected.iter().all(|one| !one["reason"].as_str().unwrap().is_empty()));
    assert_eq!(sink.ids("").await, ["b", "a"]);
    assert_eq!(sink.stats().await["rejected"], 7);
}

#[tokio::test]
async fn who_is_not_believed_is_counted_and_stores_nothing() {
    let (_folder, sink) = start();
    let body = json!({ "events": [event("a")] }).to_string();
    let secrets = Secret::parse_list(SECRET).unwrap();
    let other = Secret::parse_list("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
    let now_s = clock::now_s();
    let signed = |secrets: &[Secret], at_s| sign(secrets, "m", at_s, body.as_bytes());
    for (signature, at_s, word) in [
        (String::new(), now_s, "webhook-signature"),
        (signed(&other, now_s), now_s, "no signature matches"),
        (signed(&secrets, now_s - 400), now_s - 400, "old"),
        (signed(&secrets, now_s + 400), now_s + 400, "ahead"),
    ] {
        let request =
            sink.client.post(sink.url("/webhook")).header(HEADER_ID, "m").header(HEADER_TIMESTAMP, at_s);
        let answer = request.header(HEADER_SIGNATURE, signature).body(body.clone()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        let reason = answer.text().await.unwrap();
        assert!(reason.contains(word), "{reason}");
    }
    let stats = sink.stats().await;
    assert_eq!((&stats["invalid_signatures"], &stats["total_events"]), (&json!(4), &json!(0)));
}

#[tokio::test]
async fn malformed_and_oversized_bodies_are_refused_whole() {
    let (_folder, sink) = start();
    for body in ["", "{", "[]", "{}", "{\"events\":7}", "{\"events\":[{]}", "\u{1f600}"] {
        assert_eq!(sink.post_raw(body).await.0, StatusCode::BAD_REQUEST, "{body}");
    }
    let many = format!("{{\"events\":[{}1]}}", "1,".repeat(MAX_EVENTS));
    assert_eq!(sink.post_raw(many).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let large = event_with("l", &json!({ "raw_payload": "x".repeat(MAX_BODY_BYTES) }));
    assert_eq!(sink.post(&[large]).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let fits = event_with("f", &json!({ "raw_payload": "x".repeat(MAX_BODY_BYTES - 4096) }));
    assert_eq!(sink.post(&[fits]).await.0, StatusCode::OK, "a single event of nearly the limit is stored");
    assert_eq!(sink.post(&[]).await.0, StatusCode::OK);
    assert_eq!(sink.stats().await["total_events"], 1);
}

#[tokio::test]
async fn events_are_found_by_each_filter_and_by_several() {
    let (_folder, sink) = start();
    let uuid = "12f025ee-69ef-4f63-b5d8-7858edcae83d";
    sink.post(&[
        event("a"),
        event_with("b", &json!({"device": "tv", "event_type": "click"})),
        event_with("c", &json!({"content_id": uuid})),
    ])
    .await;
    let (_, body) = sink.get("/events").await;
    let first_second = body["events"][0]["received_at"].as_str().unwrap().to_owned();
    until("the clock moves on", async || {
        clock::now_us() > webhook_protocol::parse_instant(&first_second).unwrap() + 2_000
    })
    .await;
    sink.post(&[event_with("d", &json!({"device": 7, "content_id": "plain", "event_type": null}))]).await;
    let since = sink.get("/events?limit=1").await.1["events"][0]["received_at"].as_str().unwrap().to_owned();
    for (query, found) in [
        ("device=tv".to_owned(), vec!["b"]),
        ("device=7".to_owned(), vec!["d"]),
        ("device=none".to_owned(), vec![]),
        (format!("content_id={uuid}"), vec!["c"]),
        ("content_id=plain".to_owned(), vec!["d"]),
        ("event_type=play".to_owned(), vec!["c", "a"]),
        ("event_type=play&device=ios&limit=1".to_owned(), vec!["c"]),
        ("after_seq=2".to_owned(), vec!["d", "c"]),
        ("before_seq=3&after_seq=1".to_owned(), vec!["b"]),
        (format!("since={since}"), vec!["d"]),
        (format!("since={first_second}&device=ios"), vec!["c", "a"]),
        ("since=0".to_owned(), vec!["d", "c", "b", "a"]),
        ("since=4000000000".to_owned(), vec![]),
        ("since=4000000000000".to_owned(), vec![]),
        ("since=1000000000000".to_owned(), vec!["d", "c", "b", "a"]),
    ] {
        assert_eq!(sink.ids(&query).await, found, "{query}");
    }
}

#[tokio::test]
async fn a_bad_query_names_what_is_wrong() {
    let (_folder, sink) = start();
    for (query, word) in [
        ("limit=0", "limit"),
        ("limit=10001", "10000"),
        ("limit=x", "limit"),
        ("since=yesterday", "since"),
        ("after_seq=1.5", "after_seq"),
        ("colour=red", "colour"),
        ("device=a&device=b", "device"),
    ] {
        let (status, body) = sink.get(&format!("/events?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert!(body["error"].as_str().unwrap().contains(word), "{body}");
    }
    assert_eq!(sink.get("/events?limit=10000").await.1, json!({"events": []}));
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight() {
    let (folder, mut sink) = start();
    let body = json!({ "events": [event("a")] }).to_string();
    let now_s = clock::now_s();
    let signature = sign(&Secret::parse_list(SECRET).unwrap(), "m", now_s, body.as_bytes());
    let head = format!(
        "POST /webhook HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n{HEADER_ID}: m\r\n\
         {HEADER_TIMESTAMP}: {now_s}\r\n{HEADER_SIGNATURE}: {signature}\r\n\r\n",
        body.len(),
    );
    let (first, second) = body.split_at(20);
    let mut stream = TcpStream::connect(&sink.address).unwrap();
    stream.write_all(format!("{head}{first}").as_bytes()).unwrap();
    // A whole request on another connection, after which the half one has been taken too.
    sink.post(&[event("b")]).await;
    sink.ask_to_stop();
    until("it is stopping", async || sink.log().contains("stopping")).await;
    stream.write_all(second.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"accepted\":1"), "{answer}");
    assert!(sink.wait().success(), "{}", sink.log());
    let again = Sink::start(&folder.path().join("store.db"));
    assert_eq!(again.ids("").await, ["a", "b"]);
}

#[tokio::test]
async fn counters_survive_a_stop() {
    let (folder, mut sink) = start();
    sink.post(&[event("a"), event("a"), json!(1)]).await;
    let unsigned = sink.client.post(sink.url("/webhook")).body("x").send().await.unwrap();
    assert_eq!(unsigned.status(), StatusCode::UNAUTHORIZED);
    sink.ask_to_stop();
    assert!(sink.wait().success(), "{}", sink.log());
    until("it says so", async || sink.log().contains("stopped")).await;
    let again = Sink::start(&folder.path().join("store.db"));
    let stats = again.stats().await;
    for (name, value) in [("total_events", 1), ("duplicates", 1), ("rejected", 1), ("invalid_signatures", 1)]
    {
        assert_eq!(stats[name], value, "{name}: {stats}");
    }
    assert_eq!(stats["by_event_type"], json!({"play": 1}));
    assert_eq!(stats["latency_ms"], Value::Null, "nothing came since the start");
    assert_eq!(again.post(&[event("a")]).await.1["duplicates"], 1);
}

#[tokio::test]
async fn every_file_of_the_page_comes_with_a_strict_policy() {
    let (_folder, sink) = start();
    let html = sink.client.get(sink.url("/")).send().await.unwrap().text().await.unwrap();
    let named = html.split('"').filter(|part| part.starts_with("page/"));
    let files: std::collections::BTreeSet<String> = named.map(|part| format!("/{part}")).collect();
    assert!(files.len() > 8, "{files:?}");
    for path in files.iter().map(String::as_str).chain(["/"]) {
        let answer = sink.client.get(sink.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let kind = match path.rsplit_once('.').map(|(_, ending)| ending) {
            None => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!(header("content-type"), kind, "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
    }
}

#[tokio::test]
async fn what_the_page_is_told_is_bounded_and_begins_where_it_ended() {
    let (_folder, sink) = start();
    let (_, empty) = sink.get("/live").await;
    assert_eq!(
        (&empty["total_events"], &empty["points"], &empty["last_stored_ms"]),
        (&json!(0), &json!([]), &Value::Null)
    );
    for n in 0..15 {
        let content = json!({"content_id": format!("c{n:02}"), "content_title": format!("Title {n}")});
        let events: Vec<Value> = (0..=n).map(|m| event_with(&format!("{n}-{m}"), &content)).collect();
        sink.post(&events).await;
    }
    until("a second is over", async || sink.get("/live").await.1["points"] != json!([])).await;
    let (_, live) = sink.get("/live").await;
    assert_eq!(live["total_events"], 120);
    assert_eq!(live["top"].as_array().unwrap().len(), 10);
    let first = json!({"content_id": "c14", "title": "Title 14", "content_type": "podcast", "events": 15});
    assert_eq!(live["top"][0], first);
    let second = live["points"][0][0].as_i64().unwrap();
    assert!((clock::now_us() / 1_000_000 - second) < 60, "{live}");
    until("all are in a second that is over", async || {
        let (_, live) = sink.get("/live").await;
        let points = live["points"].as_array().unwrap().clone();
        points.iter().map(|point| point[1].as_i64().unwrap()).sum::<i64>() == 120
    })
    .await;
    let (_, later) = sink.get(&format!("/live?after={second}")).await;
    assert!(later["points"].as_array().unwrap().iter().all(|point| point[0].as_i64().unwrap() > second));
    let (status, _) = sink.get("/live?after=x").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn many_pages_are_given_what_was_made_last() {
    let (_folder, sink) = start();
    let began = std::time::Instant::now();
    let mut made = std::collections::BTreeSet::new();
    for _ in 0..300 {
        made.insert(sink.get("/live").await.1["now_ms"].as_i64().unwrap());
    }
    let most = usize::try_from(began.elapsed().as_millis() / 250).unwrap() + 1;
    assert!(made.len() <= most, "made {} times, {most} are allowed", made.len());
}

#[tokio::test]
async fn who_does_not_read_holds_nobody_up() {
    let (_folder, sink) = start();
    for n in 0..3 {
        let large = event_with(&format!("l{n}"), &json!({ "raw_payload": "x".repeat(8 << 20) }));
        assert_eq!(sink.post(&[large]).await.0, StatusCode::OK);
    }
    // As many as may read much at once; each has begun to be answered, with far more than sockets hold.
    let stalled: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut stream = TcpStream::connect(&sink.address).unwrap();
            stream.write_all(b"GET /events?limit=10000 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).unwrap();
            assert_eq!(&first, b"HTTP/1.1 200");
            stream
        })
        .collect();
    assert_eq!(sink.post(&[event("a")]).await.1["accepted"], 1);
    assert_eq!(sink.ids("limit=1").await, ["a"]);
    assert_eq!(sink.get("/live").await.1["total_events"], 4);
    let much = sink.client.get(sink.url("/events?limit=10000")).send();
    let waits = tokio::time::timeout(std::time::Duration::from_millis(300), much).await;
    assert!(waits.is_err(), "a fifth who reads much waits for its turn");
    drop(stalled);
    assert_eq!(sink.ids("limit=10000").await.len(), 4, "and has it once the others are gone");
}

#[tokio::test]
async fn what_the_last_minutes_were_survives_a_restart() {
    let (folder, mut sink) = start();
    sink.post(&[event("a"), event("b")]).await;
    sink.kill();
    let again = Sink::start(&folder.path().join("store.db"));
    until("the second is over", async || again.get("/live").await.1["points"] != json!([])).await;
    let (_, live) = again.get("/live").await;
    assert_eq!((&live["points"][0][1], &live["top"][0]["title"]), (&json!(2), &json!("Bread and Patience")));
    assert!(live["points"][0][2].as_f64().is_some(), "their latency as well: {live}");
    assert!(live["last_stored_ms"].as_i64().is_some());
}
