//! What one write carries: a line of JSON for each event, and whose it is.

use super::super::event::encode;
use super::super::{Batch, Event, Refusal};
use crate::position::{Offset, Partition};

/// A write is full at so many bytes, which is some 1,000 events and, with its last line, less than the smallest file may hold. Three are
/// in memory for each worker: one being written, two being prepared.
const MAX_BYTES: usize = 512 * 1024;

/// Events of one write, as lines.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    text: Vec<u8>,
    /// The events in order.
    marks: Vec<Mark>,
}

/// One event within the batch.
#[derive(Debug, Clone, Copy)]
struct Mark {
    partition: Partition,
    offset: Offset,
    /// Where its line ends.
    end: usize,
}

impl Lines {
    /// The lines of a partition's events from the offset `from` on, in order.
    pub(super) fn of(&self, partition: Partition, from: Offset) -> Vec<u8> {
        let mut lines = Vec::new();
        let mut start = 0;
        for mark in &self.marks {
            if mark.partition == partition && mark.offset >= from {
                lines.extend_from_slice(self.text.get(start..mark.end).unwrap_or_default());
            }
            start = mark.end;
        }
        lines
    }
}

impl Batch for Lines {
    fn push(&mut self, event: &Event<'_>) -> Result<(), Refusal> {
        let start = self.text.len();
        if let Err(refusal) = encode(&mut self.text, event) {
            self.text.truncate(start);
            return Err(refusal);
        }
        // JSON has line breaks only between its tokens, where they mean nothing; in a text they are escaped.
        for byte in self.text.iter_mut().skip(start).filter(|byte| matches!(byte, b'\n' | b'\r')) {
            *byte = b' ';
        }
        self.text.push(b'\n');
        self.marks.push(Mark { partition: event.partition, offset: event.offset, end: self.text.len() });
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.text.len() >= MAX_BYTES
    }

    fn len(&self) -> usize {
        self.marks.len()
    }

    fn split_off(&mut self, at: usize) -> Self {
        let marks = self.marks.split_off(at.min(self.marks.len()));
        let start = self.marks.last().map_or(0, |mark| mark.end);
        let text = self.text.split_off(start);
        let marks = marks.into_iter().map(|mark| Mark { end: mark.end.saturating_sub(start), ..mark });
        Self { text, marks: marks.collect() }
    }
}
