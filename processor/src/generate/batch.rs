//! Changes that are written together, as columns. Pure.
//!
//! A batch is written in the order inserts, updates, deletes. That is the order of the sequence too, as far as it can be
//! seen: an update or a delete is of a row that came before it, and a row that is updated twice begins a new batch.

use super::changes::{Change, Correction, Row};
use std::collections::HashSet;
use uuid::Uuid;

/// The most changes of one batch: some 200 KB, and a few milliseconds of Postgres.
pub(super) const MOST: usize = 2_000;

/// Changes that are written together.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) inserts: Inserts,
    pub(super) updates: Updates,
    /// The ids of rows that go.
    pub(super) deletes: Vec<i64>,
    updated: HashSet<i64>,
}

/// Rows that come.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Inserts {
    pub(super) id: Vec<i64>,
    pub(super) content: Vec<Uuid>,
    pub(super) user: Vec<Uuid>,
    pub(super) kind: Vec<&'static str>,
    pub(super) late_ms: Vec<i32>,
    pub(super) duration_ms: Vec<Option<i32>>,
    pub(super) device: Vec<String>,
}

/// What rows are from now on.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Updates {
    pub(super) id: Vec<i64>,
    pub(super) content: Vec<Uuid>,
    pub(super) kind: Vec<&'static str>,
    pub(super) duration_ms: Vec<Option<i32>>,
}

impl Batch {
    /// Takes a change in, or gives it back: then it belongs to the next batch.
    pub(super) fn push(&mut self, change: Change) -> Option<Change> {
        if self.len() >= MOST {
            return Some(change);
        }
        match change {
            Change::Insert(row) => self.inserts.push(row),
            Change::Update(correction) if !self.updated.insert(correction.id) => {
                return Some(Change::Update(correction));
            }
            Change::Update(correction) => self.updates.push(correction),
            Change::Delete(id) => self.deletes.push(id),
        }
        None
    }

    /// How many changes there are.
    pub(super) fn len(&self) -> usize {
        self.inserts.id.len() + self.updates.id.len() + self.deletes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inserts {
    fn push(&mut self, row: Row) {
        self.id.push(row.id);
        self.content.push(row.content);
        self.user.push(row.user);
        self.kind.push(row.kind);
        self.late_ms.push(row.late_ms);
        self.duration_ms.push(row.duration_ms);
        self.device.push(row.device);
    }
}

impl Updates {
    fn push(&mut self, correction: Correction) {
        self.id.push(correction.id);
        self.content.push(correction.content);
        self.kind.push(correction.kind);
        self.duration_ms.push(correction.duration_ms);
    }
}
