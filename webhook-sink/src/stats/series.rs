//! The last minutes, second by second: how many events were stored, and how late they were.

use std::collections::VecDeque;

use super::US_PER_S;

/// How far back it goes.
pub const SERIES_S: i64 = 600;
/// A power of two of microseconds is divided into so many buckets, as a power of two itself: a latency is told to 3 %.
const SPLIT_BITS: u32 = 4;
const SPLIT: usize = 1 << SPLIT_BITS;
/// 2^40 µs are twelve days; what is later counts as that.
const MAX_BITS: u32 = 40;
const BUCKETS: usize = (MAX_BITS - SPLIT_BITS + 2) as usize * SPLIT;

/// One second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Point {
    /// Seconds since the epoch.
    pub second: i64,
    /// Events stored in it.
    pub stored: u64,
    /// The median of their latencies in microseconds; none where none is known.
    pub p50_us: Option<i64>,
    /// Ninety-nine of a hundred are at most this.
    pub p99_us: Option<i64>,
}

/// The seconds in which something was stored.
#[derive(Debug)]
pub struct Series {
    closed: VecDeque<Point>,
    second: i64,
    stored: u64,
    /// How many latencies of this second lie in each bucket.
    histogram: Vec<u32>,
    samples: u64,
}

impl Default for Series {
    fn default() -> Self {
        Self { closed: VecDeque::new(), second: 0, stored: 0, histogram: vec![0; BUCKETS], samples: 0 }
    }
}

impl Series {
    /// Counts events stored now, and the times at which the source had committed them, where known. Where the clock was
    /// set back, what is ahead of it is forgotten.
    pub fn add(&mut self, stored: u64, committed_at_us: &[i64], now_us: i64) {
        let second = now_us.div_euclid(US_PER_S);
        if second != self.second {
            self.close(second);
        }
        self.stored += stored;
        for at_us in committed_at_us {
            if let Some(count) = self.histogram.get_mut(bucket(now_us.saturating_sub(*at_us))) {
                *count = count.saturating_add(1);
                self.samples += 1;
            }
        }
    }

    /// The seconds that are over, after `after` and within [`SERIES_S`], oldest first; those without an event are left out.
    #[must_use]
    pub fn since(&self, after: i64, now_us: i64) -> Vec<Point> {
        let now = now_us.div_euclid(US_PER_S);
        let wanted = |point: &Point| point.second > after && (now - SERIES_S..now).contains(&point.second);
        let open = (self.stored > 0).then(|| self.point());
        self.closed.iter().copied().chain(open).filter(wanted).collect()
    }

    fn close(&mut self, next: i64) {
        if self.stored > 0 {
            self.closed.push_back(self.point());
        }
        self.closed.retain(|point| (next - SERIES_S..next).contains(&point.second));
        self.histogram.fill(0);
        (self.second, self.stored, self.samples) = (next, 0, 0);
    }

    fn point(&self) -> Point {
        Point {
            second: self.second,
            stored: self.stored,
            p50_us: self.percentile(50),
            p99_us: self.percentile(99),
        }
    }

    fn percentile(&self, percent: u64) -> Option<i64> {
        let rank = (self.samples * percent).div_ceil(100).max(1);
        let mut passed = 0;
        let place = self.histogram.iter().position(|count| {
            passed += u64::from(*count);
            passed >= rank
        });
        place.map(middle_us)
    }
}

/// The bucket of a latency: up to 16 µs each its own, from there on sixteen for each doubling.
fn bucket(us: i64) -> usize {
    let us = us.clamp(0, (1 << MAX_BITS) - 1).unsigned_abs();
    let shift = us.checked_ilog2().unwrap_or_default().saturating_sub(SPLIT_BITS);
    let within = usize::try_from(us >> shift).unwrap_or_default();
    usize::try_from(shift).unwrap_or_default() * SPLIT + within
}

/// The middle of a bucket, in microseconds.
fn middle_us(bucket: usize) -> i64 {
    let (shift, within) = match bucket.checked_sub(SPLIT) {
        None => (0, bucket),
        Some(above) => (above / SPLIT, above % SPLIT + SPLIT),
    };
    let start = i64::try_from(within << shift).unwrap_or(i64::MAX);
    start + (1_i64 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: i64 = US_PER_S;

    fn seconds(points: &[Point]) -> Vec<(i64, u64)> {
        points.iter().map(|point| (point.second, point.stored)).collect()
    }

    #[test]
    fn a_second_is_told_once_it_is_over() {
        let mut series = Series::default();
        series.add(3, &[], 100 * S);
        series.add(2, &[], 100 * S + 999_999);
        assert_eq!(series.since(0, 100 * S + 999_999), []);
        assert_eq!(seconds(&series.since(0, 101 * S)), [(100, 5)]);
        series.add(7, &[], 103 * S);
        assert_eq!(seconds(&series.since(0, 104 * S)), [(100, 5), (103, 7)]);
        assert_eq!(seconds(&series.since(100, 104 * S)), [(103, 7)]);
        assert_eq!(series.since(103, 104 * S), []);
    }

    #[test]
    fn it_is_bounded_and_a_clock_that_steps_back_leaves_nothing_ahead() {
        let mut series = Series::default();
        for second in 0..5_000 {
            series.add(1, &[], second * S);
        }
        assert!(series.closed.len() <= 600, "{}", series.closed.len());
        assert_eq!(series.since(0, 5_000 * S).len(), 600);
        series.add(1, &[], 4_900 * S);
        let points = series.since(0, 4_901 * S);
        assert_eq!(points.last().map(|point| point.second), Some(4_900));
        assert!(points.is_sorted_by_key(|point| point.second));
    }

    #[test]
    fn percentiles_are_of_their_second_alone() {
        let mut series = Series::default();
        let now_us = 100 * S;
        series.add(1, &[now_us - 5_000_000], now_us);
        let late: Vec<i64> = (1..=100).map(|ms| 101 * S - ms * 1000).collect();
        series.add(100, &late, 101 * S);
        series.add(1, &[], 102 * S);
        let points = series.since(100, 103 * S);
        let near = |got: Option<i64>, ms: i64| (got.unwrap() - ms * 1000).abs() * 100 <= ms * 1000 * 4;
        assert!(near(points[0].p50_us, 50) && near(points[0].p99_us, 99), "{points:?}");
        assert_eq!((points[1].p50_us, points[1].p99_us), (None, None), "nothing known is no latency of 0");
    }

    proptest! {
        #[test]
        fn a_bucket_is_right_to_three_percent(us in 0_i64..1 << 40) {
            let told = middle_us(bucket(us));
            prop_assert!((told - us).abs() * 100 <= us * 4 + 100, "{us} is told as {told}");
            prop_assert!(bucket(us) < BUCKETS);
            prop_assert!(bucket(us + 1) >= bucket(us));
        }
    }
}
