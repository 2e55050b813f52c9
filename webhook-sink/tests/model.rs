//! The store against a naive model: random batches with duplicates, and now and then a crash.
#![allow(clippy::unwrap_used, reason = "a test that surprises shall fail loudly")]

use std::{collections::BTreeMap, path::Path};

use axum::body::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;
use webhook_sink::{
    event::{Event, Sorted, sort},
    retention::Retention,
    store::{Filter, Store, Stored},
};

#[derive(Debug, Clone)]
enum Step {
    /// Event numbers; a number decides id, device and type, so that equal numbers are equal events.
    Batch(Vec<u16>),
    /// The files as a kill at this moment would leave them are opened in place of the store.
    Crash,
    /// Closed and opened.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let batch = proptest::collection::vec(0..120_u16, 0..40).prop_map(Step::Batch);
    proptest::collection::vec(
        prop_oneof![8 => batch, 1 => Just(Step::Crash), 1 => Just(Step::Restart)],
        1..25,
    )
}

fn body(numbers: &[u16]) -> Bytes {
    let events: Vec<String> = numbers.iter().map(|n| text(*n)).collect();
    Bytes::from(format!("{{\"events\":[{}]}}", events.join(",")))
}

fn text(n: u16) -> String {
    let kind = ["play", "pause", "click"].into_iter().cycle().nth(n.into()).unwrap();
    let id =
        if n.is_multiple_of(2) { format!("00000000-0000-0000-0000-{n:012x}") } else { format!("id-{n}") };
    format!("{{\"event_id\":\"{id}\",\"op\":\"c\",\"event_type\":\"{kind}\",\"device\":\"d{}\"}}", n % 5)
}

/// What the store should hold: the numbers in the order of their arrival.
#[derive(Default)]
struct Model {
    stored: Vec<u16>,
    duplicates: i64,
}

impl Model {
    fn append(&mut self, numbers: &[u16]) -> Stored {
        let mut result = Stored::default();
        for n in numbers {
            if self.stored.contains(n) {
                result.duplicates += 1;
                self.duplicates += 1;
            } else {
                result.accepted += 1;
                self.stored.push(*n);
            }
        }
        result
    }

    fn newest_first(&self, wanted: impl Fn(u16) -> bool) -> Vec<String> {
        self.stored.iter().rev().filter(|n| wanted(**n)).map(|n| text(*n)).collect()
    }
}

async fn texts(store: &Store, filter: Filter) -> Vec<String> {
    let page = store.events(Filter { limit: 1_000, ..filter }).await.unwrap();
    let mut body: BTreeMap<String, Vec<BTreeMap<String, serde_json::Value>>> =
        serde_json::from_slice(&page.json).unwrap();
    let events = body.remove("events").unwrap();
    assert_eq!(events.len(), page.count);
    let field = |event: &BTreeMap<_, serde_json::Value>, name: &str| event.get(name).unwrap().clone();
    let names = ["event_id", "op", "event_type", "device"];
    let event = |event| names.map(|name| format!("\"{name}\":{}", field(event, name))).join(",");
    events.iter().map(|one| format!("{{{}}}", event(one))).collect()
}

async fn agree(store: &Store, model: &Model) {
    assert_eq!(texts(store, Filter::default()).await, model.newest_first(|_| true));
    let device = Filter { device: Some("d3".to_owned()), ..Filter::default() };
    assert_eq!(texts(store, device).await, model.newest_first(|n| n % 5 == 3));
    let both = Filter { device: Some("d3".into()), event_type: Some("click".into()), ..Filter::default() };
    assert_eq!(texts(store, both).await, model.newest_first(|n| n % 5 == 3 && n % 3 == 2));
    let counters = store.figures(0).counters;
    assert_eq!(counters.total_events, i64::try_from(model.stored.len()).unwrap());
    assert_eq!(counters.duplicates, model.duplicates);
    assert_eq!(counters.by_event_type.values().sum::<i64>(), counters.total_events);
}

/// Copies the files while the store is open: what a kill leaves, since each answered batch is on the disk.
fn crashed(from: &Path) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["store.db", "store.db-wal"] {
        std::fs::copy(from.join(name), folder.path().join(name)).unwrap();
    }
    folder
}

async fn play(steps: Vec<Step>) {
    let mut folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("store.db"), Retention::default()).unwrap();
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Batch(numbers) => {
                let Sorted { events, rejected } = sort(&body(&numbers)).unwrap();
                assert!(rejected.is_empty());
                let stored = store.append(events, 0, None).await.unwrap();
                assert_eq!(stored, model.append(&numbers));
            }
            Step::Crash => {
                let after = crashed(folder.path());
                store.close();
                folder = after;
                store = Store::open(&folder.path().join("store.db"), Retention::default()).unwrap();
            }
            Step::Restart => {
                store.close();
                store = Store::open(&folder.path().join("store.db"), Retention::default()).unwrap();
            }
        }
    }
    agree(&store, &model).await;
    store.close();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_store_agrees_with_the_model(steps in steps()) {
        tokio::runtime::Runtime::new().unwrap().block_on(play(steps));
    }
}

#[tokio::test]
async fn batches_that_wait_together_are_each_answered_rightly() {
    let folder = tempfile::tempdir().unwrap();
    let store =
        std::sync::Arc::new(Store::open(&folder.path().join("store.db"), Retention::default()).unwrap());
    let tasks: Vec<_> = (0..50_u16)
        .map(|n| {
            let store = std::sync::Arc::clone(&store);
            // Each number is in two batches: one accepts it, the other is told that it is known.
            let events: Vec<Event> = sort(&body(&[n, (n + 1) % 50])).unwrap().events;
            tokio::spawn(async move { store.append(events, 0, None).await.unwrap() })
        })
        .collect();
    let mut total = Stored::default();
    for task in tasks {
        let stored = task.await.unwrap();
        total.accepted += stored.accepted;
        total.duplicates += stored.duplicates;
    }
    assert_eq!(total, Stored { accepted: 50, duplicates: 50 });
}
