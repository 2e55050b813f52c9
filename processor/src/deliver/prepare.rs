//! Preparing: from chunks of records to requests that only need to be written. Decode → enrich → transform → encode. While one
//! chunk is prepared, it is asked how new the contents have to be for the next one.

use super::outbox::{Outbox, RecordRef, Refused, Request, Tried};
use super::{Lane, Reads, Stage, UnknownContent, retry};
use crate::decode::{DecodeError, Decoded, Decoder};
use crate::dlq::Letter;
use crate::enrich::recent::Recent;
use crate::enrich::{Enricher, Freshness};
use crate::health::WorkerHealth;
use crate::position::LogId;
use crate::sink::{Batch, Event};
use crate::source::chunk::Chunk;
use crate::source::{Epoch, Handoff, Order, Question, Record};
use crate::transform::{Content, Transformed, transform};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;
use uuid::Uuid;

/// Records prepared at a stretch before the write in flight gets its turn on the thread.
const STRETCH: usize = 256;

pub(super) struct Preparing<'l, B> {
    pub lane: &'l Lane,
    pub handoff: &'l Handoff,
    pub health: &'l WorkerHealth,
    pub outbox: &'l Outbox<B>,
    pub empty: B,
    pub wants_content: bool,
}

/// What a worker remembers from record to record; it makes no difference but in time.
#[derive(Default)]
struct Memory {
    decoder: Decoder,
    recent: Recent,
}

/// What a record turned out to be for this lane.
#[allow(clippy::large_enum_variant, reason = "nearly all are events, and each is dealt with where it stands")]
enum Fate<'r> {
    /// An event for the sink.
    Event(Transformed<'r>),
    /// Nothing to do; the kind of record.
    Nothing(&'static str),
    /// A dead letter.
    Refused(Stage, DecodeError),
}

/// The chunk's epoch is over: nothing of it counts any more.
struct Superseded;

/// What is to be done next.
enum Next {
    Ask(Question),
    /// Records, and whether the contents are as new as they are.
    Prepare(Rc<Chunk>, Freshness),
}

impl<B: Batch> Preparing<'_, B> {
    pub async fn run(self) {
        let (mut log, mut memory) = (None, Memory::default());
        let mut next = self.next().await;
        while let Some(now) = next {
            next = match (now, &log) {
                (Next::Ask(question), _) => {
                    log = Some(question.log.clone());
                    self.outbox.ask(question);
                    self.next().await
                }
                // A superseded chunk is dropped; its records are read again.
                (Next::Prepare(chunk, freshness), Some(log)) if self.asks_for_contents() => {
                    tokio::join!(self.chunk(chunk, freshness, log, &mut memory), self.next()).1
                }
                (Next::Prepare(chunk, freshness), Some(log)) => {
                    let _ = self.chunk(chunk, freshness, log, &mut memory).await;
                    self.next().await
                }
                (Next::Prepare(..), None) => self.next().await,
            };
        }
        self.outbox.close();
    }

    /// Waits for the next order. `None` once the worker is stopping.
    async fn next(&self) -> Option<Next> {
        Some(match self.handoff.next().await? {
            Order::Ask(question) => Next::Ask(question),
            Order::Deliver(chunk) => {
                let freshness = tokio::select! {
                    freshness = self.freshness() => freshness,
                    () = self.handoff.superseded(chunk.epoch) => Freshness::Unsure,
                };
                Next::Prepare(Rc::new(chunk), freshness)
            }
        })
    }

    /// Whether events wait for an answer of the broker: then the next chunk is taken while one is prepared.
    fn asks_for_contents(&self) -> bool {
        self.wants_content && self.lane.enricher.is_some()
    }

    async fn chunk(
        &self,
        chunk: Rc<Chunk>,
        freshness: Freshness,
        log: &LogId,
        memory: &mut Memory,
    ) -> Result<(), Superseded> {
        // It may have been taken while one of an epoch was prepared that has ended since.
        if !self.handoff.is_current(chunk.epoch) {
            return Err(Superseded);
        }
        // They lie behind everything that came before, and before the records that came after them.
        for span in &chunk.passed {
            self.room(chunk.epoch).await?;
            let open = || Request::new(chunk.epoch, log.clone(), self.empty.clone());
            self.outbox.add(chunk.epoch, open, |request| request.spans.cover(*span));
        }
        let Memory { decoder, recent } = memory;
        if let Some(enricher) = &self.lane.enricher {
            enricher.begin(recent);
        }
        for index in 0..chunk.len() {
            if index % STRETCH == STRETCH - 1 {
                tokio::task::yield_now().await;
            }
            let Some(record) = chunk.get(index) else { break };
            if self.outbox.needs_new(chunk.epoch) {
                self.room(chunk.epoch).await?;
            }
            let fate =
                if self.is_ours(&chunk, index) { fate(decoder, &record) } else { Fate::Nothing("not_ours") };
            let asked;
            let content = match self.wanted(&fate) {
                Some((enricher, id, tx_id)) => match enricher.recent(id, freshness, recent) {
                    // Nearly always: no wait, and no reference to count.
                    Some(content) => Some(&**content),
                    None => {
                        asked = self.content(enricher, id, tx_id, freshness, chunk.epoch).await?;
                        asked.as_deref()
                    }
                },
                None => None,
            };
            let at = RecordRef { chunk: Rc::clone(&chunk), index };
            self.add(at, &record, &fate, content, log);
        }
        Ok(())
    }

    /// Whether a record is this lane's to deliver: one that is to be delivered again names the lane that refused it.
    fn is_ours(&self, chunk: &Chunk, index: usize) -> bool {
        if self.lane.reads == Reads::Source {
            return true;
        }
        let letter = chunk.get_whole(index).and_then(|record| Letter::read(&record.headers));
        letter.is_some_and(|(letter, _)| format!("{}/{}", letter.pipeline, letter.sink) == self.lane.name)
    }

    async fn room(&self, epoch: Epoch) -> Result<(), Superseded> {
        if self.outbox.needs_new(epoch) {
            tokio::select! {
                () = self.outbox.room() => {}
                () = self.handoff.superseded(epoch) => return Err(Superseded),
            }
        }
        Ok(())
    }

    async fn freshness(&self) -> Freshness {
        match &self.lane.enricher {
            Some(enricher) if self.wants_content => enricher.freshness().await,
            _ => Freshness::Unsure,
        }
    }

    /// Which content an event wants, of whom, and the transaction that the event is of.
    fn wanted(&self, fate: &Fate<'_>) -> Option<(&Enricher, Uuid, Option<u32>)> {
        let Fate::Event(change) = fate else { return None };
        let enricher = self.lane.enricher.as_ref().filter(|_| self.wants_content)?;
        Some((enricher, change.row()?.content_id?, change.source.tx_id))
    }

    /// The content of an event, asked for until there is an answer: nothing is enriched with nulls for want of one.
    async fn content(
        &self,
        enricher: &Enricher,
        id: Uuid,
        tx_id: Option<u32>,
        freshness: Freshness,
        epoch: Epoch,
    ) -> Result<Option<Arc<Content>>, Superseded> {
        let answered = tokio::select! {
            content = self.ask_for(enricher, id, tx_id, freshness) => Ok(content),
            () = self.handoff.superseded(epoch) => Err(Superseded),
        };
        if self.health.set_content(None) {
            tracing::info!(lane = self.lane.name, "the lane no longer waits for a content");
        }
        answered
    }

    async fn ask_for(
        &self,
        enricher: &Enricher,
        id: Uuid,
        tx_id: Option<u32>,
        freshness: Freshness,
    ) -> Option<Arc<Content>> {
        let mut failures = 0;
        loop {
            let error = match enricher.content(id, tx_id, freshness).await {
                Ok(content) => return content,
                Err(error) => error,
            };
            failures += 1;
            if self.health.set_content(Some(format!("waiting for content {id}: {error}"))) {
                tracing::warn!(lane = self.lane.name, content = %id, %error, "the lane waits for a content");
            }
            tokio::time::sleep(retry::pause(failures, None, rand::random())).await;
        }
    }

    /// Adds a record to the request that covers it, as an event, as a dead letter, or just as passed.
    fn add(
        &self,
        at: RecordRef,
        record: &Record<'_>,
        fate: &Fate<'_>,
        content: Option<&Content>,
        log: &LogId,
    ) {
        let epoch = at.chunk.epoch;
        let open = || Request::new(epoch, log.clone(), self.empty.clone());
        self.outbox.add(epoch, open, |request| {
            request.cover(record);
            match fate {
                Fate::Nothing(kind) => self.lane.metrics.without_effect(kind),
                Fate::Refused(stage, error) => {
                    request.refused.push(refused(at, *stage, error.class(), error.to_string()));
                }
                Fate::Event(change) => self.push(request, at, record, change, content),
            }
        });
    }

    fn push(
        &self,
        request: &mut Request<B>,
        at: RecordRef,
        record: &Record<'_>,
        change: &Transformed<'_>,
        content: Option<&Content>,
    ) {
        let wanted = change.row().and_then(|row| row.content_id).filter(|_| self.wants_content);
        if let (Some(id), None, UnknownContent::DeadLetter) = (wanted, content, self.lane.unknown_content) {
            let reason = format!("there is no content {id}");
            request.refused.push(refused(at, Stage::Enrich, "unknown_content", reason));
            return;
        }
        let event = Event { partition: record.partition, offset: record.offset, change, content };
        match request.batch.push(&event) {
            Ok(()) => {
                request.events.push(at);
                request.committed_us.push(change.source.committed_us);
            }
            Err(refusal) => {
                request.refused.push(refused(at, Stage::Encode, "value", refusal.reason));
            }
        }
    }
}

/// A record that is refused before it is written anywhere: trying it again would say the same.
fn refused(record: RecordRef, stage: Stage, class: &'static str, reason: String) -> Refused {
    Refused { record, stage, class, reason, tried: Tried::never().again(SystemTime::now()) }
}

/// Decodes a record and reads its rows.
fn fate<'r>(decoder: &mut Decoder, record: &Record<'r>) -> Fate<'r> {
    match decoder.decode(record.value) {
        Ok(Decoded::Without(kind)) => Fate::Nothing(kind.name()),
        Ok(Decoded::Change(change)) => match transform(change) {
            Ok(change) => Fate::Event(change),
            Err(error) => Fate::Refused(Stage::Transform, error),
        },
        Err(error) => Fate::Refused(Stage::Decode, error),
    }
}
