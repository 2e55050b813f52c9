//! The range of the table and of the log, brought together; and whether the one came to the other.

use super::beginning::{Beginning, Late, lowest};
use super::boards::Board;
use super::event::logged;
use super::finding::Tally;
use super::history::{Lists, Logged};
use super::log::Log;
use super::pipeline::{SLACK_US, Verification, blocking};
use super::table::{Range, Stand, Table};
use super::{Progress, VerifyError};
use crate::decode::{Decoded, decode};
use crate::position::{Offset, Partition, Positions};
use crate::transform::transform;
use rdkafka::message::Message;
use std::collections::BTreeSet;

/// Rows or changes of one list: some 100 bytes each.
pub(super) const MOST: usize = 5_000_000;
/// Among so many of the log's first records are those of the transaction that began it.
const FIRST_RECORDS: Offset = 1000;

/// What the log holds of the range.
pub(super) struct Gathered {
    pub lists: Lists,
    pub beginning: Beginning,
    pub stand: Stand,
    /// The first offset of each partition, and the one up to which it was read.
    pub lows: Positions,
    pub from: Positions,
    pub ends: Positions,
}

impl Verification<'_> {
    /// Reads the range of the table and the log up to its end, both at once.
    pub(super) async fn gather(
        &self,
        table: &Table,
        mut stand: Stand,
        log: &Log,
        boards: &mut Vec<Board>,
    ) -> Result<Gathered, VerifyError> {
        let (asked, since_ms) = (log.clone(), (self.range.since_us - SLACK_US) / 1000);
        let (lows, ends, mut from, beginning) = blocking(move || {
            let (lows, ends) = asked.ends()?;
            let beginning = beginning(&asked, &lows, &ends)?;
            Ok((lows, ends, asked.since(since_ms)?, beginning))
        })
        .await?;
        // A record that a window passed by is taken off what the table says.
        for (partition, at) in self.find_set_aside(boards, log).await? {
            from.entry(partition).and_modify(|from| *from = (*from).min(at));
        }
        // A window that is behind is compared by the records that it does not have yet.
        for (partition, at) in boards.iter().flat_map(|board| &board.offsets) {
            from.entry(*partition).and_modify(|from| *from = (*from).min(*at));
        }
        for (partition, low) in &lows {
            from.entry(*partition).and_modify(|from| *from = (*from).max(*low));
        }
        let beginning =
            Beginning { committed_us: self.covered_from(&beginning, &lows, &from), ..beginning.0 };
        boards.iter_mut().for_each(|board| board.between.late = Late::of(beginning));
        stand.life_us = boards.iter().map(|board| board.between.life_us()).max().unwrap_or_default();
        let reading = Changes { range: self.range, stand: stand.clone(), progress: self.progress.clone() };
        let (of, starts, stops, mut windows) =
            (log.clone(), from.clone(), ends.clone(), std::mem::take(boards));
        let changes = blocking(move || {
            let mut log = Vec::new();
            reading.read(&of, &starts, &stops, &mut windows, |change| push(&mut log, change))?;
            Ok((log, windows))
        });
        let mut rows = Vec::new();
        let (changes, read) = tokio::join!(changes, table.rows(&self.range, |row| push(&mut rows, row)));
        read?;
        let (changes, windows) = changes?;
        *boards = windows;
        too_many(rows.len().max(changes.len()))?;
        let mut lists = Lists { table: rows, log: changes };
        lists.sort();
        Ok(Gathered { lists, beginning, stand, lows, from, ends })
    }

    /// Every change that committed from then on, and is still in Kafka, was read.
    fn covered_from(&self, (_, firsts): &(Beginning, Firsts), lows: &Positions, from: &Positions) -> i64 {
        let covered = from.iter().map(|(partition, from)| match lows.get(partition) {
            Some(low) if from > low => self.range.since_us.saturating_sub(SLACK_US),
            Some(0) => i64::MIN,
            _ => firsts
                .iter()
                .find(|(of, _)| of == partition)
                .map_or(i64::MAX, |(_, committed_us)| *committed_us),
        });
        covered.max().unwrap_or(i64::MAX)
    }

    /// Compares the log with the table; before a row is called missing the whole log is looked through for it.
    pub(super) async fn compare_log(
        &self,
        log: &Log,
        gathered: &mut Gathered,
        tally: &mut Tally,
    ) -> Result<(), VerifyError> {
        self.progress.step("comparing the topic with the table");
        let unknown = gathered.lists.compare_log(gathered.beginning, tally);
        if unknown.is_empty() || gathered.from == gathered.lows {
            return Ok(());
        }
        let reading =
            Changes { range: self.range, stand: gathered.stand.clone(), progress: self.progress.clone() };
        let (of, from, to) = (log.clone(), gathered.lows.clone(), gathered.from.clone());
        let wanted: BTreeSet<i64> = unknown.into_iter().collect();
        let found = blocking(move || {
            let mut found = Vec::new();
            let keep = |change: Logged| {
                if wanted.contains(&change.id) {
                    found.push(change);
                }
            };
            reading.read(&of, &from, &to, &mut [], keep)?;
            Ok(found)
        })
        .await?;
        gathered.lists.log.extend(found);
        gathered.lists.sort();
        *tally = Tally::new(self.options.limit);
        gathered.lists.compare_log(gathered.beginning, tally);
        Ok(())
    }
}

/// The first changes of the log's partitions: when each committed, in microseconds since 1970.
type Firsts = Vec<(Partition, i64)>;

/// The first records that the log still has.
fn beginning(log: &Log, lows: &Positions, ends: &Positions) -> Result<(Beginning, Firsts), VerifyError> {
    let near = |(partition, low): (&Partition, &Offset)| {
        let end = ends.get(partition).copied().unwrap_or_default();
        (*partition, end.min(low.saturating_add(FIRST_RECORDS)))
    };
    let until: Positions = lows.iter().map(near).collect();
    let (mut firsts, mut tx_ids) = (Firsts::new(), Vec::new());
    log.read(lows, &until, |message| {
        let is_first = !firsts.iter().any(|(partition, _)| *partition == message.partition());
        if let (true, Ok(Decoded::Change(change))) = (is_first, decode(message.payload())) {
            firsts.push((message.partition(), change.source.committed_us));
            tx_ids.extend(change.source.tx_id);
        }
        firsts.len() < lows.len()
    })?;
    let is_cut = lows.values().any(|low| *low > 0);
    Ok((Beginning { tx_id: lowest(&tx_ids), is_cut, committed_us: i64::MIN }, firsts))
}

/// How the log's changes are read.
pub(super) struct Changes {
    pub range: Range,
    pub stand: Stand,
    pub progress: Progress,
}

impl Changes {
    fn read(
        &self,
        log: &Log,
        from: &Positions,
        to: &Positions,
        boards: &mut [Board],
        mut take: impl FnMut(Logged),
    ) -> Result<(), VerifyError> {
        let mut count = 0;
        log.read(from, to, |message| {
            self.progress.count(&mut count, "reading the table, and the topic");
            let place = (message.partition(), message.offset());
            // What can't be decoded is a dead letter, and no change of a row.
            let Ok(Decoded::Change(change)) = decode(message.payload()) else { return true };
            let Ok(change) = transform(change) else { return true };
            let is_seen = self.stand.sees(&change.source);
            boards.iter_mut().for_each(|board| board.between.take(place, &change, is_seen));
            if let Some(change) = logged(place, &change, &self.stand, &self.range) {
                take(change);
            }
            true
        })
    }

    /// The changes of a stretch.
    pub(super) fn list(
        &self,
        log: &Log,
        from: &Positions,
        to: &Positions,
    ) -> Result<Vec<Logged>, VerifyError> {
        let mut list = Vec::new();
        self.read(log, from, to, &mut [], |change| list.push(change))?;
        Ok(list)
    }
}

/// Fails where there is more than fits into memory.
pub(super) fn too_many(count: usize) -> Result<(), VerifyError> {
    if count <= MOST {
        return Ok(());
    }
    Err(VerifyError::Act(format!(
        "{count} changes are more than the {MOST} that are compared at once; take a shorter range by --since and --until"
    )))
}

/// Keeps what fits; that it was too much is told by [`too_many`].
pub(super) fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() <= MOST {
        list.push(item);
    }
}
