//! Windows that are made anew from the table: whatever a snapshot sees, however commits and the WAL interleave, each change
//! counts once.

use super::super::encode::{Cells, Member};
use super::super::{Base, Lacking, Past, PastError, Rows, Telling};
use super::*;
use crate::decode::Place;
use crate::sink::Class;
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(super) const CLOCK: i64 = 10_000;
pub(super) const PARTITIONS: [Partition; 3] = [0, 1, 2];
pub(super) const FIRST_XID: u64 = 5_000_000_000;

/// A row as it stands: content, second, milliseconds.
pub(super) type Row = (u128, i64, i64);

/// A change of a row, as it lies in the log.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub row: i64,
    pub offset: Offset,
    pub lsn: u64,
    pub tx_id: u32,
    pub place: Option<Place>,
    pub committed_us: i64,
    pub before: Option<Row>,
    pub after: Option<Row>,
}

/// What a test has the table say.
struct Table {
    base: Base,
    starts: Positions,
    pieces: Vec<Result<Cells, PastError>>,
}

/// A past whose answers a test has laid ready; without one the table refuses.
#[derive(Default)]
struct Told(Mutex<Vec<Table>>);

impl Past for Told {
    fn reaches_back(&self, _: i64) -> Telling<'_, bool> {
        Box::pin(std::future::ready(Ok(false)))
    }

    fn rows(&self, _: By, _: i64) -> Telling<'_, Rows> {
        let next = self.0.lock().expect("not poisoned").pop();
        Box::pin(async move {
            let refused = || PastError::Refused("no rights".to_owned());
            let Table { base, starts, pieces } = next.ok_or_else(refused)?;
            let (sender, receiver) = tokio::sync::mpsc::channel(pieces.len() + 1);
            for piece in pieces.into_iter().chain([Ok(Cells::new())]) {
                sender.try_send(piece).expect("room");
            }
            Ok(Rows { base, log: log(), starts, pieces: receiver })
        })
    }
}

pub(super) fn cells(rows: impl IntoIterator<Item = Row>) -> Cells {
    let mut cells = Cells::new();
    for (content, second, ms) in rows {
        *cells.entry((second, Member::Content(Uuid::from_u128(content)))).or_default() += ms;
    }
    cells
}

fn base(lsn: u64, snapshot: &str) -> Base {
    Base::new(log(), lsn, snapshot.to_owned()).expect("a snapshot")
}

fn with_past(server: &Server, tables: Vec<Table>) -> Settings {
    let past = Arc::new(Told(Mutex::new(tables.into_iter().rev().collect())));
    Settings { past, ..settings(server, &[("a", 600)]) }
}

/// Writes changes of one partition from a position on.
pub(super) async fn send(
    sink: &mut RedisWindow,
    partition: Partition,
    from: Offset,
    changes: &[Change],
) -> Written {
    let (mut spans, mut batch) = (Spans::default(), sink.batch());
    for change in changes {
        spans.extend(partition, from, change.offset);
        let text = Cow::Borrowed("x");
        let source = Source {
            db: text.clone(),
            schema: text.clone(),
            table: text,
            lsn: change.lsn,
            tx_id: Some(change.tx_id),
            place: change.place,
            committed_us: change.committed_us,
        };
        let row = |row: Option<Row>| {
            let (content, second, ms) = row?;
            Some(EngagementRow { id: change.row, ..Image::new(content, second, ms).row() })
        };
        let (before, after) = (row(change.before), row(change.after));
        let change_of = Transformed { op: Op::Update, source, before, after };
        let event = Event { partition, offset: change.offset, change: &change_of, content: None };
        batch.push(&event).expect("taken");
    }
    sink.write(Write { log: &log(), spans: &spans, batch: &batch }).await.expect("an answer")
}

#[tokio::test]
async fn a_window_is_shown_when_the_table_is_in_and_goes_on_where_it_ends() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    set_clock(&mut redis, CLOCK).await;
    let pieces = vec![Ok(cells([(1, 9_990, 5), (2, 10_001, 7)])), Ok(cells([(1, 9_991, 6)]))];
    let broken = vec![pieces[0].clone(), Err(PastError::Away("gone".to_owned()))];
    let table = |pieces| Table { base: base(100, "10:12:11"), starts: [(0, 40), (1, 3)].into(), pieces };
    let settings = with_past(&server, vec![table(broken), table(pieces)]);
    let (mut sink, mut ticker) = lane(&settings, 1000);
    let (mut other, _) = lane(&settings, 1000);
    let error = sink.positions(&log(), &[0]).await.expect_err("the table went away in between");
    assert!(error.to_string().contains("gone"), "{error}");
    drain(&mut ticker).await;
    assert_eq!(board(&mut redis, "a").await, [], "never shown in part");
    let error = other.positions(&log(), &[1]).await.expect_err("half filled");
    assert_eq!(error.class, Class::Retry { after: None });
    assert!(error.to_string().contains("is being made anew"), "{error}");
    assert_eq!(
        sink.positions(&log(), &[0]).await.expect("positions"),
        at(&[(0, 40)]),
        "at once: it was its own"
    );
    drain(&mut ticker).await;
    assert_eq!(board(&mut redis, "a").await, [(1, 0.011)]);
    assert_eq!(other.positions(&log(), &[1]).await.expect("positions"), at(&[(1, 3)]));
    let change = |offset, lsn, tx_id, ms| {
        let after = Some((1, 10_000, ms));
        Change { row: 1, offset, lsn, tx_id, place: None, committed_us: 1, before: None, after }
    };
    let changes =
        [change(40, 90, 10, 1), change(41, 95, 11, 20), change(42, 101, 12, 300), change(43, 99, 10, 4000)];
    assert!(matches!(send(&mut sink, 0, 40, &changes[..3]).await, Written::Durable { .. }));
    assert_eq!(board(&mut redis, "a").await, [(1, 0.331)], "what the snapshot has not seen");
    // The log has passed the base; also a worker that begins now knows it.
    let (mut third, _) = lane(&settings, 1000);
    assert_eq!(third.positions(&log(), &[0]).await.expect("positions"), at(&[(0, 43)]));
    assert!(matches!(send(&mut third, 0, 43, &changes[3..]).await, Written::Durable { .. }));
    assert_eq!(board(&mut redis, "a").await, [(1, 4.331)], "of another life of the database");
    set_clock(&mut redis, CLOCK + 1).await;
    drain(&mut ticker).await;
    assert_eq!(board(&mut redis, "a").await, [(1, 4.331), (2, 0.007)]);
}

#[tokio::test]
async fn a_half_filled_window_is_taken_over_and_who_filled_it_is_refused() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    set_clock(&mut redis, CLOCK).await;
    let table = |ms, last: Result<Cells, PastError>| Table {
        base: base(100, "10:12:11"),
        starts: [(0, 4)].into(),
        pieces: vec![Ok(cells([(1, 9_990, ms)])), last],
    };
    let gone = Err(PastError::Away("gone".to_owned()));
    let settings =
        with_past(&server, vec![table(1, gone.clone()), table(2, gone), table(3, Ok(Cells::new()))]);
    let ((mut one, mut ticker), (mut two, _)) = (lane(&settings, 1000), lane(&settings, 1000));
    one.positions(&log(), &[0]).await.expect_err("half filled by one");
    two.positions(&log(), &[0]).await.expect_err("not stalled for long enough");
    two.windows[0].halfway.as_mut().expect("seen").stall();
    two.positions(&log(), &[0]).await.expect_err("half filled by two");
    assert!(one.positions(&log(), &[0]).await.is_err(), "it is two's now");
    assert_eq!(two.positions(&log(), &[0]).await.expect("positions"), at(&[(0, 4)]));
    assert_eq!(one.positions(&log(), &[0]).await.expect("positions"), at(&[(0, 4)]));
    drain(&mut ticker).await;
    assert_eq!(board(&mut redis, "a").await, [(1, 0.003)]);
}

#[tokio::test]
async fn where_the_table_refuses_the_log_counts_and_the_window_says_until_when_it_lacks_something() {
    let server = Server::start(&[]);
    let mut redis = server.connect().await;
    let settings = with_past(&server, Vec::new());
    let (mut sink, ticker) = lane(&settings, 1000);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let mut ticker = ticker.telling(Box::new(move |told| *hears.lock().expect("hears") = told.to_vec()));
    assert_eq!(sink.positions(&log(), &[0]).await.expect("positions"), at(&[]));
    ticker.tick().await.expect("a tick");
    let (now, _): (i64, i64) = redis::cmd("TIME").query_async(&mut redis).await.expect("time");
    let told = heard.lock().expect("heard").clone();
    assert!(
        matches!(told.as_slice(), [Lacking { key, whole_s, is_doubted: false }]
            if key == "a" && (now + 590..=now + 600).contains(whole_s)),
        "{told:?}"
    );
    set_clock(&mut redis, now + 601).await;
    ticker.tick().await.expect("a tick");
    let whole = Lacking { key: "a".to_owned(), whole_s: 0, is_doubted: false };
    assert_eq!(*heard.lock().expect("heard"), [whole]);
}

/// A score in whole milliseconds, through its text, which can't truncate.
pub(super) fn whole_ms(score: f64) -> i64 {
    format!("{:.0}", score * 1000.0).parse().expect("a number")
}

/// A change as it is drawn: row, how far before its commit it lies in the WAL, and what the row becomes.
type Drawn = (usize, u64, Option<Row>);

/// Transactions in the order of their commits, each with its changes.
#[derive(Debug, Clone)]
struct History {
    /// Of each transaction: how far its id is from the order of commits, and its changes.
    transactions: Vec<(u64, Vec<Drawn>)>,
    /// How many of them had ended when the snapshot was taken, and how many of the last of those it did not see yet.
    ended: prop::sample::Index,
    in_limbo: usize,
    /// Where the log is begun, of all places that will do.
    begins: [prop::sample::Index; 3],
    /// How many changes each write holds; a worker that begins anew makes every third.
    writes: Vec<usize>,
}

fn histories() -> impl Strategy<Value = History> {
    let row = (1..5u128, CLOCK - 30..CLOCK + 3, -1i64..50);
    let change = (0..7usize, 0..60u64, prop::option::weighted(0.75, row));
    let transactions = prop::collection::vec((0..4u64, prop::collection::vec(change, 1..5)), 1..25);
    let begins = any::<[prop::sample::Index; 3]>();
    (transactions, any::<prop::sample::Index>(), 0..3usize, begins, prop::collection::vec(1..6usize, 40))
        .prop_map(|(transactions, ended, in_limbo, begins, writes)| History {
            transactions,
            ended,
            in_limbo,
            begins,
            writes,
        })
}

/// What a history comes to: the log, what the table says, and the rows at the end.
struct World {
    log: [Vec<Change>; 3],
    table: Table,
    rows: BTreeMap<usize, Row>,
    /// Changes in the log behind the beginning that the table has as well.
    in_both: usize,
}

fn play(history: &History) -> World {
    let ended = history.ended.index(history.transactions.len() + 1);
    let seen = ended.saturating_sub(history.in_limbo);
    let mut world_log: [Vec<Change>; 3] = Default::default();
    let (mut rows, mut table, mut xids) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for (number, (early, changes)) in history.transactions.iter().enumerate() {
        let commit = 1000 + 10 * number as u64;
        // Ids are given in another order than that of the commits.
        let xid = FIRST_XID + 4 * (number as u64).saturating_sub(*early) + early;
        let xid = (xid..).find(|xid| !xids.contains(xid)).expect("a free one");
        xids.push(xid);
        // Within a transaction the log has the order of the changes.
        let mut changes = changes.clone();
        changes.sort_by_key(|(row, before_commit, _)| (std::cmp::Reverse(*before_commit), *row));
        // Two changes of one row never share a place.
        changes.dedup_by_key(|(row, before_commit, _)| (*before_commit, *row));
        for (row, before_commit, to) in &changes {
            let before = match *to {
                Some(to) => rows.insert(*row, to),
                None => rows.remove(row),
            };
            if before.is_none() && to.is_none() {
                continue;
            }
            let log = &mut world_log[row % 3];
            let offset =
                log.last().map_or(7, |last: &Change| last.offset + 1 + Offset::from(number % 2 == 0));
            let tx_id = u32::try_from(xid & 0xffff_ffff).expect("32 bits");
            let lsn = commit - before_commit;
            let place = Some(Place { committed: (number > 0).then_some(commit - 10), lsn });
            log.push(Change {
                row: i64::try_from(*row).expect("small"),
                offset,
                lsn,
                tx_id,
                place,
                committed_us: 1,
                before,
                after: *to,
            });
        }
        if number + 1 == seen {
            table = rows.clone();
        }
    }
    // Between the last commit that had ended and the next one.
    let lsn = 1000 + 10 * ended as u64 - 5;
    let xmax = xids.iter().take(seen).max().map_or(FIRST_XID, |xid| xid + 1);
    let running: Vec<_> = xids.iter().skip(seen).filter(|xid| **xid < xmax).map(u64::to_string).collect();
    let xmin = xids.iter().skip(seen).copied().min().unwrap_or(xmax).min(xmax);
    let sees =
        |change: &&Change| xids.iter().take(seen).any(|xid| xid & 0xffff_ffff == u64::from(change.tx_id));
    let (mut starts, mut in_both) = (Positions::new(), 0);
    for (log, (partition, index)) in world_log.iter().zip(PARTITIONS.iter().zip(&history.begins)) {
        let first = log.iter().take_while(sees).count();
        let at = index.index(first + 1);
        in_both += log[at..].iter().filter(sees).count();
        starts.insert(
            *partition,
            log.get(at).map_or_else(|| log.last().map_or(0, |last| last.offset + 1), |c| c.offset),
        );
    }
    let pieces = table.values().filter(|(.., ms)| *ms > 0).map(|row| Ok(cells([*row]))).collect();
    let table = Table { base: base(lsn, &format!("{xmin}:{xmax}:{}", running.join(","))), starts, pieces };
    World { log: world_log, table, rows, in_both }
}

async fn counted_once(server: &Server, history: History) -> usize {
    let mut redis = server.connect().await;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("flush");
    set_clock(&mut redis, CLOCK).await;
    let World { log: changes, table, rows, in_both } = play(&history);
    let settings = with_past(server, vec![table]);
    let mut ticker = lane(&settings, 1000).1;
    let mut writes = history.writes.iter().cycle().enumerate();
    for (partition, changes) in PARTITIONS.iter().zip(&changes) {
        let mut sink = lane(&settings, 1000).0;
        let mut stands =
            sink.positions(&log(), &PARTITIONS).await.expect("positions").of(*partition).expect("one");
        while changes.last().is_some_and(|last| last.offset >= stands) {
            let (number, count) = writes.next().expect("for ever");
            if number % 3 == 2 {
                sink = lane(&settings, 1000).0;
                sink.positions(&log(), &PARTITIONS).await.expect("positions");
            }
            let next = changes.iter().filter(|change| change.offset >= stands);
            let next: Vec<_> = next.take(*count).cloned().collect();
            assert!(matches!(send(&mut sink, *partition, stands, &next).await, Written::Durable { .. }));
            stands = next.last().expect("one").offset + 1;
        }
    }
    drain(&mut ticker).await;
    let mut expected: BTreeMap<u128, i64> = BTreeMap::new();
    for (content, _, ms) in rows.values().filter(|(_, second, _)| *second <= CLOCK) {
        *expected.entry(*content).or_default() += (*ms).max(0);
    }
    let expected: Vec<_> = expected.into_iter().filter(|(_, ms)| *ms > 0).collect();
    let shown = board(&mut redis, "a").await;
    let shown: Vec<_> = shown.iter().map(|(content, score)| (*content, whole_ms(*score))).collect();
    assert_eq!(shown, expected);
    in_both
}

#[test]
fn any_history_of_transactions_is_counted_once_over_the_table_and_the_log() {
    let server = Server::start(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let in_both = std::cell::Cell::new(0);
    let result = proptest::test_runner::TestRunner::new(config).run(&histories(), |history| {
        in_both.set(in_both.get() + runtime.block_on(counted_once(&server, history)));
        Ok(())
    });
    result.expect("every history");
    assert!(in_both.get() > 100, "hardly any change was both in the table and in the log");
}
