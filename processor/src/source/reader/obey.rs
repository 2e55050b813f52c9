//! Obeying operators: a lane that is paused stands still and keeps its partitions, one that is reset begins anew.

use super::{ASK_AGAIN, Phase, Reader};
use crate::control::Pause;
use crate::health::State;
use crate::position::Partition;
use crate::source::reader::SourceError;
use std::thread;
use std::time::{Duration, Instant};

/// How long a pause waits for the write in flight. Nothing depends on it: what was written and not committed is found out
/// from the sink, or delivered again without effect.
const PAUSE_PATIENCE: Duration = Duration::from_millis(500);
/// How long reading the orders may take before it is told as trouble: a healthy broker gives them in less than a second.
const ORDERS_PATIENCE: Duration = Duration::from_secs(3);

impl Reader {
    /// Waits until all orders have been read: a lane that was paused must not run for a moment after a restart.
    pub(super) fn await_orders(&mut self) -> Result<(), SourceError> {
        let began = Instant::now();
        while !self.handoff.is_stopping() {
            let Some(why) = self.reading.orders.missing() else { break };
            if began.elapsed() >= ORDERS_PATIENCE {
                self.waits(why);
            }
            self.serve_group()?;
            thread::park_timeout(ASK_AGAIN);
        }
        Ok(())
    }

    /// Obeys what has been ordered since the last call.
    pub(super) fn obey(&mut self) {
        let Some(orders) = self.reading.orders.news() else { return };
        let resumed = self.pause.is_some() && orders.pause.is_none();
        let is_reset = orders.reset.is_some() && orders.reset != self.reset;
        (self.pause, self.reset) = (orders.pause, orders.reset);
        self.metrics.paused.set(if self.pause.is_some() { 1.0 } else { 0.0 });
        let owned = self.owned();
        if owned.is_empty() {
            return;
        }
        match (&self.pause, &self.phase) {
            (Some(pause), Phase::Reading { .. } | Phase::Finding { .. }) => {
                let pause = pause.clone();
                self.settle_and_commit();
                self.stand_still(owned, pause);
            }
            (Some(pause), _) => self.say_paused(pause),
            (None, _) if resumed || is_reset => {
                tracing::warn!(
                    group = self.reading.group,
                    resumed,
                    is_reset,
                    "by order: finding out where to begin"
                );
                self.settle_and_commit();
                self.find(owned);
            }
            (None, _) => {}
        }
    }

    /// Ends the stretch in order, as far as that goes in a moment.
    fn settle_and_commit(&mut self) {
        self.handoff.settle(PAUSE_PATIENCE);
        self.commit_due = Instant::now();
        self.commit_if_due();
    }

    /// Reads nothing and writes nothing until the order is taken back; stays a member of the group.
    pub(super) fn stand_still(&mut self, partitions: Vec<Partition>, pause: Pause) {
        self.handoff.abandon();
        self.unassign();
        self.phase = Phase::Paused { partitions };
        tracing::warn!(group = self.reading.group, reason = pause.reason, "paused by order");
        self.say_paused(&pause);
    }

    fn say_paused(&self, pause: &Pause) {
        self.health.set(State::Paused { since_ms: pause.since_ms, reason: pause.reason.clone() });
    }
}
