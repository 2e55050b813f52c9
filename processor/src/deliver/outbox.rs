//! The outbox: what is prepared and not yet written. The last request in it stays open and takes further events until
//! the writer takes it, so batches grow only while the sink is busy.

use crate::position::{LogId, Spans};
use crate::sink::Batch;
use crate::source::chunk::Chunk;
use crate::source::{Epoch, Question, Record};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

use super::Stage;

/// Requests that may lie in the outbox, the open one included: while one write is in flight, one is complete and one is
/// being prepared.
const MOST: usize = 2;
/// The same while the sink fails: nothing is gained by preparing more, and memory is.
const MOST_WHILE_FAILING: usize = 1;

/// A record within the chunk that holds its bytes.
#[derive(Debug, Clone)]
pub(super) struct RecordRef {
    pub chunk: Rc<Chunk>,
    pub index: usize,
}

/// A record that can't be delivered, and why.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub record: RecordRef,
    pub stage: Stage,
    /// The kind of error, one word.
    pub class: &'static str,
    pub reason: String,
    pub tried: Tried,
}

/// How often something was tried, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tried {
    pub attempts: u32,
    pub first: SystemTime,
    pub last: SystemTime,
}

impl Tried {
    /// Nothing was tried so far.
    pub fn never() -> Self {
        Self { attempts: 0, first: UNIX_EPOCH, last: UNIX_EPOCH }
    }

    /// Tried once more.
    pub fn again(self, now: SystemTime) -> Self {
        let first = if self.attempts == 0 { now } else { self.first };
        Self { attempts: self.attempts.saturating_add(1), first, last: now }
    }
}

/// One write to be.
#[derive(Debug)]
pub(super) struct Request<B> {
    pub epoch: Epoch,
    pub log: LogId,
    /// What it covers, events or not.
    pub spans: Spans,
    pub batch: B,
    /// The records of the batch's events, in the same order.
    pub events: Vec<RecordRef>,
    /// The commit times of the batch's events, in microseconds since 1970.
    pub committed_us: Vec<i64>,
    /// Records within its spans that become dead letters.
    pub refused: Vec<Refused>,
    /// How many records it covers, with or without effect, and their size.
    covered: usize,
    covered_bytes: usize,
}

/// A request covers at most so many records, whatever becomes of them, and about so many bytes of them.
const COVERED_MOST: usize = 20_000;
const COVERED_MOST_BYTES: usize = 4 * 1024 * 1024;

impl<B: Batch> Request<B> {
    pub fn new(epoch: Epoch, log: LogId, batch: B) -> Self {
        Self {
            epoch,
            log,
            spans: Spans::default(),
            batch,
            events: Vec::new(),
            committed_us: Vec::new(),
            refused: Vec::new(),
            covered: 0,
            covered_bytes: 0,
        }
    }

    /// Takes a record into the stretch that is covered.
    pub fn cover(&mut self, record: &Record<'_>) {
        self.spans.extend(record.partition, record.from, record.offset);
        self.covered += 1;
        self.covered_bytes += record.value.map_or(0, <[u8]>::len) + record.key.map_or(0, <[u8]>::len);
    }

    fn is_open(&self, epoch: Epoch, most_events: Option<usize>) -> bool {
        self.epoch == epoch
            && most_events.is_none_or(|most| self.events.len() < most)
            && !self.batch.is_full()
            && self.covered < COVERED_MOST
            && self.covered_bytes < COVERED_MOST_BYTES
    }
}

/// What the writer does next.
#[derive(Debug)]
pub(super) enum Item<B> {
    Ask(Question),
    Write(Request<B>),
}

/// The queue between preparing and writing, which are two halves of one task.
#[derive(Debug)]
pub(super) struct Outbox<B> {
    /// How many events a request may hold, where that is limited beyond what its batch says.
    most_events: Option<usize>,
    items: RefCell<VecDeque<Item<B>>>,
    closed: Cell<bool>,
    /// Whether the write in flight is tried again and again.
    failing: Cell<bool>,
    /// Whether the writer has been told since it last found nothing: records come by the thousand.
    told: Cell<bool>,
    pushed: Notify,
    popped: Notify,
}

impl<B> Outbox<B> {
    /// An empty one, whose requests hold at most so many events.
    pub fn new(most_events: Option<usize>) -> Self {
        Self {
            most_events,
            items: RefCell::default(),
            closed: Cell::new(false),
            failing: Cell::new(false),
            told: Cell::new(false),
            pushed: Notify::new(),
            popped: Notify::new(),
        }
    }
}

impl<B: Batch> Outbox<B> {
    /// Waits until there is room for one more request.
    pub async fn room(&self) {
        while self.items.borrow().len() >= self.most() {
            self.popped.notified().await;
        }
    }

    fn most(&self) -> usize {
        if self.failing.get() { MOST_WHILE_FAILING } else { MOST }
    }

    /// Says whether the write in flight fails.
    pub fn fails(&self, fails: bool) {
        if self.failing.replace(fails) && !fails {
            self.popped.notify_one();
        }
    }

    /// Puts a question in. What was prepared before belongs to an earlier epoch and is thrown away.
    pub fn ask(&self, question: Question) {
        let mut items = self.items.borrow_mut();
        items.clear();
        items.push_back(Item::Ask(question));
        self.tell();
        self.popped.notify_one();
    }

    /// Lets `fill` add to the open request, or to a new one made by `open` where there is none.
    pub fn add(&self, epoch: Epoch, open: impl FnOnce() -> Request<B>, fill: impl FnOnce(&mut Request<B>)) {
        let mut items = self.items.borrow_mut();
        match items.back_mut() {
            Some(Item::Write(request)) if request.is_open(epoch, self.most_events) => fill(request),
            _ => {
                let mut request = open();
                fill(&mut request);
                items.push_back(Item::Write(request));
            }
        }
        self.tell();
    }

    fn tell(&self) {
        if !self.told.replace(true) {
            self.pushed.notify_one();
        }
    }

    /// Whether the next event needs a new request.
    pub fn needs_new(&self, epoch: Epoch) -> bool {
        !matches!(self.items.borrow().back(), Some(Item::Write(request)) if request.is_open(epoch, self.most_events))
    }

    /// Waits for the next item. `None` once the outbox is closed.
    pub async fn next(&self) -> Option<Item<B>> {
        loop {
            if self.closed.get() {
                return None;
            }
            let item = self.items.borrow_mut().pop_front();
            if item.is_some() {
                self.popped.notify_one();
                return item;
            }
            self.told.set(false);
            self.pushed.notified().await;
        }
    }

    /// Ends it: what lies in it is not written.
    pub fn close(&self) {
        self.closed.set(true);
        self.tell();
        self.popped.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{Event, Refusal};
    use std::pin::pin;
    use std::task::{Context, Waker};

    /// Always full.
    #[derive(Debug, Clone, Default)]
    struct Full;

    impl Batch for Full {
        fn push(&mut self, _event: &Event<'_>) -> Result<(), Refusal> {
            Ok(())
        }

        fn is_full(&self) -> bool {
            true
        }

        fn len(&self) -> usize {
            0
        }

        fn split_off(&mut self, _at: usize) -> Self {
            Self
        }
    }

    fn has_room(outbox: &Outbox<Full>) -> bool {
        pin!(outbox.room()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn less_is_prepared_while_the_sink_fails() {
        let outbox = Outbox::new(None);
        let log = LogId::new("cluster", "topic");
        let epoch = Epoch::default();
        let add = || outbox.add(epoch, || Request::new(epoch, log.clone(), Full), |_| {});
        add();
        assert!(has_room(&outbox));
        outbox.fails(true);
        assert!(!has_room(&outbox));
        outbox.fails(false);
        assert!(has_room(&outbox));
        add();
        assert!(!has_room(&outbox));
    }
}
