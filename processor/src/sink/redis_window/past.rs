//! What lies behind a window that has to be made anew: whether the log reaches back to its beginning, and, where it doesn't,
//! what the table says.
//!
//! The table is summed up as one snapshot sees it, and the log is read from a place before which lies nothing that the
//! snapshot does not see. So each change is in one of the two or in both, and where it is in both, its record says so: by
//! its transaction. What the snapshot has seen is left out of the log, until the log has passed it for good.

use super::encode::Cells;
use super::ranking::By;
use crate::enrich::snapshot::Snapshot;
use crate::position::{LogId, Positions};
use std::pin::Pin;
use tokio::sync::mpsc;

/// What a table said when a window was made from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    log: LogId,
    /// No change behind this place in the WAL was seen: there it stood just after the snapshot was taken.
    lsn: u64,
    snapshot: Snapshot,
    /// As Postgres writes it.
    text: String,
    /// When it was taken, by the clock of the database, in microseconds since 1970.
    taken_us: i64,
    /// When the life of the database began that it belongs to, as far as is known.
    since_us: i64,
}

impl Base {
    /// A base for what follows in `log`; `None` where the text is no snapshot of Postgres.
    #[must_use]
    pub fn new(log: LogId, lsn: u64, snapshot: String) -> Option<Self> {
        let parsed = Snapshot::parse(&snapshot)?;
        Some(Self { log, lsn, snapshot: parsed, text: snapshot, taken_us: 0, since_us: 0 })
    }

    /// The same, taken at this time by the clock of the database, in microseconds since 1970.
    #[must_use]
    pub fn taken(self, taken_us: i64) -> Self {
        Self { taken_us, ..self }
    }

    /// The same, of a life of the database that began at this time. A time that the database has not come to yet was told by
    /// another clock, and means nothing.
    pub(crate) fn since(self, since_us: i64) -> Self {
        let since_us = if since_us <= self.taken_us { since_us } else { 0 };
        Self { since_us, ..self }
    }

    /// When the life of the database began that it belongs to; 0 where nothing is known of that.
    pub(crate) fn since_us(&self) -> i64 {
        self.since_us
    }

    /// As a window keeps it.
    pub(super) fn to_text(&self) -> String {
        format!("{} {} {} {} {}", self.log, self.lsn, self.text, self.taken_us, self.since_us)
    }

    /// Reads [`to_text`](Self::to_text).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (log, lsn, snapshot) = (words.next()?, words.next()?, words.next()?);
        let (cluster, topic) = log.split_once('/')?;
        let base = Self::new(LogId::new(cluster, topic), lsn.parse().ok()?, snapshot.to_owned())?;
        let mut time = || words.next().and_then(|us| us.parse().ok()).unwrap_or_default();
        Some(base.taken(time()).since(time()))
    }

    /// Whether a change is in it: by its place in the WAL and by its transaction. One of a row that was read at no certain
    /// moment has none; it was there before its place.
    #[must_use]
    pub fn holds(&self, lsn: u64, tx_id: Option<u32>) -> bool {
        lsn <= self.lsn && tx_id.is_none_or(|tx_id| self.snapshot.sees(tx_id))
    }

    /// Whether what was committed at this time belongs to a life of the database that was over when it was taken.
    pub(crate) fn is_before(&self, committed_us: i64) -> bool {
        committed_us < self.since_us
    }

    /// When it was taken, by the clock of the database, in microseconds since 1970.
    pub(super) fn taken_us(&self) -> i64 {
        self.taken_us
    }

    /// Whether a change at this place ends it for its partition. The log has the order of commits: whatever comes behind a
    /// change that was not there when the snapshot was taken was committed later still.
    pub(super) fn ends_with(&self, log: &LogId, lsn: u64) -> bool {
        self.log == *log && lsn > self.lsn
    }
}

/// What a table says of the rows of a window.
#[derive(Debug)]
pub struct Rows {
    /// What they were seen with.
    pub base: Base,
    /// The log that goes on where they end, and where: of each partition an offset before which lies nothing that they lack.
    pub log: LogId,
    /// See `log`.
    pub starts: Positions,
    /// What they add, in pieces, in the order of their seconds; after the last one comes an empty one.
    pub pieces: mpsc::Receiver<Result<Cells, PastError>>,
}

/// Why the past can't be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PastError {
    /// Whoever knows it is away.
    #[error("{0}")]
    Away(String),
    /// Somebody must act before it can be.
    #[error("{0}")]
    Refused(String),
}

/// An answer that takes a while.
pub type Telling<'a, T> = Pin<Box<dyn Future<Output = Result<T, PastError>> + Send + 'a>>;

/// Knows what was before: from the log and from the table.
pub trait Past: Send + Sync {
    /// Whether the log still has every record since `to_s`, in seconds since 1970.
    fn reaches_back(&self, to_s: i64) -> Telling<'_, bool>;

    /// The rows of a leaderboard of `by` since `from_s`, in seconds since 1970.
    fn rows(&self, by: By, from_s: i64) -> Telling<'_, Rows>;
}

/// Knows of none: the log is all there is.
pub(super) struct OnlyTheLog;

impl Past for OnlyTheLog {
    fn reaches_back(&self, _: i64) -> Telling<'_, bool> {
        Box::pin(std::future::ready(Ok(true)))
    }

    fn rows(&self, _: By, _: i64) -> Telling<'_, Rows> {
        Box::pin(std::future::ready(Err(PastError::Refused("there is no table".to_owned()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_held_by_its_place_and_its_transaction() {
        let log = LogId::new("cluster", "topic");
        let base = Base::new(log.clone(), 1000, "100:110:103".to_owned()).expect("a snapshot");
        assert!(base.holds(1000, Some(99)) && base.holds(5, Some(104)) && base.holds(5, None));
        assert!(!base.holds(5, Some(103)), "it still ran");
        assert!(!base.holds(1001, Some(99)), "an old id that came round again");
        assert!(base.ends_with(&log, 1001) && !base.ends_with(&log, 1000));
        assert!(!base.ends_with(&LogId::new("cluster", "replays"), 1001), "there is no order in that");
        assert_eq!(Base::parse(&base.to_text()), Some(base.clone()));
        assert!(!base.clone().taken(7).since(8).is_before(5), "by another clock");
        let base = base.taken(7).since(5);
        assert!(base.is_before(4) && !base.is_before(5));
        assert_eq!(Base::parse(&base.to_text()), Some(base));
        assert!(Base::parse("cluster/topic 1000 100:110:").is_some(), "as it was kept before it had a time");
        assert_eq!(Base::parse("cluster/topic 1000 nonsense"), None);
    }
}
