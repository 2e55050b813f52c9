//! The transaction: a group of batches becomes rows and counters, all or none.
//!
//! Pure database: no threads, no clock. After an error a ledger is thrown away and opened again, so that memory never
//! says other than the disk.

use std::{collections::HashMap, path::Path};

use rusqlite::{CachedStatement, Connection, TransactionBehavior, params, types::ValueRef};

use super::{
    Counters, Key, OpenError, Stored,
    prune::{self, Piece},
    recall::{self, Recalled},
    schema,
    writer::Job,
};
use crate::{event::Event, retention::Retention, stats::Seen};

const INSERT_ID: &str = "INSERT INTO ids (event_id, seq) VALUES (?1, ?2) ON CONFLICT (event_id) DO NOTHING";
const INSERT_EVENT: &str = "INSERT INTO events (seq, event_id, received_at, committed_at, op, event_type,
    content_type, content_id, device, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
const PROBE: &str = "INSERT INTO probe (only, at, filler) VALUES (1, ?1, zeroblob(?2))
    ON CONFLICT (only) DO UPDATE SET at = excluded.at, filler = excluded.filler";
/// `received_at` does not go back with the clock, so that `since` can be found by bisection; but a last event dated
/// further ahead than this came from a clock that was wrong, and is no reason to stay there.
const MAX_CLOCK_STEP_US: i64 = 3_600_000_000;

/// The database, opened for writing, and the counters as it holds them.
#[derive(Debug)]
pub(super) struct Ledger {
    connection: Connection,
    counters: Counters,
    last_received_at_us: i64,
}

/// What a commit made durable.
#[derive(Debug, Default)]
pub(super) struct Committed {
    /// For each batch, in order.
    pub stored: Vec<Stored>,
    /// Of the events stored, when the source committed them; without backfilled rows, whose age is no delay.
    pub committed_at_us: Vec<i64>,
    /// Of the events stored, by content.
    pub contents: HashMap<Key, Seen>,
}

impl Committed {
    fn count(&mut self, event: &Event) {
        let Some(content_id) = &event.content_id else { return };
        if let Some(seen) = self.contents.get_mut(content_id) {
            // In one group they hardly ever differ, and the text of each would be copied.
            seen.events += 1;
            return;
        }
        let (title, content_type) = (event.content_title.clone(), event.content_type.clone());
        self.contents.insert(content_id.clone(), Seen { events: 1, title, content_type });
    }
}

impl Ledger {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let connection = schema::open_writer(path)?;
        let load = || -> rusqlite::Result<(Counters, i64)> {
            let last = "SELECT coalesce((SELECT received_at FROM events ORDER BY seq DESC LIMIT 1),
                (SELECT received_at FROM pruned ORDER BY seq DESC LIMIT 1), 0)";
            Ok((Counters::load(&connection)?, connection.query_row(last, [], |row| row.get(0))?))
        };
        let (counters, last_received_at_us) = load().map_err(|source| OpenError::of(path, source))?;
        Ok(Self { connection, counters, last_received_at_us })
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Stores what is new, counts the rest, and returns once it is durable. Where there is nothing to store it proves
    /// that `room_bytes` could be.
    pub(super) fn commit(
        &mut self,
        jobs: &[Job],
        invalid: i64,
        room_bytes: i64,
        now_us: i64,
    ) -> rusqlite::Result<Committed> {
        let mut counters = self.counters.clone();
        counters.invalid_signatures += invalid;
        let received_at_us = self.received_at_us(now_us);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut committed = Committed::default();
        {
            let mut rows = Rows {
                insert_id: transaction.prepare_cached(INSERT_ID)?,
                insert_event: transaction.prepare_cached(INSERT_EVENT)?,
                received_at_us,
            };
            for job in jobs {
                let stored = rows.store(job, &mut counters, &mut committed)?;
                committed.stored.push(stored);
            }
            counters.save(&self.counters, &transaction)?;
            // A transaction that changes nothing would not touch the disk, and prove nothing.
            if jobs.iter().all(|job| job.events.is_empty()) {
                transaction.prepare_cached(PROBE)?.execute([now_us, room_bytes])?;
            }
        }
        transaction.commit()?;
        self.counters = counters;
        self.last_received_at_us = received_at_us;
        Ok(committed)
    }

    /// Deletes one piece of what the bounds no longer allow.
    pub(super) fn prune(&mut self, retention: Retention, now_us: i64) -> rusqlite::Result<Piece> {
        let piece = prune::piece(&mut self.connection, &self.counters, retention, now_us)?;
        self.counters = self.counters.without(piece);
        Ok(piece)
    }

    /// What the last minutes were, as far as the database tells.
    pub(super) fn recall(&self, now_us: i64) -> rusqlite::Result<Recalled> {
        recall::recall(&self.connection, now_us)
    }

    /// Proves that the store can be written.
    pub(super) fn probe(&mut self, now_us: i64) -> rusqlite::Result<()> {
        self.commit(&[], 0, 0, now_us).map(drop)
    }

    /// Moves the log into the file while nobody waits, so that a busy moment need not.
    pub(super) fn checkpoint(&self) -> rusqlite::Result<()> {
        self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
    }

    fn received_at_us(&self, now_us: i64) -> i64 {
        let last_us = self.last_received_at_us;
        if last_us.saturating_sub(now_us) > MAX_CLOCK_STEP_US { now_us } else { now_us.max(last_us) }
    }
}

/// The prepared statements of one transaction.
struct Rows<'a> {
    insert_id: CachedStatement<'a>,
    insert_event: CachedStatement<'a>,
    received_at_us: i64,
}

impl Rows<'_> {
    fn store(
        &mut self,
        job: &Job,
        counters: &mut Counters,
        committed: &mut Committed,
    ) -> rusqlite::Result<Stored> {
        let mut stored = Stored::default();
        counters.rejected += job.rejected;
        for event in &job.events {
            if self.insert_id.execute(params![event.event_id, counters.total_events + 1])? == 0 {
                counters.duplicates += 1;
                stored.duplicates += 1;
                continue;
            }
            let seq = counters.count(event);
            self.insert(seq, event)?;
            stored.accepted += 1;
            committed.committed_at_us.extend(event.committed_at_us.filter(|_| event.op != "r"));
            committed.count(event);
        }
        Ok(stored)
    }

    fn insert(&mut self, seq: i64, event: &Event) -> rusqlite::Result<()> {
        self.insert_event.execute(params![
            seq,
            event.event_id,
            self.received_at_us,
            event.committed_at_us,
            event.op,
            event.event_type,
            event.content_type,
            event.content_id,
            event.device,
            // Valid UTF-8: it was read as JSON.
            rusqlite::types::ToSqlOutput::Borrowed(ValueRef::Text(&event.body)),
        ])?;
        Ok(())
    }
}
