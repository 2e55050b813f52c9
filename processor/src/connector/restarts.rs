//! When a failed connector is restarted: exponential pauses with jitter. Pure; time and randomness are passed in.

use super::status::Seen;
use std::time::{Duration, Instant};

/// The bound of the first pause; it doubles with every further restart ...
const FIRST: Duration = Duration::from_secs(1);
/// ... up to this: what fails for hours is a matter for people, and comes back within minutes once they have mended it.
const LONGEST: Duration = Duration::from_secs(300);
/// Who has run this long has recovered: its next failure is a first one.
const STEADY: Duration = Duration::from_secs(60);

/// The restarts of one connector.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    in_a_row: u32,
    /// When the next one is due, while it is failed.
    next: Option<Instant>,
    /// Since when it has run without a break.
    runs_since: Option<Instant>,
}

impl Restarts {
    /// Whether to restart it now; that counts as done. `jitter` is drawn from 0 to 1.
    pub(super) fn due(&mut self, seen: &Seen, now: Instant, jitter: f64) -> bool {
        if *seen == Seen::Running {
            let since = *self.runs_since.get_or_insert(now);
            if now.duration_since(since) >= STEADY {
                self.in_a_row = 0;
            }
        } else {
            self.runs_since = None;
        }
        if !matches!(seen, Seen::Failed { .. }) {
            self.next = None;
            return false;
        }
        let pause = pause(self.in_a_row, jitter);
        if now < *self.next.get_or_insert(now + pause) {
            return false;
        }
        self.next = None;
        self.in_a_row = self.in_a_row.saturating_add(1);
        true
    }

    /// How many there were since it last ran steadily.
    pub(super) fn in_a_row(&self) -> u32 {
        self.in_a_row
    }
}

/// The pause before a restart, when there were some in a row: half of its bound, and up to as much again, so that
/// instances do not act at once.
fn pause(in_a_row: u32, jitter: f64) -> Duration {
    let bound = FIRST.saturating_mul(1 << in_a_row.min(16)).min(LONGEST);
    bound.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn failed() -> Seen {
        Seen::Failed { why: String::new() }
    }

    fn any_seen() -> impl Strategy<Value = Seen> {
        prop_oneof![
            3 => Just(failed()),
            2 => Just(Seen::Running),
            1 => Just(Seen::Otherwise { state: "paused".to_owned() }),
            1 => Just(Seen::Unknown { why: String::new() }),
        ]
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        assert_eq!(pause(0, 1.0), FIRST);
        assert_eq!(pause(0, 0.0), FIRST / 2);
        assert_eq!(pause(3, 1.0), FIRST * 8);
        assert_eq!(pause(u32::MAX, 1.0), LONGEST);
    }

    #[test]
    fn who_ran_steadily_is_restarted_as_soon_as_the_first_time() {
        let (mut restarts, mut now) = (Restarts::default(), Instant::now());
        let mut after = |seen: &Seen, ms| {
            now += Duration::from_millis(ms);
            restarts.due(seen, now, 1.0)
        };
        assert!(!after(&failed(), 0) && after(&failed(), 1000), "the first after a second");
        assert!(
            !after(&failed(), 10) && !after(&failed(), 1000) && after(&failed(), 1000),
            "the second after two"
        );
        assert!(!after(&Seen::Running, 10) && !after(&Seen::Running, 59_000));
        assert!(!after(&failed(), 10) && !after(&failed(), 3990) && after(&failed(), 10), "not steady: four");
        assert!(!after(&Seen::Running, 10) && !after(&Seen::Running, 60_000));
        assert!(!after(&failed(), 10) && after(&failed(), 1000), "steady: the first again");
    }

    proptest! {
        /// Only what has failed is restarted; never sooner than half the first pause after the restart before, and at the
        /// latest when it has been failed for the longest pause.
        #[test]
        fn never_hammers_and_never_forgets(looks in prop::collection::vec((any_seen(), 0..60_000_u64, 0.0..1.0), 1..300)) {
            let (mut restarts, mut now) = (Restarts::default(), Instant::now());
            let (mut last, mut failed_since) = (None, None);
            for (seen, ms, jitter) in looks {
                now += Duration::from_millis(ms);
                let is_failed = matches!(seen, Seen::Failed { .. });
                failed_since = if is_failed { failed_since.or(Some(now)) } else { None };
                let due = restarts.due(&seen, now, jitter);
                prop_assert!(is_failed || !due);
                if due {
                    prop_assert!(last.is_none_or(|last| now - last >= FIRST / 2));
                    last = Some(now);
                    failed_since = None;
                }
                prop_assert!(failed_since.is_none_or(|since| now - since < LONGEST));
            }
        }
    }
}
