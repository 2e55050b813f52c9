//! The breaker of a lane: says when the sink may be tried, and how many events it may condemn. Pure; time is passed in.
//!
//! The workers of a lane share it. After some failures in a row it opens: nobody tries until a pause is over, then one worker
//! does for all (half-open), and what becomes of that closes or opens it again. A sink that condemns one event after the
//! other and accepts none is failing too, however well it answers: beyond a limit nothing more is buried, the breaker opens.

use std::time::{Duration, Instant};

/// It opens with so many failures in a row: one or two are what a restart of the sink looks like.
const OPENS_AFTER: u32 = 3;
/// A worker that waits for the trial of another one looks again after this long.
const LOOK: Duration = Duration::from_millis(100);
/// A trial that has not ended after this long counts for nothing: whoever made it may be gone.
const LONGEST_TRIAL: Duration = Duration::from_secs(30);

/// Whether the sink may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// By everybody.
    Closed,
    /// By nobody before this time.
    Open { until: Instant },
    /// By the one who began then.
    HalfOpen { since: Instant },
}

/// What is to be seen of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// The sink is tried by everybody.
    #[default]
    Closed,
    /// One worker finds out whether it is well again.
    HalfOpen,
    /// It is left alone for a while.
    Open,
}

impl BreakerState {
    /// The value of the metric: 0, 1, 2.
    pub fn value(self) -> f64 {
        match self {
            Self::Closed => 0.0,
            Self::HalfOpen => 1.0,
            Self::Open => 2.0,
        }
    }
}

/// The breaker of a lane.
#[derive(Debug, Clone)]
pub struct Breaker {
    gate: Gate,
    /// Failures in a row, of all workers.
    failures: u32,
    /// Events condemned since one was last accepted, and how many may be.
    condemned: u32,
    most_condemned: u32,
    /// Whether it has condemned more than that.
    holds: bool,
}

impl Breaker {
    /// A closed breaker; so many events in a row may be condemned before the sink counts as failing.
    pub fn new(most_condemned: u32) -> Self {
        Self { gate: Gate::Closed, failures: 0, condemned: 0, most_condemned, holds: false }
    }

    /// What is to be seen of it.
    pub fn state(&self) -> BreakerState {
        match self.gate {
            Gate::Closed => BreakerState::Closed,
            Gate::Open { .. } => BreakerState::Open,
            Gate::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Asks to try the sink. Who may must say how it ended; who may not asks again after the time given.
    pub(super) fn enter(&mut self, now: Instant) -> Result<(), Duration> {
        let free_at = match self.gate {
            Gate::Closed => return Ok(()),
            Gate::Open { until } => until,
            Gate::HalfOpen { since } => since + LONGEST_TRIAL,
        };
        let left = free_at.saturating_duration_since(now);
        if left.is_zero() {
            self.gate = Gate::HalfOpen { since: now };
            return Ok(());
        }
        Err(if self.state() == BreakerState::HalfOpen { left.min(LOOK) } else { left })
    }

    /// The sink did what it was asked.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.gate = Gate::Closed;
    }

    /// The sink accepted an event.
    pub(super) fn accepted(&mut self) {
        self.condemned = 0;
        self.holds = false;
    }

    /// Whoever tried has given up without learning anything: he lost the partitions.
    pub(super) fn released(&mut self) {
        self.succeeded();
    }

    /// Failures in a row, of all workers.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// The sink failed; it is to be left alone for `pause`. Where somebody must act one failure is enough to open it.
    pub(super) fn failed(&mut self, now: Instant, pause: Duration, must_act: bool) {
        self.failures = self.failures.saturating_add(1);
        if must_act || self.failures >= OPENS_AFTER || self.gate != Gate::Closed {
            self.gate = Gate::Open { until: now + pause };
        }
    }

    /// The sink has condemned `events`, and accepted none of those written with them: whether they may be buried.
    pub(super) fn condemn(&mut self, events: usize) -> bool {
        let condemned = u32::try_from(events).ok().and_then(|events| self.condemned.checked_add(events));
        match condemned.filter(|condemned| *condemned <= self.most_condemned) {
            Some(condemned) => self.condemned = condemned,
            None => self.holds = events <= 1 || self.holds,
        }
        condemned.is_some_and(|condemned| condemned <= self.most_condemned)
    }

    /// Whether the sink has condemned too much, and accepted nothing since.
    pub(super) fn holds(&self) -> bool {
        self.holds
    }

    /// How many events in a row may be condemned.
    pub(super) fn most_condemned(&self) -> u32 {
        self.most_condemned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: u32 = 5;

    #[derive(Debug, Clone)]
    enum Step {
        Pass(u64),
        Enter,
        Succeed,
        Fail(u64, bool),
        Condemn(usize),
        Accept,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u64..3000).prop_map(Step::Pass),
            Just(Step::Enter),
            Just(Step::Succeed),
            (1u64..2000, any::<bool>()).prop_map(|(pause, act)| Step::Fail(pause, act)),
            (1usize..4).prop_map(Step::Condemn),
            Just(Step::Accept),
        ]
    }

    proptest! {
        /// Against a model that only counts: after a failure that opened it nobody gets in before the pause is over, then
        /// just one; and never are more buried in a row than may be.
        #[test]
        fn one_trial_after_each_pause_and_no_more_letters_than_may_be(steps in prop::collection::vec(step(), 0..60)) {
            let mut breaker = Breaker::new(LIMIT);
            let mut now = Instant::now();
            let (mut failures, mut closed_until, mut trial, mut buried) = (0u32, None, None, 0usize);
            for step in steps {
                match step {
                    Step::Pass(ms) => now += Duration::from_millis(ms),
                    Step::Enter => {
                        let stands: Option<Instant> = trial.map(|since| since + LONGEST_TRIAL).or(closed_until);
                        let may = stands.is_none_or(|until| now >= until);
                        let entered = breaker.enter(now);
                        prop_assert_eq!(entered.is_ok(), may);
                        if let Err(wait) = entered {
                            prop_assert!(!wait.is_zero());
                        } else if closed_until.is_some() {
                            trial = Some(now);
                        }
                    }
                    Step::Succeed => {
                        breaker.succeeded();
                        (failures, closed_until, trial) = (0, None, None);
                    }
                    Step::Fail(pause, act) => {
                        let pause = Duration::from_millis(pause);
                        breaker.failed(now, pause, act);
                        failures += 1;
                        if act || failures >= OPENS_AFTER || closed_until.is_some() {
                            (closed_until, trial) = (Some(now + pause), None);
                        }
                    }
                    Step::Condemn(events) => {
                        let fits = buried + events <= 5;
                        prop_assert_eq!(breaker.condemn(events), fits);
                        buried += if fits { events } else { 0 };
                        prop_assert!(fits || events > 1 || breaker.holds());
                    }
                    Step::Accept => {
                        breaker.accepted();
                        buried = 0;
                        prop_assert!(!breaker.holds());
                    }
                }
                let state = match (closed_until, trial) {
                    (None, _) => BreakerState::Closed,
                    (Some(_), Some(_)) => BreakerState::HalfOpen,
                    (Some(_), None) => BreakerState::Open,
                };
                prop_assert_eq!(breaker.state(), state);
            }
        }
    }
}
