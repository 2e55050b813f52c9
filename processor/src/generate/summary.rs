//! What was done so far, for people and for machines.

use super::batch::Batch;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// Changes that are committed, and how long they took.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// Rows that came.
    pub inserted: u64,
    /// Rows that were corrected.
    pub updated: u64,
    /// Rows that went.
    pub deleted: u64,
    /// Changes whose fate is not known: the answer of Postgres did not come.
    pub unsure: u64,
    /// How long it took.
    pub seconds: f64,
    /// Changes a second.
    pub per_second: f64,
    /// How far the writing was behind the arrivals at most.
    pub behind_ms: u64,
}

impl Summary {
    /// Sets what follows from the time.
    pub(super) fn at(&mut self, elapsed: Duration) {
        self.seconds = elapsed.as_secs_f64();
        self.per_second = if self.seconds > 0.0 { self.changes() / self.seconds } else { 0.0 };
    }

    pub(super) fn was_behind(&mut self, by: Duration) {
        self.behind_ms = self.behind_ms.max(u64::try_from(by.as_millis()).unwrap_or(u64::MAX));
    }

    /// Whether nothing has come of it.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.inserted + self.updated + self.deleted + self.unsure == 0
    }

    /// The batch is committed.
    pub(super) fn add(&mut self, batch: &Batch) {
        self.inserted += count(batch.inserts.id.len());
        self.updated += count(batch.updates.id.len());
        self.deleted += count(batch.deletes.len());
    }

    /// The batch may be committed.
    pub(super) fn unsure(&mut self, batch: &Batch) {
        self.unsure += count(batch.len());
    }

    #[allow(clippy::cast_precision_loss, reason = "for showing")]
    fn changes(&self) -> f64 {
        (self.inserted + self.updated + self.deleted) as f64
    }
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows inserted", self.inserted)?;
        if self.updated + self.deleted > 0 {
            write!(f, ", {} updated, {} deleted", self.updated, self.deleted)?;
        }
        write!(f, " in {:.1} s, {:.1} changes/s", self.seconds, self.per_second)?;
        if self.unsure > 0 {
            write!(f, "; of {} more Postgres has not said whether they are in", self.unsure)?;
        }
        Ok(())
    }
}
