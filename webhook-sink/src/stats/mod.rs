//! What `/stats` and the page say of the last moments: the rate and the latencies, both also second by second, and the
//! contents that most came of. Pure; all are told the time.

mod series;
mod top;

use std::collections::VecDeque;

use serde::Serialize;

pub use series::{Point, SERIES_S, Series};
pub use top::{Leader, Seen, Top};

/// What `events_per_second` looks back on.
pub const RATE_WINDOW_S: i64 = 10;
/// What `latency_ms` looks back on.
pub const LATENCY_WINDOW_S: i64 = 60;
/// The most latencies kept, the newest; at 100 events/s more than the window, and half a megabyte.
pub const MAX_LATENCIES: usize = 32_768;

const US_PER_S: i64 = 1_000_000;

/// Events stored in each of the last seconds.
#[derive(Debug, Default)]
pub struct Rate {
    /// Second since the epoch, and the events stored in it; at most one more than the window holds.
    seconds: VecDeque<(i64, u64)>,
}

impl Rate {
    /// Counts events stored now.
    pub fn add(&mut self, events: u64, now_us: i64) {
        let second = now_us.div_euclid(US_PER_S);
        self.forget(second);
        match self.seconds.back_mut() {
            Some((last, count)) if *last == second => *count += events,
            _ => self.seconds.push_back((second, events)),
        }
    }

    /// Events per second over the window that ends now.
    #[must_use]
    pub fn per_second(&self, now_us: i64) -> f64 {
        let second = now_us.div_euclid(US_PER_S);
        let recent = self.seconds.iter().filter(|(at, _)| (second - RATE_WINDOW_S..=second).contains(at));
        let events: u64 = recent.map(|(_, count)| count).sum();
        // The window is the ten full seconds and the part of the current one that has passed.
        let length_us = RATE_WINDOW_S * US_PER_S + now_us.rem_euclid(US_PER_S);
        to_f64(events) * to_f64(US_PER_S.unsigned_abs()) / to_f64(length_us.unsigned_abs())
    }

    fn forget(&mut self, second: i64) {
        let stale = |(at, _): &(i64, u64)| !(second - RATE_WINDOW_S..=second).contains(at);
        while self.seconds.front().is_some_and(stale) {
            self.seconds.pop_front();
        }
    }
}

/// From the source's commit to durable here, of the events stored last.
#[derive(Debug, Default)]
pub struct Latencies {
    /// When stored and how late, both in microseconds.
    samples: VecDeque<(i64, i64)>,
}

/// Percentiles in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// Nine of ten are at most this.
    pub p90: f64,
    /// Ninety-nine of a hundred are at most this.
    pub p99: f64,
    /// The worst.
    pub max: f64,
}

impl Latencies {
    /// Notes an event committed then and stored now. A source whose clock is ahead counts as no delay.
    pub fn add(&mut self, committed_at_us: i64, now_us: i64) {
        if self.samples.len() >= MAX_LATENCIES {
            self.samples.pop_front();
        }
        self.samples.push_back((now_us, now_us.saturating_sub(committed_at_us).max(0)));
    }

    /// The delays of the window that ends now, in microseconds, unsorted.
    #[must_use]
    pub fn recent(&self, now_us: i64) -> Vec<i64> {
        let start_us = now_us.saturating_sub(LATENCY_WINDOW_S * US_PER_S);
        self.samples.iter().filter(|(at_us, _)| *at_us >= start_us).map(|(_, delay_us)| *delay_us).collect()
    }
}

impl Percentiles {
    /// By nearest rank; `None` without a sample.
    #[must_use]
    pub fn of(mut delays_us: Vec<i64>) -> Option<Self> {
        let max = *delays_us.iter().max()?;
        let mut ms = |percent: usize| {
            let rank = (delays_us.len() * percent).div_ceil(100).max(1);
            // Selected, not sorted: this is asked for often.
            let (_, delay_us, _) = delays_us.select_nth_unstable(rank - 1);
            to_ms(*delay_us)
        };
        Some(Self { p50: ms(50), p90: ms(90), p99: ms(99), max: to_ms(max) })
    }
}

fn to_ms(us: i64) -> f64 {
    to_f64(us.unsigned_abs()) / 1000.0
}

/// For people: exact up to 2^53.
#[allow(clippy::cast_precision_loss, reason = "a figure to look at; no count here comes near 2^53")]
fn to_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "the values are exact")]
    use super::*;

    #[test]
    fn the_rate_looks_back_ten_seconds_and_falls_to_zero() {
        let mut rate = Rate::default();
        for second in 0..30 {
            rate.add(100, second * US_PER_S);
        }
        assert_eq!(rate.per_second(30 * US_PER_S), 100.0);
        assert!(rate.seconds.len() <= 11);
        assert_eq!(rate.per_second(35 * US_PER_S), 50.0);
        assert_eq!(rate.per_second(60 * US_PER_S), 0.0);
    }

    #[test]
    fn a_clock_that_steps_back_breaks_nothing() {
        let mut rate = Rate::default();
        rate.add(5, 100 * US_PER_S);
        rate.add(10, 50 * US_PER_S);
        assert_eq!(rate.per_second(50 * US_PER_S), 1.0);
        assert!(rate.seconds.len() <= 2);
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let all = Percentiles::of((1..=1000).rev().map(|n| n * 1000).collect());
        assert_eq!(all, Some(Percentiles { p50: 500.0, p90: 900.0, p99: 990.0, max: 1000.0 }));
        assert_eq!(Percentiles::of(vec![7]).map(|p| (p.p50, p.max)), Some((0.007, 0.007)));
        assert_eq!(Percentiles::of(Vec::new()), None);
    }

    #[test]
    fn latencies_are_bounded_in_number_and_age_and_never_negative() {
        let mut latencies = Latencies::default();
        for n in 0..40_000 {
            latencies.add(0, n);
        }
        assert_eq!(latencies.samples.len(), MAX_LATENCIES);
        assert_eq!(latencies.recent(LATENCY_WINDOW_S * US_PER_S + 39_998), [39_998, 39_999]);
        latencies.add(200_000, 100_000);
        assert_eq!(latencies.samples.back(), Some(&(100_000, 0)));
    }
}
