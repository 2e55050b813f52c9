//! What was answered stays, whatever happens to the process or the disk.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that surprises shall fail loudly")]

mod common;

use std::{
    collections::HashSet,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use common::{Sink, event, event_with, until};
use reqwest::StatusCode;
use serde_json::{Value, json};

const SENDERS: usize = 4;
const PER_BATCH: usize = 25;

/// What the senders know.
#[derive(Default)]
struct Ledger {
    acknowledged: Mutex<Vec<String>>,
    sent: Mutex<Vec<String>>,
    /// Requests that are with the receiver.
    in_flight: AtomicUsize,
    /// Requests that were with the receiver when it died.
    broken: AtomicUsize,
}

/// Posts batches until the receiver is gone.
async fn send_until_broken(client: reqwest::Client, url: String, name: String, ledger: Arc<Ledger>) {
    for batch in 0.. {
        let ids: Vec<String> = (0..PER_BATCH).map(|n| format!("{name}-{batch}-{n}")).collect();
        let events: Vec<Value> = ids.iter().map(|id| event(id)).collect();
        ledger.sent.lock().unwrap().extend(ids.clone());
        ledger.in_flight.fetch_add(1, Ordering::SeqCst);
        let answer = common::post(&client, &url, json!({ "events": events }).to_string()).await;
        match answer {
            Ok((StatusCode::OK, _)) => ledger.acknowledged.lock().unwrap().extend(ids),
            _ => {
                ledger.broken.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
        ledger.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_under_load_loses_nothing_that_was_answered_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.db");
    let ledger = Arc::new(Ledger::default());
    for round in 0..3 {
        let mut sink = Sink::start(&store);
        let before = ledger.acknowledged.lock().unwrap().len();
        ledger.in_flight.store(0, Ordering::SeqCst);
        ledger.broken.store(0, Ordering::SeqCst);
        let senders: Vec<_> = (0..SENDERS)
            .map(|n| {
                send_until_broken(
                    sink.client.clone(),
                    sink.url("/webhook"),
                    format!("{round}-{n}"),
                    Arc::clone(&ledger),
                )
            })
            .map(tokio::spawn)
            .collect();
        until("many batches are answered and some in flight", async || {
            let answered = ledger.acknowledged.lock().unwrap().len() - before;
            answered >= 40 * PER_BATCH && ledger.in_flight.load(Ordering::SeqCst) > 0
        })
        .await;
        sink.kill();
        for sender in senders {
            sender.await.unwrap();
        }
        assert!(ledger.broken.load(Ordering::SeqCst) > 0, "requests were in flight when it was killed");
    }
    let sink = Sink::start(&store);
    let stored = sink.all_ids().await;
    let once: HashSet<&String> = stored.iter().collect();
    assert_eq!(once.len(), stored.len(), "nothing is stored twice");
    let (acknowledged, sent) =
        (ledger.acknowledged.lock().unwrap().clone(), ledger.sent.lock().unwrap().clone());
    let lost: Vec<_> = acknowledged.iter().filter(|id| !once.contains(id)).collect();
    assert!(lost.is_empty(), "answered and gone: {lost:?}");
    assert_eq!(sink.stats().await["total_events"], stored.len());
    resend(&sink, &acknowledged, &sent).await;
}

/// What was answered is known; what was not is stored now or known; then all is there once.
async fn resend(sink: &Sink, acknowledged: &[String], sent: &[String]) {
    for ids in acknowledged.chunks(5_000) {
        let events: Vec<Value> = ids.iter().map(|id| event(id)).collect();
        let (_, answer) = sink.post(&events).await;
        assert_eq!(answer, json!({"accepted": 0, "duplicates": ids.len(), "rejected": []}));
    }
    for ids in sent.chunks(5_000) {
        let events: Vec<Value> = ids.iter().map(|id| event(id)).collect();
        assert_eq!(sink.post(&events).await.0, StatusCode::OK);
    }
    let mut stored = sink.all_ids().await;
    let mut expected = sent.to_vec();
    stored.sort();
    expected.sort();
    assert_eq!(stored, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_503_and_is_over_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    // A limit on the size of files stands in for the disk. The shell's `trap` is inherited: the write fails instead of
    // killing the process. Blocks of 512 bytes: 4 MiB.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -S -f 8192; exec \"$0\"", env!("CARGO_BIN_EXE_webhook-sink")]);
    let mut sink = Sink::start_by(command, &folder.path().join("store.db"));
    let big = |id: &str| event_with(id, &json!({ "raw_payload": "x".repeat(100_000) }));
    // One refusal may be over at once, when the log is moved into the file: fill until nothing helps.
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for n in 0..1_000 {
        let id = format!("e{n}");
        match sink.post(&[big(&id)]).await {
            (StatusCode::OK, _) => {
                refused.clear();
                accepted.push(id);
            }
            (status, body) => {
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
                assert!(body["error"].as_str().unwrap().contains("room"), "{body}");
                refused.push(id);
            }
        }
        if refused.len() == 5 {
            break;
        }
    }
    assert_eq!(refused.len(), 5, "the disk was full");
    assert!(!accepted.is_empty());
    let id = refused.remove(0);
    until("health says so", async || sink.get("/health").await.0 == StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(sink.log().contains("ERROR"), "{}", sink.log());
    assert_eq!(sink.stats().await["total_events"], accepted.len(), "what failed is not counted");

    assert!(
        Command::new("prlimit").args(["--pid", &sink.pid(), "--fsize=unlimited"]).status().unwrap().success()
    );
    until("health is back, without traffic", async || sink.get("/health").await.0 == StatusCode::OK).await;
    assert_eq!(sink.post(&[big(&id)]).await.1, json!({"accepted": 1, "duplicates": 0, "rejected": []}));
    accepted.push(id);
    accepted.reverse();
    assert_eq!(sink.ids("limit=10000").await, accepted);
    sink.ask_to_stop();
    assert!(sink.wait().success());
}
