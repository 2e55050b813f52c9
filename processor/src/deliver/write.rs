//! Writing: one request at a time, in order, until its effects are durable in the sink or its records in the
//! dead letters. All retry, pausing and bisection is here.

use super::dead_letter::StoreError;
use super::outbox::{Item, Outbox, Refused, Request, Tried};
use super::{Breaker, DeadLetter, Lane, Stage, retry};
use crate::health::{SinkState, WorkerHealth};
use crate::position::{Held, LogId};
use crate::sink::{Batch, Class, Sink, SinkError, Write, Written};
use crate::source::{Epoch, Handoff, Question};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(super) struct Writing<'l, S: Sink> {
    pub lane: &'l Lane,
    pub handoff: &'l Handoff,
    pub health: &'l WorkerHealth,
    pub outbox: &'l Outbox<S::Batch>,
    pub sink: S,
    /// Failures of the sink in a row.
    pub failures: u32,
}

/// Why a request was given up.
enum GivenUp {
    /// Its epoch is over: it is read again, by whoever has the partition.
    Superseded,
    /// The sink stands elsewhere.
    Elsewhere,
}

/// How a batch ended.
enum Ended {
    /// It is durable, but for these events (index, reason).
    Durable(Vec<(usize, String)>),
    /// The sink condemns it, or it is too large: to be cut in two, or a dead letter if it is a single event.
    Condemned(Class, String),
}

/// What is still to be written of a request.
struct Part<B> {
    batch: B,
    /// The index of its first event within the request.
    first: usize,
    tried: Tried,
}

impl<S: Sink> Writing<'_, S> {
    pub async fn run(mut self) {
        loop {
            let item = tokio::select! {
                biased;
                item = self.outbox.next() => item,
                () = self.sink.disturbed() => {
                    tracing::warn!(lane = self.lane.name, "the sink is no longer what it was; asking it where it stands");
                    self.handoff.restart(self.handoff.epoch());
                    continue;
                }
            };
            match item {
                Some(Item::Ask(question)) => self.ask(question).await,
                Some(Item::Write(request)) => self.request(request).await,
                None => return,
            }
        }
    }

    /// Asks the sink where it stands, until it answers.
    async fn ask(&mut self, question: Question) {
        while self.handoff.is_current(question.epoch) {
            // A sink may have to make something anew first, which takes a while.
            let stand = tokio::select! {
                stand = Self::stand(&mut self.sink, &question) => stand,
                () = self.handoff.superseded(question.epoch) => return,
            };
            match stand {
                Ok(held) => {
                    // A sink that keeps no positions was not asked anything.
                    if matches!(held, Held::At(_)) {
                        self.answers();
                    }
                    self.works();
                    self.handoff.answer(question.epoch, held);
                    return;
                }
                Err(error) => {
                    let pause = self.failed(&error);
                    self.sleep(pause, question.epoch).await;
                }
            }
        }
    }

    /// Where the sink stands, after it was set to where it is ordered to, or told what it can't get any more.
    async fn stand(sink: &mut S, question: &Question) -> Result<Held, SinkError> {
        if let Some(reset) = &question.reset {
            sink.reset(&question.log, reset).await?;
        }
        if !question.missing.is_empty() {
            sink.missed(&question.log, &question.missing).await?;
        }
        sink.positions(&question.log, &question.partitions).await
    }

    async fn request(&mut self, mut request: Request<S::Batch>) {
        if !self.handoff.begin_write(request.epoch) {
            return;
        }
        let batch = std::mem::replace(&mut request.batch, self.sink.batch());
        match self.deliver(&request, batch).await {
            Ok(()) => self.handoff.written(request.epoch, &request.spans),
            Err(GivenUp::Superseded) => self.handoff.rest(),
            Err(GivenUp::Elsewhere) => self.handoff.restart(request.epoch),
        }
    }

    /// Dead letters first: the position may pass them only once they are durable, and a sink moves its own position with
    /// the write.
    async fn deliver(&mut self, request: &Request<S::Batch>, batch: S::Batch) -> Result<(), GivenUp> {
        self.bury(request, &request.refused).await?;
        // The next part is the last of the list.
        let mut parts = vec![Part { batch, first: 0, tried: Tried::never() }];
        while let Some(mut part) = parts.pop() {
            let events = part.batch.len();
            let records = request.events.get(part.first..part.first + events).unwrap_or_default();
            let (refused, class, why) = match self.batch(request, &mut part).await? {
                Ended::Durable(rejected) => (Some(rejected), "rejected", String::new()),
                Ended::Condemned(class, reason) if events <= 1 => {
                    (Some(vec![(0, reason.clone())]), class.name(), reason)
                }
                Ended::Condemned(class, reason) => (None, class.name(), reason),
            };
            let Some(refused) = refused.filter(|refused| self.may_bury(events, refused.len())) else {
                self.cut(part, &mut parts, request, why).await?;
                continue;
            };
            let refused = refused.into_iter().filter_map(|(index, reason)| {
                let (record, tried) = (records.get(index)?.clone(), part.tried);
                Some(Refused { record, stage: Stage::Sink, class, reason, tried })
            });
            let refused: Vec<_> = refused.collect();
            self.works();
            self.bury(request, &refused).await?;
            self.count(request, part.first, events, refused.len());
        }
        Ok(())
    }

    /// Whether so many of the events of a write may become dead letters. One that accepts some is well; one that accepts none
    /// may condemn only so many in a row.
    fn may_bury(&self, events: usize, refused: usize) -> bool {
        self.lane.with_breaker(self.health, |breaker| {
            if events == 0 {
                return true;
            }
            let may = refused < events || breaker.condemn(refused);
            if refused < events {
                breaker.accepted();
            }
            if may {
                breaker.succeeded();
            }
            may
        })
    }

    /// A part of which nothing was accepted: its halves are tried, or, where it is a single event that may not be buried, it
    /// itself, after a pause.
    async fn cut(
        &mut self,
        mut part: Part<S::Batch>,
        parts: &mut Vec<Part<S::Batch>>,
        request: &Request<S::Batch>,
        why: String,
    ) -> Result<(), GivenUp> {
        let half = part.batch.len() / 2;
        if half > 0 {
            let rest = part.batch.split_off(half);
            parts.push(Part { batch: rest, first: part.first + half, tried: part.tried });
        }
        parts.push(part);
        let (holds, most) =
            self.lane.with_breaker(self.health, |breaker| (breaker.holds(), breaker.most_condemned()));
        if !holds {
            self.answers();
            self.works();
            return Ok(());
        }
        let message = format!(
            "the sink has condemned {most} events in a row and accepted none, so it counts as failing: nothing more \
             becomes a dead letter, and the next event is tried again and again{}{why}",
            if why.is_empty() { "" } else { "; it says: " }
        );
        let remedy =
            Some("mend the sink; if the events are really poison, raise `max_condemned` of this sink");
        let error = SinkError { class: Class::Pause, message, remedy, source: None };
        let pause = self.failed(&error);
        self.handoff.rest();
        self.sleep(pause, request.epoch).await;
        Ok(())
    }

    /// Writes one batch until the sink has answered for it.
    async fn batch(
        &mut self,
        request: &Request<S::Batch>,
        Part { batch, tried, .. }: &mut Part<S::Batch>,
    ) -> Result<Ended, GivenUp> {
        loop {
            self.enter(request.epoch, batch.len()).await;
            if !self.handoff.begin_write(request.epoch) {
                self.lane.with_breaker(self.health, Breaker::released);
                return Err(GivenUp::Superseded);
            }
            let began = Instant::now();
            let write = Write { log: &request.log, spans: &request.spans, batch };
            let written = self.sink.write(write).await;
            *tried = tried.again(SystemTime::now());
            let error = match written {
                Ok(Written::Durable { rejected }) => {
                    // A write without events only moves the position.
                    if !batch.is_empty() {
                        self.lane.metrics.writes.increment(1);
                        self.lane.metrics.write_seconds.record(began.elapsed());
                    }
                    return Ok(Ended::Durable(rejected));
                }
                Ok(Written::Behind(held)) => {
                    tracing::warn!(lane = self.lane.name, expected = ?request.spans, ?held, "the sink stands elsewhere");
                    self.answers();
                    return Err(GivenUp::Elsewhere);
                }
                Err(error) => error,
            };
            if matches!(error.class, Class::Refused | Class::TooLarge) {
                self.lane.metrics.error(error.class.name());
                return Ok(Ended::Condemned(error.class, error.told()));
            }
            let pause = self.failed(&error);
            self.handoff.rest();
            self.sleep(pause, request.epoch).await;
        }
    }

    /// Waits until the rate allows so many events, then until the breaker lets this worker try the sink. A write without
    /// events may ask it nothing, so it is no trial.
    async fn enter(&self, epoch: Epoch, events: usize) {
        let wait = self.lane.reserve(events);
        if !wait.is_zero() {
            // Nothing is in flight: whoever wants to stop need not wait.
            self.handoff.rest();
            self.sleep(wait, epoch).await;
        }
        while events > 0 && self.handoff.is_current(epoch) {
            match self.lane.with_breaker(self.health, |breaker| breaker.enter(Instant::now())) {
                Ok(()) => return,
                Err(wait) => {
                    self.handoff.rest();
                    self.sleep(wait, epoch).await;
                }
            }
        }
    }

    /// Makes dead letters durable, however long that takes.
    async fn bury(&mut self, request: &Request<S::Batch>, refused: &[Refused]) -> Result<(), GivenUp> {
        let epoch = request.epoch;
        let letters: Vec<_> =
            refused.iter().filter_map(|refused| Self::letter(&request.log, refused)).collect();
        if letters.is_empty() {
            return Ok(());
        }
        let mut failures = 0;
        while let Err(error) = self.lane.dead_letters.store(&letters).await {
            failures += 1;
            let why = format!("dead letters can't be written: {error}");
            let state = match error {
                StoreError::Broker { .. } => SinkState::Retrying { why: why.clone() },
                StoreError::MissingTopic(_) | StoreError::TooLarge(_) => {
                    SinkState::Paused { why: why.clone() }
                }
            };
            if self.health.set_sink(state) {
                tracing::warn!(lane = self.lane.name, "{why}");
            }
            self.handoff.rest();
            self.sleep(retry::pause(failures, None, rand::random()), epoch).await;
            if !self.handoff.begin_write(epoch) {
                return Err(GivenUp::Superseded);
            }
        }
        for letter in &letters {
            self.lane.metrics.dead_letter(letter.stage.name());
            tracing::warn!(
                lane = self.lane.name,
                partition = letter.record.partition,
                offset = letter.record.offset,
                stage = letter.stage.name(),
                reason = letter.reason,
                "dead letter"
            );
        }
        if failures > 0 {
            self.works();
        }
        Ok(())
    }

    fn letter<'r>(log: &'r LogId, refused: &'r Refused) -> Option<DeadLetter<'r>> {
        let record = refused.record.chunk.get_whole(refused.record.index)?;
        Some(DeadLetter {
            log,
            record,
            stage: refused.stage,
            class: refused.class,
            reason: &refused.reason,
            tried: refused.tried,
        })
    }

    fn count(&self, request: &Request<S::Batch>, first: usize, events: usize, refused: usize) {
        let delivered = events.saturating_sub(refused);
        self.lane.metrics.events_delivered.increment(u64::try_from(delivered).unwrap_or_default());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        for committed_us in request.committed_us.get(first..first + events).unwrap_or_default() {
            let committed = Duration::from_micros(u64::try_from(*committed_us).unwrap_or_default());
            self.lane.metrics.latency_seconds.record(now.saturating_sub(committed));
        }
    }

    /// The sink has answered, whatever it says of single events.
    fn answers(&self) {
        self.lane.with_breaker(self.health, |breaker| {
            if !breaker.holds() {
                breaker.succeeded();
            }
        });
    }

    fn works(&mut self) {
        self.failures = 0;
        self.outbox.fails(false);
        if self.health.set_sink(SinkState::Working) {
            tracing::info!(lane = self.lane.name, "the sink takes writes again");
        }
    }

    /// Notes a failure of the sink; how long to wait.
    fn failed(&mut self, error: &SinkError) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.outbox.fails(true);
        self.lane.metrics.error(error.class.name());
        let why = error.told();
        let failures = self.lane.with_breaker(self.health, |breaker| breaker.failures()).saturating_add(1);
        let (state, pause) = match error.class {
            Class::Retry { after } => {
                let pause = retry::pause(failures.max(self.failures), after, rand::random());
                (SinkState::Retrying { why: why.clone() }, pause)
            }
            Class::Pause | Class::Refused | Class::TooLarge => {
                (SinkState::Paused { why: why.clone() }, retry::LOOK_AGAIN)
            }
        };
        let paused = matches!(state, SinkState::Paused { .. });
        self.lane.with_breaker(self.health, |breaker| breaker.failed(Instant::now(), pause, paused));
        if self.health.set_sink(state) {
            if paused {
                tracing::error!(lane = self.lane.name, why, "the sink is paused until somebody acts");
            } else {
                tracing::warn!(lane = self.lane.name, why, "the sink failed; trying again");
            }
        }
        pause
    }

    async fn sleep(&self, pause: Duration, epoch: Epoch) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.handoff.superseded(epoch) => {}
        }
    }
}
