//! Popularity by rank, as Zipf found it: the content of rank r is drawn in proportion to 1 / r^exponent. Pure.

use std::num::NonZeroUsize;

/// Ranks from 0, the most popular, to their number.
#[derive(Debug, Clone)]
pub struct Zipf {
    /// The weights of the ranks, added up.
    sums: Vec<f64>,
}

impl Zipf {
    /// `count` ranks; an exponent of 0 makes all alike.
    pub fn new(count: NonZeroUsize, exponent: f64) -> Self {
        let weights = (1..=count.get()).map(|rank| to_f64(rank).powf(-exponent));
        let sums = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self { sums: sums.collect() }
    }

    /// The rank that belongs to a number from 0 to just below 1.
    pub fn rank(&self, draw: f64) -> usize {
        let wanted = draw * self.sums.last().copied().unwrap_or_default();
        let rank = self.sums.partition_point(|sum| *sum <= wanted);
        rank.min(self.sums.len().saturating_sub(1))
    }
}

#[allow(clippy::cast_precision_loss, reason = "a rank, below 2^52")]
fn to_f64(rank: usize) -> f64 {
    rank as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn zipf(count: usize, exponent: f64) -> Zipf {
        Zipf::new(NonZeroUsize::new(count).unwrap(), exponent)
    }

    proptest! {
        /// Of evenly spread draws each rank gets its share, to the rounding of one draw.
        #[test]
        fn a_rank_gets_its_share(count in 1usize..200, exponent in 0.0f64..3.0) {
            const DRAWS: usize = 20_000;
            let zipf = zipf(count, exponent);
            let mut hits = vec![0usize; count];
            for draw in 0..DRAWS {
                hits[zipf.rank(draw as f64 / DRAWS as f64)] += 1;
            }
            let weights: Vec<f64> = (1..=count).map(|rank| (rank as f64).powf(-exponent)).collect();
            let total: f64 = weights.iter().sum();
            for (hit, weight) in hits.iter().zip(weights) {
                let expected = DRAWS as f64 * weight / total;
                prop_assert!((*hit as f64 - expected).abs() <= 1.001, "{hit} hits, expected {expected}");
            }
        }

        #[test]
        fn every_draw_has_a_rank(count in 1usize..1000, exponent in 0.0f64..4.0, draw in 0.0f64..1.0) {
            prop_assert!(zipf(count, exponent).rank(draw) < count);
        }
    }

    #[test]
    fn the_ends_have_a_rank() {
        assert_eq!(zipf(7, 1.0).rank(0.0), 0);
        assert_eq!(zipf(7, 1.0).rank(1.0 - f64::EPSILON), 6);
    }
}
