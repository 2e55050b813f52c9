//! The handoff between a worker's two halves: the reader, a thread that polls Kafka, and the writer, a thread that
//! prepares batches and writes them to the sink.
//!
//! The reader fills a chunk; the writer takes it whenever it is ready for more, so batches grow by themselves while a
//! write is in flight and a single record goes at once when nothing is. What is read ahead is bounded by [`Limits`].
//!
//! An *epoch* is one stretch of reading: it begins when partitions are assigned or when the lane has to read again from
//! where the sink stands, and whatever was read in an earlier one counts for nothing any more. Every chunk and every
//! write carries its epoch, so that a write begun before a partition was taken away commits nothing afterwards.

use super::chunk::{Chunk, Spares};
use crate::position::{Held, LogId, Partition, Positions, Reset, Span, Spans};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// Counts the stretches of reading of one worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

/// How much may lie between reader and writer.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Records in one chunk.
    pub max_records: usize,
    /// Bytes of keys, values and headers in one chunk; a single record may be larger.
    pub max_bytes: usize,
}

/// What the reader wants to know: where the sink stands in these partitions of this log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The epoch that begins with the answer.
    pub epoch: Epoch,
    /// The log.
    pub log: LogId,
    /// The partitions that this worker was given.
    pub partitions: Vec<Partition>,
    /// Where the sink is to stand before it says where it stands.
    pub reset: Option<Reset>,
    /// Stretches that come next by what the sink has said, and that Kafka no longer has.
    pub missing: Vec<Span>,
}

/// What the writer is to do next.
#[derive(Debug)]
pub enum Order {
    /// Ask the sink where it stands.
    Ask(Question),
    /// Deliver these records.
    Deliver(Chunk),
}

/// The shared state of one worker's reader and writer.
#[derive(Debug)]
pub struct Handoff {
    limits: Limits,
    spares: Arc<Spares>,
    state: Mutex<State>,
    /// Rung when there is an order for the writer.
    filled: Notify,
    /// Rung when no write is in flight any more.
    settled: Condvar,
    /// The reader's thread, to be unparked when there is something for it.
    reader: OnceLock<Thread>,
    /// The epoch in force and whether the worker is stopping, for waits that must end with either.
    current: watch::Sender<(Epoch, bool)>,
}

#[derive(Debug, Default)]
struct State {
    epoch: Epoch,
    stopping: bool,
    question: Option<Question>,
    answer: Option<Held>,
    restart: bool,
    chunk: Chunk,
    durable: Positions,
    writing: bool,
    /// Whether the epoch comes to its end: what is durable gets committed, and nothing may become so behind that.
    ending: bool,
}

impl Handoff {
    /// A handoff with nothing in it.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            spares: Arc::default(),
            state: Mutex::default(),
            filled: Notify::new(),
            settled: Condvar::new(),
            reader: OnceLock::new(),
            current: watch::Sender::new((Epoch::default(), false)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock; were it to, the plain values in it would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the reader: there is something for it in a queue or in here.
    pub(super) fn wake_reader(&self) {
        if let Some(reader) = self.reader.get() {
            reader.unpark();
        }
    }
}

/// The reader's side.
impl Handoff {
    /// Says which thread to unpark.
    pub fn attach_reader(&self, reader: Thread) {
        let _ = self.reader.set(reader);
    }

    /// Begins a new epoch by asking where the sink stands; forgets all that was read before.
    pub fn ask(&self, log: LogId, partitions: Vec<Partition>, reset: Option<Reset>, missing: Vec<Span>) {
        let mut state = self.lock();
        let epoch = self.next_epoch(&mut state);
        state.question = Some(Question { epoch, log, partitions, reset, missing });
        drop(state);
        self.filled.notify_one();
    }

    /// Ends the epoch: the partitions are gone.
    pub fn abandon(&self) {
        self.next_epoch(&mut self.lock());
    }

    fn next_epoch(&self, state: &mut State) -> Epoch {
        let epoch = Epoch(state.epoch.0 + 1);
        let chunk = Chunk::new(epoch, &self.spares);
        *state = State { epoch, stopping: state.stopping, writing: state.writing, chunk, ..State::default() };
        self.current.send_replace((epoch, state.stopping));
        epoch
    }

    /// The sink's answer to the question, once.
    pub fn take_answer(&self) -> Option<Held> {
        self.lock().answer.take()
    }

    /// Sets where the reading of this epoch begins.
    pub fn start_at(&self, positions: Positions) {
        self.lock().durable = positions;
    }

    /// Whether the writer found the sink elsewhere than expected, so that the reader has to ask again.
    pub fn must_restart(&self) -> bool {
        self.lock().restart
    }

    /// Lets `next` push some records again and again, until it says that it had none or there is no room; wakes the
    /// writer. Returns how many came in.
    pub fn fill(&self, mut next: impl FnMut(&mut Chunk) -> bool) -> usize {
        let mut state = self.lock();
        let before = state.chunk.len();
        while !self.is_full(&state.chunk) && next(&mut state.chunk) {}
        let taken = state.chunk.len() - before;
        drop(state);
        if taken > 0 {
            self.filled.notify_one();
        }
        taken
    }

    fn is_full(&self, chunk: &Chunk) -> bool {
        chunk.len() >= self.limits.max_records || chunk.size_bytes() >= self.limits.max_bytes
    }

    /// Hands over a stretch without records, so that the sink's position passes it as well.
    pub fn pass(&self, span: Span) {
        self.lock().chunk.passed.push(span);
        self.filled.notify_one();
    }

    /// The position up to which everything is durable, of each partition.
    pub fn durable(&self) -> Positions {
        self.lock().durable.clone()
    }

    /// Lets no further write of this epoch begin, and waits until none is in flight, at most for `bound`; whether that is so.
    /// The epoch has to be ended afterwards.
    pub fn settle(&self, bound: Duration) -> bool {
        let deadline = Instant::now() + bound;
        let mut state = self.lock();
        state.ending = true;
        while state.writing {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let (next, _) = self.settled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            state = next;
        }
        true
    }

    /// Tells both sides to come to an end.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        self.current.send_replace((state.epoch, true));
        drop(state);
        self.filled.notify_one();
        self.wake_reader();
    }

    /// Whether the worker is to come to an end.
    pub fn is_stopping(&self) -> bool {
        self.lock().stopping
    }
}

/// The writer's side.
impl Handoff {
    /// Waits for the next order. `None` once the worker is stopping.
    pub async fn next(&self) -> Option<Order> {
        loop {
            let filled = self.filled.notified();
            {
                let mut state = self.lock();
                if state.stopping {
                    return None;
                }
                if let Some(question) = state.question.take() {
                    return Some(Order::Ask(question));
                }
                if !state.chunk.is_empty() {
                    let empty = Chunk::new(state.epoch, &self.spares);
                    let chunk = std::mem::replace(&mut state.chunk, empty);
                    drop(state);
                    // Otherwise it has read all there was, and the next record rings for itself.
                    if self.is_full(&chunk) {
                        self.wake_reader();
                    }
                    return Some(Order::Deliver(chunk));
                }
            }
            filled.await;
        }
    }

    /// The epoch in force.
    pub fn epoch(&self) -> Epoch {
        self.current.borrow().0
    }

    /// Whether this epoch is still the one in force and the worker goes on.
    pub fn is_current(&self, epoch: Epoch) -> bool {
        *self.current.borrow() == (epoch, false)
    }

    /// Waits until this epoch is over or the worker is stopping.
    pub async fn superseded(&self, epoch: Epoch) {
        let mut current = self.current.subscribe();
        // The sender lives as long as `self`.
        let _ = current.wait_for(|now| *now != (epoch, false)).await;
    }

    /// Gives the sink's answer to the question of `epoch`.
    pub fn answer(&self, epoch: Epoch, held: Held) {
        let mut state = self.lock();
        if state.epoch == epoch {
            state.answer = Some(held);
        }
        drop(state);
        self.wake_reader();
    }

    /// Says that a write of `epoch` is now in flight. False, and nothing said, if the epoch is over or comes to its end.
    pub fn begin_write(&self, epoch: Epoch) -> bool {
        let mut state = self.lock();
        let current = state.epoch == epoch && !state.stopping && !state.ending;
        state.writing |= current;
        current
    }

    /// Says that no write is in flight any more, without anything having become durable.
    pub fn rest(&self) {
        self.lock().writing = false;
        self.settled.notify_all();
    }

    /// Says that everything within `spans` is durable, and that no write is in flight any more.
    pub fn written(&self, epoch: Epoch, spans: &Spans) {
        let mut state = self.lock();
        state.writing = false;
        if state.epoch == epoch {
            for span in spans.iter() {
                let at = state.durable.entry(span.partition).or_insert(span.to);
                *at = span.to.max(*at);
            }
        }
        drop(state);
        // The reader commits it about once a second; it is not woken for each write.
        self.settled.notify_all();
    }

    /// Says that the sink stands elsewhere than `epoch` expects: the reader has to ask again.
    pub fn restart(&self, epoch: Epoch) {
        let mut state = self.lock();
        state.writing = false;
        state.restart |= state.epoch == epoch;
        drop(state);
        self.settled.notify_all();
        self.wake_reader();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Record;

    const LIMITS: Limits = Limits { max_records: 3, max_bytes: 100 };

    fn record(offset: i64, value: &[u8]) -> Record<'_> {
        let headers = Vec::new();
        Record {
            partition: 0,
            from: offset,
            offset,
            timestamp_ms: None,
            key: None,
            value: Some(value),
            headers,
        }
    }

    fn fill(handoff: &Handoff, offsets: std::ops::Range<i64>, value: &[u8]) -> usize {
        let mut offsets = offsets;
        handoff.fill(|chunk| offsets.next().map(|offset| chunk.push(&record(offset, value))).is_some())
    }

    fn log() -> LogId {
        LogId::new("cluster", "topic")
    }

    async fn question(handoff: &Handoff) -> Epoch {
        handoff.ask(log(), vec![0], None, Vec::new());
        match handoff.next().await {
            Some(Order::Ask(question)) => question.epoch,
            other => panic!("expected a question, got {other:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_read_ahead_is_bounded_by_records_and_by_bytes() {
        let handoff = Handoff::new(LIMITS);
        question(&handoff).await;
        assert_eq!(fill(&handoff, 0..10, b"x"), 3);
        assert_eq!(fill(&handoff, 3..10, b"x"), 0, "full");
        let Some(Order::Deliver(chunk)) = handoff.next().await else { panic!("no chunk") };
        assert_eq!(chunk.len(), 3);
        assert_eq!(fill(&handoff, 3..10, &[0; 60]), 2, "one record may go beyond the bound, none after it");
    }

    #[tokio::test]
    async fn a_reader_that_sleeps_at_a_full_chunk_is_woken_when_it_is_taken() {
        let handoff = Arc::new(Handoff::new(LIMITS));
        question(&handoff).await;
        assert_eq!(fill(&handoff, 0..10, b"x"), 3);
        let (has_looked, looked) = std::sync::mpsc::channel();
        let reader = {
            let handoff = Arc::clone(&handoff);
            std::thread::spawn(move || {
                handoff.attach_reader(std::thread::current());
                assert_eq!(fill(&handoff, 3..10, b"x"), 0, "full");
                has_looked.send(()).unwrap();
                while fill(&handoff, 3..10, b"x") == 0 {
                    std::thread::park_timeout(Duration::from_secs(60));
                }
                Instant::now()
            })
        };
        looked.recv().unwrap();
        assert!(matches!(handoff.next().await, Some(Order::Deliver(_))));
        let taken = Instant::now();
        let woke = reader.join().unwrap();
        assert!(woke < taken + Duration::from_secs(30), "it woke by itself");
    }

    #[tokio::test]
    async fn nothing_of_an_earlier_epoch_counts() {
        let handoff = Handoff::new(LIMITS);
        let old = question(&handoff).await;
        fill(&handoff, 0..2, b"x");
        assert!(handoff.begin_write(old));
        handoff.abandon();
        let new = question(&handoff).await;
        handoff.start_at([(0, 5)].into());
        assert!(!handoff.begin_write(old) && handoff.begin_write(new));
        let mut spans = Spans::default();
        spans.extend(0, 0, 1);
        handoff.written(old, &spans);
        handoff.answer(old, Held::NotKept);
        handoff.restart(old);
        assert_eq!(handoff.durable(), [(0, 5)].into());
        assert_eq!(handoff.take_answer(), None);
        assert!(!handoff.must_restart());
        handoff.superseded(old).await;
    }

    #[tokio::test]
    async fn what_settles_begins_nothing_more_until_the_next_epoch() {
        let handoff = Handoff::new(LIMITS);
        let epoch = question(&handoff).await;
        handoff.start_at([(0, 0)].into());
        fill(&handoff, 0..2, b"x");
        assert!(handoff.begin_write(epoch));
        assert!(!handoff.settle(Duration::ZERO), "a write is in flight");
        let mut spans = Spans::default();
        spans.extend(0, 0, 0);
        handoff.written(epoch, &spans);
        assert!(handoff.settle(Duration::ZERO));
        assert!(!handoff.begin_write(epoch), "what became durable now would not be committed");
        assert_eq!(handoff.durable(), [(0, 1)].into());
        let next = question(&handoff).await;
        assert!(handoff.begin_write(next));
        assert!(!handoff.settle(Duration::ZERO));
        handoff.abandon();
        assert!(!handoff.settle(Duration::ZERO), "an old write is in flight in the next epoch as well");
    }

    #[tokio::test]
    async fn what_is_durable_moves_with_each_write() {
        let handoff = Handoff::new(LIMITS);
        let epoch = question(&handoff).await;
        handoff.start_at([(0, 0), (1, 7)].into());
        let mut spans = Spans::default();
        spans.extend(0, 0, 4);
        assert!(handoff.begin_write(epoch));
        handoff.written(epoch, &spans);
        assert_eq!(handoff.durable(), [(0, 5), (1, 7)].into());
    }

    #[tokio::test]
    async fn a_stop_ends_every_wait() {
        let handoff = Handoff::new(LIMITS);
        let epoch = question(&handoff).await;
        fill(&handoff, 0..2, b"x");
        handoff.stop();
        assert!(handoff.next().await.is_none());
        handoff.superseded(epoch).await;
        assert!(!handoff.begin_write(epoch));
    }
}
