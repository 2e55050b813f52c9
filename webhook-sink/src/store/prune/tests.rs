//! Retention against a naive model, with time passed in; and that a file stays as large as its bounds make it.

use std::{collections::BTreeMap, path::Path, time::Duration};

use axum::body::Bytes;
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::*;
use crate::{
    event::sort,
    store::{Stored, ledger::Ledger, writer::Job},
};

const S: i64 = 1_000_000;
const KEEP_EVENTS_S: u64 = 60;
const KEEP_IDS_S: u64 = 300;

fn text(n: u16, filler: usize) -> String {
    let id =
        if n.is_multiple_of(2) { format!("00000000-0000-0000-0000-{n:012x}") } else { format!("id-{n}") };
    format!(
        "{{\"event_id\":\"{id}\",\"op\":\"c\",\"device\":\"d{}\",\"x\":\"{}\"}}",
        n % 3,
        "x".repeat(filler)
    )
}

fn job(texts: &[String]) -> Job {
    let events = sort(&Bytes::from(format!("{{\"events\":[{}]}}", texts.join(",")))).unwrap().events;
    Job { events, rejected: 0, answer: oneshot::channel().0, budget: None }
}

fn store(ledger: &mut Ledger, texts: &[String], now_us: i64) -> Stored {
    ledger.commit(&[job(texts)], 0, 0, now_us).unwrap().stored[0]
}

/// As the writer does it: piece by piece; how many there were.
fn settle(ledger: &mut Ledger, retention: Retention, now_us: i64) -> usize {
    (1..).find(|_| ledger.prune(retention, now_us).unwrap().done).unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    /// Event numbers, and the size of each.
    Batch(Vec<u16>, usize),
    /// So many seconds pass.
    Wait(i64),
    /// The store is closed and opened.
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let batch = (proptest::collection::vec(0..60_u16, 0..20), 0..400_usize)
        .prop_map(|(numbers, filler)| Step::Batch(numbers, filler));
    let wait = prop_oneof![3 => 0..30_i64, 1 => 50..400_i64].prop_map(Step::Wait);
    proptest::collection::vec(prop_oneof![4 => batch, 3 => wait, 1 => Just(Step::Reopen)], 1..40)
}

/// What is stored: the number, when, and what it takes, in the order of arrival; and when each id was last stored.
#[derive(Default)]
struct Model {
    kept: Vec<(u16, i64, i64)>,
    known: BTreeMap<u16, i64>,
    total: i64,
}

impl Model {
    fn store(&mut self, numbers: &[u16], filler: usize, now_us: i64) -> Stored {
        let mut stored = Stored::default();
        for n in numbers {
            if self.known.contains_key(n) {
                stored.duplicates += 1;
                continue;
            }
            stored.accepted += 1;
            self.total += 1;
            self.known.insert(*n, now_us);
            self.kept.push((*n, now_us, whole(text(*n, filler).len()) + ROW_BYTES));
        }
        stored
    }

    /// What the bounds demand at the least.
    fn prune(&mut self, bytes: i64, now_us: i64) {
        let before_us = |keep_s: u64| now_us - i64::try_from(keep_s).unwrap() * S;
        self.kept.retain(|(_, at_us, _)| *at_us >= before_us(KEEP_EVENTS_S));
        let mut sum: i64 = self.kept.iter().map(|(_, _, bytes)| bytes).sum();
        if sum > bytes {
            while sum > bytes - bytes / 50 {
                sum -= self.kept.remove(0).2;
            }
        }
        self.known.retain(|_, at_us| *at_us >= before_us(KEEP_IDS_S));
    }
}

fn kept(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare("SELECT body FROM events ORDER BY seq").unwrap();
    let bodies = statement.query_map([], |row| row.get(0)).unwrap();
    bodies.map(Result::unwrap).collect()
}

fn id_of(body: &str) -> String {
    serde_json::from_str::<BTreeMap<String, String>>(body).unwrap().remove("event_id").unwrap()
}

fn play(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let (bytes, mut now_us) = (8_000, 1_000 * S);
    let retention =
        Retention::new(Duration::from_secs(KEEP_EVENTS_S), 8_000, Duration::from_secs(KEEP_IDS_S)).unwrap();
    let (mut ledger, mut model) = (Ledger::open(&path).unwrap(), Model::default());
    for step in steps {
        match step {
            Step::Batch(numbers, filler) => {
                let texts: Vec<String> = numbers.iter().map(|n| text(*n, filler)).collect();
                let told = store(&mut ledger, &texts, now_us);
                assert_eq!(told, model.store(&numbers, filler, now_us));
            }
            Step::Wait(seconds) => now_us += seconds * S,
            Step::Reopen => {
                drop(ledger);
                ledger = Ledger::open(&path).unwrap();
            }
        }
        settle(&mut ledger, retention, now_us);
        model.prune(bytes, now_us);
        let counters = ledger.counters();
        assert_eq!(counters.total_events, model.total, "what was ever stored stays counted");
        assert_eq!(counters.kept_events, whole(model.kept.len()));
        assert_eq!(counters.kept_bytes, model.kept.iter().map(|(_, _, bytes)| bytes).sum::<i64>());
    }
    let expected: Vec<String> = model.kept.iter().map(|(n, _, _)| id_of(&text(*n, 0))).collect();
    assert_eq!(kept(&path).iter().map(|body| id_of(body)).collect::<Vec<_>>(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_is_kept_and_known_agrees_with_the_model(steps in steps()) {
        play(steps);
    }
}

#[test]
fn an_id_outlives_its_event_and_is_forgotten_in_its_turn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut ledger = Ledger::open(&path).unwrap();
    let hour = Duration::from_secs(3600);
    let retention = Retention::new(hour, 1 << 30, 10 * hour).unwrap();
    let hours = |n: i64| n * 3600 * S;
    let first = [text(1, 0)];
    assert_eq!(store(&mut ledger, &first, 0).accepted, 1);
    for at_us in [hours(2), hours(5), hours(10)] {
        settle(&mut ledger, retention, at_us);
        assert_eq!(kept(&path), Vec::<String>::new(), "the event is gone");
        assert_eq!(store(&mut ledger, &first, at_us), Stored { accepted: 0, duplicates: 1 }, "and known");
    }
    settle(&mut ledger, retention, hours(10) + 1);
    assert_eq!(store(&mut ledger, &first, hours(11)).accepted, 1, "nothing can send it again so late");
    assert_eq!((ledger.counters().total_events, ledger.counters().duplicates), (2, 3));
}

#[test]
fn a_piece_is_bounded_however_much_is_to_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(&folder.path().join("store.db")).unwrap();
    let second = Duration::from_secs(1);
    let retention = Retention::new(second, 1 << 30, second).unwrap();
    for batch in 0..5 {
        let texts: Vec<String> = (0..1_000).map(|n| text(batch * 1_000 + n, 0)).collect();
        store(&mut ledger, &texts, 0);
    }
    let piece = ledger.prune(retention, 2 * S).unwrap();
    assert_eq!((piece.events, piece.ids, piece.done), (whole(PIECE_ROWS), 0, false));
    assert!(settle(&mut ledger, retention, 2 * S) >= 4);
    assert_eq!(ledger.counters().kept_events, 0);
    assert_eq!(store(&mut ledger, &[text(7, 0)], 3 * S).accepted, 1, "the ids went as well");

    let large: Vec<String> = (10_000..10_004).map(|n| text(n, PIECE_BYTES)).collect();
    for one in large.chunks(1) {
        store(&mut ledger, one, 3 * S);
    }
    let piece = ledger.prune(retention, 5 * S).unwrap();
    assert_eq!((piece.events, piece.done), (2, false), "the small one, and one that fills the piece");
}

#[test]
fn the_space_of_what_is_deleted_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut ledger = Ledger::open(&path).unwrap();
    let bytes = 2 * 1024 * 1024;
    let retention = Retention::new(Duration::from_secs(50), bytes, Duration::from_secs(50)).unwrap();
    let size = || std::fs::metadata(&path).unwrap().len();
    let mut settled_bytes = 0;
    for round in 0..60_u16 {
        let texts: Vec<String> = (0..200).map(|n| text(round * 200 + n, 1_000)).collect();
        store(&mut ledger, &texts, i64::from(round) * 10 * S);
        settle(&mut ledger, retention, i64::from(round) * 10 * S);
        ledger.checkpoint().unwrap();
        if round == 20 {
            settled_bytes = size();
        }
    }
    assert!(settled_bytes < 3 * bytes, "{settled_bytes} bytes for {bytes} of events");
    assert!(
        size() <= settled_bytes + settled_bytes / 10,
        "{} bytes, after 20 rounds {settled_bytes}",
        size()
    );
}

#[test]
fn a_store_of_the_first_version_is_counted_and_then_kept_within_its_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let texts: Vec<String> = (0..10).map(|n| text(n, 100)).collect();
    store(&mut Ledger::open(&path).unwrap(), &texts, 0);
    let first = "DROP TABLE pruned; DELETE FROM counters WHERE kind = 'kept'; PRAGMA user_version = 1;";
    Connection::open(&path).unwrap().execute_batch(first).unwrap();
    let mut ledger = Ledger::open(&path).unwrap();
    let bytes: i64 = texts.iter().map(|text| whole(text.len()) + ROW_BYTES).sum();
    assert_eq!((ledger.counters().kept_events, ledger.counters().kept_bytes), (10, bytes));
    let retention = Retention::new(Duration::from_secs(1), 1 << 30, Duration::from_secs(60)).unwrap();
    settle(&mut ledger, retention, 2 * S);
    assert_eq!((ledger.counters().kept_events, ledger.counters().kept_bytes), (0, 0));
    assert_eq!(store(&mut ledger, &texts, 3 * S), Stored { accepted: 0, duplicates: 10 });
}
