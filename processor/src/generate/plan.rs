//! Which change comes when, and where the sequence ends: arrivals and changes together. Pure; the clock is passed in.

use super::arrivals::Arrivals;
use super::batch::Batch;
use super::changes::{Change, Changes};
use super::contents::Content;
use super::options::Load;
use super::zipf::Zipf;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::Duration;

/// The rest of a load.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    arrivals: Arrivals,
    changes: Changes,
    /// When the next change comes, counted from the start.
    at: Duration,
    /// A change that has come, when, and waits for the next batch.
    held: Option<(Duration, Change)>,
    end: Duration,
    rows_left: u64,
}

impl Plan {
    /// A load over `contents`, the most popular first. None without a content.
    pub(super) fn new(load: &Load, contents: Vec<Content>) -> Option<Self> {
        let popularity = Zipf::new(NonZeroUsize::new(contents.len())?, load.exponent.value());
        let mut arrivals = Arrivals::new(load.rate, load.seed);
        Some(Self {
            changes: Changes::new(load.seed, contents, popularity, load.shares, load.device.clone()),
            at: arrivals.next()?,
            arrivals,
            held: None,
            end: load.duration.map_or(Duration::MAX, |length| length.duration()),
            rows_left: load.rows.unwrap_or(u64::MAX),
        })
    }

    /// When there is something to do next; none at the end.
    pub(super) fn next_at(&self) -> Option<Duration> {
        if let Some((came, _)) = &self.held {
            return Some(*came);
        }
        (self.rows_left > 0 && self.at < self.end).then_some(self.at)
    }

    /// Moves what has come until `now` into the batch, as far as it takes it and there are ids; each row that comes takes
    /// one from the front of `ids`.
    pub(super) fn fill(&mut self, now: Duration, ids: &mut VecDeque<i64>, batch: &mut Batch) {
        while self.next_at().is_some_and(|at| at <= now) {
            let Some((came, change)) = self.held.take().or_else(|| self.take(ids)) else { return };
            self.held = batch.push(change).map(|change| (came, change));
            if self.held.is_some() {
                return;
            }
        }
    }

    fn take(&mut self, ids: &mut VecDeque<i64>) -> Option<(Duration, Change)> {
        let fresh = *ids.front()?;
        let change = self.changes.next(fresh)?;
        if matches!(change, Change::Insert(_)) {
            ids.pop_front();
            self.rows_left = self.rows_left.saturating_sub(1);
        }
        let next = self.arrivals.next().unwrap_or(Duration::MAX);
        Some((std::mem::replace(&mut self.at, next), change))
    }
}
