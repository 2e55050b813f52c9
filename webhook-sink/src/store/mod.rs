//! The store: each event once, durable before anybody is told so.
//!
//! One thread writes ([`writer`]): all batches that wait are one transaction, so one wait for the disk serves them all
//! (group commit), and an idle store writes a single event at once. Between its transactions it deletes what is kept
//! long enough ([`prune`]). Queries have connections of their own ([`read`]) and never hold the writer up. Knows nothing
//! of HTTP.

mod counters;
mod key;
mod ledger;
mod live;
mod prune;
mod read;
mod recall;
mod schema;
mod writer;

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::JoinHandle,
};

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

pub use counters::Counters;
pub use key::Key;
pub use live::{Figures, Recent};
pub use read::{Filter, MAX_LIMIT, Page, ReadError};
pub use schema::VERSION;

use crate::{clock, event::Event, retention::Retention};
use {ledger::Ledger, live::Live, read::Reader, writer::Job};

/// Why a store cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another receiver has it open.
    #[error(
        "the store {path} is in use by another receiver; stop that one, or name another file by WEBHOOK_STORE"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Written by a version to come.
    #[error(
        "the store {path} has version {found}, this webhook-sink knows up to {known}; run the newer webhook-sink, or \
         name another file by WEBHOOK_STORE"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i32,
        /// The newest this program knows.
        known: i32,
    },
    /// A file of another program.
    #[error("{path} is not a store of webhook-sink and is left as it is; name another file by WEBHOOK_STORE")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file or its folder refuses.
    #[error(
        "cannot use the store {path}; check that its folder exists and is writable, and that the disk has room"
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: rusqlite::Error,
    },
    /// The lock file beside it refuses.
    #[error("cannot lock the store by {path}; check that the folder exists and is writable")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    fn of(path: &Path, source: rusqlite::Error) -> Self {
        Self::Unusable { path: path.to_owned(), source }
    }
}

/// Why something is not stored. It may be sent again.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// The disk or the database refuses; nothing of the batch is stored.
    #[error("the store cannot write: {0}")]
    Unavailable(String),
    /// The writer has ended.
    #[error("the store is closed")]
    Closed,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored {
    /// Stored now.
    pub accepted: u64,
    /// Stored before, or twice in the batch.
    pub duplicates: u64,
}

/// The open store. Dropping it without [`Store::close`] loses nothing that was answered.
#[derive(Debug)]
pub struct Store {
    /// `None` once closed.
    open: Mutex<Option<Open>>,
    live: Arc<Live>,
    reader: Reader,
}

/// The way to the writer.
#[derive(Debug)]
struct Open {
    queue: mpsc::Sender<Job>,
    writer: JoinHandle<()>,
}

impl Store {
    /// Opens or creates the store and proves that it can be written. What is in it is kept within `retention` from
    /// then on.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, retention: Retention) -> Result<Self, OpenError> {
        let lock = lock(path)?;
        let now_us = clock::now_us();
        let mut ledger = Ledger::open(path)?;
        let recalled = ledger
            .probe(now_us)
            .and_then(|()| ledger.recall(now_us))
            .map_err(|source| OpenError::of(path, source))?;
        let live = Arc::new(Live::new(ledger.counters().clone(), recalled));
        let (queue, jobs) = mpsc::channel();
        let writer = writer::spawn(path.to_owned(), retention, lock, ledger, jobs, Arc::clone(&live))
            .map_err(|source| OpenError::Lock { path: path.to_owned(), source })?;
        let open = Mutex::new(Some(Open { queue, writer }));
        Ok(Self { open, live, reader: Reader::new(path.to_owned()) })
    }

    /// Stores what is new among the events; returns once it is durable. `budget` is held until then, also when the
    /// caller no longer waits: it bounds what is queued.
    ///
    /// # Errors
    /// See [`StoreError`]; then nothing of the batch is promised.
    pub async fn append(
        &self,
        events: Vec<Event>,
        rejected: usize,
        budget: Option<OwnedSemaphorePermit>,
    ) -> Result<Stored, StoreError> {
        let (answer, answered) = oneshot::channel();
        let rejected = i64::try_from(rejected).unwrap_or(i64::MAX);
        self.send(Job { events, rejected, answer, budget })?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Writes and waits for the disk, by the same road as events: whether the store can be written.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.append(Vec::new(), 0, None).await.map(drop)
    }

    /// Counts a request that was not believed; durable within about a second.
    pub fn count_invalid_signature(&self) {
        self.live.count_invalid_signature();
    }

    /// The counters and the last moments.
    #[must_use]
    pub fn figures(&self, now_us: i64) -> Figures {
        self.live.figures(now_us)
    }

    /// The last minutes.
    #[must_use]
    pub fn recent(&self, now_us: i64) -> Recent {
        self.live.recent(now_us)
    }

    /// Stored events, newest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn events(&self, filter: Filter) -> Result<Page, ReadError> {
        self.reader.events(filter).await
    }

    /// Writes what waits and ends the writer, whoever else still has the store: what comes later is refused.
    pub fn close(&self) {
        let Some(Open { queue, writer }) = self.lock().take() else { return };
        drop(queue);
        if writer.join().is_err() {
            tracing::error!("the store's writer ended by a panic; what was answered is durable");
        }
    }

    fn send(&self, job: Job) -> Result<(), StoreError> {
        let open = self.lock();
        open.as_ref().ok_or(StoreError::Closed)?.queue.send(job).map_err(|_| StoreError::Closed)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Two writers would count apart. The system frees the lock when the process ends, however it ends.
fn lock(store: &Path) -> Result<File, OpenError> {
    let mut path = store.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let refused = |source| OpenError::Lock { path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(refused)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: store.to_owned() }),
        Err(TryLockError::Error(source)) => Err(refused(source)),
    }
}
