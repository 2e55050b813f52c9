//! A source that is replayed: stretches of the log that are written again, a connector that begins anew, a database that is set
//! back. Whatever comes when, a leaderboard comes to what the table says.

use super::super::{Base, Cells, Past, Rows, Telling};
use super::past::{CLOCK, Change, FIRST_XID, PARTITIONS, Row, cells, send, whole_ms};
use super::*;
use crate::decode::Place;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::{BTreeMap, VecDeque};

/// What happens to a source, one after the other.
#[derive(Debug, Clone)]
enum Step {
    /// A transaction: of each change the row, how far before its commit it lies in the WAL, and what the row becomes.
    Commit(Vec<(usize, u64, Option<Row>)>),
    /// A stretch of a partition is written again.
    Copy(usize, Index, Index),
    /// The connector begins anew at this transaction.
    Anew(Index),
    /// The database is set back to this transaction, and a connector that knows nothing, or all, goes on.
    Restore(Index, bool),
}

/// A transaction that has committed.
#[derive(Debug, Clone)]
struct Transaction {
    xid: u64,
    committed_us: i64,
    records: Vec<(usize, Change)>,
    rows: BTreeMap<usize, Row>,
}

/// A database and its topic, as far as they have come.
#[derive(Default)]
struct Source {
    /// Of this life of the database.
    transactions: Vec<Transaction>,
    log: [Vec<Change>; 3],
    /// Whether the connector knows no end of a transaction.
    knows_nothing: bool,
    steps: i64,
    /// Of each time that the table is asked: how many of the last transactions it does not see yet, and where the log is begun.
    asked: VecDeque<(usize, [usize; 3])>,
    /// Whether the connector began anew, or the database was set back: then all is seen that has come, see the ADR.
    was_broken_off: bool,
    /// How often the table was asked since the database was set back.
    answers: usize,
}

/// A change that lies so far before its commit comes before all others of its transaction.
const FIRST: u64 = 200;

/// Between two steps: more than clocks are trusted to.
const STEP_US: i64 = 2_000_000;

/// Where transactions end in the WAL.
fn end(number: usize) -> u64 {
    1000 + 10 * number as u64
}

impl Source {
    fn step(&mut self, step: &Step) {
        self.steps += 1;
        match step {
            Step::Commit(changes) => self.commit(changes),
            Step::Copy(partition, from, to) => self.copy(*partition, *from, *to),
            Step::Anew(from) => {
                (self.knows_nothing, self.was_broken_off) = (true, true);
                let from = from.index(self.transactions.len() + 1);
                for number in from..self.transactions.len() {
                    self.append(number);
                }
            }
            Step::Restore(to, knows_nothing) => {
                let to = to.index(self.transactions.len() + 1);
                self.transactions.truncate(to);
                self.knows_nothing |= *knows_nothing || to == 0;
                (self.was_broken_off, self.answers) = (true, 0);
                // It is noticed by what the new life says first in a partition; until then nobody can know.
                let rows = [0, 1, 2].map(|row| (row, FIRST, Some((1, CLOCK - 1, self.steps))));
                self.commit(&rows);
            }
        }
    }

    fn commit(&mut self, changes: &[(usize, u64, Option<Row>)]) {
        let number = self.transactions.len();
        let mut rows = self.transactions.last().map(|last| last.rows.clone()).unwrap_or_default();
        let (xid, committed_us) = (FIRST_XID + number as u64, self.steps * STEP_US);
        let tx_id = u32::try_from(xid & 0xffff_ffff).expect("32 bits");
        let mut changes = changes.to_vec();
        changes.sort_by_key(|(row, before, _)| (std::cmp::Reverse(*before), *row));
        // Two changes of one row never share a place.
        changes.dedup_by_key(|(row, before, _)| (*before, *row));
        let mut records = Vec::new();
        for (row, before_commit, after) in changes {
            let before = match after {
                Some(to) => rows.insert(row, to),
                None => rows.remove(&row),
            };
            if before.is_some() || after.is_some() {
                let lsn = end(number + 1) - 1 - before_commit;
                let change = Change {
                    row: i64::try_from(row).expect("small"),
                    offset: 0,
                    lsn,
                    tx_id,
                    place: None,
                    committed_us,
                    before,
                    after,
                };
                records.push((row % 3, change));
            }
        }
        self.transactions.push(Transaction { xid, committed_us, records, rows });
        self.append(number);
    }

    /// The connector writes a transaction into the topic.
    fn append(&mut self, number: usize) {
        let committed = (!std::mem::take(&mut self.knows_nothing) && number > 0).then(|| end(number));
        for (partition, change) in self.transactions[number].records.clone() {
            let place = Some(Place { committed, lsn: change.lsn });
            self.push(partition, Change { place, ..change });
        }
    }

    fn push(&mut self, partition: usize, change: Change) {
        let offset = self.log[partition].last().map_or(7, |last| last.offset + 1 + self.steps % 2);
        self.log[partition].push(Change { offset, ..change });
    }

    /// Copies what lies between two records of this life.
    fn copy(&mut self, partition: usize, from: Index, to: Index) {
        let of_this_life = |change: &&Change| {
            let is_its = |one: &Transaction| one.committed_us == change.committed_us;
            self.transactions.iter().any(is_its)
        };
        let all: Vec<_> = self.log[partition].iter().filter(of_this_life).cloned().collect();
        if all.is_empty() {
            return;
        }
        let (from, to) = (from.index(all.len()), to.index(all.len()));
        let (from, to) = (from.min(to), from.max(to));
        for change in &all[from..=to] {
            self.push(partition, change.clone());
        }
    }

    /// What a leaderboard of the table's rows is.
    fn board(&self) -> Vec<(u128, i64)> {
        let mut sums: BTreeMap<u128, i64> = BTreeMap::new();
        let rows = self.transactions.last().into_iter().flat_map(|last| last.rows.values());
        for (content, _, ms) in rows.filter(|(_, second, _)| *second <= CLOCK) {
            *sums.entry(*content).or_default() += (*ms).max(0);
        }
        sums.into_iter().filter(|(_, ms)| *ms > 0).collect()
    }

    /// What the table says now.
    fn rows(&mut self) -> (Base, Positions, Vec<Row>) {
        self.answers += 1;
        let a_minute_has_gone = self.answers > 3;
        let (in_limbo, begins) = self.asked.pop_front().unwrap_or_default();
        let in_limbo = if self.was_broken_off { 0 } else { in_limbo };
        let seen = self.transactions.len().saturating_sub(in_limbo);
        let (visible, limbo) = self.transactions.split_at(seen);
        let xmax = visible.last().map_or(FIRST_XID, |last| last.xid + 1);
        let base = Base::new(log(), end(self.transactions.len()) + 5, format!("{xmax}:{xmax}:"));
        let base = base.expect("a snapshot").taken(self.steps * STEP_US + 1);
        let is_in_limbo = |change: &Change| limbo.iter().any(|one| one.committed_us == change.committed_us);
        let start = |(log, (partition, begin)): (&Vec<Change>, (&Partition, usize))| {
            let first = log.iter().position(&is_in_limbo).unwrap_or(log.len());
            let next = log.last().map_or(0, |last| last.offset + 1);
            (
                *partition,
                log.get(if a_minute_has_gone { first } else { begin % (first + 1) })
                    .map_or(next, |change| change.offset),
            )
        };
        let starts = self.log.iter().zip(PARTITIONS.iter().zip(begins)).map(start).collect();
        (base, starts, visible.last().map(|last| last.rows.values().copied().collect()).unwrap_or_default())
    }
}

/// The source as a sink asks for it. The log reaches back, so that only a replay has the table asked.
struct Asked(Arc<Mutex<Source>>);

impl Past for Asked {
    fn reaches_back(&self, _: i64) -> Telling<'_, bool> {
        Box::pin(std::future::ready(Ok(true)))
    }

    fn rows(&self, _: By, _: i64) -> Telling<'_, Rows> {
        let (base, starts, rows) = self.0.lock().expect("not poisoned").rows();
        let (sender, pieces) = tokio::sync::mpsc::channel(rows.len() + 1);
        for row in rows.into_iter().filter(|(.., ms)| *ms > 0) {
            sender.try_send(Ok(cells([row]))).expect("room");
        }
        sender.try_send(Ok(Cells::new())).expect("room");
        Box::pin(std::future::ready(Ok(Rows { base, log: log(), starts, pieces })))
    }
}

/// What happens, and how it is read.
#[derive(Debug, Clone)]
struct Story {
    steps: Vec<Step>,
    asked: Vec<(usize, [usize; 3])>,
    /// Of each turn: how many steps happen before it, which partition is read, how many changes a write takes, and whether
    /// the worker is killed behind it.
    turns: Vec<(usize, usize, usize, bool)>,
}

fn stories() -> impl Strategy<Value = Story> {
    let row = (1..5u128, CLOCK - 30..CLOCK + 3, -1i64..50);
    let change = (0..9usize, 0..60u64, prop::option::weighted(0.75, row));
    let step = prop_oneof![
        12 => prop::collection::vec(change, 1..5).prop_map(Step::Commit),
        2 => (0..3usize, any::<Index>(), any::<Index>()).prop_map(|(p, from, to)| Step::Copy(p, from, to)),
        1 => any::<Index>().prop_map(Step::Anew),
        1 => (any::<Index>(), any::<bool>()).prop_map(|(to, null)| Step::Restore(to, null)),
    ];
    let turn = (0..4usize, 0..3usize, 1..6usize, prop::bool::weighted(0.1));
    let asked = (0..3usize, any::<[usize; 3]>());
    (prop::collection::vec(step, 1..30), prop::collection::vec(asked, 4), prop::collection::vec(turn, 50))
        .prop_map(|(steps, asked, turns)| Story { steps: noticeable(steps), asked, turns })
}

/// A database that is set back is noticed by what its partitions had before. A window that has just been made anew has counted nothing
/// yet that says so: the first incident alone may be that one.
fn noticeable(mut steps: Vec<Step>) -> Vec<Step> {
    let mut is_first = true;
    steps.retain(|step| {
        let was_first = is_first;
        is_first &= matches!(step, Step::Commit(_));
        was_first || !matches!(step, Step::Restore(..))
    });
    steps
}

/// Tells a story to the end; how often the order broke, and how many incidents there were.
async fn told(server: &Server, story: Story) -> (usize, usize) {
    let mut redis = server.connect().await;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("flush");
    set_clock(&mut redis, CLOCK).await;
    let source = Arc::new(Mutex::new(Source { asked: story.asked.into(), ..Source::default() }));
    let mut settings = settings(server, &[("a", 600)]);
    settings.past = Arc::new(Asked(Arc::clone(&source)));
    let signs = Arc::new(Mutex::new(0));
    let counts = Arc::clone(&signs);
    settings.replayed = Arc::new(move |_| *counts.lock().expect("not poisoned") += 1);
    let mut ticker = lane(&settings, 1000).1;
    let mut steps = story.steps.iter();
    let (mut sinks, mut stands): ([Option<RedisWindow>; 3], [Offset; 3]) = Default::default();
    for (number, (happen, partition, count, killed)) in story.turns.iter().cycle().enumerate() {
        assert!(number < 2_000, "it comes to no end");
        for step in steps.by_ref().take(*happen) {
            source.lock().expect("not poisoned").step(step);
        }
        let log = source.lock().expect("not poisoned").log.clone();
        let rest = |p: usize| log[p].iter().filter(|change| change.offset >= stands[p]).count();
        if steps.len() == 0 && sinks.iter().all(Option::is_some) && (0..3).all(|p| rest(p) == 0) {
            // Unless a window was made anew behind somebody's back.
            let mut third = lane(&settings, 1000).0;
            let held = third.positions(&super::log(), &PARTITIONS).await.expect("positions");
            if (0..3).all(|p| held.of(PARTITIONS[p]) == Some(stands[p]) || log[p].is_empty()) {
                break;
            }
            sinks = Default::default();
        }
        let partition = (number + partition) % 3;
        let sink = match &mut sinks[partition] {
            Some(sink) => sink,
            none => {
                let sink = none.insert(lane(&settings, 1000).0);
                let held = sink.positions(&super::log(), &PARTITIONS).await.expect("positions");
                stands[partition] = held.of(PARTITIONS[partition]).unwrap_or_default();
                continue;
            }
        };
        let next = log[partition].iter().filter(|change| change.offset >= stands[partition]);
        let next: Vec<_> = next.take(*count).cloned().collect();
        let Some(last) = next.last() else { continue };
        match send(sink, PARTITIONS[partition], stands[partition], &next).await {
            Written::Durable { .. } => stands[partition] = last.offset + 1,
            Written::Behind(_) => sinks[partition] = None,
        }
        if *killed {
            sinks[partition] = None;
        }
    }
    drain(&mut ticker).await;
    let shown = board(&mut redis, "a").await;
    let shown: Vec<_> = shown.iter().map(|(content, score)| (*content, whole_ms(*score))).collect();
    assert_eq!(shown, source.lock().expect("not poisoned").board());
    let signs = *signs.lock().expect("not poisoned");
    let incidents = story.steps.iter().filter(|step| !matches!(step, Step::Commit(_))).count();
    assert!(incidents > 0 || signs == 0, "a false alarm");
    (signs, incidents)
}

#[test]
fn any_replayed_source_is_counted_as_its_table_says() {
    let server = Server::start(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let sums = std::cell::Cell::new((0, 0));
    let result = proptest::test_runner::TestRunner::new(config).run(&stories(), |story| {
        let (signs, incidents) = runtime.block_on(told(&server, story));
        sums.set((sums.get().0 + signs, sums.get().1 + incidents));
        Ok(())
    });
    result.expect("every story");
    let (signs, incidents) = sums.get();
    assert!(signs > 50, "hardly any replay was noticed: {signs} of {incidents}");
    assert!(signs < 3 * incidents, "alarm upon alarm: {signs} for {incidents}");
}
