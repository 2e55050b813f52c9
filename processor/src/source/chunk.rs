//! A chunk: records that were read together, their bytes copied into one buffer.
//!
//! librdkafka's messages pin the whole response that they came in, so what is kept for longer than a moment is copied.
//! Everything of a record is kept until it is durable in the sink, so that it can become a dead letter byte for byte.

use super::handoff::Epoch;
use crate::position::{Offset, Partition, Span};
use std::mem;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A record as it lies in Kafka, borrowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its partition.
    pub partition: Partition,
    /// Where the lane stood in that partition before this record. Offsets have holes, so not simply `offset`.
    pub from: Offset,
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp in milliseconds since 1970, where the broker gave one.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers, in order; names may repeat, and are text by custom only.
    pub headers: Vec<(&'a [u8], Option<&'a [u8]>)>,
}

/// Buffers that lie ready at most: one is taken as the next chunk is begun, and two may come back at once.
const MOST_SPARES: usize = 3;

/// The buffers of chunks that are done, for those to come: memory that was given back and is asked for again costs a tenth of all
/// the processor does, in page faults.
#[derive(Debug, Default)]
pub struct Spares(Mutex<Vec<Buffers>>);

impl Spares {
    fn take(&self) -> Buffers {
        self.lock().pop().unwrap_or_default()
    }

    /// One that was hardly used is given up: when a burst is over, its memory is free again.
    fn give(&self, mut buffers: Buffers) {
        let was_used = buffers.bytes.len() >= buffers.bytes.capacity() / 4;
        buffers.clear();
        let mut spares = self.lock();
        if was_used && spares.len() < MOST_SPARES {
            spares.push(buffers);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Buffers>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records read in one epoch, in the order of their partitions.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The epoch they were read in.
    pub epoch: Epoch,
    /// Stretches without any record, before those of the same partition in this chunk: transaction markers, or nothing at
    /// all where a sink is to take its first position.
    pub passed: Vec<Span>,
    buffers: Buffers,
    /// Where its buffers go when it is done.
    home: Arc<Spares>,
}

#[derive(Debug, Default)]
struct Buffers {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    headers: Vec<(Range<usize>, Option<Range<usize>>)>,
}

impl Buffers {
    fn copy(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.slots.clear();
        self.headers.clear();
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.home.give(mem::take(&mut self.buffers));
    }
}

/// Where the parts of a record lie in the chunk's buffer.
#[derive(Debug)]
struct Slot {
    partition: Partition,
    from: Offset,
    offset: Offset,
    timestamp_ms: Option<i64>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
}

impl Chunk {
    /// An empty chunk for records of `epoch`, with buffers of `home`.
    pub fn new(epoch: Epoch, home: &Arc<Spares>) -> Self {
        Self { epoch, passed: Vec::new(), buffers: home.take(), home: Arc::clone(home) }
    }

    /// Copies a record in.
    pub fn push(&mut self, record: &Record<'_>) {
        let buffers = &mut self.buffers;
        let first_header = buffers.headers.len();
        let key = record.key.map(|bytes| buffers.copy(bytes));
        let value = record.value.map(|bytes| buffers.copy(bytes));
        for (name, value) in &record.headers {
            let name = buffers.copy(name);
            let value = value.map(|bytes| buffers.copy(bytes));
            buffers.headers.push((name, value));
        }
        buffers.slots.push(Slot {
            partition: record.partition,
            from: record.from,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key,
            value,
            headers: first_header..buffers.headers.len(),
        });
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.buffers.slots.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.buffers.slots.is_empty() && self.passed.is_empty()
    }

    /// The size of all keys, values and headers together.
    pub fn size_bytes(&self) -> usize {
        self.buffers.bytes.len()
    }

    /// The record at `index`, without its headers.
    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        self.buffers.slots.get(index).map(|slot| Record {
            partition: slot.partition,
            from: slot.from,
            offset: slot.offset,
            timestamp_ms: slot.timestamp_ms,
            key: slot.key.as_ref().map(|range| self.buffers.slice(range)),
            value: slot.value.as_ref().map(|range| self.buffers.slice(range)),
            headers: Vec::new(),
        })
    }

    /// The record at `index` with its headers: for the few that become dead letters.
    pub fn get_whole(&self, index: usize) -> Option<Record<'_>> {
        let mut record = self.get(index)?;
        let slot = self.buffers.slots.get(index)?;
        let headers = self.buffers.headers.get(slot.headers.clone()).unwrap_or_default();
        record.headers = headers
            .iter()
            .map(|(name, value)| {
                (self.buffers.slice(name), value.as_ref().map(|range| self.buffers.slice(range)))
            })
            .collect();
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Owned = (i32, i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

    fn borrowed(owned: &Owned) -> Record<'_> {
        let (partition, offset, key, value, headers) = owned;
        Record {
            partition: *partition,
            from: *offset - 1,
            offset: *offset,
            timestamp_ms: Some(7),
            key: key.as_deref(),
            value: value.as_deref(),
            headers: headers.iter().map(|(name, value)| (name.as_slice(), value.as_deref())).collect(),
        }
    }

    proptest! {
        #[test]
        fn gives_back_what_was_put_in(records: Vec<Owned>) {
            let home = Arc::default();
            // Buffers that were used before say nothing of it.
            Chunk::new(Epoch::default(), &home).push(&borrowed(&(0, 1, None, Some(vec![7; 9]), Vec::new())));
            prop_assert_eq!(home.lock().len(), 1);
            let mut chunk = Chunk::new(Epoch::default(), &home);
            for record in &records {
                chunk.push(&borrowed(&(record.0, record.1.max(1), record.2.clone(), record.3.clone(), record.4.clone())));
            }
            prop_assert_eq!(chunk.len(), records.len());
            for (index, record) in records.iter().enumerate() {
                let record = (record.0, record.1.max(1), record.2.clone(), record.3.clone(), record.4.clone());
                prop_assert_eq!(chunk.get_whole(index), Some(borrowed(&record)));
            }
            prop_assert_eq!(chunk.get(records.len()), None);
        }
    }
}
