//! Decode: from a record's bytes to the change that it describes. Pure; borrows from the record and copies nothing.
//!
//! Knows Debezium's formats; knows nothing of Kafka, lanes or sinks. Whatever can't be decoded is an error that says
//! what is wrong, and becomes a dead letter further on.

mod envelope;
pub mod event_id;
mod layout;
mod place;
pub mod row;
mod scan;
#[cfg(test)]
mod tests;
pub mod timestamp;

pub use envelope::{DecodeError, decode};
pub use layout::Decoder;
pub use place::{Break, Place};
use std::borrow::Cow;

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Inserted (`c`).
    Create,
    /// Read by a snapshot or a backfill (`r`).
    Read,
    /// Updated (`u`).
    Update,
    /// Deleted (`d`).
    Delete,
}

impl Op {
    /// Debezium's letter for it.
    pub fn letter(self) -> &'static str {
        match self {
            Self::Create => "c",
            Self::Read => "r",
            Self::Update => "u",
            Self::Delete => "d",
        }
    }
}

/// Where a change comes from: Debezium's `source` block, as far as it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source<'a> {
    /// Database.
    pub db: Cow<'a, str>,
    /// Schema.
    pub schema: Cow<'a, str>,
    /// Table.
    pub table: Cow<'a, str>,
    /// Position of the change in the WAL, in bytes. Rows of one COPY share it.
    pub lsn: u64,
    /// The lower 32 bits of the transaction's id; none for a row read at no certain moment.
    pub tx_id: Option<u32>,
    /// Where it stands in the order of the source; none for a row that was read and for what says nothing of it.
    pub place: Option<Place>,
    /// Time of the commit, in microseconds since 1970 UTC.
    pub committed_us: i64,
}

/// A row as it was or is: its JSON text, and the engagement event that it is, where that could be read on the way.
#[derive(Debug, Clone)]
pub struct Image<'a> {
    /// The text.
    pub json: &'a str,
    row: Option<row::EngagementRow<'a>>,
}

impl<'a> From<&'a str> for Image<'a> {
    fn from(json: &'a str) -> Self {
        Self { json, row: None }
    }
}

/// The event follows from the text.
impl PartialEq for Image<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

/// A change of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Change<'a> {
    /// What happened.
    pub op: Op,
    /// The row before: there for updates and deletes (REPLICA IDENTITY FULL).
    pub before: Option<Image<'a>>,
    /// The row after: there for all but deletes.
    pub after: Option<Image<'a>>,
    /// Where it comes from.
    pub source: Source<'a>,
}

/// What a record turned out to be.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "nearly all are changes, and each is taken apart at once")]
pub enum Decoded<'a> {
    /// A change of a row.
    Change(Change<'a>),
    /// A record that is well understood and has no effect.
    Without(WithoutEffect),
}

/// Records that are no change of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutEffect {
    /// A null value: compaction may forget this key. The delete itself came before.
    Tombstone,
    /// A truncated table. Not replicated: what it removed leaves the windows by age.
    Truncate,
    /// A logical message (`pg_logical_emit_message`).
    Message,
    /// Debezium's sign of life.
    Heartbeat,
    /// Begin or end of a transaction.
    Transaction,
}

impl WithoutEffect {
    /// The name that metrics and logs use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tombstone => "tombstone",
            Self::Truncate => "truncate",
            Self::Message => "message",
            Self::Heartbeat => "heartbeat",
            Self::Transaction => "transaction",
        }
    }
}
