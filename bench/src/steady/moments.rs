//! When each record was somewhere, and how long after something else.

use hdrhistogram::Histogram;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longer than anything that is measured.
const MOST_US: u64 = 600_000_000;
/// Digits that a histogram keeps.
const DIGITS: u8 = 3;

/// When each record, by its number, was seen for the first time.
#[derive(Debug, Default)]
pub struct Moments(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    at: Vec<Option<Instant>>,
    count: usize,
    repeats: u64,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Quantiles {
    /// Half of them took no longer.
    pub p50: f64,
    /// Nine of ten.
    pub p90: f64,
    /// 99 of a hundred.
    pub p99: f64,
    /// 999 of a thousand.
    pub p999: f64,
    /// None took longer.
    pub max: f64,
    /// How many there were.
    pub count: u64,
    /// Of those that were asked for, how many were never seen.
    pub missing: u64,
}

impl Moments {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those records were seen just now.
    pub fn see(&self, indexes: impl Iterator<Item = usize>) {
        let now = Instant::now();
        let mut seen = self.seen();
        for index in indexes {
            if index >= seen.at.len() {
                seen.at.resize(index + 1, None);
            }
            match seen.at.get_mut(index) {
                Some(at @ None) => {
                    *at = Some(now);
                    seen.count += 1;
                }
                _ => seen.repeats += 1,
            }
        }
    }

    /// Different records that were seen.
    pub fn count(&self) -> usize {
        self.seen().count
    }

    /// How often a record was seen again.
    pub fn repeats(&self) -> u64 {
        self.seen().repeats
    }

    /// How much later than in `first` these records were here; those that were here before took no time.
    pub fn later_than(&self, first: &Self, records: Range<usize>) -> Quantiles {
        let first = first.seen();
        self.later(|index| first.at.get(index).copied().flatten(), records)
    }

    /// How long after they were due these records were here.
    pub fn later_than_due(&self, due: impl Fn(usize) -> Instant, records: Range<usize>) -> Quantiles {
        self.later(|index| Some(due(index)), records)
    }

    fn later(&self, before: impl Fn(usize) -> Option<Instant>, records: Range<usize>) -> Quantiles {
        let seen = self.seen();
        let took = records.map(|index| {
            let at = seen.at.get(index).copied().flatten()?;
            Some(at.saturating_duration_since(before(index)?))
        });
        quantiles(took)
    }
}

fn quantiles(took: impl Iterator<Item = Option<Duration>>) -> Quantiles {
    let mut missing = 0;
    // The bounds are constants that the library takes.
    let Ok(mut histogram) = Histogram::<u64>::new_with_bounds(1, MOST_US, DIGITS) else {
        return Quantiles {
            p50: f64::NAN,
            p90: f64::NAN,
            p99: f64::NAN,
            p999: f64::NAN,
            max: f64::NAN,
            count: 0,
            missing,
        };
    };
    for took in took {
        match took {
            Some(took) => histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(MOST_US)),
            None => missing += 1,
        }
    }
    let ms = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile)).as_secs_f64() * 1000.0;
    Quantiles {
        p50: ms(0.5),
        p90: ms(0.9),
        p99: ms(0.99),
        p999: ms(0.999),
        max: ms(1.0),
        count: histogram.len(),
        missing,
    }
}

impl std::fmt::Display for Quantiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { p50, p90, p99, p999, max, count, missing } = self;
        write!(
            f,
            "p50 {p50:6.2} ms, p90 {p90:6.2}, p99 {p99:6.2}, p99.9 {p999:6.2}, max {max:6.2} ({count} records"
        )?;
        if *missing > 0 {
            write!(f, ", {missing} more never came")?;
        }
        write!(f, ")")
    }
}
