//! What one POST carries: the JSON of its events in one piece of memory, and where each one ends.

use super::super::event::encode;
use super::super::{Batch, Event, Refusal};
use bytes::Bytes;
use std::sync::Arc;
use uuid::Uuid;
use webhook_protocol::{BODY_PREFIX, BODY_SUFFIX, webhook_id};

/// Events of one POST.
#[derive(Debug, Clone)]
pub struct Events {
    max_events: usize,
    max_body_bytes: usize,
    /// The body, whole after each event: it is sent as it lies here, however often.
    body: Arc<Vec<u8>>,
    /// The events in order.
    marks: Vec<Mark>,
}

/// One event within the batch.
#[derive(Debug, Clone, Copy)]
struct Mark {
    id: Uuid,
    /// Where its JSON ends.
    end: usize,
}

/// A body that a request holds while the batch keeps it for the next try.
struct Sent(Arc<Vec<u8>>);

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Events {
    /// An empty batch that is full at either limit.
    #[must_use]
    pub fn new(max_events: usize, max_body_bytes: usize) -> Self {
        let body = Arc::new([BODY_PREFIX, BODY_SUFFIX].concat().into_bytes());
        Self { max_events, max_body_bytes, body, marks: Vec::new() }
    }

    /// The body to post; the same bytes whenever this batch is sent. Nothing is copied.
    #[must_use]
    pub fn body(&self) -> Bytes {
        Bytes::from_owner(Sent(Arc::clone(&self.body)))
    }

    /// The `webhook-id`: the same whenever the same events are sent in the same order.
    pub(super) fn name(&self) -> String {
        webhook_id(self.ids().map(IdText::of))
    }

    /// The events' ids, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = Uuid> {
        self.marks.iter().map(|mark| mark.id)
    }

    /// Where the first `count` events end in the body.
    fn end(&self, count: usize) -> usize {
        let last = count.checked_sub(1).and_then(|last| self.marks.get(last));
        last.map_or(BODY_PREFIX.len(), |mark| mark.end)
    }
}

impl Batch for Events {
    fn push(&mut self, event: &Event<'_>) -> Result<(), Refusal> {
        let before = self.end(self.marks.len());
        let body = Arc::make_mut(&mut self.body);
        body.truncate(before);
        if !self.marks.is_empty() {
            body.push(b',');
        }
        let pushed = match encode(body, event) {
            Ok(id) => {
                self.marks.push(Mark { id, end: body.len() });
                Ok(())
            }
            Err(refusal) => {
                body.truncate(before);
                Err(refusal)
            }
        };
        body.extend_from_slice(BODY_SUFFIX.as_bytes());
        pushed
    }

    /// Also where one more event of the mean size would not fit: so bodies stay below the limit as long as events are
    /// alike.
    fn is_full(&self) -> bool {
        let mean = self.body.len().checked_div(self.marks.len()).unwrap_or(0);
        self.marks.len() >= self.max_events || self.body.len().saturating_add(mean) > self.max_body_bytes
    }

    fn len(&self) -> usize {
        self.marks.len()
    }

    fn split_off(&mut self, at: usize) -> Self {
        let mut rest = Self::new(self.max_events, self.max_body_bytes);
        let keep = at.min(self.marks.len());
        let end = self.end(keep);
        // A comma stands between the two halves, where both have events.
        let start = if keep == 0 { end } else { end.saturating_add(1).min(self.end(self.marks.len())) };
        let body = Arc::make_mut(&mut self.body);
        rest.body = Arc::new([BODY_PREFIX.as_bytes(), body.get(start..).unwrap_or_default()].concat());
        body.truncate(end);
        body.extend_from_slice(BODY_SUFFIX.as_bytes());
        rest.marks = self.marks.split_off(keep);
        for mark in &mut rest.marks {
            mark.end = mark.end.saturating_sub(start).saturating_add(BODY_PREFIX.len());
        }
        rest
    }
}

/// The text of an event id, on the stack.
struct IdText([u8; 36]);

impl IdText {
    fn of(id: Uuid) -> Self {
        let mut text = [0; 36];
        id.as_hyphenated().encode_lower(&mut text);
        Self(text)
    }
}

impl AsRef<str> for IdText {
    fn as_ref(&self) -> &str {
        // Always hexadecimal digits and hyphens.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}
