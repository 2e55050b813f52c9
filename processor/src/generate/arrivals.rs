//! When changes come: independently of each other at a mean rate, as a Poisson process does. Pure.

use super::options::Rate;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// Keeps the arrivals' numbers apart from those of the rows: another rate gives the same rows at other times.
const STREAM: u64 = 0x6172_7269_7661_6c73;

/// Endless moments, counted from the start, each not before the last.
#[derive(Debug, Clone)]
pub(super) struct Arrivals {
    random: Xoshiro256PlusPlus,
    mean_gap_s: f64,
    at_s: f64,
}

impl Arrivals {
    pub(super) fn new(rate: Rate, seed: u64) -> Self {
        let random = Xoshiro256PlusPlus::seed_from_u64(seed ^ STREAM);
        Self { random, mean_gap_s: 1.0 / rate.per_second(), at_s: 0.0 }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // From 0 to just below 1, so the logarithm is finite.
        let draw: f64 = self.random.random();
        self.at_s += -(1.0 - draw).ln() * self.mean_gap_s;
        Some(Duration::try_from_secs_f64(self.at_s).unwrap_or(Duration::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn arrivals(rate: f64, seed: u64) -> Arrivals {
        Arrivals::new(rate.to_string().parse().unwrap(), seed)
    }

    proptest! {
        #[test]
        fn the_rate_holds_and_gaps_are_irregular(rate in 0.1f64..100_000.0, seed: u64) {
            const COUNT: usize = 20_000;
            let times: Vec<f64> = arrivals(rate, seed).take(COUNT).map(|at| at.as_secs_f64()).collect();
            prop_assert!(times.is_sorted());
            let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) * rate).collect();
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
            // An exponential distribution has as much variance as mean; seven deviations of a mean of 20,000 are 0.05.
            prop_assert!((mean - 1.0).abs() < 0.05, "the mean gap is {mean} of what it should be");
            prop_assert!((variance - 1.0).abs() < 0.2, "the variance is {variance} of what it should be");
        }

        #[test]
        fn the_same_seed_gives_the_same_times(seed: u64) {
            let (one, other) = (arrivals(7.0, seed), arrivals(7.0, seed));
            prop_assert!(one.take(500).eq(other.take(500)));
            prop_assert!(arrivals(7.0, seed).take(20).ne(arrivals(7.0, seed.wrapping_add(1)).take(20)));
        }
    }
}
