//! What is kept, and what is still known, through the real binary.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that surprises shall fail loudly")]

mod common;

use std::process::Command;

use common::{Sink, event, event_with, until};
use serde_json::{Value, json};

fn start(settings: &[(&str, &str)]) -> (tempfile::TempDir, Sink) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_webhook-sink"));
    command.envs(settings.iter().copied());
    let sink = Sink::start_by(command, &folder.path().join("store.db"));
    (folder, sink)
}

#[tokio::test]
async fn an_event_that_is_too_old_goes_and_is_refused_when_it_comes_again() {
    let (folder, sink) = start(&[("WEBHOOK_KEEP_EVENTS", "1s"), ("WEBHOOK_KEEP_IDS", "1h")]);
    sink.post(&[event("a"), event("b")]).await;
    until("both are deleted", async || sink.stats().await["kept_events"] == 0).await;
    assert_eq!(sink.ids("").await, Vec::<String>::new());
    assert_eq!(
        sink.post(&[event("a"), event("c")]).await.1,
        json!({"accepted": 1, "duplicates": 1, "rejected": []})
    );
    let stats = sink.stats().await;
    assert_eq!((&stats["total_events"], &stats["duplicates"]), (&json!(3), &json!(1)), "{stats}");
    assert_eq!(stats["by_event_type"], json!({"play": 3}), "what is deleted stays counted");
    drop(sink);
    let again = Sink::start(&folder.path().join("store.db"));
    assert_eq!(again.post(&[event("b")]).await.1["duplicates"], 1, "also after a restart");
    assert_eq!(again.stats().await["total_events"], 3);
}

#[tokio::test]
async fn the_oldest_go_when_there_is_too_much_and_the_file_stays_small() {
    let (folder, sink) = start(&[("WEBHOOK_KEEP_BYTES", "1MiB")]);
    let large = |n: usize| event_with(&format!("e{n:05}"), &json!({ "raw_payload": "x".repeat(9_000) }));
    for round in 0..40 {
        let batch: Vec<Value> = (0..50).map(|n| large(round * 50 + n)).collect();
        assert_eq!(sink.post(&batch).await.1["accepted"], 50);
    }
    until("the bound is kept", async || sink.stats().await["kept_bytes"].as_i64().unwrap() <= 1 << 20).await;
    let stats = sink.stats().await;
    assert_eq!(stats["total_events"], 2_000);
    let ids = sink.ids("limit=10000").await;
    assert_eq!(stats["kept_events"], ids.len());
    assert!(ids.len() > 80, "{} of about 110 that fit are kept", ids.len());
    let newest: Vec<String> = (0..ids.len()).map(|n| format!("e{:05}", 1_999 - n)).collect();
    assert_eq!(ids, newest, "the newest, without a gap");
    assert_eq!(sink.post(&[large(0)]).await.1["duplicates"], 1, "the oldest is known");
    // 19 MiB went through; the file holds what is kept, the ids, and what one group of batches brought too much.
    let bytes = std::fs::metadata(folder.path().join("store.db")).unwrap().len();
    assert!(bytes < 6 << 20, "{bytes} bytes");
}
