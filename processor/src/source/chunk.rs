//! A chunk: records that were read together, their bytes copied into one buffer.
//!
//! librdkafka's messages pin the whole response that they came in, so what is kept for longer than a moment is copied.
//! Everything of a record is kept until it is durable in the sink, so that it can become a dead letter byte for byte.

use super::handoff::Epoch;
use crate::position::{Offset, Partition, Span};
use std::ops::Range;

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

/// Records read in one epoch, in the order of their partitions.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The epoch they were read in.
    pub epoch: Epoch,
    /// Stretches without any record, before those of the same partition in this chunk: transaction markers, or nothing at
    /// all where a sink is to take its first position.
    pub passed: Vec<Span>,
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    headers: Vec<(Range<usize>, Option<Range<usize>>)>,
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
    /// An empty chunk for records of `epoch`.
    pub fn new(epoch: Epoch) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// Copies a record in.
    pub fn push(&mut self, record: &Record<'_>) {
        let first_header = self.headers.len();
        let key = record.key.map(|bytes| self.copy(bytes));
        let value = record.value.map(|bytes| self.copy(bytes));
        for (name, value) in &record.headers {
            let name = self.copy(name);
            let value = value.map(|bytes| self.copy(bytes));
            self.headers.push((name, value));
        }
        self.slots.push(Slot {
            partition: record.partition,
            from: record.from,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key,
            value,
            headers: first_header..self.headers.len(),
        });
    }

    fn copy(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.passed.is_empty()
    }

    /// The size of all keys, values and headers together.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The record at `index`, without its headers.
    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        self.slots.get(index).map(|slot| Record {
            partition: slot.partition,
            from: slot.from,
            offset: slot.offset,
            timestamp_ms: slot.timestamp_ms,
            key: slot.key.as_ref().map(|range| self.slice(range)),
            value: slot.value.as_ref().map(|range| self.slice(range)),
            headers: Vec::new(),
        })
    }

    /// The record at `index` with its headers: for the few that become dead letters.
    pub fn get_whole(&self, index: usize) -> Option<Record<'_>> {
        let mut record = self.get(index)?;
        let slot = self.slots.get(index)?;
        let headers = self.headers.get(slot.headers.clone()).unwrap_or_default();
        record.headers = headers
            .iter()
            .map(|(name, value)| (self.slice(name), value.as_ref().map(|range| self.slice(range))))
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
            let mut chunk = Chunk::new(Epoch::default());
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
