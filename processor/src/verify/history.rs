//! The rows of a table, their changes in the log, and what a receiver holds of them: compared row by row. Pure.
//!
//! The table says what a row is, the log says how it came to be so, and a receiver must hold each change once. All three
//! are lists sorted by row; what belongs to one row is looked at together, so the comparison needs no index.

use super::beginning::Beginning;
use super::contents::Enriched;
use super::finding::{Kind, Tally};
use super::print::Print;
use crate::decode::Op;
use crate::position::{Offset, Partition, Positions};
use std::collections::BTreeSet;
use uuid::Uuid;

/// A row of the table, as the snapshot sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct TableRow {
    pub id: i64,
    /// The lower half of the transaction that wrote it last.
    pub tx_id: u32,
    pub print: Print,
}

/// A change in the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Logged {
    pub id: i64,
    pub partition: Partition,
    pub offset: Offset,
    /// Where it stands in the WAL: changes of one row stand there in their order.
    pub lsn: u64,
    pub event: Uuid,
    pub op: Op,
    pub print: Print,
    /// All other columns, where they can be compared.
    pub others: Option<u32>,
    /// Whether the snapshot sees its transaction.
    pub is_seen: bool,
    /// Whether it was made before the database's present life began: it was set back since.
    pub is_former: bool,
    /// Whether the row's time lies in the range.
    pub in_range: bool,
    /// Whether it can't be delivered as an event, by its own values.
    pub is_refused: bool,
}

/// A change that a receiver holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub id: i64,
    /// Its place in the order of arrival.
    pub seq: i64,
    pub event: Uuid,
    pub op: Option<Op>,
    pub print: Print,
    pub others: u32,
    pub in_range: bool,
    pub committed_us: i64,
    pub enriched: Enriched,
    /// Whether what was computed follows from what stands beside it.
    pub is_computed: bool,
}

/// How a receiver's lane limits what must be there.
#[derive(Debug, Clone, Default)]
pub(super) struct Lane {
    /// Records in the dead letters of this lane.
    pub set_aside: BTreeSet<(Partition, Offset)>,
    /// Of each partition, the first offset from which on the receiver must have all; none where it must have all there are.
    pub begins: Positions,
    /// What the receiver is called.
    pub name: String,
}

/// The table and the log; each is sorted by row, the changes then by their order.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub table: Vec<TableRow>,
    pub log: Vec<Logged>,
}

impl Lists {
    pub(super) fn sort(&mut self) {
        self.table.sort_unstable_by_key(|row| row.id);
        // Stable in the log's order: changes of one row are in one partition.
        self.log.sort_unstable_by_key(|change| (change.id, change.partition, change.offset));
        self.log.dedup_by_key(|change| (change.partition, change.offset));
    }

    /// Calls `look` once for each row that any list knows.
    fn each_row(&self, mut kept: &[Kept], mut look: impl FnMut(i64, Option<&TableRow>, &[Logged], &[Kept])) {
        let (mut table, mut log) = (self.table.as_slice(), self.log.as_slice());
        loop {
            let firsts = [table.first().map(|r| r.id), log.first().map(|c| c.id), kept.first().map(|c| c.id)];
            let Some(id) = firsts.into_iter().flatten().min() else { return };
            let rows = split(&mut table, |row| row.id == id);
            let changes = split(&mut log, |change| change.id == id);
            let held = split(&mut kept, |change| change.id == id);
            look(id, rows.first(), changes, held);
        }
    }

    /// Compares the log with the table. Answers the rows that the log does not know, though it should.
    pub(super) fn compare_log(&self, beginning: Beginning, tally: &mut Tally) -> Vec<i64> {
        let mut unknown = Vec::new();
        self.each_row(&[], |id, row, changes, _| {
            // By the WAL: a stretch that was written to the log twice does not bring an older state back. What came before the
            // database was set back stands there at the places of what came since, and is older than that.
            let seen = changes.iter().filter(|change| change.is_seen);
            let last = seen.max_by_key(|change| {
                (!change.is_former, if change.is_former { 0 } else { change.lsn }, change.offset)
            });
            let in_range = last.is_some_and(|last| last.in_range);
            match (row, last) {
                (None, Some(last)) if last.op != Op::Delete && in_range => {
                    tally.checked += 1;
                    let why = if last.is_former {
                        "the database was set back since"
                    } else {
                        "TRUNCATE is not replicated"
                    };
                    tally.find(
                        Kind::Extra,
                        format!(
                            "row {id}: not in the table, and its last change ({}) is no delete; {why}",
                            place(last)
                        ),
                    );
                }
                (None, _) => {}
                (Some(row), None) if beginning.is_after(row.tx_id) => tally.unchecked += 1,
                (Some(row), None) => {
                    tally.checked += 1;
                    unknown.push(id);
                    tally.find(
                        Kind::Missing,
                        format!("row {id}: written by transaction {}, and never came to Kafka", row.tx_id),
                    );
                }
                (Some(row), Some(last)) => {
                    tally.checked += 1;
                    if last.op == Op::Delete {
                        tally.find(
                            Kind::Missing,
                            format!(
                                "row {id}: in the table, and deleted by its last change ({})",
                                place(last)
                            ),
                        );
                        return;
                    }
                    let columns = row.print.differences(&last.print);
                    if !columns.is_empty() {
                        let why = if last.is_former { "; the database was set back since" } else { "" };
                        tally.find(
                            Kind::Different,
                            format!(
                                "row {id}: {} of its last change ({}) not as in the table{why}",
                                columns.join(", "),
                                place(last)
                            ),
                        );
                    }
                }
            }
        });
        unknown
    }

    /// Compares what a receiver holds, sorted by row and order of arrival, with the log and the table. Answers the rows of
    /// which something is missing.
    pub(super) fn compare_kept(
        &self,
        kept: &[Kept],
        beginning: Beginning,
        lane: &Lane,
        tally: &mut Tally,
    ) -> Vec<i64> {
        let mut incomplete = Vec::new();
        self.each_row(kept, |id, row, changes, held| {
            let before = tally.missing;
            let seen: Vec<&Logged> = once(changes).filter(|change| change.in_range).collect();
            for change in &seen {
                check(change, held, lane, tally);
            }
            let unknown: Vec<&Kept> =
                held.iter().filter(|kept| !changes.iter().any(|change| change.event == kept.event)).collect();
            let is_known = once(changes).next().is_some();
            strange(id, (row, is_known), &unknown, held, (beginning, lane), tally);
            for kept in held.iter().filter(|kept| kept.in_range) {
                enrichment(kept, tally);
            }
            if tally.missing > before {
                incomplete.push(id);
            }
        });
        incomplete
    }
}

/// Takes the beginning of a list that belongs together.
fn split<'a, T>(list: &mut &'a [T], belongs: impl Fn(&T) -> bool) -> &'a [T] {
    let (first, rest) = list.split_at(list.iter().take_while(|item| belongs(item)).count());
    *list = rest;
    first
}

/// The changes that the snapshot sees, each once: a stretch that was written to the log twice has happened once.
fn once(changes: &[Logged]) -> impl Iterator<Item = &Logged> {
    let is_first = |(at, change): (usize, &Logged)| {
        !changes.iter().take(at).any(|earlier| earlier.event == change.event)
    };
    changes.iter().enumerate().filter(move |item| item.1.is_seen && is_first(*item)).map(|(_, change)| change)
}

fn place(change: &Logged) -> String {
    format!("{} at {}/{}", name(Some(change.op)), change.partition, change.offset)
}

fn name(op: Option<Op>) -> &'static str {
    match op {
        Some(Op::Create | Op::Read) => "insert",
        Some(Op::Update) => "update",
        Some(Op::Delete) => "delete",
        None => "change",
    }
}

/// A change that must be there once, with the same values.
fn check(change: &Logged, held: &[Kept], lane: &Lane, tally: &mut Tally) {
    if change.is_refused || lane.set_aside.contains(&(change.partition, change.offset)) {
        tally.set_aside += 1;
        return;
    }
    let mut copies = held.iter().filter(|kept| kept.event == change.event);
    let Some(first) = copies.next() else {
        if lane.begins.get(&change.partition).is_some_and(|begins| change.offset < *begins) {
            tally.unchecked += 1;
            return;
        }
        tally.checked += 1;
        let what =
            format!("row {}: event {} ({}) is not {}", change.id, change.event, place(change), lane.name);
        tally.find(Kind::Missing, what);
        return;
    };
    tally.checked += 1;
    let further = copies.count();
    if further > 0 {
        let what = format!(
            "row {}: event {} ({}) is {} {} times",
            change.id,
            change.event,
            place(change),
            lane.name,
            further + 1
        );
        tally.find(Kind::Doubled, what);
    }
    let mut columns = change.print.differences(&first.print);
    if change.others.is_some_and(|others| others != first.others) {
        columns.push("a further column");
    }
    if first.op.is_none_or(|op| op != change.op) {
        columns.push("op");
    }
    if !columns.is_empty() {
        let what = format!(
            "row {}: event {} ({}): {} not as in the table's change",
            change.id,
            change.event,
            place(change),
            columns.join(", ")
        );
        tally.find(Kind::Different, what);
    }
}

/// Events that the log does not have: older ones, second ones under another id, or ones that never happened.
fn strange(
    id: i64,
    (row, is_known): (Option<&TableRow>, bool),
    unknown: &[&Kept],
    held: &[Kept],
    (beginning, lane): (Beginning, &Lane),
    tally: &mut Tally,
) {
    let mut older: Vec<&Kept> = Vec::new();
    let told = |kept: &Kept| (kept.op, kept.print, kept.committed_us);
    for kept in unknown {
        let is_first = |other: &&Kept| {
            // Of two that nobody knows, the one that came first counts.
            let is_counted = older.iter().any(|older| older.seq == other.seq)
                || !unknown.iter().any(|unknown| unknown.seq == other.seq);
            other.seq != kept.seq && is_counted && told(other) == told(kept)
        };
        if let Some(first) = held.iter().find(is_first) {
            if kept.in_range {
                let what = format!(
                    "row {id}: its {} (event {}) is {} once more as event {} (seq {})",
                    name(kept.op),
                    first.event,
                    lane.name,
                    kept.event,
                    kept.seq
                );
                tally.find(Kind::Doubled, what);
            }
        } else if kept.in_range && kept.committed_us >= beginning.committed_us {
            let what = format!(
                "row {id}: event {} (seq {}), which is {}, is no change of the table",
                kept.event, kept.seq, lane.name
            );
            tally.find(Kind::Extra, what);
        } else {
            older.push(kept);
        }
    }
    if !is_known {
        last_word(id, row, older.last().copied(), (beginning, lane), tally);
    }
}

/// Of a row that the log no longer tells of, the last event by itself must say what the table says.
fn last_word(
    id: i64,
    row: Option<&TableRow>,
    last: Option<&Kept>,
    (beginning, lane): (Beginning, &Lane),
    tally: &mut Tally,
) {
    match (row, last) {
        (Some(row), None) if beginning.is_after(row.tx_id) => tally.unchecked += 1,
        (Some(_), None) => {
            tally.checked += 1;
            tally.find(Kind::Missing, format!("row {id}: none of its events is {}", lane.name));
        }
        (Some(row), Some(last)) => {
            tally.checked += 1;
            let columns = row.print.differences(&last.print);
            if last.op == Some(Op::Delete) || !columns.is_empty() {
                tally.find(
                    Kind::Different,
                    format!(
                        "row {id}: {} of its last event {} ({}) not as in the table",
                        columns.join(", "),
                        last.event,
                        name(last.op)
                    ),
                );
            }
        }
        (None, Some(last)) if last.in_range && last.op != Some(Op::Delete) => {
            tally.checked += 1;
            tally.find(
                Kind::Extra,
                format!(
                    "row {id}: not in the table, and its last event {} ({}) is no delete",
                    last.event,
                    name(last.op)
                ),
            );
        }
        (None, _) => {}
    }
}

fn enrichment(kept: &Kept, tally: &mut Tally) {
    let wrong = match kept.enriched {
        Enriched::AsOf => None,
        Enriched::Newer => {
            tally.newer_content += 1;
            None
        }
        Enriched::Untold => {
            tally.unchecked += 1;
            None
        }
        Enriched::Older => Some("its content is older than the event"),
        Enriched::Wrong => Some("the fields of its content are those of no version of it"),
    };
    let wrong = wrong.or((!kept.is_computed)
        .then_some("engagement_seconds or engagement_pct does not follow from its columns"));
    if let Some(wrong) = wrong {
        tally.find(
            Kind::Different,
            format!("row {}: event {} (seq {}): {wrong}", kept.id, kept.event, kept.seq),
        );
    }
}
