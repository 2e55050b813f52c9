//! From events to what a write carries: contributions to cells (second, member). Pure.
//!
//! The rule depends on a row alone, so that an update or a delete takes back just what was added. What is older than
//! a window or lies in the future is decided where the clock is: in Redis.

use super::ranking::By;
use crate::decode::row::EngagementRow;
use crate::decode::timestamp::Timestamp;
use crate::decode::{Op, Place, Source};
use crate::position::{Offset, Partition};
use crate::sink::{Batch, Event, Refusal};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// How many cells one write changes at most (give or take the last event): each takes Redis half a microsecond.
const MAX_CELLS: usize = 4000;

/// How many members one write changes at most (give or take the last event): each takes Redis up to 6 microseconds where there are
/// 100,000, so that a write blocks it for 4 to 6 ms and not for more than 10.
pub const MAX_MEMBERS: usize = 800;

/// How many seconds one write touches at most (give or take the last event): each is a command, and once in 32 times some packs of it are
/// put together. Events come in the order of their time, so that only those which come late or are taken back are of many.
const MAX_SECONDS: usize = 200;

/// A write is full at so many bytes of names: a device is as long as its row says, and each is in memory until it is written.
const MAX_NAME_BYTES: usize = 1024 * 1024;

/// The largest duration taken, in milliseconds: what a column of type `int` holds. Below it, four million events of one
/// content still sum up to an integer that a script of Redis counts exactly.
const MAX_DURATION_MS: i64 = i32::MAX as i64;

/// What a cell belongs to: leaderboards by content and by content type share the cells of contents.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// A content, by its id.
    Content(Uuid),
    /// A device, as rows name it.
    Device(Arc<str>),
}

impl Member {
    /// Whether a leaderboard of `by` sums this.
    pub(super) fn counts(&self, by: By) -> bool {
        match self {
            Self::Content(_) => matches!(by, By::Content | By::ContentType),
            Self::Device(_) => by == By::Device,
        }
    }

    fn name_bytes(&self) -> usize {
        match self {
            Self::Content(_) => 0,
            Self::Device(name) => name.len(),
        }
    }
}

/// A cell: the second since 1970 in which an event lies, and what it belongs to.
pub type Cell = (i64, Member);

/// Cells and what to add to them, in milliseconds.
pub type Cells = BTreeMap<Cell, i64>;

/// Which members the leaderboards of a lane sum.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted {
    pub contents: bool,
    pub devices: bool,
}

/// What a row adds: the second, and the milliseconds. Nothing without a duration or with one below zero, and without a
/// finite time.
fn contribution(row: &EngagementRow<'_>) -> Option<(i64, i64)> {
    let ms = row.duration_ms.filter(|ms| *ms > 0)?;
    match row.event_ts? {
        Timestamp::At { secs, .. } => Some((secs, ms)),
        Timestamp::Infinity | Timestamp::NegativeInfinity => None,
    }
}

/// What a row adds it to: its content and its device, as far as it names them and a leaderboard wants them.
fn members(row: &EngagementRow<'_>, wanted: Wanted) -> impl Iterator<Item = Member> {
    let content = row.content_id.filter(|_| wanted.contents).map(Member::Content);
    let device = wanted.devices.then(|| row.device()).flatten().map(|name| Member::Device(name.into()));
    content.into_iter().chain(device)
}

/// Where a change comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub partition: Partition,
    pub offset: Offset,
    /// Its place in the WAL, and its transaction.
    pub lsn: u64,
    pub tx_id: Option<u32>,
    /// Its place in the order of the source, and what tells it from others that share the place: its row and what happened to it.
    pub place: Option<Place>,
    pub mark: u64,
    /// In microseconds since 1970.
    pub committed_us: i64,
}

/// What an event of one row image changes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// The number of the event within the batch.
    event: usize,
    cell: Cell,
    /// Milliseconds to add; below zero for what is taken back.
    ms: i64,
}

/// The contributions of one write.
#[derive(Debug, Clone)]
pub struct WindowBatch {
    max_records: usize,
    wanted: Wanted,
    /// Of each event, whether it has an effect or not.
    stamps: Vec<Stamp>,
    /// One by one, for the case that a window has some of them already.
    entries: Vec<Entry>,
    /// How long their names are, all together.
    name_bytes: usize,
    /// Summed up, for all other cases.
    cells: Cells,
    touched: Touched,
}

/// What cells belong to.
#[derive(Debug, Clone, Default)]
struct Touched {
    members: HashSet<Member>,
    seconds: HashSet<i64>,
}

impl Touched {
    fn by(cells: &Cells) -> Self {
        let mut touched = Self::default();
        cells.keys().for_each(|cell| touched.add(cell));
        touched
    }

    fn add(&mut self, (second, member): &Cell) {
        self.members.insert(member.clone());
        self.seconds.insert(*second);
    }

    fn is_enough(&self) -> bool {
        self.members.len() >= MAX_MEMBERS || self.seconds.len() >= MAX_SECONDS
    }
}

impl WindowBatch {
    pub(super) fn new(max_records: usize, wanted: Wanted) -> Self {
        Self {
            max_records,
            wanted,
            stamps: Vec::new(),
            entries: Vec::new(),
            name_bytes: 0,
            cells: Cells::new(),
            touched: Touched::default(),
        }
    }

    /// All contributions, by cell.
    pub(super) fn cells(&self) -> &Cells {
        &self.cells
    }

    /// The contributions without those of some events, given by their numbers in ascending order, by cell.
    pub(super) fn cells_without(&self, left_out: &[usize]) -> Cells {
        sum(self.entries.iter().filter(|entry| left_out.binary_search(&entry.event).is_err()))
    }

    /// Where each event comes from.
    pub(super) fn stamps(&self) -> &[Stamp] {
        &self.stamps
    }
}

/// No two records at one place in the WAL are of the same row and the same kind.
fn mark(op: Op, row: Option<&EngagementRow<'_>>) -> u64 {
    let id = row.map_or(0, |row| row.id.cast_unsigned());
    (id << 2) | op as u64
}

fn sum<'a>(entries: impl Iterator<Item = &'a Entry>) -> Cells {
    let mut cells = Cells::new();
    for entry in entries {
        *cells.entry(entry.cell.clone()).or_default() += entry.ms;
    }
    cells
}

fn name_bytes(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| entry.cell.1.name_bytes()).sum()
}

/// A duration that the column of the contract can't hold, and a table without times, make an event that is set aside and
/// seen, not one that is miscounted or in no window.
fn check(row: Option<&EngagementRow<'_>>) -> Result<(), Refusal> {
    if row.is_some_and(|row| !row.has_event_ts) {
        let reason =
            "the row has no column `event_ts`, so it is in no window: make the table as init.sql does";
        return Err(Refusal { reason: reason.to_owned() });
    }
    match row.and_then(|row| row.duration_ms) {
        Some(ms) if ms > MAX_DURATION_MS => Err(Refusal {
            reason: format!("column `duration_ms`: {ms} is more than an int holds ({MAX_DURATION_MS})"),
        }),
        _ => Ok(()),
    }
}

impl Batch for WindowBatch {
    fn push(&mut self, event: &Event<'_>) -> Result<(), Refusal> {
        let (before, after) = (event.change.before.as_ref(), event.change.after.as_ref());
        check(before)?;
        check(after)?;
        let Event { partition, offset, change, .. } = *event;
        let Source { lsn, tx_id, place, committed_us, .. } = change.source;
        let number = self.stamps.len();
        let mark = mark(change.op, after.or(before));
        self.stamps.push(Stamp { partition, offset, lsn, tx_id, place, mark, committed_us });
        for (row, sign) in [(before, -1), (after, 1)] {
            let Some((row, (second, ms))) = row.and_then(|row| Some((row, contribution(row)?))) else {
                continue;
            };
            for member in members(row, self.wanted) {
                let (cell, ms) = ((second, member), sign * ms);
                let sum = self.cells.entry(cell.clone()).or_insert_with(|| {
                    self.touched.add(&cell);
                    0
                });
                *sum += ms;
                self.name_bytes += cell.1.name_bytes();
                self.entries.push(Entry { event: number, cell, ms });
            }
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.stamps.len() >= self.max_records
            || self.cells.len() >= MAX_CELLS
            || self.touched.is_enough()
            || self.name_bytes >= MAX_NAME_BYTES
    }

    fn len(&self) -> usize {
        self.stamps.len()
    }

    fn split_off(&mut self, at: usize) -> Self {
        let first = self.entries.partition_point(|entry| entry.event < at);
        let mut entries = self.entries.split_off(first);
        for entry in &mut entries {
            entry.event -= at;
        }
        let stamps = self.stamps.split_off(at.min(self.stamps.len()));
        self.cells = sum(self.entries.iter());
        self.touched = Touched::by(&self.cells);
        self.name_bytes = name_bytes(&self.entries);
        let cells = sum(entries.iter());
        Self {
            max_records: self.max_records,
            wanted: self.wanted,
            stamps,
            touched: Touched::by(&cells),
            cells,
            name_bytes: name_bytes(&entries),
            entries,
        }
    }
}
