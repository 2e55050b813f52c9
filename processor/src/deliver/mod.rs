//! Deliver: everything between the records that were read and the sink that takes them, written once for all sinks.
//!
//! The writer's half of a worker: [`prepare`] decodes, enriches and encodes into the [`outbox`] while [`write`] has one
//! write in flight. Batching needs no timer: a batch goes as soon as the sink is free and grows until then.

mod breaker;
mod dead_letter;
mod outbox;
mod prepare;
mod rate;
mod retry;
mod write;

pub use breaker::{Breaker, BreakerState};
use dead_letter::DeadLetter;
pub use dead_letter::{DeadLetters, Stage};
pub use rate::Rate;

use crate::enrich::Enricher;
use crate::health::WorkerHealth;
use crate::metrics::LaneMetrics;
use crate::sink::Sink;
use crate::source::Handoff;
use outbox::Outbox;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What to do with an event whose content does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownContent {
    /// Deliver it with nulls.
    Nulls,
    /// Make it a dead letter.
    DeadLetter,
}

/// What a lane's workers read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// The changes of the pipeline.
    Source,
    /// Dead letters that are delivered again: those addressed to this lane, the others are passed over.
    Replays,
}

/// What the workers of a lane share.
#[derive(Clone)]
pub struct Lane {
    /// `pipeline/sink`, as logs and health name it.
    pub name: String,
    /// What its workers read.
    pub reads: Reads,
    /// Where to ask for contents: there if the sink wants them.
    pub enricher: Option<Arc<Enricher>>,
    /// What follows if there is none.
    pub unknown_content: UnknownContent,
    /// Where records go that can't be delivered.
    pub dead_letters: Arc<DeadLetters>,
    /// When its sink may be tried, and how many events it may condemn.
    pub breaker: Arc<Mutex<Breaker>>,
    /// How fast its sink may be sent events, where that is limited.
    pub rate: Option<Arc<Mutex<Rate>>>,
    /// Its metrics.
    pub metrics: LaneMetrics,
}

impl Lane {
    /// How many events one write may hold, where the rate is limited.
    fn most_events(&self) -> Option<usize> {
        let rate = self.rate.as_ref()?;
        Some(rate.lock().unwrap_or_else(PoisonError::into_inner).most_events())
    }

    /// How long a write of so many events has to wait because of the rate.
    fn reserve(&self, events: usize) -> Duration {
        let Some(rate) = self.rate.as_ref().filter(|_| events > 0) else { return Duration::ZERO };
        let wait = rate.lock().unwrap_or_else(PoisonError::into_inner).reserve(Instant::now(), events);
        self.metrics.rate_wait_seconds.record(wait);
        wait
    }

    /// Changes the breaker, or asks it; what is to be seen of it follows.
    fn with_breaker<T>(&self, health: &WorkerHealth, work: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut breaker);
        let state = breaker.state();
        if health.set_breaker(state) {
            self.metrics.breaker.set(state.value());
        }
        done
    }
}

/// The writer's half of one worker.
pub struct Delivery<S: Sink> {
    lane: Lane,
    handoff: Arc<Handoff>,
    health: WorkerHealth,
    sink: S,
}

impl<S: Sink> Delivery<S> {
    /// Delivers to `sink` what comes through `handoff`.
    pub fn new(lane: Lane, handoff: Arc<Handoff>, health: WorkerHealth, sink: S) -> Self {
        Self { lane, handoff, health, sink }
    }

    /// Runs until the worker is stopped; a write in flight then comes to its end first.
    pub async fn run(self) {
        let outbox = Outbox::new(self.lane.most_events());
        let empty = self.sink.batch();
        let preparing = prepare::Preparing {
            lane: &self.lane,
            handoff: &self.handoff,
            health: &self.health,
            outbox: &outbox,
            empty,
            wants_content: S::WANTS_CONTENT,
        };
        let writing = write::Writing {
            lane: &self.lane,
            handoff: &self.handoff,
            health: &self.health,
            outbox: &outbox,
            sink: self.sink,
            failures: 0,
        };
        tokio::join!(preparing.run(), writing.run());
    }
}
