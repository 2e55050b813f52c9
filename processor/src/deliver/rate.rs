//! The rate of a lane: when a sink that wants no more than so many events per second may be sent the next ones. Pure; time
//! is passed in.
//!
//! A leaky bucket that saves nothing up: a write begins when what was sent before it has drained at the given rate. So in any
//! stretch of time no more events go than the rate allows, but for the size of one write; and that is bounded as well.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// A write holds at most what the rate allows in one of so many parts of a second, and at least one event: a limit of 10/s is
/// ten writes of one event, not one of ten.
const PARTS: u32 = 10;

/// The rate of a lane; its workers share it.
#[derive(Debug, Clone)]
pub struct Rate {
    /// The time that one event takes.
    interval: Duration,
    most_events: usize,
    /// When what was sent has drained.
    free_at: Option<Instant>,
}

impl Rate {
    /// So many events per second.
    #[must_use]
    pub fn new(per_second: NonZeroU32) -> Self {
        // Rounded up: rather a nanosecond too slow than too fast.
        let interval = Duration::from_nanos(1_000_000_000_u64.div_ceil(u64::from(per_second.get())));
        let most_events = usize::try_from(per_second.get() / PARTS).unwrap_or(usize::MAX).max(1);
        Self { interval, most_events, free_at: None }
    }

    /// How many events one write holds at most.
    pub(super) fn most_events(&self) -> usize {
        self.most_events
    }

    /// Takes the place behind all that have taken one for a write of so many events; how long it has to wait for its turn.
    /// Who does not wait that long has taken a place for nothing, and delays the others by it.
    pub(super) fn reserve(&mut self, now: Instant, events: usize) -> Duration {
        let begins = self.free_at.map_or(now, |free_at| free_at.max(now));
        let takes = self.interval.saturating_mul(u32::try_from(events).unwrap_or(u32::MAX));
        self.free_at = begins.checked_add(takes);
        begins.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(per_second: u32) -> Rate {
        Rate::new(NonZeroU32::new(per_second).expect("not zero"))
    }

    #[test]
    fn a_low_rate_is_single_events_and_a_high_one_a_tenth_of_a_second() {
        assert_eq!([1, 10, 19, 20, 5000].map(|per_second| rate(per_second).most_events()), [1, 1, 1, 2, 500]);
        let (mut rate, now) = (rate(10), Instant::now());
        let waits = [(); 4].map(|()| rate.reserve(now, 1).as_millis());
        assert_eq!(waits, [0, 100, 200, 300]);
        assert_eq!(rate.reserve(now + Duration::from_secs(9), 1), Duration::ZERO, "nothing is saved up");
        assert_eq!(rate.reserve(now + Duration::from_secs(9), 1).as_millis(), 100);
    }

    proptest! {
        /// Against a model that looks at all that was ever sent: a write begins as soon as no stretch that ends with it holds
        /// more than the rate allows, and not before.
        #[test]
        fn no_stretch_holds_more_than_the_rate_and_nobody_waits_for_less(
            per_second in 1u32..100_000,
            writes in prop::collection::vec((0u64..400, 1u32..600), 1..40),
        ) {
            let mut rate = rate(per_second);
            let began = Instant::now();
            let one = 1e9 / f64::from(per_second);
            let (mut now, mut sent) = (0, Vec::<(u64, u32)>::new());
            for (pause_ms, events) in writes {
                now += pause_ms * 1_000_000;
                let wait = rate.reserve(began + Duration::from_nanos(now), events as usize);
                let begins = now + u64::try_from(wait.as_nanos()).expect("short");
                let drained = |first: usize| {
                    let events: u32 = sent[first..].iter().map(|(_, events)| events).sum();
                    sent[first].0 as f64 + f64::from(events) * one
                };
                let earliest = (0..sent.len()).map(drained).fold(now as f64, f64::max);
                // Each event may take a nanosecond more.
                let slack = f64::from(sent.iter().map(|(_, events)| events).sum::<u32>()) + 1.0;
                prop_assert!(begins as f64 >= earliest - 1.0, "begins at {begins}, {earliest} is the earliest");
                prop_assert!(begins as f64 <= earliest + slack, "begins at {begins}, {earliest} would do");
                sent.push((begins, events));
            }
        }
    }
}
