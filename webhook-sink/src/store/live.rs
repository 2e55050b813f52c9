//! What the writer shows to everybody: the counters as of the last commit, the last moments, and its fault if it has
//! one. The writer changes it; `/stats` and the handlers read it.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use super::{Counters, ledger::Committed, recall::Recalled};
use crate::stats::{Latencies, Leader, Percentiles, Point, Rate, Series, Top};

/// Contents that are shown.
const LEADERS: usize = 10;

/// A view of the store at one moment.
#[derive(Debug, Clone)]
pub struct Figures {
    /// All that was ever counted.
    pub counters: Counters,
    /// Events stored per second, of late.
    pub events_per_second: f64,
    /// From the source's commit to durable here, of late; `None` where nothing came.
    pub latency_ms: Option<Percentiles>,
}

/// What the page shows beyond the figures.
#[derive(Debug, Clone)]
pub struct Recent {
    /// The seconds of the last minutes in which something was stored.
    pub points: Vec<Point>,
    /// The contents that most events came of.
    pub leaders: Vec<Leader>,
    /// When the last event was stored, in microseconds since the epoch; `None` where there is none, or none is kept.
    pub last_stored_at_us: Option<i64>,
}

#[derive(Debug)]
pub(super) struct Live {
    moment: Mutex<Moment>,
    /// Requests not believed that the database does not yet count.
    invalid_signatures: AtomicI64,
}

#[derive(Debug, Default)]
struct Moment {
    counters: Counters,
    rate: Rate,
    latencies: Latencies,
    series: Series,
    top: Top,
    last_stored_at_us: Option<i64>,
}

impl Live {
    pub(super) fn new(counters: Counters, recalled: Recalled) -> Self {
        let Recalled { series, top, last_stored_at_us } = recalled;
        let moment = Mutex::new(Moment { counters, series, top, last_stored_at_us, ..Moment::default() });
        Self { moment, invalid_signatures: AtomicI64::new(0) }
    }

    pub(super) fn count_invalid_signature(&self) {
        self.invalid_signatures.fetch_add(1, Ordering::Relaxed);
    }

    /// What the next commit shall add to the counter.
    pub(super) fn uncounted_invalid_signatures(&self) -> i64 {
        self.invalid_signatures.load(Ordering::Relaxed)
    }

    /// Shows a commit: the new counters, what was stored, and the invalid signatures now counted.
    pub(super) fn committed(&self, counters: Counters, committed: Committed, invalid: i64, now_us: i64) {
        let mut moment = self.lock();
        let stored = counters.total_events.saturating_sub(moment.counters.total_events);
        let stored = u64::try_from(stored).unwrap_or_default();
        if stored > 0 {
            moment.rate.add(stored, now_us);
            moment.series.add(stored, &committed.committed_at_us, now_us);
            moment.top.add(committed.contents, now_us);
            moment.last_stored_at_us = Some(now_us);
        }
        for at_us in &committed.committed_at_us {
            moment.latencies.add(*at_us, now_us);
        }
        moment.counters = counters;
        self.invalid_signatures.fetch_sub(invalid, Ordering::Relaxed);
    }

    /// Shows that something was deleted.
    pub(super) fn pruned(&self, counters: Counters) {
        self.lock().counters = counters;
    }

    pub(super) fn recent(&self, now_us: i64) -> Recent {
        let moment = self.lock();
        Recent {
            points: moment.series.since(0, now_us),
            leaders: moment.top.leaders(LEADERS, now_us),
            last_stored_at_us: moment.last_stored_at_us,
        }
    }

    pub(super) fn figures(&self, now_us: i64) -> Figures {
        let (mut counters, events_per_second, delays_us, uncounted) = {
            let moment = self.lock();
            let uncounted = self.invalid_signatures.load(Ordering::Relaxed);
            let rate = moment.rate.per_second(now_us);
            (moment.counters.clone(), rate, moment.latencies.recent(now_us), uncounted)
        };
        counters.invalid_signatures += uncounted;
        // Selecting is done outside the lock: the writer needs it after each commit.
        Figures { counters, events_per_second, latency_ms: Percentiles::of(delays_us) }
    }

    fn lock(&self) -> MutexGuard<'_, Moment> {
        self.moment.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
