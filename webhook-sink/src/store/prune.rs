//! Deleting what is kept long enough, piece by piece: a piece is one small transaction, and between two of them whoever
//! waits to be stored is stored.
//!
//! Pure database, told the time. An event that goes leaves its id in `ids`, and a line in `pruned` that says when to
//! forget that too. Freed pages are used again by what comes next; the file does not shrink.

use rusqlite::{Connection, TransactionBehavior};

use super::Counters;
use crate::retention::Retention;

/// The most rows of a piece: about ten milliseconds.
pub(super) const PIECE_ROWS: usize = 1_000;
/// A piece ends after so many bytes of events.
pub(super) const PIECE_BYTES: usize = 8 * 1024 * 1024;
/// What a row takes beside its body: its other columns and its places in three indexes; measured, 140 to 165. Counted when
/// a row comes and when it goes, so another figure is another version of the file.
pub(super) const ROW_BYTES: i64 = 160;

const OLDEST: &str = "SELECT seq, received_at, octet_length(body) FROM events ORDER BY seq LIMIT ?1";
const REMEMBER: &str = "INSERT INTO pruned (seq, event_id, received_at)
    SELECT seq, event_id, received_at FROM events WHERE seq <= ?1 ORDER BY seq";
const DELETE: &str = "DELETE FROM events WHERE seq <= ?1";
const OLDEST_PRUNED: &str = "SELECT seq, received_at FROM pruned ORDER BY seq LIMIT ?1";
const FORGET: &str = "DELETE FROM ids WHERE event_id IN (SELECT event_id FROM pruned WHERE seq <= ?1)";
const DELETE_PRUNED: &str = "DELETE FROM pruned WHERE seq <= ?1";

/// What one piece did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Piece {
    /// Events deleted.
    pub events: i64,
    /// Their bytes.
    pub bytes: i64,
    /// Ids forgotten.
    pub ids: i64,
    /// Whether the bounds are kept now; else the next piece goes on.
    pub done: bool,
}

/// A run of the oldest rows that go together.
#[derive(Debug, Default)]
struct Run {
    last_seq: Option<i64>,
    rows: i64,
    bytes: i64,
}

/// Deletes one piece of what is too old or too much; `counters` as the database holds them.
pub(super) fn piece(
    connection: &mut Connection,
    counters: &Counters,
    retention: Retention,
    now_us: i64,
) -> rusqlite::Result<Piece> {
    let events = old_events(connection, counters.kept_bytes, retention, now_us)?;
    let ids = old_ids(connection, retention, now_us)?;
    // An event that goes now may have an id that is to go at once.
    let done = events.rows == 0 && ids.rows < whole(PIECE_ROWS);
    let piece = Piece { events: events.rows, bytes: events.bytes, ids: ids.rows, done };
    if piece.events + piece.ids == 0 {
        return Ok(piece);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(last_seq) = ids.last_seq {
        transaction.prepare_cached(FORGET)?.execute([last_seq])?;
        transaction.prepare_cached(DELETE_PRUNED)?.execute([last_seq])?;
    }
    if let Some(last_seq) = events.last_seq {
        transaction.prepare_cached(REMEMBER)?.execute([last_seq])?;
        transaction.prepare_cached(DELETE)?.execute([last_seq])?;
    }
    counters.without(piece).save(counters, &transaction)?;
    transaction.commit()?;
    Ok(piece)
}

fn old_events(
    connection: &Connection,
    kept_bytes: i64,
    retention: Retention,
    now_us: i64,
) -> rusqlite::Result<Run> {
    let before_us = retention.events_before_us(now_us);
    // Once there is too much, a little more goes than must.
    let bound = if kept_bytes > retention.high_bytes() { retention.low_bytes() } else { i64::MAX };
    let mut run = Run::default();
    let mut statement = connection.prepare_cached(OLDEST)?;
    let mut rows = statement.query([whole(PIECE_ROWS)])?;
    while let Some(row) = rows.next()? {
        let (seq, received_at_us, body_bytes): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if received_at_us >= before_us && kept_bytes - run.bytes <= bound {
            break;
        }
        run.last_seq = Some(seq);
        run.rows += 1;
        run.bytes += body_bytes + ROW_BYTES;
        if run.bytes >= whole(PIECE_BYTES) {
            break;
        }
    }
    Ok(run)
}

fn old_ids(connection: &Connection, retention: Retention, now_us: i64) -> rusqlite::Result<Run> {
    let before_us = retention.ids_before_us(now_us);
    let mut run = Run::default();
    let mut statement = connection.prepare_cached(OLDEST_PRUNED)?;
    let mut rows = statement.query([whole(PIECE_ROWS)])?;
    while let Some(row) = rows.next()? {
        let (seq, received_at_us): (i64, i64) = (row.get(0)?, row.get(1)?);
        if received_at_us >= before_us {
            break;
        }
        run.last_seq = Some(seq);
        run.rows += 1;
    }
    Ok(run)
}

fn whole(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
