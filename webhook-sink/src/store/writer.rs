//! The one thread that writes: takes all that waits, commits it as one, answers each; then deletes a piece of what is
//! kept long enough.

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    OpenError, StoreError, Stored,
    ledger::Ledger,
    live::Live,
    prune::{PIECE_BYTES, PIECE_ROWS},
};
use crate::{cause::describe, clock::now_us, event::Event, retention::Retention};

/// The most events of one transaction: it takes some 200 ms, which is what the last to join waits at worst.
const MAX_GROUP_EVENTS: usize = 20_000;
/// The most that is written to prove that a fault is over.
const MAX_ROOM_BYTES: usize = 32 * 1024 * 1024;
/// How often the writer looks after itself while nothing comes: counts what was not believed, moves the log, tries
/// whether a fault is over.
const IDLE: Duration = Duration::from_secs(1);

/// A batch that waits to be durable.
#[derive(Debug)]
pub(super) struct Job {
    pub events: Vec<Event>,
    /// Events of the batch that were refused.
    pub rejected: i64,
    /// Dropped unanswered only when the writer ends.
    pub answer: oneshot::Sender<Result<Stored, StoreError>>,
    /// Freed with the job: the server bounds what is queued by it.
    #[expect(dead_code, reason = "held, not read")]
    pub budget: Option<OwnedSemaphorePermit>,
}

struct Writer {
    path: PathBuf,
    retention: Retention,
    /// `None` after a fault, until the store can be opened and written again.
    ledger: Option<Ledger>,
    live: Arc<Live>,
    /// What did not fit when the store last failed, in bytes: it is well again when so much can be written. A disk that
    /// is all but full has room for the smallest probe, and for no event.
    room_bytes: usize,
    /// Whether something was written since the log was last moved while idle.
    dirty: bool,
    /// Whether there is more to delete than the last piece did.
    behind: bool,
    /// When it was last looked whether something is too old. Not after each event: each would cost a wait for the disk.
    looked: Instant,
}

/// Starts the thread; it ends once every sender of the queue is gone and all is written.
pub(super) fn spawn(
    path: PathBuf,
    retention: Retention,
    lock: File,
    ledger: Ledger,
    queue: Receiver<Job>,
    live: Arc<Live>,
) -> io::Result<JoinHandle<()>> {
    let ledger = Some(ledger);
    let mut writer = Writer {
        path,
        retention,
        ledger,
        live,
        room_bytes: 0,
        dirty: true,
        behind: true,
        looked: Instant::now(),
    };
    thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
        writer.run(&queue);
        drop(writer);
        drop(lock);
    })
}

impl Writer {
    fn run(&mut self, queue: &Receiver<Job>) {
        loop {
            // Whoever waits comes before the next piece.
            match queue.recv_timeout(if self.behind { Duration::ZERO } else { IDLE }) {
                Ok(first) => {
                    let (events, bytes) = self.write(gather(first, queue));
                    if self.behind || self.has_too_much() || self.looked.elapsed() >= IDLE {
                        // Twice as much as came, so that a store that is never idle keeps its bounds as well.
                        self.prune(1 + 2 * (events / PIECE_ROWS + bytes / PIECE_BYTES));
                    }
                }
                Err(RecvTimeoutError::Timeout) if self.behind => self.prune(1),
                Err(RecvTimeoutError::Timeout) => {
                    self.idle();
                    self.prune(1);
                }
                Err(RecvTimeoutError::Disconnected) => return self.idle(),
            }
        }
    }

    /// Writes and answers; how many events there were, and how many bytes of them.
    fn write(&mut self, jobs: Vec<Job>) -> (usize, usize) {
        self.dirty = true;
        let events = jobs.iter().map(|job| job.events.len()).sum();
        let bytes = bytes_of(&jobs);
        match self.commit(&jobs) {
            // Nobody may be waiting any more: the sender will ask again and be told "duplicate".
            Ok(stored) => {
                jobs.into_iter().zip(stored).for_each(|(job, stored)| drop(job.answer.send(Ok(stored))))
            }
            Err(error) => jobs.into_iter().for_each(|job| drop(job.answer.send(Err(error.clone())))),
        }
        (events, bytes)
    }

    fn has_too_much(&self) -> bool {
        let kept_bytes = self.ledger.as_ref().map(|ledger| ledger.counters().kept_bytes);
        kept_bytes.is_some_and(|kept_bytes| kept_bytes > self.retention.high_bytes())
    }

    /// Deletes up to so many pieces.
    fn prune(&mut self, pieces: usize) {
        self.looked = Instant::now();
        self.behind = false;
        for _ in 0..pieces {
            let Some(ledger) = self.ledger.as_mut() else { return };
            match ledger.prune(self.retention, now_us()) {
                Ok(piece) => {
                    self.behind = !piece.done;
                    if piece.events + piece.ids > 0 {
                        self.dirty = true;
                        self.live.pruned(ledger.counters().clone());
                    }
                }
                Err(error) => {
                    // Nothing is lost by it: the next commit opens the store anew, and tells whether it can be written.
                    tracing::warn!(%error, "what is kept long enough could not be deleted; it is tried again");
                    self.behind = false;
                    self.ledger = None;
                }
            }
            if !self.behind {
                return;
            }
        }
    }

    fn commit(&mut self, jobs: &[Job]) -> Result<Vec<Stored>, StoreError> {
        let invalid = self.live.uncounted_invalid_signatures();
        let faulty = self.ledger.is_none();
        let mut ledger = match self.ledger.take() {
            Some(ledger) => ledger,
            None => Ledger::open(&self.path).map_err(|error| unavailable(&error))?,
        };
        let room_bytes = i64::try_from(self.room_bytes).unwrap_or_default();
        let mut committed = ledger.commit(jobs, invalid, room_bytes, now_us()).map_err(|source| {
            let error = OpenError::of(&self.path, source);
            if !faulty {
                tracing::error!(
                    error = describe(&error),
                    "nothing is accepted until the store can be written"
                );
            }
            self.room_bytes = self.room_bytes.max(bytes_of(jobs)).min(MAX_ROOM_BYTES);
            unavailable(&error)
        })?;
        self.room_bytes = 0;
        if faulty {
            tracing::info!("the store can be written again");
        }
        let stored = std::mem::take(&mut committed.stored);
        self.live.committed(ledger.counters().clone(), committed, invalid, now_us());
        self.ledger = Some(ledger);
        Ok(stored)
    }

    fn idle(&mut self) {
        if self.ledger.is_none() || self.live.uncounted_invalid_signatures() > 0 {
            // A failure is logged where it began, and told to whoever asks.
            let _ = self.commit(&[]);
        }
        if let Some(ledger) = self.ledger.as_ref().filter(|_| self.dirty) {
            self.dirty = false;
            if let Err(error) = ledger.checkpoint() {
                tracing::debug!(%error, "the log could not be moved into the store; the next commit tries again");
            }
        }
    }
}

fn gather(first: Job, queue: &Receiver<Job>) -> Vec<Job> {
    let mut events = first.events.len();
    let mut jobs = vec![first];
    while events < MAX_GROUP_EVENTS {
        let Ok(job) = queue.try_recv() else { break };
        events += job.events.len();
        jobs.push(job);
    }
    jobs
}

fn bytes_of(jobs: &[Job]) -> usize {
    jobs.iter().flat_map(|job| &job.events).map(|event| event.body.len()).sum()
}

fn unavailable(error: &OpenError) -> StoreError {
    StoreError::Unavailable(describe(error))
}
