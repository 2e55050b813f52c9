//! The file sink: a line of JSON for each event, in files that are finished when they are large enough. The smallest sink
//! there is, and the example of `docs/add-a-sink.md`.
//!
//! # Why an effect happens once
//!
//! * Each partition has a manifest, which names its position, its current file and how many bytes of it count. It is
//!   replaced in one atomic step after the lines are on the disk; before that step nothing has happened, after it
//!   everything has. A file that is longer than its manifest says is cut before it is used again.
//! * A write compares each span with the manifest's position, leaves out what the files have, and refuses to go on where
//!   they stand further back. A lock for each partition makes that one step, so a zombie on this machine writes nothing twice.
//! * A first position is taken only for a partition of which this worker was told that its files hold none.
//!
//! The work on files blocks, so it is done on a thread for that: what this worker has begun to ask for (the look-up of a
//! content) other lanes may be waiting for as well.

mod client;
mod config;
mod disk;
mod encode;
mod error;
#[cfg(test)]
mod tests;

use self::client::Client;
use self::disk::Folder;
use super::{Sink, SinkError, Write, Written};
use crate::position::{Held, LogId, Partition, Reset, Span};
pub use config::Settings;
pub use encode::Lines;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// The files of one lane, as one worker writes to them.
#[derive(Debug)]
pub struct Files {
    client: Arc<Client<Folder>>,
    /// The partitions of which the last answer said that nothing is held, and of which log.
    empty: (Option<LogId>, BTreeSet<Partition>),
}

impl Files {
    /// Makes a sink; looks at the folder when it is first asked.
    pub fn new(settings: Settings) -> Self {
        let folder = Folder(settings.folder.clone());
        Self { client: Arc::new(Client::new(folder, settings)), empty: (None, BTreeSet::new()) }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Client<Folder>) -> Result<T, SinkError> + Send + 'static,
    ) -> Result<T, SinkError> {
        let client = Arc::clone(&self.client);
        spawn_blocking(move || work(&client)).await.unwrap_or_else(|error| Err(error::broken_off(error)))
    }
}

impl Sink for Files {
    type Batch = Lines;

    const WANTS_CONTENT: bool = true;

    fn batch(&self) -> Lines {
        Lines::default()
    }

    async fn positions(&mut self, log: &LogId, partitions: &[Partition]) -> Result<Held, SinkError> {
        let (asked, wanted) = (log.clone(), partitions.to_vec());
        let held = self.blocking(move |client| client.positions(&asked, &wanted)).await?;
        let empty = partitions.iter().copied().filter(|partition| !held.contains_key(partition));
        self.empty = (Some(log.clone()), empty.collect());
        Ok(Held::At(held))
    }

    async fn reset(&mut self, log: &LogId, reset: &Reset) -> Result<(), SinkError> {
        let (log, positions) = (log.clone(), reset.positions.clone());
        self.blocking(move |client| client.reset(&log, &positions)).await
    }

    async fn write(&mut self, write: Write<'_, Lines>) -> Result<Written, SinkError> {
        let spans: Vec<Span> = write.spans.iter().copied().collect();
        let (log, lines) = (write.log.clone(), write.batch.clone());
        let empty =
            if self.empty.0.as_ref() == Some(write.log) { self.empty.1.clone() } else { BTreeSet::new() };
        let written = self.blocking(move |client| client.write(&log, &spans, &empty, &lines)).await?;
        Ok(match written {
            Ok(()) => {
                self.empty.1.retain(|partition| write.spans.iter().all(|span| span.partition != *partition));
                Written::Durable { rejected: Vec::new() }
            }
            Err(held) => Written::Behind(Held::At(held)),
        })
    }
}
